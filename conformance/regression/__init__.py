"""Versions of one package against each other: environments from the pins, the same cells in each, what changed, and since when."""
