"""The types that cross folders, and nothing else."""
