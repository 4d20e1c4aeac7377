"""Why step times vary."""
