"""check: is a model valid ONNX, and does the installed runtime load it? Everything that is wrong, not only the first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from graphkit.errors import GraphkitError, InvalidGraphError, TensorError, WeightsError
from graphkit.finding import Finding
from graphkit.graph import walk
from graphkit.graph.faults import Faults
from graphkit.graph.names import label, title
from graphkit.graph.opset import imported
from graphkit.graph.order import is_ordered, sort_nodes, topological_order
from graphkit.graph.scopes import Scope, scopes
from graphkit.hint import Hint, call
from graphkit.inspection.onnx_checker import checker_faults
from graphkit.model import Model, ModelLike
from graphkit.optional import is_there
from graphkit.result import Result
from graphkit.runtime.custom_ops import Libraries, custom_operators
from graphkit.semantics.conforms import type_text, wrong_types
from graphkit.semantics.known_operators import unknown_operator, unknown_operator_remedy
from graphkit.semantics.valid import report_faults
from graphkit.shapes.inference import typed_with_faults
from graphkit.storage.load import as_model, load_with_faults
from graphkit.tensor import STRIPPED_HINT, is_stripped, stripped_message


@dataclass(frozen=True, repr=False)
class Checked(Result):
    """What ``check`` found. It is true where the model is valid.

    Attributes:
        valid: Whether nothing was found.
        findings: What is wrong, by rule and in graph order. ``kind`` is the rule: "definition" (a value is defined
            twice), "reference" (nothing defines it), "cycle", "order" (a node stands before what it reads from), "node"
            (inputs, outputs or attributes that its operator does not take), "operator" (there is none of the name at
            this opset), "type", "shape", "function", "opset", "name", "tensor", "external-data", "weights" (they were
            stripped), "onnx-checker" (anything else that it refuses), "runtime" (what the runtime says when it loads the
            model).
        runtime: The runtime that was asked to load the model, such as "onnxruntime 1.31.0"; None where none was.
    """

    valid: bool
    findings: tuple[Finding, ...]
    runtime: str | None

    def __bool__(self) -> bool:
        return self.valid


def check(model: ModelLike, *, runtime: bool = True, custom_ops: Libraries = ()) -> Checked:
    """Find all that is wrong with a model: by ONNX's rules, by onnx.checker, and by loading it into ONNX Runtime.

    Args:
        model: A path, a ModelProto or a Model. A path is opened as ``load(path, strict=False)`` does.
        runtime: Load it into ONNX Runtime too, on the CPU and with its optimizer off, where that is installed.
        custom_ops: Shared libraries of custom operators for the runtime, as ``session`` takes them.

    Returns:
        The verdict, and a finding for each fault: rule, message, and node or value where it is about one.

    Raises:
        ModelFileError, FormatError: The file cannot be read at all.
        MissingExtraError: The address needs a package that is not installed.
        SessionError: A library cannot be loaded.

    Changes: nothing.
    Scope: main graph, bodies, functions. Where a value is defined twice, types are not looked at.
    Cost: O(graph), about 30 microseconds a node; the runtime, which takes as long again, reads the weights.

    Example:
        >>> import onnx, graphkit as gk
        >>> text = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Relux(x) }'
        >>> [finding.kind for finding in gk.check(onnx.parser.parse_model(text), runtime=False).findings]
        ['operator']
    """
    faults = Faults()
    if isinstance(model, str | os.PathLike):
        source, faults = load_with_faults(model)
    else:
        source = as_model(model)
    loaded = len(faults)
    report_faults(source.proto, faults)
    found = [*_as_findings(source.proto, faults, loaded), *_bytes(source, faults), *_own_rules(source.proto)]
    spoken = {finding.node for finding in found if finding.node and finding.kind != "shape"}
    found = [finding for finding in found if finding.kind != "shape" or finding.node not in spoken]
    spoken.update(finding.node for finding in found if finding.node)
    for said, node in checker_faults(source.proto, whole=not found):
        if node not in spoken:
            found.append(Finding("onnx-checker", f"onnx.checker: {said}", node=node))
    asked = None
    if runtime and is_there("onnxruntime"):
        asked, refusal = _by_runtime(source, found, custom_ops)
        found += refusal
    return Checked(not found, tuple(dict.fromkeys(found)), asked)


def _as_findings(model: onnx.ModelProto, faults: Faults, loaded: int) -> Iterator[Finding]:
    """Faults as findings; tensors that loading has spoken about already are left out."""
    nodes = {label(node) for node in walk.model_nodes(model)}
    said = {fault.error.name for fault in faults[:loaded] if isinstance(fault.error, TensorError)}
    for place, (rule, error) in enumerate(faults):
        if place >= loaded and isinstance(error, TensorError) and error.name in said:
            continue
        name = error.names[0] if isinstance(error, InvalidGraphError) and error.names else getattr(error, "name", None)
        reader = re.match(r"\S+ '(.*?)' reads ", error.message)
        node = reader[1] if reader else name if name in nodes and rule in ("node", "cycle") else None
        yield Finding(rule, error.message, node=node, value=None if name in ("ai.onnx", node) else name)


def _bytes(source: Model, faults: Faults) -> Iterator[Finding]:
    """Tensors whose bytes are not there: stripped, or in a file that is missing; what was said is left out."""
    said = {fault.error.message for fault in faults}
    broken = any(fault.rule == "external-data" for fault in faults)
    for tensor in walk.tensors(source.proto):
        if is_stripped(tensor):
            yield Finding("weights", stripped_message(tensor), value=tensor.name, remedy=STRIPPED_HINT)
        elif tensor.data_location == onnx.TensorProto.EXTERNAL:
            try:
                source.locate(tensor)
            except WeightsError as error:
                if error.message not in said and not broken:
                    yield Finding("external-data", error.message, value=tensor.name, remedy=error.hint)
            except TensorError:
                pass  # a negative dim, which was said


def _own_rules(model: onnx.ModelProto) -> Iterator[Finding]:
    """Operators, order, types and shapes."""
    functions = {walk.function_key(function) for function in model.functions}
    main = imported(model.opset_import)
    parts = [(graph.node, main) for graph in walk.graphs(model.graph)]
    parts += [(f.node, imported(f.opset_import) or main) for f in model.functions]
    parts += [(b.node, imported(f.opset_import) or main) for f in model.functions for b in walk.nested(f.node)]
    for nodes, versions in parts:
        for node in nodes:
            if walk.call_key(node) not in functions and (why := unknown_operator(node, versions)):
                remedy = unknown_operator_remedy(walk.call_key(node)[0], node.op_type, label(node))
                yield Finding("operator", why, node=label(node), remedy=remedy)
        if (early := _early(nodes)) is not None:
            yield Finding(
                "order",
                f"{title(early[0])} stands before the node that makes {early[1]!r}, which it reads",
                node=label(early[0]),
                value=early[1],
                remedy=Hint("sort the nodes with `", call("reorder", sort=True), "`"),
            )
    yield from _types(model, main, functions)


def _early(nodes: Sequence[onnx.NodeProto]) -> tuple[onnx.NodeProto, str] | None:
    """The first node that stands before one that it reads from, and the value; None where they are sorted, or cannot be."""
    later = {name for node in nodes for name in node.output if name}
    found = None
    for node in nodes:
        early = next((name for name in walk.reads(node) if name in later), None)
        if early is not None:
            found = node, early
            break
        later.difference_update(node.output)
    if found is not None:
        try:
            topological_order(nodes)
        except InvalidGraphError:
            return None  # a cycle, which was said
    return found


def _sorted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, or a copy with its nodes sorted: inference takes nodes as they stand.

    Raises:
        InvalidGraphError: Nodes read from each other in a cycle.
    """
    if all(is_ordered(graph.node) for graph in walk.graphs(model.graph)):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in reversed([*walk.graphs(copy.graph)]):  # sorting copies what is inside
        sort_nodes(graph)
    return copy


class _TypeTexts(dict[str, str | None]):
    """Name -> the type of a value seen from a scope, as schemas write it, each found once; None where it is not known."""

    def __init__(self, scope: Scope) -> None:
        super().__init__({"": None})
        self._scope = scope

    def __missing__(self, name: str) -> str | None:
        self[name] = found = type_text(self._scope.type_of(name))
        return found


def _types(model: onnx.ModelProto, versions: dict[str, int], functions: set[walk.FunctionKey]) -> Iterator[Finding]:
    """Types by the operators' schemas, then what shape inference has against a node."""
    wrong = set()
    try:
        model = _sorted(model)
        typed, faults = typed_with_faults(model)
        for scope in scopes(typed.graph):
            text = _TypeTexts(scope)
            for node in scope.index.nodes:
                key = walk.call_key(node)
                if key[0] not in versions or key in functions:
                    continue
                types = (tuple(map(text.__getitem__, node.input)), tuple(map(text.__getitem__, node.output)))
                if (why := wrong_types(node.op_type, versions[key[0]], key[0], *types)) is not None:
                    wrong.add(label(node))
                    yield Finding("type", f"{title(node)}: {why}", node=label(node))
    except InvalidGraphError:
        return  # a value with two definitions, or a cycle, which was said: nobody knows the types
    for node_name, op_type, why in faults:
        named = node_name or next((label(n) for n in walk.model_nodes(model) if n.op_type == op_type), None)
        if named not in wrong:
            yield Finding("shape", f"{op_type} {named!r}: {why}" if op_type else why, node=named)


def _by_runtime(source: Model, found: list[Finding], custom_ops: Libraries) -> tuple[str, list[Finding]]:
    """(the runtime's name and version, what it has against the model that was not found before it was asked)."""
    from graphkit.runtime.failures import import_runtime
    from graphkit.runtime.session import session, session_settings

    runtime = import_runtime()
    version = f"onnxruntime {runtime.__version__}"
    with custom_operators(custom_ops):
        session_settings(runtime, "none")  # a library that cannot be loaded is no fault of the model's
    try:
        session(source, device="cpu", optimize=False, threads=1, custom_ops=custom_ops)
    except GraphkitError as error:
        if isinstance(error, WeightsError) or any(error.message == finding.message for finding in found):
            return version, []
        named = re.findall(r"[Nn]ode(?: name)?:? ?\(?'?([^\s'()]+)'?\)?", error.message)
        nodes = {node.name for node in walk.model_nodes(source.proto) if node.name}
        node = next((name for name in named if name in nodes), None)
        return version, [Finding("runtime", f"{version}: {error.message}", node=node, remedy=error.hint)]
    return version, []
