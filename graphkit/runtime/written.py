"""The check of what a conversion wrote: each kind of node against its schema, and loaded by ONNX Runtime on its own.

Nodes of one operator with the same attributes and types are one kind, so a model of a thousand nodes has a few dozen kinds.
What the source model breaks already does not count against the conversion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

import onnx
import onnx.inliner

from graphkit.errors import EditError, InvalidGraphError, MissingExtraError, OutdatedPackageError
from graphkit.graph import walk
from graphkit.graph.names import label, title
from graphkit.graph.opset import canonical, imported, opset_of
from graphkit.graph.scopes import Scope, scopes
from graphkit.runtime.failures import import_runtime, runtime_errors
from graphkit.runtime.fatal_nodes import refuse_fatal
from graphkit.semantics.conforms import KNOWN_DOMAINS, departure
from graphkit.semantics.kinds import RESIZERS
from graphkit.shapes.inference import inferred

MOST_LOADED = 256
"""Kinds of nodes that are loaded, about a millisecond each; those of other operators and types come first."""

LOADED_DOMAINS = (*KNOWN_DOMAINS, "com.microsoft")

SMALL = 1 << 12
"""Bytes of a constant that a one-node model holds; a larger one is an input of it."""

Rule = Literal["schema", "load", "kernel"]


class Unfit(NamedTuple):
    """A node that is not as it should be.

    Attributes:
        node: Its operator and name, as texts show them.
        op_type: Its operator.
        name: Its name, or its first output.
        rule: "schema": the specification does not have it so; "load": ONNX Runtime refuses it; "kernel": it has no
            implementation of it for these types.
        why: What is wrong, half a sentence.
    """

    node: str
    op_type: str
    name: str
    rule: Rule
    why: str


def check_written(before: onnx.ModelProto, after: onnx.ModelProto, *, new_only: bool = False) -> list[str]:
    """Refuse the result of a conversion in which a node is not as the specification or ONNX Runtime has it.

    Args:
        before: The model that was converted; what is wrong there already is no fault of the conversion.
        after: The result; neither is changed. Tensors may be references.
        new_only: Look only at nodes that ``before`` does not have word by word, and at those that read what these make: for
            edits that leave most as they are. Where there are none, nothing is inferred or loaded.

    Returns:
        What a user should know: that the runtime does not know the opset, so that nothing was loaded, or that it has no
        implementation of a node and did not know the opset before.

    Raises:
        EditError: A node breaks a rule; node and rule are named, all of them in the hint.

    Scope: main graph and bodies; in functions the schemas only.
    Cost: O(nodes) and one inference, 1 ms for each kind of node that this process has not loaded before, at most 256.
    """
    written = None
    if new_only:
        written = _written(before, after)
        if not written:
            return []
    found, notes = unfit(after, written), []
    if found:
        known = {(one.op_type, one.rule) for one in _had(before)}
        found = [one for one in found if (one.op_type, one.rule) not in known]
    if found and _runtime() is not None and not _knows(opset_of(before)):
        kernels = [one.node for one in found if one.rule == "kernel"]  # nobody knows whether it had one before
        notes += [f"this ONNX Runtime has no implementation of {', '.join(kernels[:12])}"] if kernels else []
        found = [one for one in found if one.rule != "kernel"]
    if found:
        first = found[0]
        others = ", ".join(dict.fromkeys(one.node for one in found[1:13]))
        raise EditError(
            f"{first.node} cannot be written so: {first.why}",
            hint=f"the same or worse holds for {others}" if others else None,
        )
    if _runtime() is not None and not _knows(opset_of(after)):
        notes.append(f"this ONNX Runtime does not know opset {opset_of(after)}, so nothing was loaded to check it")
    return notes


def _written(before: onnx.ModelProto, after: onnx.ModelProto) -> set[bytes]:
    """The nodes that a model did not have before, and those that read what they make or a weight of another type."""
    old = {node.SerializeToString() for node in walk.model_nodes(before)}
    texts = [(node, node.SerializeToString()) for node in walk.model_nodes(after)]
    types = {tensor.name: tensor.data_type for graph in walk.graphs(before.graph) for tensor in graph.initializer}
    names = {name for node, text in texts if text not in old for name in node.output}
    for graph in walk.graphs(after.graph):
        names.update(t.name for t in graph.initializer if types.get(t.name, t.data_type) != t.data_type)
    names.discard("")
    return {text for node, text in texts if text not in old or not names.isdisjoint(node.input)}


def _had(before: onnx.ModelProto) -> list[Unfit]:
    """What a model has against it already; of its functions with the types of their calls, inlined by onnx's own inliner."""
    found = unfit(before)
    if before.functions and before.graph.node:
        try:
            found += unfit(onnx.inliner.inline_local_functions(before))
        except (
            ValueError,
            RuntimeError,
            onnx.checker.ValidationError,
        ):  # it goes 100 calls deep, and onnx's errors vary
            return found
    return found


def unfit(model: onnx.ModelProto, only: Container[bytes] | None = None) -> list[Unfit]:
    """The nodes of a model that its schemas or ONNX Runtime do not take, the first of each kind.

    Args:
        model: The model; it is not changed. Tensors may be references.
        only: Look at these nodes only, serialised.

    Cost: as ``check_written``.
    """
    imports = imported(model.opset_import)
    own = {walk.function_key(function) for function in model.functions}
    found: list[Unfit] = []
    kinds: dict[bytes, tuple[onnx.NodeProto, onnx.ModelProto]] = {}
    seen: set[tuple[object, ...]] = set()
    for scope in scopes(inferred(model).graph):
        for node in scope.index.nodes:
            if walk.call_key(node) in own or canonical(node.domain) not in imports:
                continue
            if only is not None and node.SerializeToString() not in only:
                continue
            kind = _kind(node, scope)
            if kind in seen:
                continue
            seen.add(kind)
            alone = _alone(node, scope, imports)
            key = alone.SerializeToString(deterministic=True)
            if why := _departs(node, scope, imports):
                found.append(_unfit(node, "schema", why))
            elif _may_be_loaded(node, alone):
                kinds[key] = (node, alone)
    for function in model.functions:
        found.extend(_in_function(function, imports, own, only))
    found.extend(_not_loaded(kinds, imports.get("", 1)))
    return found


def _unfit(node: onnx.NodeProto, rule: Rule, why: str) -> Unfit:
    return Unfit(title(node), node.op_type, label(node), rule, why)


def _departs(node: onnx.NodeProto, scope: Scope, imports: Mapping[str, int]) -> str | None:
    domain = canonical(node.domain)
    if domain not in KNOWN_DOMAINS:
        return None
    inputs = [scope.type_of(name) if name else None for name in node.input]
    outputs = [scope.type_of(name) if name else None for name in node.output]
    return departure(node, imports[domain], inputs, outputs)


def _in_function(
    function: onnx.FunctionProto,
    imports: Mapping[str, int],
    own: set[walk.FunctionKey],
    only: Container[bytes] | None,
) -> Iterator[Unfit]:
    versions = {**imports, **imported(function.opset_import)}
    for node in walk.function_nodes(function):
        if only is not None and node.SerializeToString() not in only:
            continue
        domain = canonical(node.domain)
        if domain in KNOWN_DOMAINS and walk.call_key(node) not in own and domain in versions:
            unknown = [None] * max(len(node.input), len(node.output))
            if why := departure(node, versions[domain], unknown, unknown, inside_function=True):
                yield _unfit(node, "schema", why)


def _kind(node: onnx.NodeProto, scope: Scope) -> tuple[object, ...]:
    """What tells kinds of nodes apart, at a fraction of what a one-node model costs; two keys may give one model."""
    places: dict[str, int] = {}
    inputs: list[object] = []
    for name in node.input:
        if name in places or not name:
            inputs.append(places.get(name))
            continue
        places[name] = len(places)
        tensor, known = scope.constant(name), scope.type_of(name)
        small = tensor is not None and tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.ByteSize() <= SMALL
        if tensor is not None and small and _matters(tensor, node):
            inputs.append(
                (
                    tuple(tensor.dims),
                    tensor.data_type,
                    tensor.raw_data,
                    *tensor.int64_data,
                    *tensor.int32_data,
                    *tensor.float_data,
                )
            )
        else:
            inputs.append((small, known is not None and known.SerializeToString()))
    outputs = [name and getattr(scope.type_of(name), "SerializeToString", bytes)() for name in node.output]
    attributes = [attribute.SerializeToString() for attribute in node.attribute] if node.attribute else ()
    return (node.op_type, node.domain, node.overload, tuple(inputs), tuple(outputs), tuple(attributes))


def _alone(node: onnx.NodeProto, scope: Scope, imports: Mapping[str, int]) -> onnx.ModelProto:
    """A node as a model whose names and symbols say nothing: two nodes of one kind give the same model."""
    model = onnx.ModelProto(ir_version=ONE_NODE_IR)
    for domain in ("", *([canonical(node.domain)] if canonical(node.domain) else [])):
        model.opset_import.add(domain=domain, version=imports.get(domain, 1))
    graph = model.graph
    graph.name = "node"
    copy = graph.node.add()
    copy.op_type, copy.domain, copy.overload = node.op_type, node.domain, node.overload
    copy.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
    numbers: dict[str, str] = {}
    for name in node.input:
        given = numbers.get(name) or (f"i{len(numbers)}" if name else "")
        copy.input.append(given)
        if name and name not in numbers:
            numbers[name] = given
            _add_input(graph, scope, name, given)
    for place, name in enumerate(node.output):
        copy.output.append(f"o{place}" if name else "")
        if name:
            output = graph.output.add(name=f"o{place}")
            if (known := scope.type_of(name)) is not None:
                output.type.CopyFrom(known)
                _clear_shape(output.type)
    return model


ONE_NODE_IR = 10
"""The IR version of one-node models: every ONNX Runtime of the last years knows it, and it has all types."""


def _clear_shape(type_proto: onnx.TypeProto) -> None:
    """The runtime infers the output's shape by itself; a wrong declaration is no fault of the node."""
    if type_proto.HasField("tensor_type"):
        type_proto.tensor_type.ClearField("shape")


def _add_input(graph: onnx.GraphProto, scope: Scope, name: str, given: str) -> None:
    """A small integer constant as it is, for axes, shapes and the like; anything else by its type."""
    tensor = scope.constant(name)
    if tensor is not None and tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.ByteSize() <= SMALL:
        if _matters(tensor, graph.node[0]):
            copy = graph.initializer.add()
            copy.CopyFrom(tensor)
            copy.name, copy.doc_string = given, ""
            del copy.metadata_props[:]
            return
        zero = _zeros(tensor.data_type, tuple(tensor.dims))
        if zero is not None:
            copy = graph.initializer.add()
            copy.CopyFrom(zero)
            copy.name = given
            return
    info = graph.input.add(name=given)
    known = scope.type_of(name)
    if known is None:
        return
    info.type.CopyFrom(known)
    if info.type.HasField("tensor_type"):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.ClearField("dim_param")


def _matters(tensor: onnx.TensorProto, node: onnx.NodeProto) -> bool:
    """Whether the numbers of a constant decide if a node is taken: axes, shapes, scales."""
    return tensor.data_type in _INTEGERS or node.op_type in RESIZERS


_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL)


def _zeros(data_type: int, dims: tuple[int, ...]) -> onnx.TensorProto | None:
    """Zeros stand for numbers that decide no shape; not for strings."""
    from graphkit.tensor import bits

    if data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        return None
    count = 1
    for dim in dims:
        count *= dim
    return onnx.TensorProto(data_type=data_type, dims=dims, raw_data=bytes((count * bits(data_type) + 7) // 8))


def _may_be_loaded(node: onnx.NodeProto, alone: onnx.ModelProto) -> bool:
    """Bodies read what is around them, and an input without a type can be nothing's input."""
    if canonical(node.domain) not in LOADED_DOMAINS or any(True for _ in walk.bodies(node)):
        return False
    if any(attribute.ref_attr_name for attribute in node.attribute):
        return False
    return all(value.HasField("type") for value in alone.graph.input)


def _not_loaded(kinds: Mapping[bytes, tuple[onnx.NodeProto, onnx.ModelProto]], opset: int) -> Iterator[Unfit]:
    if not kinds or _runtime() is None or not _knows(opset):
        return
    first: dict[tuple[str, tuple[int, ...]], list[bytes]] = {}
    for key, (node, alone) in kinds.items():
        types = tuple(value.type.tensor_type.elem_type for value in (*alone.graph.input, *alone.graph.output))
        first.setdefault((node.op_type, types), []).append(key)
    ordered = [keys[0] for keys in first.values()] + [key for keys in first.values() for key in keys[1:]]
    for key in ordered[:MOST_LOADED]:
        answer = _load(key)
        if answer is not None:
            yield _unfit(kinds[key][0], *answer)


@cache
def _runtime() -> Any:
    try:
        return import_runtime("loading one-node models")
    except (MissingExtraError, OutdatedPackageError):
        return None


@cache
def _knows(opset: int) -> bool:
    """Whether the runtime loads models of an opset at all."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Abs", ["x"], ["y"])], "one", [value], [result])
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=ONE_NODE_IR)
    return _answer(model.SerializeToString()) is None


_ANSWERS: dict[bytes, tuple[Rule, str] | None] = {}


def _load(key: bytes) -> tuple[Rule, str] | None:
    digest = hashlib.sha256(key).digest()
    if digest not in _ANSWERS:
        _ANSWERS[digest] = _answer(key)
    return _ANSWERS[digest]


def _answer(content: bytes) -> tuple[Rule, str] | None:
    """What ONNX Runtime has against a one-node model; None where it loads."""
    runtime = _runtime()
    try:
        refuse_fatal(onnx.ModelProto.FromString(content))
    except InvalidGraphError as error:
        return "load", error.message
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        runtime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        text = " ".join(str(error).split())
        kernel = "NOT_IMPLEMENTED" in text
        text = text.partition(" : ")[2] or text
        return ("kernel" if kernel else "load"), f"ONNX Runtime {runtime.__version__} refuses it: {text[:300]}"
    return None
