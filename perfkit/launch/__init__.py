"""Fresh perfkit processes: one configuration each, watched over, in random order. Never imports PyTorch."""
