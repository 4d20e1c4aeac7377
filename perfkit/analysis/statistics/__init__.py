"""Numbers of series, without a word on what they are of."""
