"""Table -> characters: terminal text, CSV, Markdown, JSON, LaTeX. Computes nothing but the sums it shows."""
