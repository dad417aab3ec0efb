"""Rewriting by patterns: the rule files, the matcher, what is written in place of a match."""
