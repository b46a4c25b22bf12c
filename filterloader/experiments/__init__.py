"""Experiments: the laboratory behind the command line."""
