"""The page that draws a model: a graph as data (Python), and the script that lays it out and draws it (static/)."""
