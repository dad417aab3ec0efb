"""``python -m graphkit``: the command line, where the script is not on the path."""

import sys

from graphkit.late import late

if __name__ == "__main__":
    sys.exit(late("graphkit_cli.entry", "entry")())
