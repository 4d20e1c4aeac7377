"""Reports -> characters: the terminal, and a file a format, named once in `writers`. Computes only the sums it shows."""
