"""Rules about the program round the step: compilation, allocation, collection, switches, processes."""
