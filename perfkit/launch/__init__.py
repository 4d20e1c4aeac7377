"""Starts and supervises fresh perfkit processes, one configuration each, in random order. Never imports PyTorch."""
