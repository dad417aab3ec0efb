"""Shapes and types: inference, the arithmetic of computed sizes, what depends on a size and what holds one."""
