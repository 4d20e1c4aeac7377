"""The parts of a configuration: each with its fields, and what it refuses by itself."""
