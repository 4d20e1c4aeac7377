"""The points of a sweep."""
