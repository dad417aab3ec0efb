"""A model in which every field of every message of onnx.proto is set, and everything is used by an output.

It is no model that a runtime could run: a custom operator reads what no real one takes. ``unset_fields`` says which
fields of which messages it does not set, so that a field that a later onnx brings is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, TypeProto, helper


def rich_model() -> onnx.ModelProto:
    """The model: x -> Relu ``a`` -> If ``b`` (a body with everything) -> functions -> a custom operator -> ``y``."""
    model = onnx.ModelProto(
        ir_version=13,
        producer_name="somebody",
        producer_version="1.2",
        domain="org.example",
        model_version=7,
        doc_string="the model",
    )
    for domain, version in (("", 21), ("custom", 3), ("local", 1), ("unused.domain", 5)):
        model.opset_import.append(helper.make_opsetid(domain, version))
    _note(model, "model")
    model.configuration.add(name="two", num_devices=2, device=["cuda:0", "cuda:1"])
    _graph(model.graph, "main")
    _functions(model)
    _training(model)
    return model


def unset_fields(model: onnx.ModelProto) -> set[tuple[str, str]]:
    """(message, field) of everything that could be set below a ModelProto and is set nowhere in this one."""
    used = {(m.DESCRIPTOR.full_name, field.name) for m in _messages(model) for field, _ in m.ListFields()}
    known: set[tuple[str, str]] = set()
    waiting, seen = [onnx.ModelProto.DESCRIPTOR], set()
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name not in seen:
            seen.add(descriptor.full_name)
            known.update((descriptor.full_name, field.name) for field in descriptor.fields)
            waiting.extend(field.message_type for field in descriptor.fields if field.message_type)
    return known - used


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner)


def _note(message: Any, text: str) -> None:
    message.metadata_props.add(key="note", value=text)
    message.metadata_props.add(key="empty", value="")
    if "doc_string" in message.DESCRIPTOR.fields_by_name:
        message.doc_string = f"doc of {text}"


def _info(values: Any, name: str, *dims: int | str | None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    info = values.add(name=name)
    info.type.CopyFrom(helper.make_tensor_type_proto(element, list(dims)))
    info.type.denotation = "IMAGE"
    if dims:
        info.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    _note(info, name)
    return info


def tensors() -> list[TensorProto]:
    """Initializers of every data type, in raw_data and in the typed field; one of them external, one in a segment."""
    made = []
    for data_type in TensorProto.DataType.values():
        if data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
            continue
        bits = _bits(data_type)
        raw = made_up(f"raw_{data_type}", data_type)
        raw.raw_data = bytes(range(1, 2 + (3 * bits - 1) // 8))
        made.append(raw)
        typed = made_up(f"typed_{data_type}", data_type)
        field, count = _typed_field(data_type, bits)
        getattr(typed, field).extend([1, 2, 1, 2, 1, 2][:count])
        made.append(typed)
    strings = made_up("strings", TensorProto.STRING)
    strings.string_data.extend([b"a", b"\xff\x00", b""])
    outside = made_up("outside", TensorProto.FLOAT)
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "somewhere.data"), ("offset", "4096"), ("length", "12"), ("checksum", "0" * 40)):
        outside.external_data.add(key=key, value=value)
    piece = made_up("piece", TensorProto.FLOAT)
    piece.raw_data = bytes(12)
    piece.segment.begin, piece.segment.end = 0, 3
    return [*made, strings, outside, piece]


def made_up(name: str, data_type: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=data_type, dims=[3])
    _note(tensor, name)
    return tensor


def _bits(data_type: int) -> int:
    name = TensorProto.DataType.Name(data_type)
    narrow = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
    return narrow.get(name) or 8 * np.dtype(helper.tensor_dtype_to_np_dtype(data_type)).itemsize


def _typed_field(data_type: int, bits: int) -> tuple[str, int]:
    """The field for values of a type, and how many of its numbers make three values (onnx.in.proto, TensorProto)."""
    name = TensorProto.DataType.Name(data_type)
    if name in ("FLOAT", "COMPLEX64"):
        return "float_data", 6 if name == "COMPLEX64" else 3
    if name in ("DOUBLE", "COMPLEX128"):
        return "double_data", 6 if name == "COMPLEX128" else 3
    if name == "INT64":
        return "int64_data", 3
    if name in ("UINT32", "UINT64"):
        return "uint64_data", 3
    return "int32_data", 3 if bits >= 6 else -(-3 * bits // 8)


def sparse(name: str) -> onnx.SparseTensorProto:
    made = onnx.SparseTensorProto(dims=[4])
    made.values.CopyFrom(made_up(name, TensorProto.FLOAT))
    made.values.raw_data = bytes(range(12))
    made.indices.CopyFrom(
        TensorProto(name=f"{name}_indices", data_type=TensorProto.INT64, dims=[3], int64_data=[0, 1, 3])
    )
    return made


def _types() -> dict[str, TypeProto]:
    plain = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", None, 3])
    opaque = TypeProto(denotation="thing")
    opaque.opaque_type.domain, opaque.opaque_type.name = "custom", "handle"
    return {
        "a_sequence": helper.make_sequence_type_proto(plain),
        "a_map": helper.make_map_type_proto(TensorProto.STRING, plain),
        "an_optional": helper.make_optional_type_proto(plain),
        "a_sparse": helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, ["n", 3]),
        "an_opaque": opaque,
    }


def _graph(graph: onnx.GraphProto, name: str) -> None:
    graph.name = name
    _note(graph, name)
    _info(graph.input, "x", "batch", 3, "h + 1")
    _info(graph.input, "c", element=TensorProto.BOOL)
    for value, type_proto in _types().items():
        _note(graph.input.add(name=value, type=type_proto), value)
    graph.initializer.extend(tensors())
    graph.sparse_initializer.append(sparse("sparse"))
    _info(graph.input, "raw_1", 3)  # an initializer that may be overridden
    for annotated in ("x", "a", "sparse", "raw_1"):
        annotation = graph.quantization_annotation.add(tensor_name=annotated)
        annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=f"{annotated}_scale")
        graph.initializer.append(TensorProto(name=f"{annotated}_scale", data_type=1, dims=[], float_data=[0.5]))
    first = graph.node.add(op_type="Relu", name="first", input=["x"], output=["a"])
    _note(first, "first")
    _configure(first)
    branch = graph.node.add(op_type="If", name="branch", input=["c"], output=["b"])
    _note(branch, "branch")
    for attribute, output in (("then_branch", "then_out"), ("else_branch", "else_out")):
        body = branch.attribute.add(name=attribute, type=AttributeProto.GRAPH, doc_string=f"doc of {attribute}").g
        _body(body, output)
    _calls(graph)
    last = graph.node.add(op_type="Everything", domain="custom", name="last", output=["y", "", "unread"])
    last.input.extend(["e", "", *(v.name for v in graph.input[2:7]), *(t.name for t in tensors()), "sparse"])
    _note(last, "last")
    _attributes(last)
    _info(graph.output, "y", "batch", 3, None)
    for inner in ("a", "b", "d", "e"):
        _info(graph.value_info, inner, "batch", 3, "h + 1")


def _configure(node: onnx.NodeProto) -> None:
    configuration = node.device_configurations.add(configuration_id="two", pipeline_stage=1)
    for name in ("x", "a"):
        spec = configuration.sharding_spec.add(tensor_name=name, device=[0, 1])
        spec.index_to_device_group_map.add(key=-1, value=[0, 1])
        sharded = spec.sharded_dim.add(axis=0)
        sharded.simple_sharding.add(dim_value=4, num_shards=2)
        sharded.simple_sharding.add(dim_param="batch", num_shards=2)


def _body(body: onnx.GraphProto, output: str) -> None:
    body.name = f"body of {output}"
    _note(body, body.name)
    weight = made_up(f"weight_{output}", TensorProto.FLOAT16)
    weight.raw_data = bytes(range(6))
    body.initializer.append(weight)
    body.sparse_initializer.append(sparse(f"sparse_{output}"))
    body.quantization_annotation.add(tensor_name=f"inner_{output}").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value=f"weight_{output}"
    )
    node = body.node.add(op_type="Inner", domain="custom", name=f"node_{output}", output=[f"inner_{output}"])
    node.input.extend(["a", "x_scale", "", f"weight_{output}", f"sparse_{output}"])
    _note(node, node.name)
    _configure(node)
    body.node.add(op_type="Neg", input=[f"inner_{output}"], output=[output])
    _info(body.value_info, f"inner_{output}", "batch", 3)
    _info(body.output, output, "batch", 3)


def _calls(graph: onnx.GraphProto) -> None:
    for overload, source, target in (("", "b", "d"), ("second", "d", "e")):
        call = graph.node.add(op_type="fn", domain="local", overload=overload, input=[source], output=[target])
        call.attribute.add(name="alpha", type=AttributeProto.FLOAT, f=0.25)
        _note(call, f"call of {overload}")


def _attributes(node: onnx.NodeProto) -> None:
    body = onnx.GraphProto(name="attribute body")
    body.output.add(name="a")
    tensor = TensorProto(name="in_attribute", data_type=TensorProto.INT4, dims=[3], raw_data=b"\x21\x03")
    plain = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("FLOAT", {"f": 0.1}),
        ("INT", {"i": -(1 << 62)}),
        ("STRING", {"s": b"\x00\xff"}),
        ("TENSOR", {"t": tensor}),
        ("GRAPH", {"g": body}),
        ("SPARSE_TENSOR", {"sparse_tensor": sparse("sparse_attribute")}),
        ("TYPE_PROTO", {"tp": plain}),
        ("FLOATS", {"floats": [0.1, float("inf"), -0.0]}),
        ("INTS", {"ints": [1, -1]}),
        ("STRINGS", {"strings": [b"", b"b"]}),
        ("TENSORS", {"tensors": [tensor, tensor]}),
        ("GRAPHS", {"graphs": [body, body]}),
        ("SPARSE_TENSORS", {"sparse_tensors": [sparse("sparse_attribute")]}),
        ("TYPE_PROTOS", {"type_protos": [plain, plain]}),
    ]
    for kind, value in kinds:
        node.attribute.add(
            name=f"a_{kind.lower()}", type=AttributeProto.AttributeType.Value(kind), doc_string=kind, **value
        )


def _functions(model: onnx.ModelProto) -> None:
    for overload, op in (("", "LeakyRelu"), ("second", "Elu")):
        function = model.functions.add(name="fn", domain="local", overload=overload, input=["i"], output=["o"])
        function.attribute.append("alpha")
        function.attribute_proto.add(name="beta", type=AttributeProto.FLOAT, f=0.5)
        function.opset_import.append(helper.make_opsetid("", 20))
        node = function.node.add(op_type=op, name="inside", input=["i"], output=["o"])
        node.attribute.add(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="alpha")
        _note(node, "inside")
        _info(function.value_info, "o", "batch")
        _note(function, f"function {overload}")


def _training(model: onnx.ModelProto) -> None:
    training = model.training_info.add()
    training.initialization.name = "start"
    training.initialization.node.add(op_type="RandomNormal", output=["fresh"])
    training.initialization.output.add(name="fresh")
    training.initialization_binding.add(key="raw_10", value="fresh")
    training.algorithm.name = "step"
    training.algorithm.node.add(op_type="Sub", input=["raw_10", "a"], output=["better"])
    training.algorithm.output.add(name="better")
    training.update_binding.add(key="raw_10", value="better")
