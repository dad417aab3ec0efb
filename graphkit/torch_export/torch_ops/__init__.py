"""What each exporter of torch makes of an operator."""
