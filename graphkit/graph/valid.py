"""What every edit relies on: a model whose nodes are as their operators want them, and whose values are made once.

``onnx.checker`` asks for more, and refuses models that every runtime takes: nodes that are not sorted, outputs without a
type, operators of a runtime's own in the default domain (TensorRT's plugins), data that lies elsewhere. What is asked for
here is what ONNX Runtime asks for too, so that a model which runs somewhere is never refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import onnx

from graphkit.errors import InvalidGraphError, TensorError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex, producers
from graphkit.graph.names import label, title
from graphkit.graph.operators import operators, schema_of
from graphkit.graph.order import is_ordered, topological_order
from graphkit.graph.resampling import check_given, opset_of
from graphkit.tensor import check_inline, check_sparse, data_range

FIRST_OPSETS = 3
"""The IR version since which a model has to say which opsets it imports (docs/IR.md)."""


def require_valid(model: onnx.ModelProto) -> None:
    """Hold a model against what ONNX says about every model and about the operators of ai.onnx.

    Opset imports that agree; functions of one definition that do not call themselves; values with one definition; no
    cycles; for each operator that ONNX knows: the number of inputs and outputs, those that may not be left out, and
    attributes that are there and of their type; no name that nothing defines; tensors whose bytes fit their dims.

    Raises:
        InvalidGraphError: The model contradicts itself; the message names the node or value.
        TensorError: A tensor does.
        WeightsError: A tensor says that it is external and not where.

    Scope: main graph, bodies, functions.
    Cost: O(nodes), about 10 microseconds each; weights are not read.
    """
    _check_imports(model)
    _check_functions(model.functions)
    own = frozenset(walk.function_key(function) for function in model.functions)
    opset = opset_of(model)
    _check_graph(model.graph, opset, own, inside_function=False)
    for function in model.functions:
        version = next((o.version for o in function.opset_import if o.domain in ("", "ai.onnx")), opset)
        producers(list(function.node))
        _check_nodes(list(function.node), version, own, inside_function=True)
        for body in walk.nested(function.node):
            _check_scope(body, version, own, inside_function=True)
    check_given(model)
    for sparse in _sparse_tensors(model):
        check_sparse(sparse)
    for tensor in walk.tensors(model):
        if not tensor.data_type:
            raise TensorError(f"tensor {tensor.name[:80]!r} has no data type", name=tensor.name)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            data_range(tensor)
        else:
            check_inline(tensor)


def _sparse_tensors(model: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    for graph in walk.graphs(model.graph):
        yield from graph.sparse_initializer
    for node in walk.model_nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor
            yield from attribute.sparse_tensors


def _check_graph(
    graph: onnx.GraphProto, opset: int, own: Collection[walk.FunctionKey], *, inside_function: bool
) -> None:
    for scope in walk.graphs(graph):
        _check_scope(scope, opset, own, inside_function=inside_function)
    for name in walk.free_names(graph):
        reader = next((node for node in walk.nodes(graph) if name in node.input), None)
        who = title(reader) if reader is not None else "an output"
        raise InvalidGraphError(f"{who} reads {name!r}, which nothing in the model defines", names=[name])


def _check_scope(
    scope: onnx.GraphProto, opset: int, own: Collection[walk.FunctionKey], *, inside_function: bool
) -> None:
    index = GraphIndex(scope)
    for kind, names in (
        ("a graph input", index.inputs),
        ("a graph output", index.outputs),
        ("an initializer", {**index.initializers, **index.sparse_initializers}),
    ):
        if "" in names:
            raise InvalidGraphError(f"{kind} of {scope.name!r} has no name", names=[scope.name])
    _check_nodes(index.nodes, opset, own, inside_function=inside_function)


def _check_nodes(
    nodes: Sequence[onnx.NodeProto], opset: int, own: Collection[walk.FunctionKey], *, inside_function: bool
) -> None:
    for node in nodes:
        if not node.op_type:
            raise InvalidGraphError(f"the node {label(node)!r} has no operator (op_type)", names=[node.name])
        if node.domain in ("", "ai.onnx") and (not own or walk.call_key(node) not in own):
            rule = _rule(node.op_type, opset)
            if rule is not None:
                _check_node(node, rule, opset, inside_function=inside_function)
    if not is_ordered(nodes):
        topological_order(nodes)


def _check_imports(model: onnx.ModelProto) -> None:
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "ai.onnx" if entry.domain == "" else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise InvalidGraphError(
                f"the model imports {domain} twice, as versions {versions[domain]} and {entry.version}", names=[domain]
            )
    version = versions.get("ai.onnx")
    if version is not None and version < 1:
        raise InvalidGraphError(f"the model imports version {version} of ai.onnx; the first is 1", names=["ai.onnx"])
    if version is None and model.ir_version >= FIRST_OPSETS:
        node = next((n for n in walk.nodes(model.graph) if n.domain in ("", "ai.onnx")), None)
        if node is not None:
            raise InvalidGraphError(
                f"the model imports no version of ai.onnx (opset_import), to which {title(node)} belongs",
                names=["ai.onnx"],
            )


def _check_functions(functions: Iterable[onnx.FunctionProto]) -> None:
    known: dict[walk.FunctionKey, onnx.FunctionProto] = {}
    for function in functions:
        if known.setdefault(walk.function_key(function), function) is not function:
            raise InvalidGraphError(f"the model defines the function {_called(function)} twice", names=[function.name])
    calls = {
        key: {walk.call_key(node) for node in walk.function_nodes(function)} & known.keys()
        for key, function in known.items()
    }
    try:
        TopologicalSorter(calls).prepare()
    except CycleError as error:
        cycle = [_called(known[key]) for key in reversed(error.args[1])]
        raise InvalidGraphError(
            f"functions may not call themselves, and here {' calls '.join(cycle)}", names=cycle[:-1]
        ) from error


def _called(function: onnx.FunctionProto) -> str:
    return f"{function.domain or 'ai.onnx'}::{function.name}"


class _Rule(NamedTuple):
    """What a version of an operator wants: numbers of inputs and outputs, positions that may not be left out, kinds of
    attributes, attributes that must be there.
    """

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    given: tuple[str, ...]
    made: tuple[str, ...]
    kinds: dict[str, int]
    required: tuple[str, ...]


@cache
def _rule(op: str, opset: int) -> _Rule | None:
    schema = schema_of(op, opset)
    later = schema is None  # ONNX Runtime has LayerNormalization in every opset: what came later has its first form
    if schema is None:
        versions = operators().get(op)
        schema = schema_of(op, versions[0]) if versions else None
    if schema is None:
        return None
    return _Rule(
        (schema.min_input, MANY if later else schema.max_input),
        (schema.min_output, MANY if later else schema.max_output),
        tuple(_singles(schema.inputs)),
        tuple(_singles(schema.outputs)),
        {name: int(rule.type) for name, rule in schema.attributes.items()},  # type: ignore[call-overload]  # the stubs say no enum
        tuple(name for name, rule in schema.attributes.items() if rule.required and not later),
    )


MANY = 1 << 30


def _singles(formals: Sequence[onnx.defs.OpSchema.FormalParameter]) -> Iterator[str]:
    """The names of the first parameters, "" for one that may be left out."""
    for formal in formals:
        yield formal.name if formal.option == onnx.defs.OpSchema.FormalParameterOption.Single else ""


def _check_node(node: onnx.NodeProto, rule: _Rule, opset: int, *, inside_function: bool) -> None:
    for what, names, (least, most), formals in (
        ("input", node.input[:], rule.inputs, rule.given),
        ("output", node.output[:], rule.outputs, rule.made),
    ):
        if not least <= len(names) <= most:
            wanted = f"{least}" if least == most else f"{least} or more" if most >= MANY else f"{least} to {most}"
            raise _broken(node, f"{_count(len(names), what)}, and {node.op_type} of opset {opset} has {wanted}")
        if "" in names:
            for name, formal in zip(names, formals, strict=False):
                if formal and not name:
                    raise _broken(node, f"no {what} {formal!r}, which may not be left out")
    found = _check_attributes(node, rule.kinds, inside_function=inside_function) if node.attribute else ()
    for name in rule.required:
        if name not in found:
            raise _broken(node, f"no attribute {name!r}, which it must have")


def _check_attributes(node: onnx.NodeProto, kinds: dict[str, int], *, inside_function: bool) -> Collection[str]:
    found: set[str] = set()
    for attribute in node.attribute:
        name = attribute.name
        if name in found:
            raise _broken(node, f"two attributes {name!r}")
        found.add(name)
        if attribute.ref_attr_name:
            if not inside_function:
                raise _broken(
                    node, f"the attribute {name!r} from a function's {attribute.ref_attr_name!r}, in no function"
                )
            continue
        kind = kinds.get(name)
        if kind is not None and attribute.type != kind:
            raise _broken(
                node, f"the attribute {name!r} of type {_kind(attribute.type)}, which must be of type {_kind(kind)}"
            )
        field = _HOLDERS.get(attribute.type)
        if field is not None and not attribute.HasField(field):
            raise _broken(node, f"an attribute {name!r} of type {_kind(attribute.type)} that holds none")
    return found


_HOLDERS = {
    onnx.AttributeProto.TENSOR: "t",
    onnx.AttributeProto.GRAPH: "g",
    onnx.AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    onnx.AttributeProto.TYPE_PROTO: "tp",
}
"""Kind of attribute -> the field that must be there. Numbers and texts that are absent are 0 and "" (proto3 omits them)."""


def _kind(number: int) -> str:
    return str(onnx.AttributeProto.AttributeType.Name(number))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _broken(node: onnx.NodeProto, has: str) -> InvalidGraphError:
    return InvalidGraphError(f"{title(node)} has {has}", names=[node.name or next(iter(node.output), "")])
