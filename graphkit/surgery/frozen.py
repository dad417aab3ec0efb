"""What freeze leaves behind, so that promote can undo it: the declaration of the input that became a constant."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from graphkit.graph.values import dims, tensor_type

POSITION_KEY = "graphkit.input"
"""metadata_props key of a value_info entry: the position that the value had among the graph inputs."""


def note_frozen(graph: onnx.GraphProto, info: onnx.ValueInfoProto, position: int) -> None:
    """Keep the declaration of an input that becomes an initializer, as the value_info of that. Changes the graph."""
    kept = graph.value_info.add()
    kept.CopyFrom(info)
    kept.metadata_props.add(key=POSITION_KEY, value=str(position))


def thawed(
    graph: onnx.GraphProto, name: str, data_type: int, shape: Sequence[int]
) -> tuple[onnx.ValueInfoProto, int | None]:
    """The declaration of an input that a constant becomes, and its position (None: the last). Changes the graph.

    What ``note_frozen`` kept is given back and taken out of the graph, as far as it still fits the constant; any other
    value_info of the constant is dropped.
    """
    info, place = onnx.ValueInfoProto(name=name), None
    info.type.CopyFrom(tensor_type(data_type, shape))
    for position in range(len(graph.value_info) - 1, -1, -1):
        kept = graph.value_info[position]
        if kept.name != name:
            continue
        entry = next((e for e in kept.metadata_props if e.key == POSITION_KEY), None)
        if entry is not None and entry.value.isdigit() and _fits(kept.type, data_type, shape):
            place = int(entry.value)
            info.CopyFrom(kept)
            rest = [e for e in kept.metadata_props if e.key != POSITION_KEY]
            del info.metadata_props[:]
            info.metadata_props.extend(rest)
        del graph.value_info[position]
    return info, place


def _fits(declared: onnx.TypeProto, data_type: int, shape: Sequence[int]) -> bool:
    known = dims(declared)
    if declared.tensor_type.elem_type != data_type or (known is not None and len(known) != len(shape)):
        return False
    return known is None or all(not isinstance(a, int) or a == b for a, b in zip(known, shape, strict=True))
