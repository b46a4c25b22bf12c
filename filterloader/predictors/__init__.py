"""Predictors: online models of a loss from a bag of words."""
