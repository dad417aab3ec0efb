"""A hook for commits: every model that is named is valid, and every recipe can be read.

    python pre_commit.py FILE...

A TOML file counts as a recipe where it has steps. Exit code 1 where something is wrong; as pre-commit calls it, or from
.git/hooks/pre-commit with ``git diff --cached --name-only --diff-filter=d``.
"""

import sys
import tomllib
from pathlib import Path

import graphkit as gk


def fault(path: Path) -> str | None:
    """What is wrong with a file, or None."""
    try:
        if path.suffix == ".onnx":
            result = gk.check(path)
            return None if result else gk.text(result)
        if "step" in tomllib.loads(path.read_text(encoding="utf-8")):
            gk.Recipe.load(path)
    except (gk.GraphkitError, tomllib.TOMLDecodeError) as error:
        return str(error)
    return None


def main(names: list[str]) -> int:
    """Check the files, and print what is wrong."""
    faults = [(name, fault(Path(name))) for name in names if name.endswith((".onnx", ".toml"))]
    for name, what in faults:
        if what is not None:
            print(f"{name}: {what}")
    return int(any(what is not None for _, what in faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
