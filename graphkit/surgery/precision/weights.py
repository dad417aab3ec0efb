"""Weights alone in int8 or int4: the file is a quarter or an eighth as large, and the model computes in float32.

int8 is ONNX's own: a weight becomes int8 with a scale for each channel, and a DequantizeLinear makes it again under its own
name, so that no reader changes. int4 is ONNX Runtime's MatMulNBits (com.microsoft) with a scale and a zero point for each
block of a column. ONNX Runtime's tool for that (matmul_nbits_quantizer) is not used: it knows MatMul only, and its import
sets up the logging of the whole process.

Source of the layout: onnxruntime/docs/ContribOperators.md, com.microsoft.MatMulNBits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.edit.nodes import set_nodes
from graphkit.errors import EditError, NothingFoundError
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.graph.opset import opset_of
from graphkit.hint import Hint, call
from graphkit.model import Model
from graphkit.surgery.precision.accuracy import BOUND, Accuracy
from graphkit.surgery.precision.calibration import Calibration
from graphkit.surgery.precision.half_weights import is_weight_node, weight_tensor
from graphkit.surgery.precision.kept import Kept, call_again, half_may_serve, kept_nodes, number_nodes
from graphkit.tensor import decode

if TYPE_CHECKING:
    from graphkit.tensor import Array

FLOAT = onnx.TensorProto.FLOAT
LEAST = 128
"""Weights of fewer numbers are left alone: their scales would be as large."""

BLOCKS = (32, 16)
"""How many numbers of a column share a scale: the second where the first is too coarse."""

_CHANNELS: dict[str, dict[int, Callable[[onnx.NodeProto, int], int]]] = {
    "Conv": {1: lambda _node, _rank: 0},
    "ConvTranspose": {1: lambda _node, _rank: 1},
    "MatMul": {1: lambda _node, rank: rank - 1},
    "Gemm": {1: lambda node, _rank: 0 if _attribute(node, "transB", 0) else 1},
    "Gather": {0: lambda _node, _rank: 0},
    "LSTM": {1: lambda _node, _rank: 1, 2: lambda _node, _rank: 1},
    "GRU": {1: lambda _node, _rank: 1, 2: lambda _node, _rank: 1},
    "RNN": {1: lambda _node, _rank: 1, 2: lambda _node, _rank: 1},
}
"""Operator -> input that is a weight -> the axis of its channels, by the node and the weight's rank."""

_HELD = {8: tuple(_CHANNELS), 4: ("MatMul", "Gemm")}
"""Bits -> the operators whose weights are stored in so many."""

_ONNX = ("", "ai.onnx")


@dataclass
class _Weight:
    """A float32 weight and who reads it.

    Attributes:
        scope: The number of the graph that has it.
        tensor: Its numbers.
        name: Of the value.
        maker: The position of the Constant that makes it, None for an initializer.
        readers: (graph, position, node, input) of each reading.
        kept: Whether something reads it that is to have its exact numbers.
        changed: Whether it has been stored in fewer bits.
    """

    scope: int
    tensor: onnx.TensorProto
    name: str
    maker: int | None = None
    readers: list[tuple[int, int, onnx.NodeProto, int]] = field(default_factory=list)
    kept: bool = False
    changed: bool = False


@dataclass
class _Weights:
    """The graphs of a model, outer before inner, and their weights; what is to replace nodes and precede them."""

    scopes: list[onnx.GraphProto] = field(default_factory=list)
    nodes: list[list[list[onnx.NodeProto]]] = field(default_factory=list)
    first: list[list[onnx.NodeProto]] = field(default_factory=list)
    found: list[_Weight] = field(default_factory=list)

    def look(self, graph: onnx.GraphProto, around: Mapping[str, _Weight | None], staying: Collection[str]) -> None:
        """Take in a graph and the bodies in it."""
        number = len(self.scopes)
        self.scopes.append(graph)
        nodes = list(graph.node)
        self.nodes.append([[node] for node in nodes])
        self.first.append([])
        visible = {**around, **dict.fromkeys(walk.defined_names(graph))}
        own = [
            *(_Weight(number, tensor, tensor.name) for tensor in graph.initializer if tensor.data_type == FLOAT),
            *(_Weight(number, weight_tensor(n), n.output[0], i) for i, n in enumerate(nodes) if is_weight_node(n)),
        ]
        visible.update({weight.name: weight for weight in own})
        self.found += own
        for position, node in enumerate(nodes):
            for place, name in enumerate(node.input):
                weight = visible.get(name)
                if weight is not None:
                    weight.readers.append((number, position, node, place))
                    weight.kept = weight.kept or node.name in staying
            for body in walk.bodies(node):
                self.look(body, visible, staying)
        for output in graph.output:
            weight = visible.get(output.name)
            if weight is not None:
                weight.kept = True

    def write(self) -> None:
        """Put the changed nodes into the graphs."""
        for graph, first, nodes in reversed(list(zip(self.scopes, self.first, self.nodes, strict=True))):
            set_nodes(graph, [*first, *(node for place in nodes for node in place)])


def to_weights(
    model: Model, kept: Kept, feeds: Mapping[str, Any], *, bits: int, samples: int, seed: int
) -> tuple[onnx.ModelProto, list[str]]:
    """A self-contained model with its weights in int8 or int4, and what the user should know.

    Raises:
        EditError: The model is older than opset 13 (int8), or has no weight for it.
        NameNotFoundError: A node or operator that is to be kept is not there.
        FeedError: A feed does not fit.
        SessionError: The runtime refuses the model.

    Scope: main graph and bodies.
    Cost: O(weights), all of which are read into memory, and one or two runs of both models.
    """
    if bits == 8 and opset_of(model.proto) < 13:
        raise EditError(
            f"int8 weights with a scale each channel want opset 13, and the model has {opset_of(model.proto)}",
            hint=Hint("raise it first: ", call("opset", to=13)),
        )
    unseen, what = Calibration(model, feeds, samples=samples, seed=seed).unseen()
    accuracy = Accuracy(model, unseen)
    best: tuple[float, onnx.ModelProto, list[str]] | None = None
    for block in BLOCKS if bits == 4 else (0,):
        whole = model.materialize()
        notes = _int4(whole, kept, block) if bits == 4 else _int8(whole, kept)
        error = accuracy.error(whole)
        if best is None or error < best[0]:
            best = (error, whole, notes)
        if error <= BOUND:
            break
    assert best is not None
    error, whole, notes = best
    return whole, [*notes, f"relative L2 error {error:.2g} on {what}{', which is large' if error > BOUND else ''}"]


def _weights(whole: onnx.ModelProto, kept: Kept) -> _Weights:
    called = number_nodes(whole.graph)
    found = _Weights()
    found.look(whole.graph, {}, kept_nodes(whole.graph, called, kept))
    call_again(whole.graph, called)
    return found


def _int8(whole: onnx.ModelProto, kept: Kept) -> list[str]:
    """Store weights in int8, with a DequantizeLinear for each. Changes the model."""
    names, readers, graphs = Names(whole.graph), Counter[str](), _weights(whole, kept)
    for weight in graphs.found:
        axis = _axis(weight)
        array = decode(weight.tensor, None)
        if axis is None or not np.isfinite(array).all():
            continue
        numbers, scale = _channels(array, axis)
        quantized, scales = names.fresh(f"{weight.name}_quantized"), names.fresh(f"{weight.name}_scale")
        graph = graphs.scopes[weight.scope]
        made = [onnx.numpy_helper.from_array(numbers, quantized), onnx.numpy_helper.from_array(scale, scales)]
        node = onnx.helper.make_node(
            "DequantizeLinear",
            [quantized, scales],
            [weight.name],
            name=names.fresh(f"{weight.name}_dequantize"),
            axis=axis,
        )
        if weight.maker is None:
            weight.tensor.CopyFrom(made.pop(0))
            graphs.first[weight.scope].append(node)
        else:
            graphs.nodes[weight.scope][weight.maker] = [node]
        weight.changed = True
        graph.initializer.extend(made)
        readers.update(f"{weight.scope} {position} {node.op_type}" for _, position, node, _ in weight.readers)
    return _written(whole, graphs, readers, 8)


def _int4(whole: onnx.ModelProto, kept: Kept, block: int) -> list[str]:
    """Let products with weights be MatMulNBits with int4 weights. Changes the model."""
    names, readers, graphs = Names(whole.graph), Counter[str](), _weights(whole, kept)
    gone: set[tuple[int, str]] = set()
    for weight in graphs.found:
        array = decode(weight.tensor, None)
        plain = all(_is_product(node, place) for *_, node, place in weight.readers)
        if weight.kept or not plain or not weight.readers or not _fits(array):
            continue
        for transposed in sorted({_attribute(node, "transB", 0) for *_, node, _ in weight.readers}):
            rows = array.T if transposed else array
            stored = [
                onnx.numpy_helper.from_array(part, names.fresh(f"{weight.name}_{kind}"))
                for kind, part in zip(("int4", "scales", "zero_points"), _blocks(rows, block), strict=True)
            ]
            graphs.scopes[weight.scope].initializer.extend(stored)
            for scope, position, node, _ in weight.readers:
                if _attribute(node, "transB", 0) == transposed:
                    graphs.nodes[scope][position] = _product(node, rows.shape, [t.name for t in stored], block, names)
                    readers[f"{scope} {position} {node.op_type}"] += 1
        weight.changed = True
        if weight.maker is None:
            gone.add((weight.scope, weight.name))
        else:
            graphs.nodes[weight.scope][weight.maker] = []
    notes = _written(whole, graphs, readers, 4)
    for number, graph in enumerate(walk.graphs(whole.graph)):
        held = [
            onnx.TensorProto.FromString(t.SerializeToString())
            for t in graph.initializer
            if (number, t.name) not in gone
        ]
        del graph.initializer[:]
        graph.initializer.extend(held)
    if all(entry.domain != "com.microsoft" for entry in whole.opset_import):
        whole.opset_import.add(domain="com.microsoft", version=1)
    return notes


def _written(whole: onnx.ModelProto, graphs: _Weights, readers: Counter[str], bits: int) -> list[str]:
    if not readers:
        raise NothingFoundError(
            f"the model has no weight for int{bits}: of {', '.join(_HELD[bits])}, with {LEAST} numbers or more",
            hint=half_may_serve(whole),
        )
    graphs.write()
    whole.ir_version = max(whole.ir_version, 7) if whole.ir_version < 4 else whole.ir_version
    counts = Counter(text.split(" ", 2)[2] for text in readers)
    changed = {weight.name for weight in graphs.found if weight.changed}
    gone = [value.name for value in whole.graph.input if value.name in changed]
    kept = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in whole.graph.input if v.name not in changed]
    del whole.graph.input[:]
    whole.graph.input.extend(kept)
    notes = [f"{name!r} is no input any more: its default is quantized" for name in gone]
    return [*notes, f"weights in int{bits} of {', '.join(f'{number} {op}' for op, number in sorted(counts.items()))}"]


def _axis(weight: _Weight) -> int | None:
    """The axis of a weight's channels; None for one that is left alone."""
    rank, size = len(weight.tensor.dims), int(np.prod(weight.tensor.dims))
    if weight.kept or rank < 2 or size < LEAST or not weight.readers:
        return None
    axes = [
        rule(node, rank) if (rule := _CHANNELS.get(node.op_type, {}).get(place)) and node.domain in _ONNX else None
        for *_, node, place in weight.readers
    ]
    return None if None in axes else axes[0]


def _channels(array: Array, axis: int) -> tuple[Array, Array]:
    """int8 numbers and a scale for each channel."""
    others = tuple(i for i in range(array.ndim) if i != axis)
    largest = np.abs(array).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.clip(np.rint(array / scale), -127, 127).astype(np.int8), scale.reshape(-1)


def _fits(array: Array) -> bool:
    return bool(array.ndim == 2 and array.size >= LEAST and np.isfinite(array).all())


def _is_product(node: onnx.NodeProto, place: int) -> bool:
    plain = not _attribute(node, "transA", 0) and _attribute(node, "alpha", 1) == _attribute(node, "beta", 1) == 1
    return place == 1 and node.domain in _ONNX and node.op_type in ("MatMul", "Gemm") and plain


def _blocks(weight: Array, block: int) -> tuple[Array, Array, Array]:
    """A matrix [K, N] as MatMulNBits wants it: int4 numbers, scales and zero points, two of the last in a byte."""
    rows, columns = weight.shape
    count = -(-rows // block)
    padded = np.zeros((count * block, columns), np.float32)
    padded[:rows] = weight
    blocks = padded.reshape(count, block, columns).transpose(2, 0, 1)
    lowest = np.minimum(blocks.min(axis=2), 0)
    highest = np.maximum(blocks.max(axis=2), 0)
    scale = np.where(highest > lowest, (highest - lowest) / 15, 1).astype(np.float32)
    zero = np.clip(np.rint(-lowest / scale), 0, 15)
    numbers = np.clip(np.rint(blocks / scale[..., None]) + zero[..., None], 0, 15).astype(np.uint8)
    zeros = np.zeros((columns, count + count % 2), np.uint8)
    zeros[:, :count] = zero
    return _pairs(numbers), scale.reshape(-1), _pairs(zeros).reshape(-1)


def _pairs(numbers: Array) -> Array:
    packed: Array = numbers[..., 0::2] | (numbers[..., 1::2] << 4)
    return packed


def _product(
    node: onnx.NodeProto, shape: tuple[int, ...], weights: list[str], block: int, names: Names
) -> list[onnx.NodeProto]:
    """A MatMul or Gemm with int4 weights; the bias of a Gemm is an Add."""
    bias = node.input[2] if len(node.input) > 2 else ""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    del made.attribute[:], made.input[:]
    made.op_type, made.domain = "MatMulNBits", "com.microsoft"
    made.input.extend([node.input[0], *weights])
    attributes = {"K": shape[0], "N": shape[1], "bits": 4, "block_size": block}
    made.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())
    if not bias:
        return [made]
    product = names.fresh(f"{node.output[0]}_product")
    made.output[0] = product
    return [made, onnx.helper.make_node("Add", [product, bias], [node.output[0]], name=names.fresh(f"{product}_add"))]


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else float(onnx.helper.get_attribute_value(found))
