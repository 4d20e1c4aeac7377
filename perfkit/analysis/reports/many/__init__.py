"""Reports of many files: hundreds of traces of a job folded into one, and runs over time."""
