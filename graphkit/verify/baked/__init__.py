"""Numbers that an export turned into constants: found, explained, mended."""
