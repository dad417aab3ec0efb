"""One result in, text, JSON or HTML out: one file a result."""
