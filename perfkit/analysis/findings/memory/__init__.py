"""Rules about memory: what made the peak, and what would lower it."""
