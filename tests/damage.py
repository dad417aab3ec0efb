"""Models damaged on purpose: what parses, and contradicts itself all the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from onnx import AttributeProto, TensorProto, helper, numpy_helper

RESIZE = """<ir_version: 9, opset_import: ["" : 18]> g (float[1,3,8,8] x) => (float[1,3,16,16] y)
<float[4] s = {1,1,2,2}> { a = Relu(x) [up] b = Resize <mode: string = "nearest">(a, , s) y = Sigmoid(b) }"""

SUBJECTS = {
    "resize": RESIZE,
    "sizes": """<ir_version: 9, opset_import: ["" : 18]> g (float[n,3,h,w] x) => (float[n,3,p,q] y) {
        sh = Shape <start: int = 2>(x) two = Constant <value_ints = [2, 2]>() hw = Mul(sh, two)
        [up] y = Resize <mode: string = "linear", axes: ints = [2, 3], keep_aspect_ratio_policy: string = "stretch">(x, , , hw) }""",
    "following": """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,3,h,w] x, float[1,3,k,l] other) => (float[1,3,k,l] y, float[1,3,u,v] z)
        <int64[1] zero = {0}, int64[1] two = {2}, int64[1] four = {4}, float[4] s = {1,1,1.5,1.5}> {
        sh = Shape(x) lead = Slice(sh, zero, two) osh = Shape(other) hw = Slice(osh, two, four)
        sizes = Concat <axis: int = 0>(lead, hw) [follow] y = Resize <mode: string = "linear">(x, , , sizes)
        [free] z0 = Resize <mode: string = "cubic">(x, , s) z = Identity(z0) }""",
    "upsample": """<ir_version: 4, opset_import: ["" : 9]> g (float[1,2,5,5] x) => (float[1,2,10,10] y)
        <float[4] s = {1,1,2,2}> { a = Identity(s) [up] y = Upsample <mode: string = "nearest">(x, a) }""",
    "attribute": """<ir_version: 3, opset_import: ["" : 7]> g (float[1,2,5,5] x) => (float[1,2,10,10] y) {
        [up] y = Upsample <mode: string = "nearest", scales: floats = [1, 1, 2, 2]>(x) }""",
    "body": """<ir_version: 8, opset_import: ["" : 17]> g (float[1,2,5,5] x, bool c) => (float[1,2,k,l] y)
        <float[4] s = {1,1,2,2}, int64[4] t = {1,2,10,10}> {
        [choose] y = If(c) <then_branch = t1 () => (float[1,2,k,l] p) { q = Resize(x, , s) p = Reshape(q, t) },
        else_branch = e () => (float[1,2,k,l] r) { r = Resize <mode: string = "linear">(x, , , t) }> }""",
    "shuffle": """<ir_version: 8, opset_import: ["" : 17]> g (float[1,4,8,8] x) => (float[1,16,4,4] y, float[1,4,16,16] z)
        <int64[6] t1 = {1,4,4,2,4,2}, int64[4] t2 = {1,16,4,4}, float[4] s = {1,1,2,2}, int64[3] gn = {0,2,-1},
        int64[4] back = {1,4,16,16}> {
        a = Reshape(x, t1) b = Transpose <perm: ints = [0,1,3,5,2,4]>(a) y = Reshape(b, t2)
        u = Resize(x, , s) v = Reshape(u, gn) w = Relu(v) z = Reshape(w, back) }""",
    "operators": """<ir_version: 8, opset_import: ["" : 18]> g (float[2,3,4,4] x) => (float[2,3,4,4] y, float[2,3,1,1] r,
        float[2,2,4,4] s1, float[2,1,4,4] s2, float[2,3,6,6] p, int64[2] sh, float[2,3,4,2] v, float[2,3,2,2] mp)
        <float lo = {0}, float hi = {6}, int64[2] ax = {2,3}, int64[4] pads = {1,1,1,1}, int64[1] k = {2}> {
        a = Clip(x, lo, hi) y = Softmax <axis: int = 1>(a) r = ReduceMean(x, ax)
        s1, s2 = Split <axis: int = 1, num_outputs: int = 2>(x) p = Pad(x, pads, , ax)
        sh = Shape <start: int = 1, end: int = 3>(x) v, i = TopK(x, k)
        mp = MaxPool <kernel_shape: ints = [2,2], strides: ints = [2,2], ceil_mode: int = 1>(x) }""",
    "older": """<ir_version: 6, opset_import: ["" : 11]> g (float[2,3,4] x) => (float[2,3,4,1] y, float[2,1] r, float[2,3,4] c)
        <float lo = {0}, float hi = {6}> { y = Unsqueeze <axes: ints = [3]>(x) q = ReduceSum <axes: ints = [1]>(x)
        r = ReduceMean <axes: ints = [1], keepdims: int = 0>(q) [clip] c = Clip(x, lo, hi)
        s1, s2 = Split <axis: int = 0, split: ints = [1, 1]>(x) f = Softmax <axis: int = 1>(x) }""",
    "loop": """<ir_version: 8, opset_import: ["" : 17]> g (int64 n, float[3] x) => (float[3] y, float[k,3] ys)
        <bool go = {1}, float[3] w = {1,2,3}> { y, ys = Loop(n, go, x) <body = b (int64 i, bool c, float[3] s) =>
        (bool co, float[3] so, float[3] o) { co = Identity(c) k = Constant <value_float: float = 2.0>()
        s1 = Mul(s, k) so = Add(s1, w) o = Identity(so) }> }""",
    "functions": """<ir_version: 9, opset_import: ["" : 18, "f" : 1]> g (float[2,3] x) => (float[2,3] y)
        <float[3] w = {1,2,3}> { a = f.F <k: float = 2.0>(x, w) y = f.G(a) }
        <domain: "f", opset_import: ["" : 18]> F <k> (u, v) => (o) { kk = Constant <value_float: float = @k>() t = Add(u, v) o = Mul(t, kk) }
        <domain: "f", opset_import: ["" : 18, "f" : 1]> G (u) => (o) { c = Constant <value = float[3] {1,1,1}>() o = f.F <k: float = 3.0>(u, c) }""",
    "sequence": """<ir_version: 9, opset_import: ["" : 20]> g (float[4,3] x, string[2] t) => (float[2,3] y, seq(float[2,3]) s, string[2] u)
        <int64[2] sp = {2,2}, int64 zero = {0}, string[1] w = {"a"}> { s = SplitToSequence <axis: int = 0>(x, sp)
        y = SequenceAt(s, zero) u = StringConcat(t, w) }""",
    "defaults": """<ir_version: 8, opset_import: ["" : 17]> g (float[2,n] x, float[1] k, int64 m) => (float[2,n] y, float[a] z)
        <float[1] k = {3}, float[1] q = {4}, float[3] t = {1,2,3}> { y0 = Mul(x, k) c = Cast <to: int = 1>(q) y = Add(y0, c)
        one = Constant <value_int: int = 1>() m1 = Add(m, one) zero = Constant <value_ints = [0]>() i = Unsqueeze(m1, zero)
        g0 = Gather(t, i) z = Tile(g0, i) }""",
}
"""Small valid models with what edits look into: sizes in every spelling, attributes, bodies, functions, types."""

NUMBERS = [0, 1, -1, 2, 3, -2, 7, 100, 2**31 - 1, 2**31, 2**62, -(2**63)]
TEXTS = ["", "x", "y", "a", "zz", "linear", "stretch", "f", "ai.onnx", "n", "2*h + 1", "((((", "-1", "9" * 30]
OPERATORS = (
    "Resize Upsample Split If Loop Constant Identity Cast Shape Concat Reshape Clip Pad TopK NoSuchOperator".split()
)


def subjects() -> list[bytes]:
    """The models, serialised; one has a sparse weight, one has external data."""
    models = {name: onnx.parser.parse_model(text) for name, text in SUBJECTS.items()}
    sparse = models["defaults"].graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(numpy_helper.from_array(np.array([1, 2], np.float32), "sp"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0, 3]), "sp_indices"))
    outside = models["loop"].graph.initializer[1]
    outside.ClearField("float_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "m.data"), ("offset", "0"), ("length", "12")):
        outside.external_data.add(key=key, value=value)
    return [model.SerializeToString() for model in models.values()]


def damaged(data: bytes, rng: random.Random) -> onnx.ModelProto:
    """A model with one to four things wrong."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        with suppress(IndexError, ValueError, KeyError, TypeError):  # there is none of it, or it is damaged already
            rng.choice(WAYS)(model, rng)
    return model


def messages(message: Any, kind: type | None = None) -> Iterator[Any]:
    """A message and all in it, or those of one kind."""
    if kind is None or isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from messages(inner, kind)


def names(model: onnx.ModelProto) -> list[str]:
    """Values of any scope."""
    graphs = list(messages(model, onnx.GraphProto))
    return [v.name for g in graphs for v in (*g.input, *g.initializer)] + [
        name for node in messages(model, onnx.NodeProto) for name in node.output
    ]


def any_field(model: onnx.ModelProto, rng: random.Random) -> None:
    """Clear, remove, repeat or replace whatever there is."""
    place = rng.choice(list(messages(model)))
    field, value = rng.choice(place.ListFields())
    is_text = field.type == FieldDescriptor.TYPE_STRING
    is_number = field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
    way = rng.random()
    if way < 0.3:
        place.ClearField(field.name)
    elif field.is_repeated and way < 0.6:
        del value[rng.randrange(len(value))]
    elif field.is_repeated and field.message_type is not None:
        value.add().CopyFrom(rng.choice(list(value)))
    elif field.is_repeated and (is_text or is_number):
        value[rng.randrange(len(value))] = rng.choice(TEXTS if is_text else NUMBERS)
    elif (is_text or is_number) and not field.is_repeated:
        with suppress(ValueError):  # a number that this field cannot hold
            setattr(place, field.name, rng.choice(TEXTS if is_text else NUMBERS))


def inputs_and_outputs(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(list(messages(model, onnx.NodeProto)))
    listed = rng.choice([node.input, node.output])
    way = rng.randrange(6)
    if way == 0:
        del listed[:]
    elif way == 1:
        listed.pop()
    elif way == 2:
        listed.append(rng.choice(names(model)))
    elif way == 3:
        listed[rng.randrange(len(listed))] = rng.choice(["", *names(model)])
    elif way == 4:
        listed.insert(0, rng.choice(["", *names(model)]))
    else:
        listed.extend(rng.choice(["", *names(model)]) for _ in range(5))


def operators(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(list(messages(model, onnx.NodeProto)))
    if rng.random() < 0.7:
        node.op_type = rng.choice(["", *OPERATORS])
    else:
        node.domain = rng.choice(["", "ai.onnx", "f", "custom"])


def attributes(model: onnx.ModelProto, rng: random.Random) -> None:
    attribute = rng.choice(list(messages(model, AttributeProto)))
    way = rng.randrange(6)
    if way == 0:
        attribute.type = rng.choice(list(AttributeProto.AttributeType.values()))
    elif way == 1:
        value = rng.choice([1, -1, 2**62, 1.5, "x", [1, 2], [1.0], ["a"]])
        attribute.CopyFrom(helper.make_attribute(attribute.name, value))
    elif way == 2:
        attribute.ref_attr_name = "k"
    elif way == 3:
        attribute.CopyFrom(AttributeProto(name=attribute.name, type=attribute.type))
    elif way == 4:
        attribute.s = b"\xff\xfe"
    else:
        node = rng.choice(list(messages(model, onnx.NodeProto)))
        node.attribute.append(
            helper.make_attribute(rng.choice(["axis", "axes", "scales", "to"]), rng.choice([9, [-9]]))
        )


def tensors(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(messages(model, TensorProto)))
    way = rng.randrange(7)
    if way == 0:
        tensor.data_type = rng.choice([0, 1, 7, 8, 9, 99])
    elif way == 1:
        tensor.dims.append(rng.choice(NUMBERS))
    elif way == 2:
        tensor.raw_data = bytes(rng.choice([0, 1, 4, 16, 33]))
    elif way == 3:
        tensor.name = rng.choice(["", *names(model)])
    elif way == 4:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(
            key=rng.choice(["location", "offset"]), value=rng.choice(["m.data", "../m.data", "-1"])
        )
    elif tensor.data_type in (1, 7) and tensor.data_location != TensorProto.EXTERNAL:
        array = numpy_helper.to_array(tensor)
        shape = rng.choice([(), (0,), (1,), (2,), (3,), (2, 2)])
        with np.errstate(invalid="ignore"):
            numbers = np.resize(array, shape) if way == 5 else array.astype(rng.choice(["float32", "int64", "bool"]))
        tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))


def graphs(model: onnx.ModelProto, rng: random.Random) -> None:
    graph = rng.choice(list(messages(model, onnx.GraphProto)))
    name, way = rng.choice(["ghost", "", *names(model)]), rng.randrange(7)
    if way == 0:
        graph.output.add(name=name)
    elif way == 1:
        graph.input.add(name=name)
    elif way == 2:
        graph.node.add().CopyFrom(rng.choice(list(graph.node)))
    elif way == 3:
        graph.node.add(op_type=rng.choice(OPERATORS), input=[rng.choice(names(model))], output=[name])
    elif way == 4:
        one, other = rng.choice(list(graph.node)), rng.choice(list(graph.node))
        one.input[rng.randrange(len(one.input))] = other.output[0]
    elif way == 5:
        del graph.output[:]
    else:
        graph.initializer.add().CopyFrom(rng.choice(list(graph.initializer)))


def types(model: onnx.ModelProto, rng: random.Random) -> None:
    info = rng.choice(list(messages(model, onnx.ValueInfoProto)))
    way = rng.randrange(6)
    if way == 0:
        info.ClearField("type")
    elif way == 1:
        info.type.CopyFrom(helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [2])))
    elif way == 2:
        info.type.tensor_type.elem_type = rng.choice([0, 1, 7, 8, 9, 99])
    elif way == 3:
        info.type.tensor_type.shape.dim.add(dim_value=rng.choice(NUMBERS))
    elif way == 4:
        rng.choice(list(info.type.tensor_type.shape.dim)).dim_value = rng.choice(NUMBERS)
    else:
        rng.choice(list(info.type.tensor_type.shape.dim)).dim_param = rng.choice(TEXTS)


def opsets(model: onnx.ModelProto, rng: random.Random) -> None:
    way = rng.randrange(4)
    if way == 0:
        rng.choice(list(model.opset_import)).version = rng.choice([0, 1, 5, 9, 13, 18, 999, -1, 2**40])
    elif way == 1:
        model.opset_import.add(domain=rng.choice(["", "ai.onnx"]), version=rng.choice([1, 13, 18]))
    elif way == 2:
        del model.opset_import[rng.randrange(len(model.opset_import))]
    else:
        model.ir_version = rng.choice([0, 3, 4, 8, 999])


def functions(model: onnx.ModelProto, rng: random.Random) -> None:
    function = rng.choice(list(model.functions))
    if rng.random() < 0.5:
        called = rng.choice(list(model.functions))
        inputs = list(function.input) * rng.choice((1, 2))
        function.node.add(op_type=called.name, domain=called.domain, input=inputs, output=["made"])
    else:
        model.functions.add().CopyFrom(function)


def notes(model: onnx.ModelProto, rng: random.Random) -> None:
    """What graphkit itself and torch write into models."""
    tensor = rng.choice(list(model.graph.initializer))
    kept = model.graph.value_info.add(name=tensor.name)
    kept.type.CopyFrom(helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims)))
    kept.metadata_props.add(key="graphkit.input", value=rng.choice(["0:abc", "99:x", "-1:", "²:x", "1" * 5000, "x"]))
    model.metadata_props.add(
        key="graphkit.history", value=rng.choice(["[", "{}", "[1]", "[" * 3000, '[{"operation": 1}]'])
    )
    rng.choice(list(model.graph.node)).metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'a']")


WAYS: list[Callable[[onnx.ModelProto, random.Random], None]] = [
    *[any_field] * 4,
    *[inputs_and_outputs] * 3,
    operators,
    *[attributes] * 2,
    *[tensors] * 2,
    *[graphs] * 2,
    *[types] * 2,
    opsets,
    functions,
    notes,
]
