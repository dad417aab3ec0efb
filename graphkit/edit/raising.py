"""Raising a model to a later opset, node by node, so that nothing but the nodes that must change does.

``onnx.version_converter`` converts whole models and loses functions, metadata and quantization annotations on the way
(and takes the asymmetric Resize of opset 10 for a half-pixel one: onnx issue 8480). So it is shown one node at a time,
in a model of its own, and only nodes whose definition differs between the two versions.
"""

from __future__ import annotations

import onnx

from graphkit.errors import EditError
from graphkit.graph.names import Names, label, title
from graphkit.graph.scopes import Scope
from graphkit.semantics.schemas import schema_of

CONTROL_FLOW = ("If", "Loop", "Scan")


def raised_node(node: onnx.NodeProto, scope: Scope, before: int, target: int, names: Names) -> list[onnx.NodeProto]:
    """A node as a later opset has it; itself where nothing changes.

    Raises:
        EditError: It cannot be written there.
    """
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
        return [node]
    if node.op_type in ("Upsample", "Resize") and 7 <= before < 11:
        return _raised_resampler(node, target, names)
    if node.op_type == "Resize" and before < 13 <= target:
        return [_without_empty_inputs(node, scope)]
    old, new = schema_of(node.op_type, before), schema_of(node.op_type, target)
    if old is None or new is None or new.deprecated:
        raise EditError(f"{node.op_type} ({label(node)!r}) is not in opset {target if old else before}")
    if old.since_version == new.since_version or same_interface(old, new):
        return [node]
    if node.op_type in CONTROL_FLOW:
        raise EditError(f"{node.op_type} ({node.name!r}) changed its interface between opset {before} and {target}")
    return _converted(node, scope, before, target, names)


def same_interface(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    """Whether two versions of an operator take the same inputs and attributes with the same defaults, so that they differ
    in types only.
    """

    def interface(schema: onnx.defs.OpSchema) -> object:
        attributes = {n: (a.required, a.default_value.SerializeToString()) for n, a in schema.attributes.items()}
        return attributes, [(i.name, i.option) for i in schema.inputs], [(o.name, o.option) for o in schema.outputs]

    return interface(old) == interface(new)


def _without_empty_inputs(node: onnx.NodeProto, scope: Scope) -> onnx.NodeProto:
    """Resize 11 marks roi and scales that are not used by an empty tensor, Resize 13 and later by leaving them out.

    What else differs has defaults that do what Resize 11 did.
    """
    if any(a.name == "coordinate_transformation_mode" and a.s == b"tf_half_pixel_for_nn" for a in node.attribute):
        raise EditError(f"{title(node)}: tf_half_pixel_for_nn ended with opset 13")
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for place, name in enumerate(node.input[1:3], 1):
        tensor = scope.constant(name) if name else None
        if tensor is not None and 0 in tensor.dims:
            copy.input[place] = ""
    while copy.input and not copy.input[-1]:
        copy.input.pop()
    return copy


def _converted(node: onnx.NodeProto, scope: Scope, before: int, target: int, names: Names) -> list[onnx.NodeProto]:
    """One node through onnx.version_converter."""
    inputs, initializers = [], []
    for name in dict.fromkeys(n for n in node.input if n):
        tensor = scope.constant(name)
        if tensor is not None and tensor.data_location != onnx.TensorProto.EXTERNAL:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = name
            initializers.append(copy)
        else:
            info = onnx.ValueInfoProto(name=name)
            if (known := scope.type_of(name)) is not None:
                info.type.CopyFrom(known)
            inputs.append(info)
    outputs = []
    for name in node.output:
        if name:
            info = onnx.ValueInfoProto(name=name)
            if (known := scope.type_of(name)) is not None:
                info.type.CopyFrom(known)
            outputs.append(info)
    graph = onnx.helper.make_graph([node], "node", inputs, outputs, initializers)
    alone = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", before)], ir_version=8)
    try:
        result = onnx.version_converter.convert_version(alone, target)
    except (
        onnx.version_converter.ConvertError,
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        RuntimeError,
        ValueError,
    ) as error:
        raise EditError(
            f"{node.op_type} ({label(node)!r}) cannot be converted from opset {before} to {target}: {error}"
        ) from error
    return _spliced(result.graph, node, names)


def _spliced(graph: onnx.GraphProto, origin: onnx.NodeProto, names: Names) -> list[onnx.NodeProto]:
    """The nodes of a converted model in terms of the graph that the node came from."""
    known = {name for name in (*origin.input, *origin.output) if name}
    table: dict[str, str] = {"": ""}
    nodes = [
        onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        for tensor in graph.initializer
        if tensor.name not in known
    ]
    nodes.extend(graph.node)
    for node in nodes:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                if name not in table:
                    table[name] = name if name in known else names.fresh(f"{origin.output[0]}_{name.strip('_')}")
                field[place] = table[name]
        if set(node.output) & set(origin.output):
            node.name, node.doc_string = origin.name, origin.doc_string
            del node.metadata_props[:]
            node.metadata_props.extend(origin.metadata_props)
        elif not node.name or node.name in names:
            node.name = names.fresh(f"{label(origin)}_{node.op_type}")
    return nodes


def _raised_resampler(node: onnx.NodeProto, target: int, names: Names) -> list[onnx.NodeProto]:
    """Upsample 7 and 9 and Resize 10 as a later version has them: asymmetric coordinates, floor for nearest."""
    import numpy as np

    made: list[onnx.NodeProto] = []
    given = next((a for a in node.attribute if a.name == "scales"), None)
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    if given is not None:
        scales = names.fresh(f"{node.output[0]}_scales")
        tensor = onnx.numpy_helper.from_array(np.array(given.floats, np.float32))
        made.append(onnx.helper.make_node("Constant", [], [scales], name=names.fresh(f"{scales}_node"), value=tensor))
        copy.input.append(scales)
        kept = [a for a in node.attribute if a.name != "scales"]
        del copy.attribute[:]
        copy.attribute.extend(kept)
    if target >= 10:
        copy.op_type = "Resize"
    if target >= 11:
        roi = names.fresh(f"{node.output[0]}_roi") if target < 13 else ""
        if roi:
            empty = onnx.numpy_helper.from_array(np.zeros(0, np.float32))
            made.append(onnx.helper.make_node("Constant", [], [roi], name=names.fresh(f"{roi}_node"), value=empty))
        copy.input.insert(1, roi)
        copy.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        copy.attribute.append(onnx.helper.make_attribute("nearest_mode", "floor"))
    return [*made, copy]
