"""A body for an operator that the runtime does not know, as a model-local function."""

from __future__ import annotations

import os
from typing import Any

import onnx

from graphkit.arguments import ArgumentTypeError
from graphkit.edit.lowering import differing
from graphkit.errors import EditError, FormatError, ModelFileError, NameTakenError
from graphkit.graph import walk
from graphkit.graph.names import label
from graphkit.graph.opset import imported, opset_of
from graphkit.hint import Hint, call
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.storage.system import regular_only
from graphkit.storage.text import parser_said

FUNCTIONS_SINCE_IR = 8
"""The IR version from which on a model may hold functions (docs/IR.md, "Functions")."""


@operation(law="replaced", valid=False)
def define(model: Model, function: onnx.FunctionProto | str | os.PathLike[str] | Any) -> Edit:
    """Give an operator of a custom domain a body out of operators that every runtime knows.

    A node of the function's domain and name becomes a call of it; ONNX Runtime inlines the call when it loads the model.

    Args:
        model: A path, a ModelProto or a Model.
        function: A FunctionProto, an onnxscript function (``@onnxscript.script``), a path to a text file, or ONNX's text::

            <domain: "custom", opset_import: ["" : 18]>
            twice_plus (a, b) => (c) { d = Add(a, a)  c = Add(d, b) }

    Returns:
        The model with the function; its IR version is raised to 8 where it was lower.

    Raises:
        EditError: The function is in the default domain, or a node calls it with more inputs or outputs than it has. Or
            the body and the model import a domain in two versions that do not agree about an operator of the body.
        NameTakenError: The model has a function of this domain, name and overload.
        FormatError: The text is no function.
        ModelFileError: The file cannot be read.
        TypeError: The function is none of these.

    Changes: nothing; returns a new model.
    Scope: a function is visible in the main graph, in bodies and in other functions.
    Cost: O(nodes); weights are not read.
    Law: replaced: the same numbers as with the body in the place of each call.
    Source: onnx docs/IR.md, "Functions".

    Example:
        >>> text = '<domain: "mine", opset_import: ["" : 20]> Twice (a) => (b) { b = Add(a, a) }'
        >>> gk.define("custom.onnx", text).save("out.onnx")  # doctest: +SKIP
    """
    body = _function(function)
    key = walk.function_key(body)
    if key[0] == "":
        raise EditError(
            f"{body.name!r} is in the default domain, whose operators a model cannot define",
            hint='give the function a domain: <domain: "custom", ...>',
        )
    if key in {walk.function_key(known) for known in model.proto.functions}:
        raise NameTakenError(f"the model defines {key[0]}::{key[1]} already", name=body.name)
    proto = model.copy_proto()
    calls = [node for node in walk.model_nodes(proto) if walk.call_key(node) == key]
    for node in calls:
        _check_call(node, body)
    _check_opsets(proto, body)
    notes = _lift(proto, body)
    proto.functions.append(body)
    idle = [] if calls else [f"no node calls {body.domain}::{body.name}"]
    return Edit(proto, notes, warnings=idle, arguments={"function": body})


def _function(function: Any) -> onnx.FunctionProto:
    if isinstance(function, onnx.FunctionProto):
        body = onnx.FunctionProto()
        body.CopyFrom(function)
        return body
    if hasattr(function, "to_function_proto"):
        made: onnx.FunctionProto = function.to_function_proto()
        return made
    if not isinstance(function, str | os.PathLike):
        raise ArgumentTypeError(
            f"a function is a FunctionProto, a text, a path or an onnxscript function, not {type(function).__name__}"
        )
    text, path = os.fspath(function), None
    if "=>" not in text:
        path = text
        try:
            with open(path, encoding="utf-8", opener=regular_only) as file:
                text = file.read()
        except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a path that no system has
            raise ModelFileError(f"cannot read the function {path!r}: {error}", path=path) from error
    try:
        return onnx.parser.parse_function(text)
    except onnx.parser.ParseError as error:
        reason = parser_said(error)
        raise FormatError(
            f"the text is no ONNX function: {reason}",
            path=path,
            hint='write <domain: "custom", opset_import: ["" : 18]> name (a, b) => (c) { c = Add(a, b) }',
        ) from error


def _check_call(node: onnx.NodeProto, body: onnx.FunctionProto) -> None:
    for kind, given, known in (("inputs", node.input, body.input), ("outputs", node.output, body.output)):
        if len(given) > len(known):
            raise EditError(
                f"node {label(node)!r} has {len(given)} {kind}, and {body.domain}::{body.name} has {len(known)}",
            )
    known_attributes = {*body.attribute, *(attribute.name for attribute in body.attribute_proto)}
    unknown = sorted({attribute.name for attribute in node.attribute} - known_attributes)
    if unknown:
        raise EditError(
            f"node {label(node)!r} has the attribute {unknown[0]!r}, which the function does not take",
            hint=f"declare it: {body.name} <{unknown[0]}> (...) => (...)",
        )


def _check_opsets(proto: onnx.ModelProto, body: onnx.FunctionProto) -> None:
    """A function may import another opset than the model as long as its operators mean the same in both (docs/IR.md,
    "Functions"). ONNX Runtime inlines it, and takes its nodes for nodes of the model's opset.
    """
    theirs = imported(body.opset_import).get("")
    ours = opset_of(proto)
    operator = differing(body, theirs, ours) if theirs is not None else None
    if operator is not None and theirs is not None:
        raise EditError(
            f"the body of {body.domain}::{body.name} is written for opset {theirs} and the model for {ours}, and its "
            f"{operator} is not the same in both",
            hint=Hint("raise the model first: ", call("opset", to=theirs))
            if theirs > ours
            else f"write the body for opset {ours}",
        )


def _lift(proto: onnx.ModelProto, body: onnx.FunctionProto) -> list[str]:
    """Let the model hold the function: IR version, and the function's domain among the opsets."""
    notes = []
    if proto.ir_version < FUNCTIONS_SINCE_IR:
        notes.append(f"IR version {proto.ir_version} raised to {FUNCTIONS_SINCE_IR}: older ones have no functions")
        proto.ir_version = FUNCTIONS_SINCE_IR
    if body.domain not in {entry.domain for entry in proto.opset_import}:
        proto.opset_import.add(domain=body.domain, version=1)
    return notes
