"""Questions about a graph. Nothing in here changes one, and nothing reads weights."""
