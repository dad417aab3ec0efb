"""The types of progress callbacks."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, "int | None", str], None]
"""Called with how much is done, how much there is in all (None where that is not known), and what is being done."""

BytesProgress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes that are written and the bytes in all."""
