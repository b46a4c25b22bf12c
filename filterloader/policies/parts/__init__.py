"""Parts: what several decision rules are made of."""
