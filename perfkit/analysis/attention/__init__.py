"""Attention alone: what a cell computes, moves and holds by its shape, what was measured, and what that says."""
