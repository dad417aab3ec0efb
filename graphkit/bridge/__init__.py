"""From and to other tools' graphs, losing nothing."""
