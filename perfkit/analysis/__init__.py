"""Pure functions from a Trace or a RunRecord to a Table. Nothing here draws, prints or needs torch."""
