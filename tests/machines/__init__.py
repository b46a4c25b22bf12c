"""Machines: what the tests that stop a run at any place have in common: setups, scripts of a loop, and comparisons."""
