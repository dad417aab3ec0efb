"""What ONNX itself says an operator is made of: LayerNormalization, Gelu, HardSwish, Attention and others have bodies."""

from __future__ import annotations

from typing import Any

import onnx

from graphkit.edit.inlining import call_body
from graphkit.errors import EditError
from graphkit.graph.names import Names
from graphkit.graph.scopes import Scope
from graphkit.semantics.schemas import schema_of


def expanded_operator(node: onnx.NodeProto, scope: Scope, opset: int, names: Names) -> list[onnx.NodeProto] | None:
    """The nodes that a node of ai.onnx is by definition, in an opset's own operators; None where ONNX defines none.

    Names, doc string and metadata go to the nodes that make its outputs.

    Raises:
        EditError: Its body depends on the type of an input, which is not known.

    Source: onnx/defs, FunctionBody and SetContextDependentFunctionBodyBuilder of each operator.
    """
    schema: Any = schema_of(node.op_type, opset)  # onnx's stubs know nothing of bodies
    if schema is None or not (schema.has_function or schema.has_context_dependent_function):
        return None
    call = onnx.NodeProto()
    call.CopyFrom(node)
    given = {attribute.name for attribute in node.attribute}
    call.attribute.extend(
        rule.default_value
        for name, rule in schema.attributes.items()
        if name not in given and rule.default_value.type != onnx.AttributeProto.UNDEFINED
    )
    function = _body(call, schema, scope, opset)
    if function is None:
        return None
    nodes = call_body(call, function, names)
    made = set(node.output) - {""}
    for one in nodes:
        if not made.isdisjoint(one.output):
            one.name, one.doc_string = node.name, node.doc_string
            break
    return nodes


def _body(node: onnx.NodeProto, schema: Any, scope: Scope, opset: int) -> onnx.FunctionProto | None:
    fixed = [v for v in schema.function_opset_versions if v <= opset]
    if fixed:
        return onnx.FunctionProto.FromString(schema.get_function_with_opset_version(max(fixed)))
    by_type = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not by_type:
        return None
    types = []
    for name in node.input:
        known = scope.type_of(name) if name else onnx.TypeProto()
        if known is None:
            raise EditError(f"the type of {name!r} is not known, on which its definition depends")
        types.append(known.SerializeToString())
    content = schema.get_context_dependent_function_with_opset_version(max(by_type), node.SerializeToString(), types)
    function = onnx.FunctionProto.FromString(content)
    return function if function.node else None
