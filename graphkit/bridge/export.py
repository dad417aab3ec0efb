"""A gs.Graph as protos: like onnx-graphsurgeon's own exporter, without what that loses."""

from __future__ import annotations

from typing import Any

import onnx

from graphkit.errors import EditError


def export_graph(graph: Any) -> onnx.GraphProto:
    """A gs.Graph as a GraphProto. Unlike gs' own exporter it takes values of every type (as a bare name where gs cannot
    say the type) and lists what bodies only capture nowhere.
    """
    import onnx_graphsurgeon as gs

    proto = onnx.GraphProto(name=graph.name or "", doc_string=graph.doc_string or "")
    tensors: dict[str, Any] = {}
    for node in graph.nodes:
        proto.node.append(_export_node(node))
        tensors.update((t.name, t) for t in (*node.inputs, *node.outputs) if t.name)
    boundary = {t.name for t in (*graph.inputs, *graph.outputs)}
    proto.input.extend(_export_value(t) for t in graph.inputs)
    proto.output.extend(_export_value(t) for t in graph.outputs)
    tensors.update((t.name, t) for t in graph.outputs)
    for name, tensor in tensors.items():
        if isinstance(tensor, gs.Constant):
            _export_constant(proto, tensor)
        elif name not in boundary and tensor.dtype is not None:
            proto.value_info.append(_export_value(tensor))
    return proto


def _export_constant(proto: onnx.GraphProto, constant: Any) -> None:
    tensor = _constant_proto(constant)
    if isinstance(tensor, onnx.SparseTensorProto):
        proto.sparse_initializer.append(tensor)
    else:
        proto.initializer.append(tensor)


def _constant_proto(constant: Any) -> Any:
    """A TensorProto, or a SparseTensorProto; values that nobody asked for are not read."""
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
    from onnx_graphsurgeon.ir.tensor import LazyValues

    held = constant._values  # noqa: SLF001 (reading `values` would load them)
    if isinstance(held, LazyValues):
        proto = type(held.tensor)()
        proto.CopyFrom(held.tensor)
        named = proto.values if isinstance(proto, onnx.SparseTensorProto) else proto
        named.name = constant.name
        return proto
    wanted = constant.export_dtype
    if isinstance(wanted, int) and wanted != onnx.helper.np_dtype_to_tensor_dtype(constant.values.dtype):
        # gs 0.6.1 converts by functions that onnx has no longer (its example 12)
        array = constant.values.astype(onnx.helper.tensor_dtype_to_np_dtype(wanted))
        return onnx.numpy_helper.from_array(array, constant.name)
    made: onnx.TensorProto = OnnxExporter.export_tensor_proto(constant)
    made.ClearField("data_location")
    return made


def _export_node(node: Any) -> onnx.NodeProto:
    import onnx_graphsurgeon as gs

    proto = onnx.NodeProto(op_type=node.op)
    if node.name:
        proto.name = node.name
    if node.domain:
        proto.domain = node.domain
    proto.input.extend(t.name for t in node.inputs)
    proto.output.extend(t.name for t in node.outputs)
    for key, value in node.attrs.items():
        if isinstance(value, gs.Graph):
            attribute = proto.attribute.add(name=key, type=onnx.AttributeProto.GRAPH)
            attribute.g.CopyFrom(export_graph(value))
        elif isinstance(value, gs.Constant):
            attribute = proto.attribute.add(name=key, type=onnx.AttributeProto.TENSOR)
            attribute.t.CopyFrom(_constant_proto(value))
        else:
            proto.attribute.append(_export_attribute(node, key, value))
    return proto


def _export_attribute(owner: Any, key: str, value: Any) -> onnx.AttributeProto:
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

    if isinstance(value, list | tuple) and not value:
        # gs does not say what it is a list of. One that no script touched gets its own message back.
        return onnx.AttributeProto(name=key, type=onnx.AttributeProto.INTS)
    try:
        made: onnx.AttributeProto = OnnxExporter.export_attributes({key: value})[0]
    except (TypeError, ValueError) as error:
        raise EditError(f"attribute {key!r} of {owner.name!r} cannot be exported: {error}") from error
    return made


def export_function(function: Any) -> onnx.FunctionProto:
    """A gs.Function as a FunctionProto. What it has as constants becomes Constant nodes, as functions hold no weights."""
    import onnx_graphsurgeon as gs
    from onnx_graphsurgeon.exporters.onnx_exporter import update_import_domains

    proto = onnx.FunctionProto(name=function.name, domain=function.domain or "", doc_string=function.doc_string or "")
    proto.input.extend(tensor.name for tensor in function.inputs)
    proto.output.extend(tensor.name for tensor in function.outputs)
    proto.opset_import.extend(update_import_domains(function))
    for key, default in function.attrs.items():
        if default is None:
            proto.attribute.append(key)
        else:
            proto.attribute_proto.append(_export_attribute(function, key, default))
    for tensor in function.tensors().values():
        if isinstance(tensor, gs.Constant):
            made = proto.node.add(op_type="Constant", output=[tensor.name])
            made.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(_constant_proto(tensor))
    proto.node.extend(_export_node(node) for node in function.nodes)
    return proto


def _export_value(tensor: Any) -> onnx.ValueInfoProto:
    import onnx_graphsurgeon as gs
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

    plain = isinstance(tensor, gs.Constant) or tensor.type in ("tensor_type", "sequence_type", "sparse_tensor_type")
    if not plain or tensor.dtype is None:
        return onnx.ValueInfoProto(name=tensor.name)
    info: onnx.ValueInfoProto = OnnxExporter.export_value_info_proto(tensor, do_type_check=False)
    return info
