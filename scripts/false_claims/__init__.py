"""How often a comparison of equal sides claims a difference: by the number of processes, and by their order in time."""
