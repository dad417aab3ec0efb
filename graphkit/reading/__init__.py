"""Reading what a user writes: the one place where text becomes names, sizes, numbers and arrays."""
