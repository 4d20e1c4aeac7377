"""`perfkit.profile` in the loops of others: Lightning, Hugging Face's Trainer, Accelerate. Each is optional."""
