"""What memory a step takes, and what fits."""
