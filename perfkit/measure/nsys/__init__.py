"""Running under Nsight Systems."""
