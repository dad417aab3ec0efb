"""Finding: something the user should know that did not stop an operation, as data."""

from __future__ import annotations

from dataclasses import dataclass

from graphkit.result import Result


@dataclass(frozen=True, repr=False)
class Finding(Result):
    """One thing found.

    Attributes:
        kind: What sort of thing, a short fixed word such as ``input-vanished``; scripts may rely on it.
        message: What was found, in one sentence.
        source: The line of the user's own source it came from, ``file.py:12``, where that is known.
        remedy: What mends it: a command or a change, where one is known.
        node: The node it is about, or None.
        value: The value it is about, or None.
    """

    kind: str
    message: str
    source: str | None = None
    remedy: str | None = None
    node: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        where = f" [{self.source}]" if self.source else ""
        return f"{self.message}{where}" + (f" -> {self.remedy}" if self.remedy else "")
