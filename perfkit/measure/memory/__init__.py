"""Recording memory: what a run can name of its tensors, what it keeps for backward, and the allocator's history."""
