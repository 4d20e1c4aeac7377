"""What the time of a step would be: a trace as a graph, its replay, edits of it, and its critical path."""
