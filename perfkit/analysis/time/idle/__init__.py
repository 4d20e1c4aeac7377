"""Where the wall time goes: what a device ran at each instant of a step and, where it ran nothing, why."""
