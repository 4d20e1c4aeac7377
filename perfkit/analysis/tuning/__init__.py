"""Changes that findings advise: which can be tried, whether they compute the same, and which are worth it."""
