"""Which scope, phase and launch each device event belongs to, and how that is known."""
