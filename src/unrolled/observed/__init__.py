"""The calls of recurrent modules and cells in one forward pass, as systems whose trajectories can be followed."""
