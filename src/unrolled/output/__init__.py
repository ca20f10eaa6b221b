"""What is left of the old ways to files."""
