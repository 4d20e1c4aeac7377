"""The README and the pages in docs/ say what the code does."""
