"""What stands in the way of running a model, told from its skeleton at a glance; ``check`` looks further."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import onnx

from graphkit.builder import runtime_limits
from graphkit.errors import InvalidGraphError
from graphkit.finding import Finding
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.order import is_ordered, topological_order
from graphkit.hint import Argument, Blank, Call, Hint
from graphkit.model import Model
from graphkit.tensor import is_stripped


def runtime_words(proto: onnx.ModelProto) -> str:
    """The installed ONNX Runtime, and whether it takes the model's IR version and opset; "" where none is installed."""
    limits = runtime_limits()
    if not limits.version:
        return ""
    takes = proto.ir_version <= limits.ir_version and _opset(proto) <= limits.opset
    most = f"takes IR up to {limits.ir_version} and opset up to {limits.opset}"
    return f"onnxruntime {limits.version} {'takes both' if takes else most}"


def obstacles(model: Model, index: GraphIndex) -> Iterator[Finding]:
    """What keeps the model from being run, or is idle in it, each with the command that mends it.

    Cost: O(graph); weights are not read.
    """
    proto = model.proto
    path = shlex.quote(model.path) if model.path else "MODEL"

    def mend(operation: str, **arguments: Any) -> Hint:
        return Hint(Call(operation, tuple(map(Argument, arguments, arguments.values())), ("model", f"{path} OUT")))

    limits = runtime_limits()
    if limits.version and proto.ir_version > limits.ir_version:
        said = (
            f"onnxruntime {limits.version} loads IR versions up to {limits.ir_version}, and this is {proto.ir_version}"
        )
        yield Finding("ir-version", said, remedy=mend("set_parts", ir=limits.ir_version))
    if limits.version and _opset(proto) > limits.opset:
        said = f"onnxruntime {limits.version} takes opsets up to {limits.opset}, and this is {_opset(proto)}"
        convertible = _opset(proto) <= onnx.defs.onnx_opset_version()
        newer = "install newer ones: pip install --upgrade onnx onnxruntime"
        yield Finding("opset", said, remedy=mend("opset", to=limits.opset) if convertible else newer)
    stripped = sum(is_stripped(tensor) for tensor in walk.tensors(proto))
    if stripped:
        yield Finding(
            "weights",
            f"{_counted(stripped, 'tensor has', 'tensors have')} no values: the weights were stripped",
            remedy=mend("set_parts", restore_weights=Blank("ORIGINAL")),
        )
    if not is_ordered(index.nodes):
        yield _disorder(index, mend("reorder", sort=True))
    idle = _idle(index)
    if idle:
        yield Finding(
            "idle-weights",
            f"{_counted(len(idle), 'weight is', 'weights are')} read by no node",
            remedy=mend("simplify"),
            value=idle[0],
        )


def _disorder(index: GraphIndex, sort: Hint) -> Finding:
    """That nodes stand before what they read from, which sorting mends, or that they read from each other."""
    try:
        topological_order(index.nodes)
    except InvalidGraphError as error:
        return Finding("cycle", error.message)
    return Finding("order", "nodes stand before what they read from", remedy=sort)


def _opset(proto: onnx.ModelProto) -> int:
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _idle(index: GraphIndex) -> list[str]:
    kept = {*index.inputs, *index.outputs}
    return [name for name in index.initializers if name not in kept and not index.consumers.get(name)]


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
