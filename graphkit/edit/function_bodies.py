"""What ONNX itself says an operator is made of: LayerNormalization, Gelu, HardSwish, Attention and others have bodies."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from graphkit.edit.evaluation import computable, evaluated
from graphkit.edit.inlining import call_body
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.graph.scopes import Scope
from graphkit.graph.values import constant_tensor
from graphkit.semantics.schemas import schema_of
from graphkit.tensor import decode


def expanded_operator(node: onnx.NodeProto, scope: Scope, opset: int, names: Names) -> list[onnx.NodeProto] | None:
    """The nodes that a node of ai.onnx is by definition, in an opset's own operators; None where ONNX defines none.

    Names, doc string and metadata go to the nodes that make its outputs.

    Raises:
        EditError: Its body depends on the type of an input, which is not known; it has an attribute that ONNX does not know.

    Source: onnx/defs, FunctionBody and SetContextDependentFunctionBodyBuilder of each operator.
    """
    schema: Any = schema_of(node.op_type, opset)  # onnx's stubs know nothing of bodies
    if schema is None or not (schema.has_function or schema.has_context_dependent_function):
        return None
    call = onnx.NodeProto()
    call.CopyFrom(node)
    given = {attribute.name for attribute in node.attribute}
    if unknown := sorted(given - set(schema.attributes)):
        raise EditError(f"opset {opset} has no attribute {unknown[0]!r} of it, so what it means is not known")
    call.attribute.extend(
        rule.default_value
        for name, rule in schema.attributes.items()
        if name not in given and rule.default_value.type != onnx.AttributeProto.UNDEFINED
    )
    function = _body(call, schema, scope, opset)
    if function is None:
        return None
    made = set(node.output) - {""}
    nodes = _settled(call_body(call, function, names), made, scope, opset)
    for one in nodes:
        if not made.isdisjoint(one.output):
            one.name, one.doc_string = node.name, node.doc_string
            break
    return nodes


def _settled(nodes: list[onnx.NodeProto], outputs: set[str], scope: Scope, opset: int) -> list[onnx.NodeProto]:
    """The nodes of a body with what follows from ranks and constants alone computed: a list of axes, for instance.

    Older versions take such lists as attributes, so they must not be computed by nodes.
    """
    known: dict[str, Any] = {}
    shapes: dict[str, str] = {}
    kept = []
    for node in nodes:
        tensor = constant_tensor(node)
        found = None
        if tensor is not None:
            known[node.output[0]] = decode(tensor, None)
        elif node.op_type == "Shape" and not node.attribute:
            shapes[node.output[0]] = node.input[0]
        elif node.op_type == "Size" and node.input[0] in shapes:
            dims = scope.dims_of(shapes[node.input[0]])
            found = None if dims is None else {node.output[0]: np.array(len(dims), np.int64)}
        elif node.input and all(name in known for name in node.input if name) and computable(node, opset):
            found = evaluated(node, {name: known[name] for name in node.input if name}, opset)
        if found is None:
            kept.append(node)
            continue
        known |= found
        for name, array in found.items():
            value = onnx.numpy_helper.from_array(array, name)
            kept.append(onnx.helper.make_node("Constant", [], [name], name=node.name, value=value))
    read = set(outputs)
    left = []
    for node in reversed(kept):
        if not read.isdisjoint(node.output):
            read.update(walk.reads(node))
            left.append(node)
    return left[::-1]


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
