"""Parts of a model looked up by name: one value, a node and what is around it, everything that holds a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from graphkit.graph.addresses import Addresses, Site
from graphkit.graph.addresses import Found as Place
from graphkit.graph.module_paths import module_call
from graphkit.graph.names import label
from graphkit.graph.values import constant_tensor, format_type, is_constant_node, tensor_type, value_type
from graphkit.graph.walk import reads
from graphkit.graph.written import node_text, values_text
from graphkit.model import Model, ModelLike
from graphkit.result import Result
from graphkit.shapes.types_of import types_of
from graphkit.storage.load import as_model
from graphkit.tensor import stored_bytes

SHOWN = 64
"""Elements up to which ``look_up_value`` gives all numbers."""

CHUNK = 1 << 20
"""Elements that statistics look at at a time."""


@dataclass(frozen=True, repr=False)
class Statistics(Result):
    """The numbers of a constant.

    Attributes:
        elements: How many there are.
        bytes: What they take in the file.
        min: The smallest that is finite; None where there is none.
        max: The largest that is finite.
        mean: The mean of those that are finite.
        std: Their standard deviation.
        zeros: How many are zero.
        nan: How many are NaN.
        inf: How many are infinite.
        values: All of them, nested as the axes are, where there are 64 or fewer.
    """

    elements: int
    bytes: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    zeros: int
    nan: int
    inf: int
    values: str | None


@dataclass(frozen=True, repr=False)
class ValueDetails(Result):
    """One value.

    Attributes:
        name: Its address.
        kind: "input", "weight" (an initializer), "constant" (of a Constant node), or "made" (by another node).
        type: ``float32[1,3,h,w]``, inferred where the file does not say; "unknown" where nothing says it.
        producer: The node that makes it, in one line; None for inputs and weights.
        readers: The nodes that read it, in one line each, bodies of theirs included.
        is_output: Whether it is an output of its graph.
        module: The torch module that makes it; None where the file does not say.
        statistics: Of weights and constants: their numbers.
    """

    name: str
    kind: str
    type: str
    producer: str | None
    readers: tuple[str, ...]
    is_output: bool
    module: str | None
    statistics: Statistics | None


@dataclass(frozen=True, repr=False)
class Neighbour(Result):
    """A node near another.

    Attributes:
        distance: Hops from it: negative before it, positive behind it, 0 the node itself.
        node: In one line.
        module: The torch module it is in; None where the file does not say.
    """

    distance: int
    node: str
    module: str | None


@dataclass(frozen=True, repr=False)
class Neighbours(Result):
    """A node and what is around it.

    Attributes:
        name: Its address.
        hops: How far was looked.
        nodes: The nodes, in the order of the graph.
    """

    name: str
    hops: int
    nodes: tuple[Neighbour, ...]


@dataclass(frozen=True, repr=False)
class Match(Result):
    """Something that holds the text that was looked for.

    Attributes:
        kind: "node", "input", "weight" or "value".
        name: Its address.
        what: A node in one line; a value's type.
    """

    kind: str
    name: str
    what: str


@dataclass(frozen=True, repr=False)
class Matches(Result):
    """What holds a text. It is true where something does.

    Attributes:
        text: The text.
        matches: Main graph first, then bodies and functions.
    """

    text: str
    matches: tuple[Match, ...]

    def __bool__(self) -> bool:
        return bool(self.matches)


def look_up_value(model: ModelLike, name: str) -> ValueDetails:
    """One value: its type, who makes it, who reads it, and the numbers of a constant.

    Args:
        model: A path, a ModelProto or a Model.
        name: The value; ``NODE.ATTRIBUTE/NAME`` in a body, ``function:DOMAIN::NAME/NAME`` in a function.

    Raises:
        NameNotFoundError: There is none.
        WeightsError, TensorError: The bytes of a constant are not where the file says.
        ModelFileError, FormatError: The model cannot be loaded.

    Changes: nothing.
    Scope: main graph, bodies, functions; types are inferred in the main graph.
    Cost: O(graph); a constant is read in pieces.

    Example:
        >>> import graphkit as gk
        >>> gk.look_up_value("model.onnx", "relu_3").is_output
        False
    """
    source = as_model(model)
    found = Addresses(source.proto).value(name)
    site, own = found.site, found.name
    position = site.producer.get(own)
    node = None if position is None else site.nodes[position]
    tensor = _tensor(site, own)
    if own in site.weights:
        kind = "weight"
    elif own in site.inputs:
        kind = "input"
    else:
        kind = "constant" if node is not None and is_constant_node(node) else "made"
    return ValueDetails(
        name=found.address,
        kind=kind,
        type=_type(source, site, own, tensor),
        producer=None if node is None else node_text(node, source.array_of),
        readers=tuple(node_text(other, source.array_of) for other in site.nodes if own in reads(other)),
        is_output=own in site.outputs,
        module=None if node is None else module_call(node),
        statistics=None if tensor is None else statistics(source, tensor),
    )


def _tensor(site: Site, name: str) -> onnx.TensorProto | onnx.SparseTensorProto | None:
    position = site.producer.get(name)
    if position is not None:
        node = site.nodes[position]
        if not is_constant_node(node):
            return None
        sparse = next((a.sparse_tensor for a in node.attribute if a.name == "sparse_value"), None)
        return constant_tensor(node) or sparse
    if site.graph is None or name not in site.weights:
        return None
    held = next((tensor for tensor in site.graph.initializer if tensor.name == name), None)
    return held or next(sparse for sparse in site.graph.sparse_initializer if sparse.values.name == name)


def _type(model: Model, site: Site, name: str, tensor: onnx.TensorProto | onnx.SparseTensorProto | None) -> str:
    if isinstance(tensor, onnx.SparseTensorProto):
        return f"sparse({format_type(tensor_type(tensor.values.data_type, list(tensor.dims)))})"
    if tensor is not None:
        return format_type(tensor_type(tensor.data_type, list(tensor.dims)))
    if site.graph is model.proto.graph:
        index = site.index
        if index is not None:
            return format_type(types_of(model.proto, index, [name]).get(name) or value_type(index, name))
    return format_type(site.types.get(name))


def statistics(model: Model, tensor: onnx.TensorProto | onnx.SparseTensorProto) -> Statistics:
    """The numbers of a tensor; of a sparse one, of the whole of it.

    Raises:
        WeightsError, TensorError: The bytes are not where the file says.

    Cost: O(bytes), ``CHUNK`` elements at a time.
    """
    if isinstance(tensor, onnx.SparseTensorProto):
        array, held = model.dense_of(tensor), stored_bytes(tensor.values) + stored_bytes(tensor.indices)
    else:
        array, held = model.array_of(tensor), stored_bytes(tensor)
    shown = values_text(array) if array.size <= SHOWN else None
    flat = array.reshape(-1)
    if array.dtype.kind in "OUSTc" or not array.size:
        return Statistics(array.size, held, None, None, None, None, 0, 0, 0, shown)
    total = square = 0.0
    low, high = np.inf, -np.inf
    finite = zeros = nan = 0
    for at in range(0, array.size, CHUNK):
        part = flat[at : at + CHUNK].astype(np.float64)
        kept = part[np.isfinite(part)]
        finite += kept.size
        nan += int(np.isnan(part).sum())
        zeros += int((part == 0).sum())
        total, square = total + float(kept.sum()), square + float(np.vdot(kept, kept))
        low, high = min(low, float(kept.min(initial=np.inf))), max(high, float(kept.max(initial=-np.inf)))
    infinite = array.size - finite - nan
    if not finite:
        return Statistics(array.size, held, None, None, None, None, zeros, nan, infinite, shown)
    mean = total / finite
    std = float(np.sqrt(max(0.0, square / finite - mean * mean)))
    return Statistics(array.size, held, low, high, mean, std, zeros, nan, infinite, shown)


def neighbours(model: ModelLike, node: str, *, hops: int = 1) -> Neighbours:
    """A node and the nodes at most ``hops`` values away from it.

    Args:
        model: A path, a ModelProto or a Model.
        node: Its name, or one of its outputs; in a body or function by its address.
        hops: How far to look before it and behind it.

    Raises:
        NameNotFoundError: There is none, or there are several.
        ModelFileError, FormatError: The model cannot be loaded.

    Changes: nothing.
    Scope: the graph that the node is in.
    Cost: O(graph).

    Example:
        >>> import graphkit as gk
        >>> len(gk.neighbours("model.onnx", "relu_3", hops=1).nodes)
        3
    """
    source = as_model(model)
    found = Addresses(source.proto).node(node)
    site = found.site
    readers: dict[str, list[int]] = {}
    for at, other in enumerate(site.nodes):
        for name in reads(other):
            readers.setdefault(name, []).append(at)
    distance = {found.position: 0}
    for step in (-1, 1):
        edge = [found.position]
        for hop in range(1, hops + 1):
            edge = [at for at in _next(site, edge, readers, step) if at not in distance]
            distance.update(dict.fromkeys(edge, step * hop))
    nodes = [(at, site.nodes[at]) for at in sorted(distance)]
    rows = [Neighbour(distance[at], node_text(one, source.array_of), module_call(one)) for at, one in nodes]
    return Neighbours(found.address, hops, tuple(rows))


def _next(site: Site, edge: list[int], readers: dict[str, list[int]], step: int) -> Iterator[int]:
    seen: set[int] = set()
    for at in edge:
        node = site.nodes[at]
        if step < 0:
            places = [site.producer[name] for name in reads(node) if name in site.producer]
        else:
            places = [place for name in node.output for place in readers.get(name, ())]
        for place in places:
            if place not in seen:
                seen.add(place)
                yield place


def find(model: ModelLike, text: str) -> Matches:
    """Everything that holds a text: names of nodes and values, operators, modules, types and shapes; in any case.

    Args:
        model: A path, a ModelProto or a Model.
        text: The text, such as ``attn``, ``Resize`` or ``[1,3,``.

    Raises:
        ModelFileError, FormatError, WeightsError, TensorError: The model cannot be loaded.

    Changes: nothing.
    Scope: main graph, bodies, functions.
    Cost: O(graph).

    Example:
        >>> import graphkit as gk
        >>> [match.name for match in gk.find("model.onnx", "softmax").matches]
        ['Softmax_7']
    """
    source = as_model(model)
    wanted = text.lower()
    return Matches(text, tuple(match for site in Addresses(source.proto).sites for match in _in(source, site, wanted)))


def _in(model: Model, site: Site, wanted: str) -> Iterator[Match]:
    types: dict[str, str] = {name: format_type(known) for name, known in site.types.items()}
    if site.graph is not None:
        for tensor in site.graph.initializer:
            types[tensor.name] = format_type(tensor_type(tensor.data_type, list(tensor.dims)))
    for name in site.values():
        kind = "weight" if name in site.weights else "input" if name in site.inputs else "value"
        said: Any = types.get(name, "unknown")
        if wanted in name.lower() or (name in types and wanted in said.lower()):
            yield Match(kind, Place(site, name).address, said)
    for node in site.nodes:
        module = module_call(node) or ""
        if any(wanted in held.lower() for held in (node.name, node.op_type, f"{node.domain}::{node.op_type}", module)):
            yield Match("node", Place(site, label(node)).address, node_text(node, model.array_of))
