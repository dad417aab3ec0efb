"""Write graphkit/__init__.pyi from the table of public names in graphkit/__init__.py: ``python tests/house/write_stub.py``."""

from pathlib import Path

import graphkit as gk

HEAD = "# The public names and where they live, for type checkers. Written by tests/house/write_stub.py.\n\n"
TAIL = "\n__version__: str\n"


def stub() -> str:
    """The text of the stub."""
    lines = sorted((module, name) for name, module in gk._HOME.items())
    return HEAD + "".join(f"from {module} import {name} as {name}\n" for module, name in lines) + TAIL


if __name__ == "__main__":
    (Path(gk.__file__).parent / "__init__.pyi").write_text(stub(), encoding="utf-8")
