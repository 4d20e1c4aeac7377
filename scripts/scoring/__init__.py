"""Performance faults, planted in programs, and how well perfkit finds them."""
