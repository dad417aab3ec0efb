"""The graphkit command. ``main`` holds the command table, ``render`` is the only writer, ``options`` the shared options."""
