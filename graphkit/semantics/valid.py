"""What every edit relies on: a model whose nodes are as their operators want them, and whose values are made once.

``onnx.checker`` asks for more, and refuses models that every runtime takes: nodes that are not sorted, outputs without a
type, operators of a runtime's own in the default domain (TensorRT's plugins), data that lies elsewhere. What is asked for
here is what ONNX Runtime asks for too, so that a model which runs somewhere is not refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from typing import NamedTuple

import onnx

from graphkit.errors import GraphkitError, InvalidGraphError, TensorError
from graphkit.graph import walk
from graphkit.graph.columns import Columns
from graphkit.graph.faults import Report, refuse
from graphkit.graph.index import GraphIndex, producers
from graphkit.graph.names import label, title
from graphkit.graph.opset import opset_of
from graphkit.graph.order import topological_order
from graphkit.semantics.node_rules import check_node
from graphkit.tensor import check_inline, check_sparse, data_range

FIRST_OPSETS = 3
"""The IR version since which a model has to say which opsets it imports (docs/IR.md)."""


class _Home(NamedTuple):
    """Where nodes stand: the opset they are written in, the model's own functions, and whether they are in one."""

    opset: int
    own: Collection[walk.FunctionKey]
    inside_function: bool = False


def require_valid(model: onnx.ModelProto) -> None:
    """Check a model against what ONNX says about every model and about the operators of ai.onnx.

    Opset imports that agree; functions of one definition that do not call themselves; values with one definition; no
    cycles; for each operator that ONNX knows: the number of inputs and outputs, those that may not be left out, and
    attributes that are there and of their type; no name that nothing defines; tensors whose bytes fit their dims.

    Raises:
        InvalidGraphError: The model contradicts itself; the message names the node or value.
        TensorError: A tensor does.
        WeightsError: A tensor says that it is external and not where.

    Scope: main graph, bodies, functions.
    Cost: O(nodes), about 5 microseconds each; weights are not read.
    """
    report_faults(model, refuse)


def report_faults(model: onnx.ModelProto, report: Report) -> None:
    """``require_valid`` that says each fault to ``report``; with ``faults.Faults`` it goes on behind one.

    Where a graph defines a value twice, what its nodes read is not looked at: nobody knows which definition is meant.
    """
    _check_imports(model, report)
    _check_functions(model.functions, report)
    home = _Home(opset_of(model), frozenset(walk.function_key(function) for function in model.functions))
    _check_graphs(model.graph, home, report, whole=True)
    for function in model.functions:
        version = opset_of(function, home.opset)
        _check_function(function, _Home(version, home.own, inside_function=True), report)


def _check_function(function: onnx.FunctionProto, inside: _Home, report: Report) -> None:
    nodes = list(function.node)
    columns = Columns(nodes)
    _check_nodes(columns, inside, report)
    try:
        producer = producers(nodes)
    except InvalidGraphError as error:
        report("definition", error)
    else:
        _check_reads(nodes, walk.reads_of(columns), producer, set(function.input), report, whole=True)
        for name in function.output:
            if name not in producer and name not in function.input:
                report("reference", _undefined(f"an output of {_called(function)}", name))
    for body in walk.held(columns):
        _check_graphs(body, inside, report, whole=False)


def _check_graphs(graph: onnx.GraphProto, home: _Home, report: Report, *, whole: bool) -> None:
    """The main graph (``whole``) or a body, and the bodies in it, outer before inner."""
    waiting = [graph]
    while waiting:
        scope = waiting.pop()
        waiting += reversed(_check_graph(scope, home, report, whole=whole and scope is graph))


def _check_graph(graph: onnx.GraphProto, home: _Home, report: Report, *, whole: bool) -> list[onnx.GraphProto]:
    """The main graph (``whole``), or a body, which reads names of the graphs around it.

    Returns:
        The bodies in it.
    """
    for tensor in graph.initializer:
        _check_tensor(tensor, report)
    for sparse in graph.sparse_initializer:
        _check_sparse(sparse, report)
    try:
        index = GraphIndex(graph)
        constants = {**index.initializers, **index.sparse_initializers}
        named = (("a graph input", index.inputs), ("a graph output", index.outputs), ("an initializer", constants))
    except InvalidGraphError as error:
        report("definition", error)
        columns = Columns(list(graph.node))
        _check_nodes(columns, home, report)
        return walk.held(columns)
    for kind, names in named:
        if "" in names:
            report("name", InvalidGraphError(f"{kind} of {graph.name!r} has no name", names=[graph.name]))
    _check_nodes(index.columns, home, report)
    given = {*index.inputs, *constants}
    _check_reads(index.nodes, index.node_reads, index.producer, given, report, whole=whole)
    for name in index.outputs if whole else ():
        if not index.has(name):
            report("reference", _undefined("an output", name))
    return walk.held(index.columns)


def _check_reads(
    nodes: Sequence[onnx.NodeProto],
    reads: Sequence[Sequence[str]],
    producer: Mapping[str, int],
    given: Collection[str],
    report: Report,
    *,
    whole: bool,
) -> None:
    """No cycles, and where no graph is around these nodes no name that nothing defines."""
    unknown = set(chain.from_iterable(reads)).difference(producer, given) if whole else set()
    if unknown:
        for position, names in enumerate(reads):
            for name in names:
                if name in unknown:
                    report("reference", _undefined(title(nodes[position]), name))
    made = producer.get
    if any(made(name, -1) >= position for position, names in enumerate(reads) for name in names):
        try:
            topological_order(nodes)
        except InvalidGraphError as error:
            report("cycle", error)


def _undefined(reader: str, name: str) -> InvalidGraphError:
    return InvalidGraphError(f"{reader} reads {name!r}, which nothing in the model defines", names=[name])


def _check_nodes(columns: Columns, home: _Home, report: Report) -> None:
    passed: set[tuple[object, ...]] = set()
    overloads = bool(home.own)
    held = zip(columns.nodes, columns.inputs, columns.outputs, columns.attributes, strict=True)
    for node, reads, makes, attributes in held:
        form = _form(node, reads, makes, attributes, overloads=overloads)
        if form is not None:
            if form in passed:
                continue
            passed.add(form)
        if not node.op_type:
            report("node", InvalidGraphError(f"the node {label(node)!r} has no operator (op_type)", names=[node.name]))
        elif node.domain in ("", "ai.onnx") and (not home.own or walk.call_key(node) not in home.own):
            try:
                check_node(node, home.opset, inside_function=home.inside_function)
            except InvalidGraphError as error:
                report("node", error)
        for attribute in attributes:
            if attribute.type in _HOLDING:
                for tensor in (attribute.t, *attribute.tensors) if attribute.HasField("t") else attribute.tensors:
                    _check_tensor(tensor, report)
                for sparse in attribute.sparse_tensors:
                    _check_sparse(sparse, report)
                if attribute.HasField("sparse_tensor"):
                    _check_sparse(attribute.sparse_tensor, report)


def _form(
    node: onnx.NodeProto,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Sequence[onnx.AttributeProto],
    *,
    overloads: bool,
) -> tuple[object, ...] | None:
    """What the rules look at in a node, so that of nodes that are alike in it one is looked at; None where they look at
    more: operands that are left out, tensors and bodies, values from a function's caller.
    """
    op = node.op_type
    if "" in inputs or "" in outputs or op == "Resize":
        return None
    form = (op, node.domain, node.overload if overloads else "", len(inputs), len(outputs))
    if not attributes:
        return form
    kinds: list[object] = []
    for attribute in attributes:
        kind = attribute.type
        if kind not in walk.PLAIN or attribute.ref_attr_name:
            return None
        kinds += (attribute.name, kind)
    return (*form, *kinds)


_A = onnx.AttributeProto
_HOLDING = frozenset((_A.TENSOR, _A.TENSORS, _A.SPARSE_TENSOR, _A.SPARSE_TENSORS))
"""Kinds of attributes with tensors in them."""


def _check_sparse(sparse: onnx.SparseTensorProto, report: Report) -> None:
    try:
        check_sparse(sparse)
    except TensorError as error:
        report("tensor", error)
    _check_tensor(sparse.values, report)
    _check_tensor(sparse.indices, report)


def _check_tensor(tensor: onnx.TensorProto, report: Report) -> None:
    try:
        if not tensor.data_type:
            raise TensorError(f"tensor {tensor.name[:80]!r} has no data type", name=tensor.name)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            data_range(tensor)
        else:
            check_inline(tensor)
    except GraphkitError as error:
        report("tensor", error)


def _check_imports(model: onnx.ModelProto, report: Report) -> None:
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "ai.onnx" if entry.domain == "" else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            twice = f"the model imports {domain} twice, as versions {versions[domain]} and {entry.version}"
            report("opset", InvalidGraphError(twice, names=[domain]))
    version = versions.get("ai.onnx")
    if version is not None and version < 1:
        low = f"the model imports version {version} of ai.onnx; the first is 1"
        report("opset", InvalidGraphError(low, names=["ai.onnx"]))
    if version is None and model.ir_version >= FIRST_OPSETS:
        node = next((n for n in walk.nodes(model.graph) if n.domain in ("", "ai.onnx")), None)
        if node is not None:
            none = f"the model imports no version of ai.onnx (opset_import), to which {title(node)} belongs"
            report("opset", InvalidGraphError(none, names=["ai.onnx"]))


def _check_functions(functions: Iterable[onnx.FunctionProto], report: Report) -> None:
    known: dict[walk.FunctionKey, onnx.FunctionProto] = {}
    for function in functions:
        if known.setdefault(walk.function_key(function), function) is not function:
            twice = f"the model defines the function {_called(function)} twice"
            report("function", InvalidGraphError(twice, names=[function.name]))
    calls = {
        key: {walk.call_key(node) for node in walk.function_nodes(function)} & known.keys()
        for key, function in known.items()
    }
    try:
        TopologicalSorter(calls).prepare()
    except CycleError as error:
        cycle = [_called(known[key]) for key in reversed(error.args[1])]
        endless = f"functions may not call themselves, and here {' calls '.join(cycle)}"
        report("function", InvalidGraphError(endless, names=cycle[:-1]))


def _called(function: onnx.FunctionProto) -> str:
    return f"{function.domain or 'ai.onnx'}::{function.name}"
