"""Results as text: plain lines and aligned columns, the same on a terminal and in a file."""
