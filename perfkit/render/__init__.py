"""Reports -> text for a terminal, and files by the `writers`. Computes only the sums that it shows."""
