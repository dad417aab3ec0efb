"""How one model differs from another: matching, comparing, and which step made which difference."""
