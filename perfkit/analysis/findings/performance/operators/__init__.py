"""Rules about what the program calls: attention, norms, copies, loops, the optimizer."""
