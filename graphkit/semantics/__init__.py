"""What an operator means: schemas, rules of a valid node, value ranges, windows, elementwise kinds. Structure is graph's."""
