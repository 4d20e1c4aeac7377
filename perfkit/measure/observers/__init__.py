"""Observers of a run's steps, one file each. The loop calls them (perfkit.measure.loop)."""
