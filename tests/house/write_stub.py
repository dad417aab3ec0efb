"""Write what is made of the code: ``python tests/house/write_stub.py``.

- graphkit/__init__.pyi, from the table of public names in graphkit/__init__.py
- graphkit/recipe/recipe.schema.json, from the signatures of the operations
"""

import json
from pathlib import Path

import graphkit as gk

HEAD = "# The public names and where they live, for type checkers. Written by tests/house/write_stub.py.\n\nfrom graphkit import testing as testing\n"
TAIL = "\n__version__: str\n"
FOLDER = Path(gk.__file__).parent


def stub() -> str:
    """The text of the stub."""
    lines = sorted((module, name) for name, module in gk._HOME.items())
    return HEAD + "".join(f"from {module} import {name} as {name}\n" for module, name in lines) + TAIL


def schema() -> str:
    """The text of the schema."""
    return json.dumps(gk.recipe_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (FOLDER / "__init__.pyi").write_text(stub(), encoding="utf-8")
    (FOLDER / "recipe" / "recipe.schema.json").write_text(schema(), encoding="utf-8")
