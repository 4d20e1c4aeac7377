"""Causes of noise, planted in real runs."""
