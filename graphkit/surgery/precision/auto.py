"""keep_auto: which nodes have to stay in float32, found by comparing both models value by value.

A node is to blame where its inputs are close and an output is not. Such nodes are kept, and the rest is tried again. The
runtime's CPU computes in float32 between the nodes, so that nothing overflows there: nodes whose values float16 cannot hold
are kept from the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.errors import EditError
from graphkit.graph.names import title
from graphkit.model import Model
from graphkit.runtime.session import session
from graphkit.semantics.kinds import CONTROL_FLOW
from graphkit.shapes.inference import inferred
from graphkit.surgery.precision.accuracy import Accuracy, fitted, relative_error
from graphkit.surgery.precision.half import to_half
from graphkit.surgery.precision.kept import Kept

if TYPE_CHECKING:
    from graphkit.tensor import Array

ALLOWED = 0.01
"""The relative L2 error of an output that float16 may have."""

ROUNDS = 8
"""How many times nodes are looked for."""

AT_ONCE = 64
"""How many values are held at a time."""


def to_float16_auto(model: Model, kept: Kept, feeds: Sequence[dict[str, Array]]) -> tuple[onnx.ModelProto, list[str]]:
    """A float16 model that is close on some feeds, with as many nodes in float32 as that takes.

    Raises:
        EditError: As ``to_half``.
        SessionError: The runtime refuses the model, or fails.

    Scope: nodes of the main graph.
    Cost: at most eight conversions, each with a run of both models for every 64 values, on every feed.
    """
    accuracy, low = Accuracy(model, feeds), onnx.TensorProto.FLOAT16
    proto, notes = to_half(model, kept, low)
    if held := _beyond(model, proto, feeds):
        proto, notes = to_half(model, _with(kept, held), low)
    error = accuracy.error(proto)
    for _ in range(ROUNDS):
        if error <= ALLOWED:
            break
        known = {node.output[0] for node in held}
        blamed = [node for node in _blamed(model, proto, feeds[0]) if node.output[0] not in known]
        if not blamed:
            break
        held += blamed
        try:
            proto, notes = to_half(model, _with(kept, held), low)
        except EditError:
            break  # nothing would be left
        error = accuracy.error(proto)
    if held:
        more = f" and {len(held) - 12} more" if len(held) > 12 else ""
        notes = [f"found to need float32: {', '.join(title(node) for node in held[:12])}{more}", *notes]
    large = f", which is more than {ALLOWED:g}" if error > ALLOWED else ""
    return proto, [*notes, f"relative L2 error {error:.2g} on {len(feeds)} runs{large}"]


def _with(kept: Kept, nodes: Sequence[onnx.NodeProto]) -> Kept:
    return replace(kept, nodes=[*kept.nodes, *(node.output[0] for node in nodes)])


def _beyond(model: Model, proto: onnx.ModelProto, feeds: Sequence[dict[str, Array]]) -> list[onnx.NodeProto]:
    """The nodes that would be in float16 and whose values it cannot hold: too large, or so small that they are lost."""
    nodes = [node for node in model.proto.graph.node if node.output and node.output[0]]
    low = {name for name, kind in _kinds(proto).items() if kind == onnx.TensorProto.FLOAT16}
    names = [name for node in nodes for name in node.output if name in low]
    far: set[str] = set()
    for run in feeds:
        for start in range(0, len(names), AT_ONCE):
            for name, array in _values(model, names[start : start + AT_ONCE], run):
                with np.errstate(over="ignore", under="ignore"):
                    held = array.astype(np.float16).astype(np.float32)
                if relative_error(held, array) > ALLOWED:
                    far.add(name)
    return [node for node in nodes if not far.isdisjoint(node.output) and node.op_type not in CONTROL_FLOW]


def _kinds(proto: onnx.ModelProto) -> dict[str, int]:
    """Value -> element type, as far as inference knows it."""
    graph = inferred(proto).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}


def _blamed(model: Model, proto: onnx.ModelProto, feeds: dict[str, Array]) -> list[onnx.NodeProto]:
    """The nodes at which the error begins."""
    nodes = [node for node in model.proto.graph.node if node.output and node.output[0]]
    made = {name for node in proto.graph.node for name in node.output}
    names = [name for node in nodes for name in node.output if name in made]
    far: set[str] = set()
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        want, got = dict(_values(model, part, feeds)), dict(_values(Model(proto), part, feeds))
        far.update(name for name, array in want.items() if name in got and relative_error(got[name], array) > ALLOWED)
    return [
        n for n in nodes if not far.isdisjoint(n.output) and far.isdisjoint(n.input) and n.op_type not in CONTROL_FLOW
    ]


def _values(model: Model, names: Sequence[str], feeds: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    copy = model.copy_proto()
    outputs = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    running = session(Model(copy, model.sources), device="cpu", optimize=False)
    for name, value in running.run_arrays(fitted(feeds, running), names).items():
        if getattr(value, "dtype", None) in (np.float32, np.float16):
            yield name, value.astype(np.float32)
