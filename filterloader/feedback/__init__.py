"""Feedback: what comes back from the training loop, and what is made of it."""
