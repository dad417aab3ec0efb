"""A feed in a few words, for reports."""

from __future__ import annotations

import math
from typing import Any


def described(value: Any) -> str:
    """A feed in a few words: its type, and its numbers where they are few."""
    kind = f"{str(value.dtype).removeprefix('torch.')}[{','.join(map(str, value.shape))}]"
    few = math.prod(value.shape) <= 4
    return f"{kind} = {value.tolist()}" if few else kind
