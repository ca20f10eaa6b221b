"""Runnable modules: `python -m diagnostics` lists them."""
