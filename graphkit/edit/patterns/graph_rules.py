"""Built-in rules that no pattern says: about initializers, outputs, constants, attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from graphkit.edit.constants import initializer_of
from graphkit.edit.function_bodies import expanded_operator
from graphkit.edit.nodes import set_nodes
from graphkit.edit.patterns.einsum import einsum_parts
from graphkit.edit.prune import keep
from graphkit.edit.readers import read_instead
from graphkit.errors import FormatError
from graphkit.graph import values, walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names, title
from graphkit.graph.opset import opset_of
from graphkit.graph.scopes import Scope, scopes
from graphkit.model import Model
from graphkit.semantics.schemas import schema_of
from graphkit.shapes.inference import inferred

Apply = Callable[[Model, onnx.ModelProto, Mapping[str, Any]], list[str]]
"""Changes the model; returns what was rewritten."""


@dataclass(frozen=True)
class GraphRule:
    """A rule that is code.

    Attributes:
        name: What notes call it.
        summary: One sentence.
        apply: Does it.
        parameters: Name -> value unless another is given.
        law: "replaced" or "close".
        tolerance: As a Rule's.
    """

    name: str
    summary: str
    apply: Apply
    parameters: Mapping[str, Any] = field(default_factory=dict)
    law: str = "replaced"
    tolerance: float | None = None

    def given(self, values: Mapping[str, Any]) -> GraphRule:
        """The rule with other values for its parameters.

        Raises:
            FormatError: It has no such parameter.
        """
        for name in values:
            if name not in self.parameters:
                has = ", ".join(self.parameters) or "none"
                raise FormatError(f"the rule {self.name!r} has no parameter {name!r}", hint=f"it has {has}")
        return replace(self, parameters={**self.parameters, **values})


def _constants_to_initializers(_model: Model, proto: onnx.ModelProto, _given: Mapping[str, Any]) -> list[str]:
    if proto.ir_version < 4:
        return []  # an initializer would be an input too
    done = []
    for graph in walk.graphs(proto.graph):
        kept = []
        outputs = {value.name for value in graph.output}
        for node in graph.node:
            tensor = initializer_of(node) if values.is_constant_node(node) else None
            if tensor is None or node.output[0] in outputs:
                kept.append(node)
                continue
            graph.initializer.append(tensor)
            done.append(title(node))
        if len(kept) < len(graph.node):
            set_nodes(graph, kept)
    return done


def _lift_initializers(_model: Model, proto: onnx.ModelProto, _given: Mapping[str, Any]) -> list[str]:
    names = Names(proto.graph)
    defined: dict[str, int] = {}
    for graph in walk.graphs(proto.graph):
        for name in walk.defined_names(graph):
            defined[name] = defined.get(name, 0) + 1
    done = []
    for body in walk.nested(proto.graph.node):
        given = {value.name for value in (*body.input, *body.output)}
        for place in range(len(body.initializer) - 1, -1, -1):
            tensor = body.initializer[place]
            if tensor.name in given:
                continue
            copy = proto.graph.initializer.add()
            copy.CopyFrom(tensor)
            if defined[tensor.name] > 1:
                copy.name = names.fresh(tensor.name)
                read_instead(body.node, {tensor.name: copy.name})
                for annotation in body.quantization_annotation:
                    if annotation.tensor_name == tensor.name:
                        annotation.tensor_name = copy.name
            done.append(f"{tensor.name!r}")
            _drop_declaration(body, tensor.name)
            del body.initializer[place]
    return done


def _drop_declaration(graph: onnx.GraphProto, name: str) -> None:
    keep(graph.value_info, lambda value: value.name != name)


def _default_attributes(_model: Model, proto: onnx.ModelProto, _given: Mapping[str, Any]) -> list[str]:
    opset = opset_of(proto)
    done = []
    for node in walk.nodes(proto.graph):
        schema = schema_of(node.op_type, opset) if node.domain in ("", "ai.onnx") else None
        if schema is None:
            continue
        have = {attribute.name for attribute in node.attribute}
        new = [
            rule.default_value
            for name, rule in sorted(schema.attributes.items())
            if name not in have and rule.default_value.type != onnx.AttributeProto.UNDEFINED
        ]
        if new:
            node.attribute.extend(new)
            done.append(title(node))
    return done


def _identity_outputs(_model: Model, proto: onnx.ModelProto, _given: Mapping[str, Any]) -> list[str]:
    """An output that is an input or initializer itself, or that is listed twice, comes out of an Identity."""
    names = Names(proto.graph)
    done = []
    for graph in walk.graphs(proto.graph):
        made = {name for node in graph.node for name in node.output}
        seen: set[str] = set()
        main = graph is proto.graph
        for output in graph.output:
            name = output.name
            if name in made and name not in seen:
                seen.add(name)
                continue
            if main and name not in seen:
                # the interface keeps its names, and a value cannot have two makers: the input or weight stays as it is
                seen.add(name)
                continue
            fresh = names.fresh(f"{name}_output")
            graph.node.add(op_type="Identity", name=names.fresh(f"{fresh}_Identity"), input=[name], output=[fresh])
            output.name = fresh
            done.append(f"{name!r}")
    for function in proto.functions:
        done += _identity_results(function, names)
    return done


def _identity_results(function: onnx.FunctionProto, names: Names) -> list[str]:
    """The same for the results of a function. Changes it."""
    made = {name for node in function.node for name in node.output}
    done: list[str] = []
    for place, name in enumerate(function.output):
        if name in made and name not in function.output[:place]:
            continue
        fresh = names.fresh(f"{name}_output")
        function.node.add(op_type="Identity", name=names.fresh(f"{fresh}_Identity"), input=[name], output=[fresh])
        function.output[place] = fresh
        done.append(f"{name!r}")
    return done


def _tie_embeddings(model: Model, proto: onnx.ModelProto, _given: Mapping[str, Any]) -> list[str]:
    """A head that multiplies by a table that is the transposed one of an embedding reads that through a Transpose."""
    index = GraphIndex(proto.graph)
    tables = {
        node.input[0]
        for node in index.nodes
        if node.op_type == "Gather" and not node.domain and values.attribute_value(node, "axis", 0) == 0
    }
    tensors = {name: t for name in tables if (t := values.constant(index, name)) is not None and len(t.dims) == 2}
    names = Names(proto.graph)
    done: list[str] = []
    nodes: list[onnx.NodeProto] = []
    for node in index.nodes:
        head = node.input[1] if node.op_type in ("MatMul", "Gemm") and not node.domain and len(node.input) > 1 else ""
        tensor = values.constant(index, head) if head and head not in tables else None
        equal = next(
            (n for n, t in tensors.items() if tensor is not None and _transposed(model, t, tensor, node)), None
        )
        if equal is not None:
            if node.op_type == "Gemm":
                kept = [a for a in node.attribute if a.name != "transB"]
                turned = 1 - values.attribute_value(node, "transB", 0)
                del node.attribute[:]
                node.attribute.extend([*kept, onnx.helper.make_attribute("transB", turned)])
                node.input[1] = equal
            else:
                turned_name = names.fresh(f"{head}_tied")
                label = names.fresh(f"{turned_name}_Transpose")
                nodes.append(onnx.helper.make_node("Transpose", [equal], [turned_name], name=label, perm=[1, 0]))
                node.input[1] = turned_name
            done.append(title(node))
        nodes.append(node)
    if done:
        set_nodes(proto.graph, nodes)
        _drop_unread(proto)
    return done


def _transposed(model: Model, table: onnx.TensorProto, head: onnx.TensorProto, node: onnx.NodeProto) -> bool:
    """Whether a head's weight is a table turned; for a Gemm with transB it would be the table itself, which is no gain."""
    if table.data_type != head.data_type or list(head.dims) != list(table.dims)[::-1] or table is head:
        return False
    if node.op_type == "Gemm" and values.attribute_value(node, "transB", 0):
        return False
    mine, his = model.array_of(table), model.array_of(head)
    return bool(np.array_equal(np.ascontiguousarray(mine.T).view(np.uint8), np.ascontiguousarray(his).view(np.uint8)))


def _drop_unread(proto: onnx.ModelProto) -> None:
    """Take out initializers that nothing reads and nobody can feed."""
    read = {name for node in walk.nodes(proto.graph) for name in node.input}
    read.update(value.name for graph in walk.graphs(proto.graph) for value in (*graph.output, *graph.input))
    read.update(e.tensor_name for e in proto.graph.quantization_annotation)
    for place in range(len(proto.graph.initializer) - 1, -1, -1):
        if proto.graph.initializer[place].name not in read:
            del proto.graph.initializer[place]


_MASKS = frozenset(("Add", "Mul", "Where", "Expand", "Shape", "Sub", "Unsqueeze", "Concat"))


def _mask_value(model: Model, proto: onnx.ModelProto, given: Mapping[str, Any]) -> list[str]:
    """Floats below a threshold in constants that only masks are made of become another number."""
    threshold, value = float(given["threshold"]), float(given["value"])
    done = []
    for graph in walk.graphs(proto.graph):
        inputs = {v.name for v in (*graph.input, *graph.output)}
        readers: dict[str, set[str]] = {}
        for node in walk.nodes(graph):
            for name in node.input:
                readers.setdefault(name, set()).add(node.op_type if not node.domain else node.domain)
        held = [(t.name, t) for t in graph.initializer if t.name not in inputs]
        for node in graph.node:
            if values.is_constant_node(node) and node.output[0] not in inputs:
                tensor = next((a.t for a in node.attribute if a.name == "value"), None)
                held.extend([(node.output[0], tensor)] if tensor is not None else [])
                for attribute in node.attribute:
                    if attribute.name == "value_float" and attribute.f < threshold and _masks(readers, node.output[0]):
                        attribute.f = value
                        done.append(f"{node.output[0]!r}")
        for name, tensor in held:
            if tensor.data_type in _FLOATS and _masks(readers, name):
                array = model.array_of(tensor)
                low = np.asarray(array, np.float64) < threshold
                if low.any():
                    new = array.copy()
                    new[low] = value
                    tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
                    done.append(f"{name!r}")
    return done


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def _masks(readers: Mapping[str, set[str]], name: str) -> bool:
    return name in readers and readers[name] <= _MASKS


Writer = Callable[[onnx.NodeProto, Scope, int, Names], "list[onnx.NodeProto] | None"]
"""What writes other nodes for one, given what is around it, the opset and the names in use; None where it cannot."""


def _expand(op: str, write: Writer = expanded_operator) -> Apply:
    """What makes a rule of a way to say an operator by others: ONNX's own definition."""

    def apply(_model: Model, proto: onnx.ModelProto, _given: Mapping[str, Any]) -> list[str]:
        if not any(node.op_type == op and not node.domain for node in walk.nodes(proto.graph)):
            return []
        opset, names, done = opset_of(proto), Names(proto.graph), []
        found = list(scopes(inferred(proto).graph))
        for graph, scope in reversed(list(zip(walk.graphs(proto.graph), found, strict=True))):
            nodes, changed = [], False
            for node in graph.node:
                body = write(node, scope, opset, names) if node.op_type == op and not node.domain else None
                nodes.extend(body or [node])
                if body:
                    changed = True
                    done.append(title(node))
            if changed:
                set_nodes(graph, nodes)
        return done

    return apply


def _tables(rules: list[GraphRule]) -> dict[str, GraphRule]:
    return {rule.name: rule for rule in rules}


_DEFINED = {
    "center-crop-pad": "CenterCropPad",
    "cross-entropy-loss": "SoftmaxCrossEntropyLoss",
    "group-norm": "GroupNormalization",
    "layer-norm": "LayerNormalization",
    "nll-loss": "NegativeLogLikelihoodLoss",
    "rms-norm": "RMSNormalization",
    "rotary-embedding": "RotaryEmbedding",
}

GRAPH_RULES = _tables(
    [
        GraphRule("constants-to-initializers", "Constant nodes become initializers.", _constants_to_initializers),
        GraphRule("lift-initializers", "Initializers of bodies move to the main graph.", _lift_initializers),
        GraphRule(
            "default-attributes",
            "Attributes that nodes leave out are written with their defaults.",
            _default_attributes,
        ),
        GraphRule(
            "identity-outputs",
            "An output of a body that is an input, a weight or an outer value comes out of an Identity; so does an output "
            "that is listed twice.",
            _identity_outputs,
        ),
        *(
            GraphRule(f"expand-{words}", f"{op} becomes the operators that ONNX defines it by.", _expand(op))
            for words, op in _DEFINED.items()
        ),
        GraphRule(
            "einsum-to-matmul",
            "Einsum of one or two operands becomes Transpose, ReduceSum, Reshape and MatMul.",
            _expand("Einsum", einsum_parts),
        ),
        GraphRule(
            "tie-embeddings",
            "A head whose weight is an embedding's table, transposed, reads the table: one copy is stored.",
            _tie_embeddings,
        ),
        GraphRule(
            "mask-value",
            "Numbers below a threshold in the constants of attention masks become another number.",
            _mask_value,
            {"threshold": -3e30, "value": -1e4},
            "close",
            1e-3,
        ),
    ]
)
"""Name -> rule."""
