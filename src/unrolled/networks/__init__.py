"""Workloads, textbook networks, a model that somebody else wrote, and its checkpoint."""
