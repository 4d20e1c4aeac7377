"""The parts of scripts/gpu-suite: what it runs (points), how (running), what it writes (results), its loop (main)."""
