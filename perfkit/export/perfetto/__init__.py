"""A trace for Perfetto: what was recorded, and tracks with what perfkit found out about it."""
