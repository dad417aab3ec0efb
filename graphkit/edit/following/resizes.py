"""A Resize to fixed sizes: they follow the input, or what the result is joined with."""

from __future__ import annotations

import onnx

from graphkit.edit.following.context import EXPORT, Following, in_full
from graphkit.edit.nodes import set_input
from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import BROADCASTING, ONE_BY_ONE
from graphkit.shapes.points import Dim


def follow_resize(state: Following, node: onnx.NodeProto) -> None:
    """Fixed sizes of axes that vary: the factor that they are of the input's, or the size of what the result is joined with."""
    known = state.get(node.input[0])
    if not known.varies or known.dims is None or len(node.input) < 4 or not node.input[3]:
        return
    written = state.numbers(node.input[3])
    if written is None:
        return
    axes = attribute_value(node, "axes")
    places = [int(axis) % len(known.dims) for axis in axes] if axes else list(range(len(known.dims)))
    if len(written) != len(places):
        return
    parts: list[int | str] = []
    guessed: list[int] = []
    changed = False
    for position, (size, axis) in enumerate(zip(written, places, strict=True)):
        dim = known.dims[axis]
        if size is None:
            parts.append(state.element(node.input[3], position))
            continue
        part: int | str | None = size
        if dim.varies and size == dim.base:
            part = state.size(node.input[0], axis)
        elif dim.varies:
            part, sure = _resized(state, node, axis, dim, size)
            if not sure and part is not None:
                guessed.append(axis)
        if part is None:
            text = f"resizes axis {axis} of {node.input[0]!r} to the fixed size {size}"
            state.find("held", node, text, value=node.input[3], axis=axis, remedy=EXPORT)
            part = size
        changed = changed or part is not size
        parts.append(part)
    if not changed:
        return
    set_input(node, 3, state.concatenated(parts))
    text = f"resizes {node.input[0]!r} to the fixed sizes {in_full(written)}"
    if guessed:
        text += ", and the file does not say that these are not meant"
        state.find(
            "choice", node, text, value=node.input[3], axis=guessed[0], done=f"axes {guessed} keep the factor now"
        )
    else:
        state.find("follows", node, text, value=node.input[0], done="they follow now")


def _resized(state: Following, node: onnx.NodeProto, axis: int, dim: Dim, size: int) -> tuple[str | None, bool]:
    """(the size that an axis is resized to, whether that is certain)."""
    if (joined := _joined_with(state, node, axis, size)) is not None:
        return joined, True
    if any(s * size % dim.base for s in dim.sizes):
        return _same_size(state, size)
    wanted = tuple(s * size // dim.base for s in dim.sizes)
    if wanted in state.inference.origins:
        return state.size(*state.inference.origins[wanted]), True
    return state.expression(wanted, [(node.input[0], axis)]), False


def _joined_with(state: Following, node: onnx.NodeProto, axis: int, size: int) -> str | None:
    """The size of what the result is joined with further on, where that varies and is this size in the file."""
    name = node.output[0]
    for _ in range(6):
        readers = state.readers(name)
        for reader in readers:
            if reader.op_type != "Concat" and reader.op_type not in BROADCASTING:
                continue
            for other in reader.input:
                dims = state.get(other).dims if other != name else None
                if dims is not None and len(dims) > axis and dims[axis].varies and dims[axis].base == size:
                    return state.size(other, axis)
        if len(readers) != 1 or readers[0].op_type not in (*ONE_BY_ONE, "Cast", "BatchNormalization"):
            return None
        name = readers[0].output[0]
    return None


def _same_size(state: Following, size: int) -> tuple[str | None, bool]:
    """The one size that was seen before and is this one in the file, where no factor gives it."""
    found = [place for sizes, place in state.inference.origins.items() if sizes[0] == size]
    return (state.size(*found[0]), True) if len(found) == 1 else (None, False)
