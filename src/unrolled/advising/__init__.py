"""Advice that helped: from a diagnosis a few changes, each trained beside the unchanged network from the same seeds."""
