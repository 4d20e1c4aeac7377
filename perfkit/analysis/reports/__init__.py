"""One file a report: what a command shows."""
