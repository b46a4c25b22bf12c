"""Stages: one step each on the way from the data set to a batch."""
