"""Several ranks of one job: clocks, collectives that belong together, waiting, and who makes the others wait."""
