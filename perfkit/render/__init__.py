"""Reports -> characters: for a terminal, and by the `writers` for files. Computes nothing but the sums it shows."""
