"""Trace files to columns. File formats end here: past `load()` nobody sees an event dict or SQL."""
