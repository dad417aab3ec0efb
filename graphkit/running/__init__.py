"""A model run: results, and on which provider each node really ran."""
