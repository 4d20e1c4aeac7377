"""Snapshots of PyTorch's caching allocator, as columns."""
