"""One recorded forward pass of an unmodified model, and numbers in any range."""
