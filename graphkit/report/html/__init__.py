"""Results as pages: one HTML file with everything in it, nothing loaded from the network, no scripts."""
