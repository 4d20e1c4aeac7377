"""What memory holds: as predicted, and as a run knows it."""
