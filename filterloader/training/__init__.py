"""Training: what a loop wants beside the loader."""
