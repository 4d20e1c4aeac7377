"""The parts of scripts/bench. The parent process stays small; the measured code runs in child processes."""
