"""scripts/kill-runs: ends perfkit by signals at random moments, and checks what is left each time."""
