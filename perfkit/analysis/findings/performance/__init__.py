"""Rules about performance: each a small function of a `Case` that makes at most one finding."""
