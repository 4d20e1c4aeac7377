"""Rules: each has a function that looks at an account and returns at most one finding."""
