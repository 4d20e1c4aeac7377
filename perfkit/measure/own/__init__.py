"""Somebody else's loop and somebody else's model: what `perfkit.profile` and `--model` stand on."""
