"""Two arrays compared: metrics, tolerances, magnitudes, block by block."""
