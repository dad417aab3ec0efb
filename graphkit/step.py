"""What was done to a model, written so that it can be done again: steps, their arguments without loss, and the original.

The arguments of a step are JSON. What JSON does not have is an object with one key that begins with ``$``: an array is a
``$tensor``, a float that is not finite a ``$float``, a message of ONNX a ``$proto``. An array of more than ``INLINE`` bytes
is known by its digest; whoever replays the step finds its bytes in the edited model or hands them in.
"""

import base64
import hashlib
import json
import math
import mmap
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias, TypeGuard

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message

from graphkit.errors import FormatError, GraphkitError
from graphkit.graph.walk import tensors
from graphkit.hint import Either, Hint
from graphkit.result import LINES, WIDTH, brief, page_of
from graphkit.tensor import decode

if TYPE_CHECKING:
    from graphkit.tensor import Array

HISTORY_KEY = "graphkit.history"
"""The metadata_props key under which ``save`` writes the history, as JSON."""

FORMAT = 1
"""The format of the history that this graphkit writes. Files of 0.1.0 hold format 0, a bare list of steps."""

INLINE = 1 << 16
"""Bytes up to which an array is written into the step itself."""

OTHER_WEIGHTS = "the weights came from another model"
"""The obstacle of a step that restored weights: the history does not hold the model that they came from."""

MOST_SKELETON = 1 << 22
"""Bytes of text that a step may take to hold the skeleton of a model or a function."""

MOST_UNPACKED = 1 << 28
"""Bytes that such a skeleton may have when it is unpacked."""

Find: TypeAlias = Callable[[str, int], bytes | None]
"""(sha256 in hex, number of bytes) -> the bytes of an array, or None."""


class Step(NamedTuple):
    """One operation in a model's history.

    Attributes:
        operation: The name of the graphkit function.
        arguments: Its arguments that are not default, as JSON; ``decoded`` gives them back as Python has them.
        notes: What it found and what the user should know, one sentence each. Not written to the file.
        obstacle: Why the step cannot be replayed; "" where it can.
    """

    operation: str
    arguments: dict[str, Any]
    notes: tuple[str, ...] = ()
    obstacle: str = ""

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"Step({told})" if len(told) <= LINES * WIDTH else brief(self)

    def _repr_html_(self) -> str | None:
        return page_of(self)

    def decoded(self, find: Find | None = None) -> dict[str, Any]:
        """The arguments as the function takes them.

        Args:
            find: Where the bytes of large arrays are.

        Raises:
            GraphkitError: The step is marked as one that cannot be replayed, or the bytes of an array are not found.
            FormatError: An argument is written in a way that this graphkit does not know.
        """
        if self.obstacle:
            raise GraphkitError(f"the step {self.operation!r} cannot be replayed: {self.obstacle}")
        return {name: decoded(value, find) for name, value in self.arguments.items()}

    def document(self) -> dict[str, Any]:
        """The step as the file holds it."""
        found: dict[str, Any] = {"operation": self.operation}
        if self.arguments:
            found["arguments"] = self.arguments
        if self.obstacle:
            found["not_replayable"] = self.obstacle
        return found


@dataclass(frozen=True)
class Original:
    """The model that a history begins with.

    Attributes:
        file: Its file's name, without folders; None for a model that was made in memory.
        digest: sha256 of its skeleton, in hex: of the file's bytes without the large weights, whose places are in it.
    """

    file: str | None
    digest: str

    @classmethod
    def of(cls, proto: onnx.ModelProto, path: str | None = None) -> Self:
        """A model in memory, as the original of what is made of it.

        Cost: O(proto), 2 ms a MB.
        """
        digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
        return cls(os.path.basename(path) if path else None, digest)


class History(NamedTuple):
    """What a file says about how it was made."""

    original: Original | None
    steps: tuple[Step, ...]

    def text(self, versions: Mapping[str, str]) -> str:
        """The history as the file holds it."""
        document: dict[str, Any] = {"format": FORMAT, "made_with": dict(versions)}
        if self.original is not None:
            document["original"] = {"file": self.original.file, "sha256": self.original.digest}
        document["steps"] = [step.document() for step in self.steps]
        return json.dumps(document)


def read_history(text: str) -> History:
    """The history that a file holds.

    Raises:
        FormatError: It is no JSON, of a format that this graphkit does not know, or a step has no operation.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of more digits than Python reads
        raise _damaged("it is no JSON that can be read") from error
    if isinstance(document, list):  # format 0
        return History(None, tuple(_step(entry, "it was written by graphkit 0.1.0") for entry in document))
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        said = document.get("format") if isinstance(document, dict) else None
        raise _damaged(f"its format is {said!r:.40}, and this graphkit reads format {FORMAT}")
    steps, original = document.get("steps"), document.get("original")
    if not isinstance(steps, list):
        raise _damaged("it has no list of steps")
    known = None
    if original is not None:
        if not isinstance(original, dict) or not isinstance(original.get("sha256"), str):
            raise _damaged("it does not say what the original was")
        file = original.get("file")
        known = Original(file if isinstance(file, str) else None, original["sha256"])
    return History(known, tuple(map(_step, steps)))


def _step(entry: Any, obstacle: str = "") -> Step:
    if not isinstance(entry, dict) or not isinstance(entry.get("operation"), str):
        raise _damaged("a step does not say which operation it is")
    arguments, why = entry.get("arguments", {}), entry.get("not_replayable", obstacle)
    if not isinstance(arguments, dict) or not isinstance(why, str):
        raise _damaged(f"the arguments of the step {entry['operation'][:80]!r} are no object")
    if unknown := sorted(set(entry) - {"operation", "arguments", "not_replayable"}):
        raise _damaged(
            f"the step {entry['operation'][:80]!r} has a field {unknown[0]!r:.80}, which this graphkit does not know"
        )
    return Step(entry["operation"], arguments, obstacle=why)


def _damaged(why: str) -> FormatError:
    return FormatError(
        f"the model's history (metadata {HISTORY_KEY!r}) cannot be used: {why}",
        hint=Hint(
            "write the model without its history first: `",
            Either("graphkit.save(model, path, history=False)", "graphkit copy MODEL OUT --no-history"),
            "`",
        ),
    )


class Opaque(Exception):  # noqa: N818 (it never leaves this module and operation.py)
    """An argument that cannot be written down."""


def encoded(value: Any) -> Any:
    """A value as JSON, without loss.

    Raises:
        Opaque: It is a callable, or of another type that cannot be written down.
    """
    if value is None or isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int) and not isinstance(value, np.generic):
        return int(value)
    if isinstance(value, float) and not isinstance(value, np.generic):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, complex) and not isinstance(value, np.generic):
        return {"$complex": repr(complex(value))}
    if isinstance(value, bytes | bytearray):
        return {"$bytes": _base64(bytes(value))}
    if isinstance(value, np.ndarray | np.generic):
        return {"$tensor": _tensor(np.asarray(value))}
    if isinstance(value, Message):
        return {"$proto": type(value).__name__, "data": _proto(value)}
    if isinstance(value, Mapping):
        pairs = [(encoded(key), encoded(item)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {"$pairs": [list(pair) for pair in pairs]}
    if isinstance(value, list | tuple):
        return [encoded(item) for item in value]
    raise Opaque(f"{type(value).__name__} is no type that a history can hold")


def decoded(value: Any, find: Find | None = None) -> Any:
    """What ``encoded`` wrote, as Python has it. Tuples come back as lists.

    Raises:
        FormatError: Something that this graphkit does not know.
        GraphkitError: The bytes of an array are not found.
    """
    if isinstance(value, list):
        return [decoded(item, find) for item in value]
    if not isinstance(value, dict):
        return value
    mark = next((key for key in value if key.startswith("$")), None)
    if mark is None:
        return {key: decoded(item, find) for key, item in value.items()}
    try:
        if mark == "$float":
            return float(value[mark])
        if mark == "$complex":
            return complex(value[mark])
        if mark == "$bytes":
            return base64.b64decode(value[mark], validate=True)
        if mark == "$pairs":
            return {decoded(key, find): decoded(item, find) for key, item in value[mark]}
        if mark == "$tensor":
            return _array(value[mark], find)
        if mark == "$proto":
            return _message(value[mark], value["data"], find)
    except (ValueError, TypeError, KeyError, AttributeError, DecodeError, zlib.error) as error:
        raise _damaged(f"an argument written as {mark!r:.40} is damaged") from error
    raise _damaged(f"an argument is written as {mark!r:.40}, which this graphkit does not know")


PIECE = 1 << 22
"""Bytes that are digested at a time."""


def _tensor(array: "Array") -> dict[str, Any]:
    """An array: its type and dims, and its bytes or their digest."""
    if array.dtype.kind in "US":
        array = array.astype(object)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if (
        array.nbytes > INLINE
        and array.dtype.isbuiltin == 1
        and array.dtype.kind in "fiubc"
        and sys.byteorder == "little"
    ):
        held: dict[str, Any] = {
            "type": onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
            "dims": list(array.shape),
            "bytes": array.nbytes,
            "sha256": _digest(array),
        }
        return held | _file(array)
    try:
        tensor = onnx.numpy_helper.from_array(array)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Opaque(f"an array of {array.dtype} is none that ONNX has") from error
    if tensor.string_data or len(tensor.raw_data) <= INLINE:
        return {"data": _base64(tensor.SerializeToString(deterministic=True))}
    held = {"type": tensor.data_type, "dims": list(tensor.dims), "bytes": len(tensor.raw_data)}
    held["sha256"] = hashlib.sha256(tensor.raw_data).hexdigest()
    return held | _file(array)


def _file(array: "Array") -> dict[str, Any]:
    """The file that an array is mapped from, by its name."""
    file = getattr(array, "filename", None)
    return {} if file is None else {"file": os.path.basename(file)}


def is_file(array: "Array") -> TypeGuard["np.memmap[Any, Any]"]:
    """Whether an array is all that was mapped from a file, whose bytes it has; a part of it has other bytes."""
    return (
        isinstance(array, np.memmap)
        and array.filename is not None
        and array.flags.c_contiguous
        and array.mode in ("r", "r+")
        and isinstance(array.base, mmap.mmap)
    )


def _digest(array: "Array") -> str:
    """sha256 of an array's bytes, piece by piece; one that is mapped from a file is read, so that it stays on disk."""
    found = hashlib.sha256()
    if is_file(array):
        left = array.nbytes
        with open(str(array.filename), "rb") as file:
            file.seek(array.offset)
            while left and (piece := file.read(min(left, PIECE))):
                found.update(piece)
                left -= len(piece)
        if not left:
            return found.hexdigest()
        found = hashlib.sha256()
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    for start in range(0, len(data), PIECE):
        found.update(data[start : start + PIECE])
    return found.hexdigest()


def _array(held: dict[str, Any], find: Find | None) -> "Array":
    if "data" in held:
        tensor = onnx.TensorProto.FromString(base64.b64decode(held["data"], validate=True))
        return onnx.numpy_helper.to_array(tensor) if tensor.string_data else decode(tensor, None)
    tensor = onnx.TensorProto(data_type=held["type"], dims=held["dims"])
    tensor.raw_data = _found(held["sha256"], held["bytes"], find, held.get("file"))
    return decode(tensor, None)


def _found(digest: str, length: int, find: Find | None, file: str | None = None) -> bytes:
    data = find(digest, length) if find else None
    if data is None:
        named = f" of {file!r}" if file else ""
        raise GraphkitError(
            f"the {length} bytes{named} with the sha256 {digest[:16]}... that a step was given are not at hand",
            hint="replay with the edited model beside the original, or hand in the arrays that the step was given",
        )
    return data


def _proto(message: Message) -> str:
    """A message as compressed text; large tensors in it by their digest."""
    if isinstance(message, onnx.ModelProto):
        whole, message = message, onnx.ModelProto()
        message.CopyFrom(whole)
        for tensor in tensors(message):
            _by_digest(tensor)
    text = _base64(zlib.compress(message.SerializeToString(deterministic=True), 6))
    if len(text) > MOST_SKELETON:
        raise Opaque(f"it takes {len(text)} bytes to write down, more than {MOST_SKELETON}")
    return text


_DIGEST = "sha256:"


def _by_digest(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.raw_data) <= INLINE:
        return
    digest, length = hashlib.sha256(tensor.raw_data).hexdigest(), len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=f"{_DIGEST}{digest}")
    tensor.external_data.add(key="length", value=str(length))


def _message(kind: str, text: str, find: Find | None) -> Message:
    cls = getattr(onnx, kind)
    if not (isinstance(cls, type) and issubclass(cls, Message)):
        raise TypeError(kind)
    packed = zlib.decompressobj()
    data = packed.decompress(base64.b64decode(text, validate=True), MOST_UNPACKED)
    if packed.unconsumed_tail:
        raise _damaged(f"an argument unpacks to more than {MOST_UNPACKED} bytes")
    message: Message = cls.FromString(data)
    if isinstance(message, onnx.ModelProto):
        for tensor in tensors(message):
            entries = {entry.key: entry.value for entry in tensor.external_data}
            if entries.get("location", "").startswith(_DIGEST):
                data = _found(entries["location"].removeprefix(_DIGEST), int(entries["length"]), find)
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
                tensor.raw_data = data
    return message


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def bytes_in(pieces: Iterable[tuple[int, Callable[[], bytes | memoryview]]]) -> Find:
    """A ``Find`` over pieces of known length, each read and digested when its length is asked for first.

    Args:
        pieces: (length in bytes, a function that reads them).
    """
    by_length: dict[int, list[Callable[[], bytes | memoryview]]] = {}
    for length, read in pieces:
        by_length.setdefault(length, []).append(read)
    known: dict[int, dict[str, Callable[[], bytes | memoryview]]] = {}

    def find(digest: str, length: int) -> bytes | None:
        if length not in known:
            known[length] = {hashlib.sha256(read()).hexdigest(): read for read in by_length.get(length, ())}
        read = known[length].get(digest)
        return None if read is None else bytes(read())

    return find
