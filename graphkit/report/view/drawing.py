"""A model as the page's script takes it: plain lists and numbers, every text once.

``Drawing.data()`` gives::

    texts    every text that is referred to by its number
    values   [name, type] of each value, and for a weight its number in ``weights``
    weights  [bytes, place, statistics]
    graphs   {name, kind, owner, nodes, groups, outputs}, the main graph first; bodies and functions are opened in place

A node is ``{n: name, o: operator, g: group, i: [values read], y: [values made]}`` and, where there is something to say,
``k`` (1 an input of the graph, 2 an output, 3 a constant), ``a`` attributes, ``b`` graphs of its bodies, ``f`` the graph of
the function that it calls, ``m`` module path, ``s`` source lines, ``d`` domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from graphkit.graph.module_paths import module_call, stack_trace
from graphkit.graph.names import label
from graphkit.graph.values import constant_tensor, format_type, is_constant_node, is_typed
from graphkit.graph.walk import bodies, call_key, captures, function_key
from graphkit.graph.written import attribute_text, tensor_type_text
from graphkit.model import Model, is_own_location
from graphkit.report.printable import shown
from graphkit.report.view.groups import Group, group_nodes, may_have_module
from graphkit.report.view.weights import statistics
from graphkit.tensor import stored_bytes

MOST_PORTS = 8
"""Inputs or outputs of a graph that are drawn one by one; more are one group."""

INPUT, OUTPUT, CONSTANT = 1, 2, 3
"""Kinds of boxes that are no ordinary nodes."""

Place = tuple[int, int]
"""(graph, node): a box."""


@dataclass
class _Names:
    """The values that a graph defines, and the graph around it."""

    own: dict[str, int]
    outer: _Names | None = None

    def find(self, name: str) -> int | None:
        names: _Names | None = self
        while names is not None:
            if name in names.own:
                return names.own[name]
            names = names.outer
        return None


@dataclass
class _Waiting:
    """A graph that is still to be drawn."""

    number: int
    graph: onnx.GraphProto | onnx.FunctionProto
    outer: _Names | None


@dataclass
class Drawing:
    """A model as data, and where to find its nodes and values by name.

    Attributes:
        model: What was drawn.
        places: Node name (or first output) -> its boxes.
        makers: Value name -> the boxes that make it.
        readers: Value name -> the boxes that read it.
        source: What the groups of the main graph are: "modules", "names" or "order".
        texts: Text -> its number.
        values: [name, type] of each value.
        graphs: The graphs; the functions follow the main graph, bodies follow those.
        weights: (value, tensor).
    """

    model: Model
    places: dict[str, list[Place]] = field(default_factory=dict)
    makers: dict[str, list[Place]] = field(default_factory=dict)
    readers: dict[str, list[Place]] = field(default_factory=dict)
    source: str = ""
    texts: dict[str, int] = field(default_factory=dict)
    values: list[list[int]] = field(default_factory=list)
    graphs: list[dict[str, Any]] = field(default_factory=list)
    weights: list[tuple[int, onnx.TensorProto]] = field(default_factory=list)

    def text(self, text: str) -> int:
        """The number of a text of the file, as the page shows it."""
        return self.texts.setdefault(shown(text), len(self.texts))

    def data(self, *, read_weights: bool) -> dict[str, Any]:
        """Everything as JSON takes it."""
        tensors = [tensor for _, tensor in self.weights]
        read = statistics(self.model, tensors) if read_weights else [None] * len(tensors)
        weights = []
        for at, ((value, tensor), said) in enumerate(zip(self.weights, read, strict=True)):
            self.values[value].append(at)
            told = shown(said) if isinstance(said, str) else said
            weights.append([_bytes(tensor), self.text(_where(tensor)), told])
        return {"texts": list(self.texts), "values": self.values, "weights": weights, "graphs": self.graphs}


def draw(model: Model, proto: onnx.ModelProto) -> Drawing:
    """A model as data.

    Args:
        model: Where the weights are.
        proto: The same model with the types that are known; it may contradict itself.

    Scope: main graph, bodies at any depth, functions.
    Cost: O(graph).
    """
    drawing = Drawing(model)
    functions = {function_key(function): at for at, function in enumerate(proto.functions, 1)}
    waiting = [_Waiting(0, proto.graph, None)]
    waiting += [_Waiting(at, function, None) for at, function in enumerate(proto.functions, 1)]
    drawing.graphs = [{} for _ in waiting]
    while waiting:
        job = waiting.pop()
        waiting += _GraphDrawer(drawing, job, functions).draw()
    return drawing


class _GraphDrawer:
    """Draws one graph, and says which bodies are in it."""

    def __init__(self, drawing: Drawing, job: _Waiting, functions: dict[tuple[str, str, str], int]) -> None:
        self.drawing = drawing
        self.job = job
        self.functions = functions
        self.nodes = list(job.graph.node)
        self.names = _Names({}, job.outer)
        self.types = _types(job.graph)
        self.constants = _constants(job.graph)
        self.boxes: list[dict[str, Any]] = []
        self.found: list[_Waiting] = []

    def draw(self) -> list[_Waiting]:
        graph, drawing = self.job.graph, self.drawing
        self._define()
        tree, source = group_nodes(self.nodes, self.constants)
        if self.job.number == 0:
            drawing.source = source
        for node in self.nodes:
            self._node(node)
        inputs, outputs = _interface(graph)
        held = {tensor.name for tensor in graph.initializer} if isinstance(graph, onnx.GraphProto) else set()
        ends = [self._port(name, INPUT) for name in inputs if name not in held]
        results = [self._port(name, OUTPUT) for name in outputs]
        for name, ports in (("inputs", ends), ("outputs", results)):
            many = len(ports) > MOST_PORTS
            tree.children += [Group(f"{len(ports)} {name}", children=list(ports))] if many else ports
        groups = self._groups(tree)
        kind = "function" if isinstance(graph, onnx.FunctionProto) else "body" if self.job.number else "main"
        drawing.graphs[self.job.number] = {
            "name": drawing.text(graph.name),
            "kind": kind,
            "nodes": self.boxes,
            "groups": groups,
            "inputs": ends,
            "outputs": results,
        }
        return self.found

    def _define(self) -> None:
        """Give a number to every value of the graph, so that nodes may stand in any order."""
        graph = self.job.graph
        if isinstance(graph, onnx.GraphProto):
            for tensor in graph.initializer:
                self._weight(tensor.name, tensor, tensor_type_text(tensor))
            for sparse in graph.sparse_initializer:
                dims = ",".join(map(str, sparse.dims))
                self._weight(
                    sparse.values.name, sparse.values, f"sparse({tensor_type_text(sparse.values)} of [{dims}])"
                )
        for name in (*_interface(graph)[0], *(name for node in self.nodes for name in node.output if name)):
            if name not in self.names.own:
                self._value(name)

    def _value(self, name: str, said: str | None = None) -> int:
        known = said or self.types.get(name, "")
        values = self.drawing.values
        self.names.own[name] = number = len(values)
        values.append([self.drawing.text(name), self.drawing.text(known)])
        return number

    def _weight(self, name: str, tensor: onnx.TensorProto, said: str) -> None:
        if name not in self.names.own:
            self.drawing.weights.append((self._value(name, said), tensor))

    def _read(self, name: str, box: int) -> int:
        """The number of a value that a box reads; -1 where an input is left out."""
        if not name:
            return -1
        self.drawing.readers.setdefault(name, []).append((self.job.number, box))
        found = self.names.find(name)
        return self._value(name, "nothing defines it") if found is None else found

    def _node(self, node: onnx.NodeProto) -> None:
        text, number = self.drawing.text, len(self.boxes)
        box: dict[str, Any] = {"n": text(label(node)), "o": text(node.op_type), "g": -1}
        box["i"] = [self._read(name, number) for name in node.input]
        box["y"] = [self._made(name, number) for name in node.output]
        self.drawing.places.setdefault(label(node), []).append((self.job.number, number))
        if node.domain not in ("", "ai.onnx"):
            box["d"] = text(node.domain)
        if node.attribute:
            box["a"] = [[text(item.name), text(attribute_text(item))] for item in node.attribute]
        if number in self.constants:
            box["k"] = CONSTANT
            self._constant(node, self.constants[number])
        if function := self.functions.get(call_key(node)):
            box["f"] = function
        inner = list(bodies(node))
        if inner:
            box["b"] = [self._body(body) for body in inner]
            box["c"] = [self._read(name, number) for name in captures(node)]
        if may_have_module(node) and (module := module_call(node)):
            box["m"] = text(module)
        if (node.metadata_props or node.doc_string) and (lines := _last_line(stack_trace(node))):
            box["s"] = text(lines)
        self.boxes.append(box)

    def _made(self, name: str, box: int) -> int:
        if not name:
            return -1
        self.drawing.makers.setdefault(name, []).append((self.job.number, box))
        return self.names.own[name]

    def _constant(self, node: onnx.NodeProto, tensor: onnx.TensorProto | None) -> None:
        if tensor is not None and node.output and node.output[0]:
            number = self.names.own[node.output[0]]
            self.drawing.values[number][1] = self.drawing.text(tensor_type_text(tensor))
            self.drawing.weights.append((number, tensor))

    def _body(self, body: onnx.GraphProto) -> int:
        graphs = self.drawing.graphs
        graphs.append({})
        self.found.append(_Waiting(len(graphs) - 1, body, self.names))
        return len(graphs) - 1

    def _port(self, name: str, kind: int) -> int:
        """A box for an input or output of the graph; its number."""
        number = len(self.boxes)
        text = self.drawing.text
        box: dict[str, Any] = {"n": text(name), "o": text("input" if kind == INPUT else "output"), "g": -1, "k": kind}
        box["i"], box["y"] = ([], [self.names.own[name]]) if kind == INPUT else ([self._read(name, number)], [])
        self.boxes.append(box)
        return number

    def _groups(self, tree: Group) -> list[list[int]]:
        """[name, group around it, class, path] of each group, outer ones first; boxes learn their group."""
        groups: list[list[int]] = []
        text = self.drawing.text
        waiting = [(tree, -1)]
        while waiting:
            group, number = waiting.pop()
            for child in group.children:
                if isinstance(child, int):
                    self.boxes[child]["g"] = number
                else:
                    groups.append([text(child.name), number, text(child.kind), text(child.path)])
                    waiting.append((child, len(groups) - 1))
        return groups


def _interface(graph: onnx.GraphProto | onnx.FunctionProto) -> tuple[list[str], list[str]]:
    if isinstance(graph, onnx.FunctionProto):
        return list(graph.input), list(graph.output)
    return [value.name for value in graph.input], [value.name for value in graph.output]


def _constants(graph: onnx.GraphProto | onnx.FunctionProto) -> dict[int, onnx.TensorProto | None]:
    """Positions of Constants, and of Identities of constants (as exporters write for shared weights), with their tensors."""
    known: dict[str, onnx.TensorProto | None] = {}
    if isinstance(graph, onnx.GraphProto):
        fed = {value.name for value in graph.input}
        known = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in fed}
    found: dict[int, onnx.TensorProto | None] = {}
    for position, node in enumerate(graph.node):
        passes = node.op_type == "Identity" and node.domain in ("", "ai.onnx") and len(node.input) == 1
        if is_constant_node(node):
            found[position] = constant_tensor(node) if node.output else None
        elif passes and node.input[0] in known:
            found[position] = known[node.input[0]]
        else:
            continue
        known.update(dict.fromkeys(node.output, found[position]))
    return found


def _types(graph: onnx.GraphProto | onnx.FunctionProto) -> dict[str, str]:
    """The types that a graph declares, as text; the first word about a value counts."""
    declared: Iterable[Sequence[onnx.ValueInfoProto]] = (
        (graph.input, graph.output, graph.value_info) if isinstance(graph, onnx.GraphProto) else (graph.value_info,)
    )
    found: dict[str, str] = {}
    for values in declared:
        for value in values:
            if value.name not in found and is_typed(value.type):
                found[value.name] = format_type(value.type)
    return found


def _last_line(stack: str) -> str:
    """The place in the user's source, ``File "net.py", line 12, in forward: x = f(x)``."""
    at = stack.rfind('File "')
    return ": ".join(line.strip() for line in stack[at:].splitlines() if line.strip()) if at >= 0 else ""


def _bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor as its dims say; 0 where they say nothing sensible."""
    return max(0, stored_bytes(tensor)) if min(tensor.dims, default=0) >= 0 else 0


def _where(tensor: onnx.TensorProto) -> str:
    """The data file that a weight lies in; "" where it is in the model's own file or in memory."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return ""
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    return "" if is_own_location(location) else location
