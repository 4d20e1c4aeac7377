"""The parts of scripts/gpu-suite: what to run (points), how (running), what is left (results), the loop (main)."""
