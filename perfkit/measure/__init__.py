"""Runs the workload and measures it. The only folder that touches a device."""
