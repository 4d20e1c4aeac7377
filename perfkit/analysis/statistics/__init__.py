"""Statistics of series, whatever they measure."""
