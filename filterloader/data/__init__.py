"""Data: rows of the user's data set as candidates."""
