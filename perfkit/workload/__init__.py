"""The workload to measure: the Transformer, its annotation, and one step of it. This package needs torch."""
