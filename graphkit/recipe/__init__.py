"""Recipes: lists of steps and expectations, in TOML or in Python."""
