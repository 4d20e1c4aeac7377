"""Pages as one HTML file each."""
