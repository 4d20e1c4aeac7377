"""What watches the steps of a run: one file an observer, each of which the loop calls (perfkit.measure.loop)."""
