"""Whether a network can be run in parallel over time: its exponent, beside the iterations that it takes."""
