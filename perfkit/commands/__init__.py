"""One file per command: its options and its execute(), which returns the process's exit code."""
