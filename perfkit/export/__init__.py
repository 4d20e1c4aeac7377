"""Accounts and records for other people's viewers: Perfetto's timeline, TensorBoard."""
