"""One result dataclass in, text, JSON or HTML out."""
