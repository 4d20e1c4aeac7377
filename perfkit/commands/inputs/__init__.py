"""What a path stands for, and the flags that several commands share."""
