"""A model looked at: summary, limits of a target, what could be frozen."""
