"""What became of one model of many: plain values that pass from process to process and into JSON lines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from graphkit.errors import FormatError
from graphkit.result import Result


@dataclass(frozen=True, repr=False)
class Done(Result):
    """The work was done.

    Attributes:
        model: The model, as the job names it.
        answer: What the work says: False where a check or comparison says no.
        out: The file or folder that was written, or None.
        said: The result in a line.
        result: The result as JSON has it.
        seconds: How long it took.
        attempts: How often it was begun.
        key: Digest of the model, the work and graphkit's version.
        written: sha256 of ``out``, or "".
    """

    model: str
    answer: bool = True
    out: str | None = None
    said: str = ""
    result: Any = field(default=None)
    seconds: float = 0.0
    attempts: int = 1
    key: str = ""
    written: str = ""

    def __bool__(self) -> bool:
        return self.answer


@dataclass(frozen=True, repr=False)
class Failed(Result):
    """The work could not be done.

    Attributes:
        model: The model, as the job names it.
        kind: The error's class; "Crash" where the process ended, "Bug" where graphkit is at fault.
        message: Why.
        hint: What can be done, or None.
        seconds: How long it took.
        attempts: How often it was begun.
        key: As ``Done`` has it; "" where the model was not read.
    """

    model: str
    kind: str
    message: str
    hint: str | None = None
    seconds: float = 0.0
    attempts: int = 1
    key: str = ""

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, repr=False)
class Skipped(Result):
    """The work was not needed.

    Attributes:
        model: The model, as the job names it.
        reason: Why not.
        answer: What the work said when it was done.
        out: The file or folder that is there, or None.
        key: As ``Done`` has it.
    """

    model: str
    reason: str
    answer: bool = True
    out: str | None = None
    key: str = ""

    def __bool__(self) -> bool:
        return self.answer


Outcome: TypeAlias = Done | Failed | Skipped

_KINDS: dict[str, type[Done | Failed | Skipped]] = {"done": Done, "failed": Failed, "skipped": Skipped}


def as_row(outcome: Outcome) -> dict[str, Any]:
    """An outcome as an object of JSON; its ``outcome`` says which of the three it is.

    Example:
        >>> import graphkit as gk
        >>> failed = gk.Failed("model.onnx", "EditError", "no node has that name", None, 0.1, 1, "")
        >>> gk.as_row(failed)["outcome"]
        'failed'
    """
    return {"outcome": type(outcome).__name__.lower(), **asdict(outcome)}


def from_row(row: dict[str, Any]) -> Outcome:
    """The outcome that ``as_row`` wrote.

    Raises:
        FormatError: It is none.
    """
    fields = dict(row)
    kind = _KINDS.get(str(fields.pop("outcome", "")))
    try:
        if kind is not None:
            return kind(**fields)
    except TypeError:
        pass
    raise FormatError(f"this is no outcome of a model: {str(row)[:80]}")
