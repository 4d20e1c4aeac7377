"""What is measured: the Transformer, its annotation, and one step of it. This wing needs torch."""
