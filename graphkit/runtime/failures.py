"""What ONNX Runtime raises, as graphkit's errors: one short message, the cause kept."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import onnx

from graphkit.errors import FeedError, GraphkitError, SessionError
from graphkit.hint import Argument, Blank, Hint, call, look
from graphkit.optional import optional
from graphkit.semantics.known_operators import unknown_operator_remedy


def import_runtime(purpose: str = "running a model") -> Any:
    """The onnxruntime package, of either distribution.

    Raises:
        MissingExtraError: It is not installed.
        OutdatedPackageError: It is too old.

    Cost: about 0.1 s the first time.
    """
    return optional("onnxruntime", purpose)


def runtime_errors() -> tuple[type[Exception], ...]:
    """Everything that ONNX Runtime, its binding and its quantizer raise."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    # The binding itself raises plain RuntimeError and ValueError for feeds that it cannot convert; its quantizer asks onnx.
    return (*own, RuntimeError, ValueError, onnx.shape_inference.InferenceError, onnx.checker.ValidationError)


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what ONNX Runtime raises inside of the block into a SessionError or a FeedError.

    Args:
        doing: What was attempted, for the message: "loading model.onnx", "running model.onnx".

    Raises:
        FeedError: The runtime refuses the feeds.
        SessionError: Anything else the runtime raises, running out of memory included.
    """
    try:
        yield
    except GraphkitError:
        raise
    except MemoryError as error:
        raise _out_of_memory(doing) from error
    except runtime_errors() as error:
        raise _translate(error, doing) from error


_PREFIX = re.compile(r"\s*\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_AGAIN = re.compile(r"(Load model from .*? failed: ?|Failed to load model with error: )+")
_SOURCE = re.compile(r"/\S+?/onnxruntime/(core|python)/\S+:\d+ [^\n]*?\) ?")
_MEMORY = re.compile(
    r"bad_?alloc|failed to allocate|out[ _]of[ _]memory|BFCArena|not enough memory|can(not|'t) allocate memory",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException | str) -> bool:
    """Whether memory ran out, on the host or on a GPU, from what ONNX Runtime, torch or Python raise then, or from its text."""
    return isinstance(error, MemoryError) or _MEMORY.search(str(error)) is not None


_BAKED = Hint(
    "a size that the graph was made for does not go with those fed: bind the dims to it with ",
    Argument("bind", {Blank("DIM"): Blank("SIZE")}),
    ", or see with `",
    look("probe"),
    "` which axes are really free",
)
_OTHER_SIZE = (
    "requested_shape_size",
    "Dimension mismatch",
    "axis == 1 || axis == largest",
    "Non concat axis dimensions must match",
    "must have shape",
    "Invalid input shape",
    "Invalid value in 'split'",
    "Cannot split using values in 'split' attribute",
)

_INVALID = "the model contradicts itself there: make it again with the tool that wrote it"

_OTHER_OPSET = call("opset", to=Blank("N"))
_DEFINED = call("define", function=Blank("FILE"))
_LIBRARY = Argument("custom_ops", [Blank("LIBRARY")])

_HINTS: tuple[tuple[str, str], ...] = (
    (
        "Unsupported model IR version",
        "the model is newer than the installed onnxruntime; lower its ir_version or install a newer onnxruntime",
    ),
    ("Opset", Hint("lower it with `", _OTHER_OPSET, "`, or install a newer onnxruntime")),
    (
        "is not a registered function/op",
        Hint(
            "the installed onnxruntime has no kernel for this operator: give it a body with `",
            _DEFINED,
            "`, or load the library that has it with ",
            _LIBRARY,
        ),
    ),
    *((sign, _BAKED) for sign in _OTHER_SIZE),
    ("Invalid tensor data type", "the installed onnxruntime knows no tensors of this type: a newer one may"),
    *((sign, _INVALID) for sign in ("nvalid model", "InferenceError", "INVALID_GRAPH")),
    ("NOT_IMPLEMENTED", "this onnxruntime has no kernel for this operator with these types on this provider"),
)


_UNREGISTERED = re.compile(
    r'In Node, \("(?P<name>.*?)", (?P<operator>\w+), "(?P<domain>[\w.]*)", .*?No Op registered for (?P=operator)\b',
    re.DOTALL,
)


GUARD = "/graphkit guard/"
"""What stands between the label of a node and the operator in the name of a node that guards it."""

_GUARDED = re.compile(rf"running (\w+) node\. Name:'(.*?){GUARD}")
_WHY = {"Gather": "divides by 0", "Reshape": "reads one number from a tensor that has not one"}


def _translate(error: Exception, doing: str) -> GraphkitError:
    # A message that quotes what is no UTF-8 (a mode of b"\xff") does not come through the binding: the error has its bytes
    # then, or nothing at all.
    text = error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error).strip()
    if is_out_of_memory(error):
        return _out_of_memory(doing)
    short = plain_text(text) or "the runtime's message cannot be read; the model may hold text that is no UTF-8"
    if (
        "invalid dimensions for input" in text
        or "Unexpected input data type" in text
        or "Invalid rank for input" in text
    ):
        return FeedError(f"{doing}: {short}")
    if (guarded := _GUARDED.search(text)) is not None and guarded[1] in _WHY:
        return SessionError(f"{doing} failed: {guarded[2]!r} {_WHY[guarded[1]]}", hint="feed other numbers")
    return SessionError(f"{doing} failed: {short}", hint=advice(text))


def advice(text: str) -> str | None:
    """What to do about a message of ONNX Runtime, or None where nothing is known."""
    if (node := _UNREGISTERED.search(text)) is not None:
        return unknown_operator_remedy(node["domain"], node["operator"], node["name"])
    return next((hint for sign, hint in _HINTS if sign in text), None)


def _out_of_memory(doing: str) -> SessionError:
    return SessionError(out_of_memory(doing), hint=SMALLER)


SMALLER = "bind smaller dims, or feed smaller inputs; a bisection keeps less at once with a lower memory limit"
"""What to do where memory ran out, whatever ran out of it."""


def out_of_memory(what: str, where: str = "", error: BaseException | None = None) -> str:
    """What to say of memory that ran out: ``running model.onnx ran out of memory``.

    Args:
        what: What ran.
        where: ", at file.py:3", where that is known.
        error: What was raised, where its text says more, such as how much was asked for.
    """
    text = str(error or "").strip().partition("\n")[0]
    return f"{what} ran out of memory{where}{': ' if text else ''}{text}"


def plain_text(text: str) -> str:
    """A message of ONNX Runtime without its code, source position and stack."""
    text = _PREFIX.sub(" ", text)
    text = _SOURCE.sub("", _AGAIN.sub("", text))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)[:1000]
