"""Claims: what the two papers say, figure by figure, each with the rule by which cells measured here decide on it."""
