"""Rules about how the work runs: its precision, its shapes, its lengths, its layers."""
