"""Rules: each a function that looks at an account and says at most one thing."""
