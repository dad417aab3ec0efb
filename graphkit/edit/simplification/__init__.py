"""Passes that leave out what a graph does not need: constants computed, nodes that change nothing, nodes that are there twice."""
