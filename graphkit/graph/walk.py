"""Walking a model: the main graph, the bodies of If, Loop and Scan at any depth, functions, training graphs.

The only place that knows where graphs nest. Scoping is ONNX's (docs/IR.md, "Nodes"): a body reads names of the graphs
around it, and may not reuse (shadow) one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain

import onnx

from graphkit.graph.columns import Columns, attributes_of, outputs_of
from graphkit.graph.opset import canonical

GRAPH = onnx.AttributeProto.GRAPH
GRAPHS = onnx.AttributeProto.GRAPHS

_A = onnx.AttributeProto
PLAIN = frozenset((_A.FLOAT, _A.INT, _A.STRING, _A.FLOATS, _A.INTS, _A.STRINGS))
"""Kinds of attributes that hold numbers or texts, and so neither tensors nor graphs."""


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node holds in its attributes, not those nested deeper."""
    yield from _graphs_in(node.attribute)


def _graphs_in(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.GraphProto]:
    for attribute in attributes:
        if attribute.type not in PLAIN:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and every body in it at any depth, outer before inner. Cost: O(nodes)."""
    yield graph
    yield from nested(graph.node)


def nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    """Every body at any depth below some nodes, outer before inner."""
    yield from nested_in(Columns([*nodes]))


def nested_in(columns: Columns) -> Iterator[onnx.GraphProto]:
    """``nested``, from what was read of the nodes already."""
    waiting = held(columns)[::-1]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += held(Columns(graph.node))[::-1]


def held(columns: Columns) -> list[onnx.GraphProto]:
    """The bodies of some nodes, not those nested deeper."""
    return [*_graphs_in(chain.from_iterable(columns.attributes))]


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph and of the bodies in it."""
    for scope in graphs(graph):
        yield from scope.node


def model_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of a model: main graph, bodies, functions and the bodies in functions."""
    yield from nodes(model.graph)
    for function in model.functions:
        yield from function_nodes(function)


def function_nodes(function: onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """Every node of a function and of the bodies in it."""
    yield from function.node
    for body in nested(function.node):
        yield from body.node


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every TensorProto of a model: initializers, sparse initializers and attributes, in the main graph, in bodies at
    any depth, in functions and in training graphs. Iterative, so depth costs no stack.
    """
    waiting: list[onnx.GraphProto] = [model.graph]
    attributes: list[onnx.AttributeProto] = []
    for training in model.training_info:
        waiting += (training.initialization, training.algorithm)
    for function in model.functions:
        attributes.extend(function.attribute_proto)
        for node in function.node:
            attributes.extend(node.attribute)
    while waiting or attributes:
        if attributes:
            attribute = attributes.pop()
            yield from attribute_tensors(attribute)
            if attribute.HasField("g"):
                waiting.append(attribute.g)
            waiting.extend(attribute.graphs)
        else:
            graph = waiting.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield sparse.values
                yield sparse.indices
            attributes.extend(chain.from_iterable(attributes_of(graph.node)))


def attribute_tensors(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    """The tensors that one attribute holds itself, those inside of its graphs left out."""
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    if attribute.HasField("sparse_tensor"):
        yield attribute.sparse_tensor.values
        yield attribute.sparse_tensor.indices
    for sparse in attribute.sparse_tensors:
        yield sparse.values
        yield sparse.indices


def captures(node: onnx.NodeProto) -> tuple[str, ...]:
    """The values that a node reads without having them as inputs, each once: the outer names that its bodies read, at
    any depth, and those that its attributes name. Cost: as ``free_names`` of each body.
    """
    if not may_capture(node, node.attribute):
        return ()
    found = dict.fromkeys(named_in_attributes(node))
    for body in bodies(node):
        found.update(dict.fromkeys(free_names(body)))
    return tuple(found)


def may_capture(node: onnx.NodeProto, attributes: Iterable[onnx.AttributeProto]) -> bool:
    """Whether a node with these attributes may read values that are no inputs of it. One with a tensor may not, and is
    looked at all the same.
    """
    return node.op_type == "Gradient" or not PLAIN.issuperset([attribute.type for attribute in attributes])


def naming_attributes(node: onnx.NodeProto) -> Iterator[onnx.AttributeProto]:
    """The attributes whose strings are names of values: those of Gradient (ai.onnx.preview.training), which has to see
    the nodes between ``xs`` and ``y``.
    """
    if node.op_type == "Gradient" and node.domain == "ai.onnx.preview.training":
        yield from (attribute for attribute in node.attribute if attribute.name in ("xs", "zs", "y"))


def named_in_attributes(node: onnx.NodeProto) -> list[str]:
    """The values that attributes name; see ``naming_attributes``."""
    return [
        name.decode() for attribute in naming_attributes(node) for name in (*attribute.strings, attribute.s) if name
    ]


def training_names(model: onnx.ModelProto) -> set[str]:
    """The values of the main graph that training graphs read or differentiate, and those that their bindings set."""
    names: set[str] = set()
    for training in model.training_info:
        names.update(free_names(training.algorithm), free_names(training.initialization))
        names.update(entry.key for entry in (*training.initialization_binding, *training.update_binding))
    return names


def free_names(graph: onnx.GraphProto) -> tuple[str, ...]:
    """The names that a graph reads and that neither it nor, for a body in it, a graph around the reader defines.

    A body output that names an outer value counts as reading it. Iterative, so depth costs no stack. Each name once;
    those of the graph itself before those of its bodies. Cost: O(nodes), times the depth of nesting.
    """
    found: dict[str, None] = {}
    waiting: list[tuple[onnx.GraphProto, tuple[set[str], ...]]] = [(graph, ())]
    while waiting:
        scope, around = waiting.pop()
        visible = (defined_names(scope), *around)
        names = [name for node in scope.node for name in (*node.input, *named_in_attributes(node))]
        names += [output.name for output in scope.output]
        for name in names:
            if name and not any(name in own for own in visible):
                found[name] = None
        inner = [(body, visible) for node in scope.node for body in bodies(node)]
        waiting.extend(reversed(inner))
    return tuple(found)


def defined_names(graph: onnx.GraphProto) -> set[str]:
    """The values that a graph itself defines: inputs, initializers, node outputs."""
    names = given_names(graph)
    names.update(chain.from_iterable(outputs_of(graph.node)))
    names.discard("")
    return names


def given_names(graph: onnx.GraphProto) -> set[str]:
    """The values that a graph itself defines and that no node makes: inputs, initializers."""
    names = {value.name for value in graph.input}
    names.update(tensor.name for tensor in graph.initializer)
    names.update(sparse.values.name for sparse in graph.sparse_initializer)
    return names


def reads(node: onnx.NodeProto) -> tuple[str, ...]:
    """Every value a node needs: its inputs and what its bodies capture, without omitted ("") inputs."""
    direct = tuple(filter(None, node.input[:]))
    captured = captures(node) if node.attribute else ()
    return direct + tuple(name for name in captured if name not in direct)


def reads_of(columns: Columns) -> list[list[str]]:
    """``reads`` of each node of a graph; a name that is an input twice is there twice."""
    found = [names if "" not in names else [*filter(None, names)] for names in columns.inputs]
    for position, attributes in enumerate(columns.attributes):
        if attributes and may_capture(columns.nodes[position], attributes):
            found[position] = [*found[position], *captures(columns.nodes[position])]
    return found


FunctionKey = tuple[str, str, str]
"""(domain, name, overload): what identifies a model-local function since IR 10 (onnx.in.proto, FunctionProto)."""


def function_key(function: onnx.FunctionProto) -> FunctionKey:
    """The identity of a function. The default domain is "" also where it is spelt "ai.onnx"."""
    return canonical(function.domain), function.name, function.overload


def is_function_value(name: str, functions: Collection[FunctionKey]) -> bool:
    """Whether a value_info of the main graph is for a value of one of some functions, as files before IR 10 spell it:
    ``domain::function/value`` (onnx/docs/IR.md, "Functions"; from IR 10 on a function has a value_info of its own).
    """
    domain, colons, rest = name.partition("::")
    if not colons:
        return False
    known = {(key[0], key[1]) for key in functions}
    ends = (place for place, character in enumerate(rest) if character == "/")
    return any((canonical(domain), rest[:end]) in known for end in ends)


def call_key(node: onnx.NodeProto) -> FunctionKey:
    """The function that a node calls, if the model has one of that identity."""
    return canonical(node.domain), node.op_type, node.overload


def called_functions(nodes: Iterable[onnx.NodeProto], functions: Iterable[onnx.FunctionProto]) -> set[FunctionKey]:
    """The functions that nodes call: directly, in bodies, or through other functions."""
    known = {function_key(f): f for f in functions}
    if not known:
        return set()
    called: set[FunctionKey] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        key = call_key(node)
        if key in known and key not in called:
            called.add(key)
            waiting.extend(known[key].node)
        for body in bodies(node):
            waiting.extend(body.node)
    return called
