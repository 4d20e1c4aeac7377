"""What a path is, and flags that several commands have."""
