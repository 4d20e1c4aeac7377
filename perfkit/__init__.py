"""perfkit: where each millisecond of a PyTorch step went, and why."""
