"""Rules about wall time: why devices are idle, and what of copies and communication is exposed."""
