"""Models from nodes of ``onnx.helper``, with an opset and an IR version that the installed runtime can run.

``onnx.helper.make_model`` stamps the newest versions that the onnx package knows. ONNX Runtime lags behind: with onnx
1.23 the default is IR 14 and opset 28, and ONNX Runtime 1.31 refuses a model above IR 13 or opset 26.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

import onnx
from onnx import defs, helper

from graphkit.errors import GraphkitWarning, InvalidGraphError, NameNotFoundError, NameTakenError, similar
from graphkit.graph.opset import canonical
from graphkit.graph.order import topological_order
from graphkit.graph.values import parse_type
from graphkit.graph.walk import call_key, defined_names, function_key, model_nodes, reads
from graphkit.graph.walk import nodes as all_nodes
from graphkit.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from graphkit.tensor import Array


class RuntimeLimits(NamedTuple):
    """What a release of ONNX Runtime loads.

    Attributes:
        version: "1.31.1", or "" where none is installed.
        ir_version: The highest IR version.
        opset: The highest opset of the default domain.
    """

    version: str
    ir_version: int
    opset: int


_MEASURED: tuple[tuple[tuple[int, int], int, int], ...] = (
    ((1, 25), 13, 26),
    ((1, 24), 13, 25),
    ((1, 23), 11, 23),
    ((1, 22), 10, 22),
)
"""(release, highest IR, highest opset), newest first: measured by loading a one-node model into the CPU builds 1.22.1 to
1.31.1. A release that is newer than the first row loads what that row says."""

_OLDEST = (8, 17)
"""For releases before 1.22, which onnx-graphkit does not support: what 1.13 (2022) loads."""

_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn")

_USUAL_OPSET = 21
"""The opset of a model whose operators all exist there. Every supported runtime implements it; of the opsets above, ONNX
Runtime 1.31 leaves out some operators (RoiAlign-22, TopK-24, Swish-24)."""

_USUAL_IR = 10
"""The first IR version with the whole of functions (overloads), and the highest that every supported runtime loads."""


def runtime_limits() -> RuntimeLimits:
    """What the installed ONNX Runtime loads, told from its version without importing it.

    Where none is installed, the limits are those of the oldest supported release.

    Example:
        >>> import graphkit as gk
        >>> gk.runtime_limits().opset >= 21
        True
    """
    version = _runtime_version()
    if not version:
        return RuntimeLimits("", *_MEASURED[-1][1:])
    release = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    for since, ir_version, opset in _MEASURED:
        if release >= since:
            return RuntimeLimits(version, ir_version, opset)
    return RuntimeLimits(version, *_OLDEST)


def _runtime_version() -> str:
    loaded = sys.modules.get("onnxruntime")
    if loaded is not None:
        return str(getattr(loaded, "__version__", ""))
    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def build(
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto] | Mapping[str, str],
    outputs: Iterable[onnx.ValueInfoProto] | Mapping[str, str],
    *,
    initializers: Iterable[onnx.TensorProto] | Mapping[str, Array] = (),
    functions: Iterable[onnx.FunctionProto] = (),
    opset: int | Mapping[str, int] | None = None,
    ir_version: int | None = None,
    name: str = "graph",
) -> Model:
    """A model out of nodes, checked.

    ::

        node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
        model = gk.build([node], {"a": "float32[n]", "b": "float32[n]"}, {"c": "float32[n]"})

    Args:
        nodes: Nodes, as ``onnx.helper.make_node`` gives them. They are sorted topologically where they are not sorted.
        inputs: Graph inputs: ``onnx.helper.make_tensor_value_info`` results, or name -> type as ``float32[1,3,n]``.
        outputs: Graph outputs, in the same two ways.
        initializers: Weights: TensorProtos, or name -> array.
        functions: Model-local functions that the nodes call.
        opset: Version of the default domain, or domain -> version. Default: 21, or more where an operator is newer;
            1 for domains that onnx does not know.
        ir_version: Default: the lowest that the opset needs, at least 10 where the runtime loads that.
        name: The graph's name.

    Raises:
        NameNotFoundError: A node reads, or an output names, a value that nothing defines.
        NameTakenError: Two nodes, inputs or weights define the same value, or two functions the same operator.
        InvalidGraphError: A cycle, an operator that the opset does not have, or what ``onnx.checker`` finds.
        ValueError: A type that cannot be parsed, or an opset that the installed onnx does not know.
        TypeError: An argument of another kind.

    Warns:
        GraphkitWarning: The installed runtime does not load the opset or IR version asked for.

    Changes: nothing; the protos given are copied.
    Scope: main graph, bodies, functions.
    Cost: O(model): the checker serialises it, weights included.

    Example:
        >>> import graphkit as gk, onnx
        >>> relu = onnx.helper.make_node("Relu", ["x"], ["y"])
        >>> model = gk.build([relu], {"x": "float[2]"}, {"y": "float[2]"})
        >>> gk.run(model, {"x": [-1, 2]})["y"].tolist()
        [0.0, 2.0]
    """
    ordered = list(nodes)
    graph = onnx.GraphProto(name=name)
    graph.input.extend(_value_infos(inputs))
    graph.output.extend(_value_infos(outputs))
    graph.initializer.extend(_tensors(initializers))
    _refuse_duplicates(graph, ordered)
    graph.node.extend(ordered[position] for position in topological_order(ordered))
    _refuse_undefined(graph)

    proto = onnx.ModelProto(graph=graph, producer_name="graphkit")
    proto.functions.extend(functions)
    opsets = _opsets(proto, opset)
    proto.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in opsets.items())
    proto.ir_version = ir_version or _ir_version(proto)
    _warn_about_runtime(proto)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise InvalidGraphError(f"onnx.checker refuses the model: {error}", hint=None) from error
    return Model(proto)


def _value_infos(values: Iterable[onnx.ValueInfoProto] | Mapping[str, str]) -> list[onnx.ValueInfoProto]:
    if isinstance(values, Mapping):
        return [helper.make_value_info(name, parse_type(text)) for name, text in values.items()]
    infos = list(values)
    for info in infos:
        if not isinstance(info, onnx.ValueInfoProto):
            raise TypeError(f"an input or output is a ValueInfoProto or name -> type, not {type(info).__name__}")
    return infos


def _tensors(initializers: Iterable[onnx.TensorProto] | Mapping[str, Array]) -> list[onnx.TensorProto]:
    if isinstance(initializers, Mapping):
        return [onnx.numpy_helper.from_array(array, name) for name, array in initializers.items()]
    tensors = list(initializers)
    for tensor in tensors:
        if not isinstance(tensor, onnx.TensorProto):
            raise TypeError(f"an initializer is a TensorProto or name -> array, not {type(tensor).__name__}")
    return tensors


def _refuse_duplicates(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Single assignment: a value has one definition. An initializer may be the default value of an input."""
    made_by: dict[str, str] = {}
    for kind, values in (("a graph input", graph.input), ("an initializer", graph.initializer)):
        for value in values:
            if made_by.get(value.name) == kind:
                raise NameTakenError(f"{value.name!r} is {kind} twice", name=value.name)
            made_by[value.name] = kind
    for node in nodes:
        for output in filter(None, node.output):
            if output in made_by:
                raise NameTakenError(
                    f"{_called(node)} makes {output!r}, which is already {made_by[output]}",
                    name=output,
                    hint="every value has one definition; give one of the two another name",
                )
            made_by[output] = f"an output of {_called(node)}"


def _called(node: onnx.NodeProto) -> str:
    return f"node {node.name!r} ({node.op_type})" if node.name else f"a node {node.op_type}"


def _refuse_undefined(graph: onnx.GraphProto) -> None:
    """Every value that is read has a definition (docs/IR.md, "Nodes")."""
    defined = defined_names(graph)
    for node in graph.node:
        for value in reads(node):
            if value not in defined:
                raise _undefined(value, f"{_called(node)} reads it", defined)
    for output in graph.output:
        if output.name not in defined:
            raise _undefined(output.name, "it is a graph output", defined)


def _undefined(name: str, why: str, defined: set[str]) -> NameNotFoundError:
    alike = similar(name, sorted(defined))
    advice = "did you mean " + " or ".join(map(repr, alike)) + "? " if alike else ""
    return NameNotFoundError("value", name, (), hint=f"{advice}{why}, but no input, initializer or node defines it")


def _opsets(proto: onnx.ModelProto, asked: int | Mapping[str, int] | None) -> dict[str, int]:
    """The version of every domain that the nodes use."""
    given = {"": asked} if isinstance(asked, int) else {canonical(d): v for d, v in (asked or {}).items()}
    own = {function_key(function) for function in proto.functions}
    called = [node for node in all_nodes(proto.graph) if call_key(node) not in own]
    opsets = {"": given.get("") or _default_opset(called)}
    if opsets[""] > defs.onnx_opset_version():
        raise ValueError(f"the installed onnx {onnx.__version__} knows no opset above {defs.onnx_opset_version()}")
    for node in model_nodes(proto):
        domain = canonical(node.domain)
        if domain not in opsets:
            opsets[domain] = given.get(domain) or _domain_version(domain, opsets[""])
    opsets.update(given)
    for node in called:
        _refuse_unknown(node, opsets[canonical(node.domain)])
    return opsets


def _default_opset(nodes: Iterable[onnx.NodeProto]) -> int:
    """The usual opset, or the first above it that has every operator of the default domain that the nodes use."""
    highest = min(runtime_limits().opset, defs.onnx_opset_version())
    operators = {node.op_type for node in nodes if canonical(node.domain) == ""}
    for version in range(min(_USUAL_OPSET, highest), highest):
        if all(defs.has(operator, version, "") for operator in operators):
            return version
    return highest


def _domain_version(domain: str, opset: int) -> int:
    """The version of a domain that belongs to an opset of the default domain; 1 where onnx does not know the domain."""
    if domain == "ai.onnx.ml":
        return next((int(row[3]) for row in helper.VERSION_TABLE if int(row[2]) >= opset), 1)
    return 1


def _refuse_unknown(node: onnx.NodeProto, version: int) -> None:
    domain = canonical(node.domain)
    if domain not in ("", "ai.onnx.ml") or defs.has(node.op_type, version, domain):
        return
    schemas = [schema for schema in defs.get_all_schemas_with_history() if schema.domain == domain]
    since = [schema.since_version for schema in schemas if schema.name == node.op_type]
    if since:
        hint = f"it exists since opset {min(since)}"
    else:
        alike = similar(node.op_type, sorted({schema.name for schema in schemas}))
        hint = "did you mean " + " or ".join(alike) + "?" if alike else "give custom operators a domain of their own"
    raise InvalidGraphError(
        f"there is no operator {node.op_type!r} in opset {version} of {domain or 'ai.onnx'}",
        names=(node.op_type,),
        hint=hint,
    )


def _ir_version(proto: onnx.ModelProto) -> int:
    needed = helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
    return min(max(needed, _USUAL_IR), max(runtime_limits().ir_version, 8))


def _warn_about_runtime(proto: onnx.ModelProto) -> None:
    limits = runtime_limits()
    opset = next((o.version for o in proto.opset_import if o.domain == ""), 0)
    if limits.version and (proto.ir_version > limits.ir_version or opset > limits.opset):
        warnings.warn(
            f"the model has IR version {proto.ir_version} and opset {opset}; the installed onnxruntime {limits.version} "
            f"loads up to IR {limits.ir_version} and opset {limits.opset}",
            GraphkitWarning,
            stacklevel=3,
        )
