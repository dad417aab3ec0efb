"""The documented limits of a target, which are data (one JSON file a target), and where a model is beyond them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx

from graphkit.graph.names import label
from graphkit.graph.opset import imported, opset_of
from graphkit.graph.scopes import Scope, scopes
from graphkit.graph.values import attribute_value, dims
from graphkit.graph.walk import call_key, function_key, function_nodes
from graphkit.hint import Blank, Hint, Part, call
from graphkit.inspection.freezable import making_constant
from graphkit.model import ModelLike
from graphkit.result import Result
from graphkit.semantics.known_operators import unknown_operator, unknown_operator_remedy
from graphkit.semantics.schemas import schema_of
from graphkit.shapes.inference import inferred
from graphkit.storage.load import as_valid_model
from graphkit.tensor import type_name

NO_COMMAND = "no command mends it: write it with other operators in the module and export again, or give TensorRT a plugin for it"

Severity = Literal["error", "note"]
TARGETS = ("tensorrt",)


@dataclass(frozen=True, repr=False)
class Violation(Result):
    """One place where a model is beyond what a target documents.

    Attributes:
        rule: The rule's name in the target's file.
        severity: "error": the target refuses it; "note": it runs and computes otherwise.
        message: What is wrong, in one sentence.
        node: The node, by its name or first output; None where it is about an input or the opset.
        remedy: The edit that mends it, or what to change where none does.
        source: Where the rule is documented.
    """

    rule: str
    severity: Severity
    message: str
    node: str | None
    remedy: str | Hint
    source: str


@dataclass(frozen=True, repr=False)
class Lint(Result):
    """What ``lint`` found.

    Attributes:
        target: The target.
        version: The version of the target that was assumed.
        documented: Which documentation's table of operators was used.
        violations: What is beyond it, in graph order.
        dynamic: Inputs with dims that vary: input -> its shape as text. TensorRT wants a profile for these.
        checked: What the rules rest on.
    """

    target: str
    version: str
    documented: str
    violations: tuple[Violation, ...]
    dynamic: dict[str, str]
    checked: str

    def __bool__(self) -> bool:
        return self.ok

    @property
    def ok(self) -> bool:
        """Whether nothing was found that the target refuses."""
        return not any(violation.severity == "error" for violation in self.violations)


def lint(model: ModelLike, target: str = "tensorrt", version: str | None = None) -> Lint:
    """Find where a model is beyond what another runtime documents, and operators that do not exist.

    Args:
        model: A path, a ModelProto or a Model.
        target: "tensorrt".
        version: The target's version, such as "8.6"; None for the newest that the rule file knows. The table of
            operators is that of the newest documented version which is not newer; rules say until when they held.

    Raises:
        ValueError: An unknown target, a version that is no version.
        InvalidGraphError: The model contradicts itself.

    Changes: nothing.
    Scope: main graph and bodies. Functions are taken for what a target has to know itself, but for operators in them that
        do not exist.
    Cost: O(graph), one shape inference; weights are not read.

    Example:
        >>> import graphkit as gk
        >>> gk.lint("model.onnx", target="tensorrt").target
        'tensorrt'
    """
    if target not in TARGETS:
        raise ValueError(f"target is one of {', '.join(TARGETS)}, not {target!r}")
    book = _book(target)
    wanted = version or book["tables"][-1]["from"]
    table = next((t for t in reversed(book["tables"]) if _number(t["from"]) <= _number(wanted)), book["tables"][0])
    proto = inferred(as_valid_model(model).proto)
    found = [*_opset(proto, table), *_inputs(proto, book, wanted)]
    functions = {function_key(function) for function in proto.functions}
    versions = imported(proto.opset_import)
    for scope in scopes(proto.graph):
        for node in scope.index.nodes:
            found += _operator(scope, node, table, functions, versions)
            for rule in book["rules"]:
                if node.op_type in rule.get("operators", ()) and _standard(node) and _in_force(rule, wanted, proto):
                    found += _applied(rule, scope, node, proto)
    for function in proto.functions:
        own = imported(function.opset_import) or versions
        found += [
            violation
            for node in function_nodes(function)
            if call_key(node) not in functions
            for violation in _unknown(node, own)
        ]
    return Lint(target, wanted, table["documents"], tuple(found), _dynamic(proto), book["checked"])


@functools.cache
def _book(target: str) -> Any:
    return json.loads((Path(__file__).parent / f"{target}.json").read_text(encoding="utf-8"))


def _number(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    if not all(part.isdigit() for part in parts):
        raise ValueError(f"{version!r} is no version; write it like 10.15")
    return tuple(int(part) for part in parts)


def _in_force(rule: Mapping[str, Any], version: str, proto: onnx.ModelProto) -> bool:
    opsets = rule.get("opset")
    if opsets is not None and not opsets[0] <= opset_of(proto) <= opsets[1]:
        return False
    return "until" not in rule or _number(version)[:2] <= _number(rule["until"])


def _standard(node: onnx.NodeProto) -> bool:
    return node.domain in ("", "ai.onnx")


def _opset(proto: onnx.ModelProto, table: Mapping[str, Any]) -> Iterator[Violation]:
    low, high = table["opset"]
    opset = opset_of(proto)
    if not low <= opset <= high:
        to = high if opset > high else low
        message = f"{table['documents']} documents opsets {low} to {high}, and the model has {opset}"
        yield Violation("opset", "error", message, None, Hint(call("opset", to=to)), table["source"])


def _inputs(proto: onnx.ModelProto, book: Mapping[str, Any], version: str) -> Iterator[Violation]:
    weights = {tensor.name for tensor in proto.graph.initializer}
    for rule in book["rules"]:
        if rule["check"] != "input-type" or not _in_force(rule, version, proto):
            continue
        for value in proto.graph.input:
            if value.name not in weights and type_name(value.type.tensor_type.elem_type) in rule["types"]:
                yield _violation(rule, None, value=repr(value.name))


def _unknown(node: onnx.NodeProto, versions: Mapping[str, int]) -> Iterator[Violation]:
    if (why := unknown_operator(node, versions)) is not None:
        name = label(node)
        remedy = unknown_operator_remedy(call_key(node)[0], node.op_type, name)
        yield Violation("unknown-operator", "error", why, name, remedy, "the operators of ONNX: onnx.ai/onnx/operators")


def _operator(
    scope: Scope,
    node: onnx.NodeProto,
    table: Mapping[str, Any],
    functions: set[tuple[str, str, str]],
    versions: Mapping[str, int],
) -> Iterator[Violation]:
    name = label(node)
    if call_key(node) in functions:
        return
    unknown = list(_unknown(node, versions))
    if unknown:
        yield from unknown
        return
    if not _standard(node):
        message = f"{node.domain}::{node.op_type} needs a plugin of this name, or a body"
        remedy = Hint(call("define", function=Blank("FILE")))
        yield Violation("custom-operator", "error", message, name, remedy, table["source"])
        return
    if node.op_type in table["unsupported"]:
        message = f"{table['documents']} does not support {node.op_type}"
        yield Violation("operator", "error", message, name, NO_COMMAND, table["source"])
    types = next((entry["types"] for entry in table["types"] if node.op_type in entry["operators"]), None)
    held = scope.type_of(node.input[0]) if node.input and types else None
    kind = type_name(held.tensor_type.elem_type) if held is not None and held.HasField("tensor_type") else None
    if types and kind not in (None, *types) and kind not in ("float64", "undefined"):
        message = f"{node.op_type} works on {', '.join(types)}, not on {kind}"
        advice = f"no command mends it: cast to {types[0]} before it in the module, and export again"
        yield Violation("operator-type", "error", message, name, advice, table["source"])


def _applied(
    rule: Mapping[str, Any], scope: Scope, node: onnx.NodeProto, proto: onnx.ModelProto
) -> Iterator[Violation]:
    check = _CHECKS.get(rule["check"])
    values = check(rule, scope, node, opset_of(proto)) if check is not None else None
    if values is not None:
        yield _violation(rule, node, **values)


def _violation(rule: Mapping[str, Any], node: onnx.NodeProto | None, **values: Any) -> Violation:
    name = None if node is None else label(node)
    filled = {"op": node.op_type if node is not None else "", **values}
    return Violation(
        rule["id"],
        rule.get("severity", "error"),
        rule["message"].format(**filled),
        name,
        _remedy(rule.get("remedy", NO_COMMAND), filled),
        rule["source"],
    )


def _remedy(written: str | list[Any], filled: Mapping[str, Any]) -> Hint:
    """A rule's remedy: texts with gaps, and edits as recipes write them (``{"do": "opset", "to": 17}``)."""
    parts: list[Part] = []
    for part in [written] if isinstance(written, str) else written:
        if isinstance(part, dict):
            arguments = dict(part)
            parts.append(call(arguments.pop("do"), **arguments))
        else:
            whole = filled.get(part[1:-1])  # a gap that is all of the text may be a hint
            parts.append(whole if isinstance(whole, Hint) else part.format(**filled))
    return Hint(*parts)


Found = dict[str, Any] | None
"""What fills the gaps of a rule's message where it is broken; None where it is kept."""


def _attribute(rule: Mapping[str, Any], scope: Scope, node: onnx.NodeProto, opset: int) -> Found:
    del scope, opset
    value = attribute_value(node, rule["attribute"], rule["default"])
    return None if value in rule["allowed"] else {"value": value}


def _constant_input(rule: Mapping[str, Any], scope: Scope, node: onnx.NodeProto, opset: int) -> Found:
    name = _input(node, rule["input"], opset)
    if not name or scope.constant(name) is not None:
        return None
    return {"constant": making_constant(scope, name)}


def _empty_input(rule: Mapping[str, Any], scope: Scope, node: onnx.NodeProto, opset: int) -> Found:
    name = _input(node, rule["input"], opset)
    tensor = scope.constant(name) if name else None
    return {"opset": opset} if tensor is not None and 0 in tensor.dims else None


def _no_attribute_with_input(rule: Mapping[str, Any], scope: Scope, node: onnx.NodeProto, opset: int) -> Found:
    if _constant_input(rule, scope, node, opset) is None:
        return None
    axes, known = attribute_value(node, rule["attribute"], None), scope.dims_of(node.input[0])
    return None if axes is None or (known is not None and list(axes) == list(range(len(known)))) else {}


def _all_ones(rule: Mapping[str, Any], scope: Scope, node: onnx.NodeProto, opset: int) -> Found:
    del scope, opset
    return None if all(number == 1 for number in attribute_value(node, rule["attribute"], ())) else {}


def _rank(rule: Mapping[str, Any], scope: Scope, node: onnx.NodeProto, opset: int) -> Found:
    del opset
    known = scope.dims_of(node.input[0])
    return None if known is None or len(known) in rule["ranks"] else {"value": len(known)}


def _one_output(rule: Mapping[str, Any], scope: Scope, node: onnx.NodeProto, opset: int) -> Found:
    del rule, opset
    more = [name for name in node.output[1:] if name]
    return {} if any(name in scope.index.consumers or name in scope.index.outputs for name in more) else None


_CHECKS: dict[str, Callable[[Mapping[str, Any], Scope, onnx.NodeProto, int], Found]] = {
    "attribute": _attribute,
    "constant-input": _constant_input,
    "empty-input": _empty_input,
    "no-attribute-with-input": _no_attribute_with_input,
    "all-ones": _all_ones,
    "rank": _rank,
    "one-output": _one_output,
}


def _input(node: onnx.NodeProto, name: str, opset: int) -> str:
    """The value that a node has for a named input of its operator; "" where it has none."""
    schema = schema_of(node.op_type, opset)
    names = [parameter.name for parameter in schema.inputs] if schema is not None else []
    position = names.index(name) if name in names else len(node.input)
    return node.input[position] if position < len(node.input) else ""


def _dynamic(proto: onnx.ModelProto) -> dict[str, str]:
    weights = {tensor.name for tensor in proto.graph.initializer}
    found = {}
    for value in proto.graph.input:
        known = dims(value.type)
        if value.name not in weights and (known is None or not all(isinstance(d, int) for d in known)):
            found[value.name] = "?" if known is None else "x".join("?" if d is None else str(d) for d in known)
    return found
