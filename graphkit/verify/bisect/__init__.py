"""bisect and layers: down to the first value that differs."""
