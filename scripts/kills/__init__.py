"""scripts/kill-runs: perfkit ended by signals at random moments, and what is left each time."""
