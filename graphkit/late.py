"""A function of a room above, by its name, imported when it is called.

A Model can save itself and a result can show itself as a page, though storage and report stand above them: that is for the
user's convenience, no dependency of the room below. The public names of ``graphkit`` are found in the same way.
"""

from __future__ import annotations

import importlib
from typing import Any


def late(module: str, name: str) -> Any:
    """``name`` of ``module``."""
    return getattr(importlib.import_module(module), name)
