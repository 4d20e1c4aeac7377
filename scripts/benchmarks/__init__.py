"""The parts of scripts/bench. The parent process stays small and plain; what is measured runs in children."""
