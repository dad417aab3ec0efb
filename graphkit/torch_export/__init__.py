"""From torch: both exporters, what they got wrong, and how the nodes of the result map to modules."""
