"""The questions of an investigation: what each needs to be run, and what the results say."""
