"""Any result of graphkit as JSON: the same fields, in JSON's types."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphkit.report.printable import json_safe


def to_json(result: object, *, indent: int | None = 2) -> str:
    r"""A result dataclass (``validate``'s, ``inspect``'s, ...) as one JSON text.

    Fields keep their names and order; named tuples become objects too. Arrays become nested lists, enumerations their value. JSON has no word for numbers
    that are not finite: they become the strings ``"nan"``, ``"inf"`` and ``"-inf"``. Characters that steer a terminal
    (control characters, changes of direction) are written as ``\uXXXX``.

    Args:
        result: A dataclass, a mapping, a sequence or a plain value; nested as deep as you like.
        indent: Spaces per level; None writes one line.

    Raises:
        TypeError: A value that has no JSON form, such as a ``ModelProto``.

    Changes: nothing.
    Cost: O(size of the result).

    Example:
        >>> import graphkit as gk
        >>> gk.to_json(gk.check("model.onnx", runtime=False), indent=None)
        '{"valid": true, "findings": [], "runtime": null}'
    """
    return json_safe(json.dumps(_plain(result), indent=indent, ensure_ascii=False, allow_nan=False))


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.metadata.get("json", True)]
        return {name: _plain(getattr(value, name)) for name in fields}
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_plain(item) for item in items]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")
