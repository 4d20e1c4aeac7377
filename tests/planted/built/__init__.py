"""Faults that only a GPU shows, played on a Machine: one file a fault, with `step(fault)`."""
