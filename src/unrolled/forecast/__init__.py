"""Training small networks with and without clipping, and looking at what clipping does to real training."""
