"""Convert trace files to columns. Only this package knows file formats: `load()` returns no event dicts and no SQL."""
