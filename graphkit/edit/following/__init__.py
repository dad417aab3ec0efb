"""Sizes that a graph holds, made to follow the axes that become free."""
