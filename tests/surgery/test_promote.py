"""promote: every spelling of a constant becomes an input, and the model computes what it did with the old value."""

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


def scalar(value):
    return np.array(value, np.float32)


def add_constant(constant, *, extra=(), initializers=(), sparse=(), opset=18, data_type=TensorProto.FLOAT, dims=(3,)):
    """y = x + c, where c is what ``constant`` (a node, or None) or an initializer gives."""
    nodes = [*extra, *([constant] if constant else []), helper.make_node("Add", ["x", "c"], ["y"], name="add")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", data_type, [2, 3])],
        [helper.make_tensor_value_info("y", data_type, [2, 3])],
        list(initializers),
        sparse_initializer=list(sparse),
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


C = np.array([1, 0, 3], np.float32)
SPARSE = helper.make_sparse_tensor(
    helper.make_tensor("c", TensorProto.FLOAT, [2], [1.0, 3.0]),
    helper.make_tensor("i", TensorProto.INT64, [2], [0, 2]),
    [3],
)


def node(op, inputs, **attributes):
    return helper.make_node(op, inputs, ["c"], name="make_c", **attributes)


def spellings():
    tensor = onnx.numpy_helper.from_array(C, "c")
    other = onnx.numpy_helper.from_array(C, "k")
    integers = onnx.numpy_helper.from_array(C.astype(np.int64), "k")
    yield "initializer", add_constant(None, initializers=[tensor])
    yield "sparse initializer", add_constant(None, sparse=[SPARSE])
    yield "value", add_constant(node("Constant", [], value=tensor))
    yield "value_floats", add_constant(node("Constant", [], value_floats=C.tolist()))
    yield "sparse_value", add_constant(node("Constant", [], sparse_value=SPARSE))
    yield "identity", add_constant(node("Identity", ["k"]), initializers=[other])
    yield "cast", add_constant(node("Cast", ["k"], to=TensorProto.FLOAT), initializers=[integers])
    constant = helper.make_node("Constant", [], ["k"], value_ints=[1, 0, 3])
    yield "cast of value_ints", add_constant(node("Cast", ["k"], to=TensorProto.FLOAT), extra=[constant])


@pytest.mark.parametrize(("spelling", "model"), list(spellings()), ids=[name for name, _ in spellings()])
def test_a_constant_becomes_a_required_input(spelling, model):
    promoted = gk.promote(model, "c")
    graph = promoted.proto.graph
    onnx.checker.check_model(promoted.proto, full_check=True)
    assert [v.name for v in graph.input] == ["x", "c"]
    assert [n.op_type for n in graph.node] == ["Add"]
    assert not graph.initializer
    assert not graph.sparse_initializer
    assert_same(run_ort(promoted, {"x": X, "c": C}), {"y": X + C})
    assert_same(run_ort(promoted, {"x": X, "c": 10 * C}), {"y": X + 10 * C})


@pytest.mark.parametrize(("spelling", "model"), list(spellings()), ids=[name for name, _ in spellings()])
def test_a_kept_default_is_used_where_nothing_is_fed(spelling, model):
    promoted = gk.promote(model, ["c"], keep_default=True)
    onnx.checker.check_model(promoted.proto, full_check=True)
    assert_same(run_ort(promoted, {"x": X}), {"y": X + C})
    assert_same(run_ort(promoted, {"x": X, "c": -C}), {"y": X - C})


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ({"value_float": 2.5}, scalar(2.5)),
        ({"value_int": 7}, np.array(7)),
        ({"value_ints": [7, 8]}, np.array([7, 8])),
        ({"value_string": "a"}, np.array("a", dtype=object)),
        ({"value_strings": ["a", "b"]}, np.array(["a", "b"], dtype=object)),
    ],
)
def test_scalars_and_strings_keep_dtype_and_rank(attributes, value):
    type_proto = helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], **attributes), helper.make_node("Identity", ["c"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", type_proto, np.shape(value))],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    promoted = gk.promote(model, "c")
    [given] = promoted.proto.graph.input
    assert given.type.tensor_type.elem_type == type_proto
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == list(np.shape(value))
    assert_same(run_ort(promoted, {"c": np.asarray(value)})["y"], np.asarray(value))


SHARED = "g (float[2,3] x) => (float[2,3] y) <float[3] c = {1,2,3}> { [first] a = Add(x, c) [second] y = Mul(a, c) }"


def test_all_readers_of_a_shared_constant_get_the_input_and_are_named():
    promoted = gk.promote(parse(SHARED), {"c": "weight"})
    given = np.array([2, 0, 1], np.float32)
    assert_same(run_ort(promoted, {"x": X, "weight": given}), {"y": (X + given) * given})
    assert "'first', 'second'" in promoted.history[-1].notes[0]


def test_only_splits_a_shared_constant_and_says_who_keeps_it():
    promoted = gk.promote(parse(SHARED), {"c": "bias"}, only=["first"])
    given, kept = np.array([2, 0, 1], np.float32), np.array([1, 2, 3], np.float32)
    assert_same(run_ort(promoted, {"x": X, "bias": given}), {"y": (X + given) * kept})
    assert promoted.history[-1].notes[1] == "'c' stays a constant for 'second'"


BODY = """g (float[2,3] x, bool t) => (float[2,3] y) <float[3] c = {1,2,3}> {
  a = Add(x, c)
  [choose] y = If(t) <
    then_branch = th () => (float[2,3] p) { [inside] p = Mul(a, c) },
    else_branch = el () => (float[2,3] q) { k = Constant<value_float = 2.0>() q = Mul(x, k) } > }"""


def test_captures_in_bodies_follow():
    promoted = gk.promote(parse(BODY), {"c": "weight"})
    onnx.checker.check_model(promoted.proto)
    given = np.array([2, 0, 1], np.float32)
    assert_same(run_ort(promoted, {"x": X, "t": np.array(True), "weight": given}), {"y": (X + given) * given})


def test_a_constant_of_a_body_becomes_an_input_of_the_model():
    promoted = gk.promote(parse(BODY), "k")
    onnx.checker.check_model(promoted.proto)
    assert_same(run_ort(promoted, {"x": X, "t": np.array(False), "k": scalar(5)}), {"y": 5 * X})


def test_a_constant_that_a_body_gives_out_is_copied_into_the_output():
    model = parse(
        """g (bool t) => (float[2] y) { y = If(t) <
             then_branch = th () => (float[2] p) { p = Constant<value_floats = [1.0, 2.0]>() },
             else_branch = el () => (float[2] q) { q = Constant<value_floats = [3.0, 4.0]>() } > }"""
    )
    promoted = gk.promote(model, "p")
    given = np.array([7, 8], np.float32)
    assert_same(run_ort(promoted, {"t": np.array(True), "p": given}), {"y": given})


def test_a_constant_that_is_a_graph_output_stays_one_under_its_name():
    model = parse("g (float[3] x) => (float[3] y, float[3] c) <float[3] c = {1,2,3}> { y = Add(x, c) }")
    promoted = gk.promote(model, {"c": "given"})
    onnx.checker.check_model(promoted.proto, full_check=True)
    given = np.array([2, 0, 1], np.float32)
    assert_same(run_ort(promoted, {"x": given, "given": given}), {"y": 2 * given, "c": given})


def test_quantization_annotations_follow_a_new_name():
    model = parse(SHARED)
    annotation = model.graph.quantization_annotation.add(tensor_name="c")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="c")
    [kept] = gk.promote(model, {"c": "w"}).proto.graph.quantization_annotation
    assert (kept.tensor_name, kept.quant_parameter_tensor_names[0].value) == ("w", "w")


def test_shapes_that_hung_on_the_value_are_no_longer_promised():
    model = parse(
        "g (float[2,3] x) => (float[3,2] y, float[2,3] z) <int64[2] s = {3,2}, float[2,3] r> { r = Reshape(x, s) y = Relu(r) z = Relu(x) }"
    )
    graph = gk.promote(model, "s").proto.graph
    assert [d.HasField("dim_value") for d in graph.output[0].type.tensor_type.shape.dim] == [False, False]
    assert [d.dim_value for d in graph.output[1].type.tensor_type.shape.dim] == [2, 3]


def test_promoting_a_weight_keeps_all_shapes():
    model = parse(
        "g (float[2,3] x) => (float[2,4] y) <float[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}> { y = MatMul(x, w) }"
    )
    [output] = gk.promote(model, "w").proto.graph.output
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [2, 4]


@pytest.mark.parametrize(
    ("text", "opset", "name", "value", "expected"),
    [
        ("y = Clip<min=0.0, max=2.0>(x)", 6, "n:max", scalar(1.5), np.clip(X, 0, 1.5)),
        ("y = Clip<max=2.0>(x)", 6, "n:min", scalar(-1), np.clip(X, -1, 2)),
        ("y = ReduceSum<axes=[1], keepdims=1>(x)", 11, "n:axes", np.array([0]), X.sum(0, keepdims=True)),
        ("y = ReduceMean<axes=[1], keepdims=1>(x)", 13, "n:axes", np.array([0]), X.mean(0, keepdims=True)),
        ("y = Unsqueeze<axes=[0]>(x)", 11, "n:axes", np.array([1]), X[:, None]),
        ("u = Unsqueeze<axes=[0]>(x) [n] y = Squeeze<axes=[0]>(u)", 11, "n:axes", np.array([0]), X),
        ("y = Pad<pads=[0,1,0,1], value=1.0>(x)", 10, "n:pads", np.array([1, 0, 0, 0]), np.pad(X, [(1, 0), (0, 0)], constant_values=1)),
        ("y = Pad<pads=[0,1,0,1], value=1.0>(x)", 10, "n:value", scalar(9), np.pad(X, [(0, 0), (1, 1)], constant_values=9)),
        ("y = Slice<starts=[0], ends=[1], axes=[1]>(x)", 9, "n:ends", np.array([2]), X[:, 0:2]),
        ("y, i = TopK<k=1>(x)", 9, "n:k", np.array([2]), -np.sort(-X, axis=1)[:, :2]),
        ("[d] z = Dropout<ratio=0.3>(x) [n] y = Clip<min=0.0, max=1.0>(z)", 6, "n:max", scalar(2), np.clip(X, 0, 2)),
    ],
)  # fmt: skip
def test_an_attribute_becomes_an_input_at_the_opset_that_has_it(text, opset, name, value, expected):
    body = text if "[n]" in text else f"[n] {text}"
    model = parse(f"g (float[2,3] x) => (float[a,b] y) {{ {body} }}", opset=opset, ir=4)
    if expected.ndim != 2:
        model.graph.output[0].type.tensor_type.shape.dim.add(dim_param="c")
    promoted = gk.promote(model, {name: "given"})
    onnx.checker.check_model(promoted.proto, full_check=True)
    assert [v.name for v in promoted.proto.graph.input] == ["x", "given"]
    assert_same(run_ort(promoted, {"x": X, "given": value})["y"], expected)


def test_the_ratio_of_dropout_becomes_an_input():
    model = parse("g (float[2,3] x) => (float[2,3] y) { [n] y = Dropout<ratio=0.3>(x) }", opset=11)
    promoted = gk.promote(model, "n:ratio")
    assert [v.name for v in promoted.proto.graph.input] == ["x", "y_ratio"]
    assert_same(run_ort(promoted, {"x": X, "y_ratio": scalar(0.5)}), {"y": X})


REFUSED = [
    ("g (float[2,3] x) => (float[2,3] y) { [n] y = Relu(x) }", "y", gk.EditError, "Relu 'n' computes it"),
    ("g (float[2,3] x) => (float[2,3] y) { [n] y = Relu(x) }", "x", gk.EditError, "an input of the model already"),
    (SHARED, "cc", gk.NameNotFoundError, "did you mean 'c'"),
    ("g (float[2,3] x) => (float[2,3] y) { [n] y = LeakyRelu<alpha=0.1>(x) }", "n:alpha", gk.EditError, "no version of LeakyRelu"),
    ("g (float[2,3] x) => (float[2,3] y) { [n] y = LeakyRelu(x) }", "n:beta", gk.NameNotFoundError, "beta"),
    ("g (float[2,3] x) => (float[2,3] y) { [n] y = Clip(x) }", "n:min", gk.EditError, "is given no 'min'"),
    ("g (float[2,3] x) => (float[2,3] y) { [n] y = Relu(x) }", "m:min", gk.NameNotFoundError, "'m'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "error", "message"), REFUSED)
def test_what_cannot_be_promoted_is_refused_with_the_reason(text, name, error, message):
    with pytest.raises(error) as caught:
        gk.promote(parse(text), name)
    assert message in str(caught.value)


def test_a_name_that_exists_is_refused():
    with pytest.raises(gk.NameTakenError, match="'a'"):
        gk.promote(parse(SHARED), {"c": "a"})


def test_only_refuses_a_node_that_does_not_read_the_constant():
    with pytest.raises(gk.NameNotFoundError, match="reader of 'c'"):
        gk.promote(parse(SHARED), "c", only=["third"])


def test_two_bodies_with_the_same_name_are_ambiguous():
    model = parse(BODY.replace("p = Mul(a, c)", "k = Constant<value_float = 3.0>() p = Mul(a, k)"))
    with pytest.raises(gk.EditError, match="2 bodies"):
        gk.promote(model, "k")


def test_a_constant_inside_of_a_function_is_refused():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18, "my" : 1]> g (float[2,3] x) => (float[2,3] y) { y = my.f(x) }
           <domain: "my", opset_import: ["" : 18]> f (a) => (b) { k = Constant<value_float = 2.0>() b = Mul(a, k) }"""
    )
    with pytest.raises(gk.EditError, match="inside of the function 'f'"):
        gk.promote(model, "k")


def test_what_a_training_graph_updates_is_refused():
    model = parse(SHARED)
    model.training_info.add().update_binding.add(key="c", value="c_new")
    with pytest.raises(gk.EditError, match="training"):
        gk.promote(model, "c")


def test_a_default_needs_ir_version_4():
    model = parse("g (float[3] x, float[3] c) => (float[3] y) <float[3] c = {1,2,3}> { y = Add(x, c) }", opset=8, ir=3)
    with pytest.raises(gk.EditError, match="IR version 3"):
        gk.promote(model, "c", keep_default=True)
    assert_same(run_ort(gk.promote(model, "c"), {"x": C, "c": C}), {"y": 2 * C})


def test_the_model_that_was_given_stays_as_it_was():
    model = parse(SHARED)
    before = model.SerializeToString(deterministic=True)
    gk.promote(model, {"c": "w"}, keep_default=True)
    assert model.SerializeToString(deterministic=True) == before


def test_an_input_with_a_default_value_can_get_another_name():
    model = parse("g (float[2,3] x, float[3] c) => (float[2,3] y) <float[3] c = {1, 0, 3}> { y = Add(x, c) }")
    for keep_default, inputs in ((False, {"x": X, "w": 2 * C}), (True, {"x": X})):
        promoted = gk.promote(model, {"c": "w"}, keep_default=keep_default)
        assert [value.name for value in promoted.proto.graph.input] == ["x", "w"]
        assert_same(run_ort(promoted, inputs)["y"], X + inputs.get("w", C))


def test_an_input_needs_a_name():
    with pytest.raises(gk.EditError, match="must have a name"):
        gk.promote(add_constant(None, initializers=[onnx.numpy_helper.from_array(C, "c")]), {"c": ""})


def test_several_attributes_of_one_node_are_called_after_themselves():
    model = parse("g (float[2,3] x) => (float[2,3] y) { y = Clip<min=-1.0, max=1.0>(x) }", opset=7)
    promoted = gk.promote(model, ["y:max", "y:min"])
    feeds = {"x": X, "y_max": scalar(2), "y_min": scalar(0)}
    assert_same(run_ort(promoted, feeds)["y"], X.clip(0, 2))
    upsampling = parse(
        'g (float[1,1,2,3] x) => (float[1,1,4,6] y) { y = Upsample<mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]>(x) }',
        opset=7,
    )
    assert [value.name for value in gk.promote(upsampling, "y:scales").proto.graph.input] == ["x", "y_scales"]


def test_shapes_that_hang_on_values_are_not_left_behind():
    cases = {
        "Compress": "g (float[2,3] x) => (float[2,2] y) <bool[3] c = {1,0,1}> { y = Compress<axis=1>(x, c) }",
        "NonZero": "g () => (int64[1,2] y) <float[3] c = {1,0,1}> { y = NonZero(c) }",
        "If": """g (float[2,3] x) => (float[2,3] y) <bool c = {1}> { y = If(c)<
            then_branch = a () => (float[2,3] t) { t = Identity(x) },
            else_branch = b () => (float[3,2] u) { u = Transpose(x) }> }""",
        "Loop": """g (float[2,3] x) => (float[2,3] v, float[5,2,3] y) <int64 c = {5}> { v, y = Loop(c, , x)<
            body = b (int64 i, bool go, float[2,3] w) => (bool on, float[2,3] o, float[2,3] s) {
              on = Identity(go) o = Add(w, w) s = Identity(o) }> }""",
        "what If chooses": """g (float[2,3] x) => (float[2,3] y) <bool c = {1}> {
            s = If(c)<then_branch = a () => (int64[2] t) { t = Constant<value_ints=[2,3]>() },
                      else_branch = b () => (int64[2] u) { u = Constant<value_ints=[3,2]>() }>
            y = Reshape(x, s) }""",
    }
    for name, text in cases.items():
        promoted = gk.promote(parse(text), "c").proto.graph
        shape = [d.dim_value for d in promoted.output[-1].type.tensor_type.shape.dim]
        assert 0 in shape, f"{name}: {shape}"


def test_a_function_may_reshape_to_what_it_is_given():
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18, "my" : 1]>
        g (float[2,3] x) => (float[3,2] y) <int64[2] c = {3,2}> { y = my.to_shape(x, c) }
        <domain: "my", opset_import: ["" : 18]> to_shape (a, s) => (b) { b = Reshape(a, s) }""")
    promoted = gk.promote(model, "c")
    assert not any(d.dim_value for d in promoted.proto.graph.output[0].type.tensor_type.shape.dim)
    assert run_ort(promoted, {"x": X, "c": np.array([1, 6])})["y"].shape == (1, 6)


def test_shapes_inside_of_sequences_are_not_left_behind():
    model = parse("""g (float[2,3] x) => (seq(float[2,3]) y) <int64[2] c = {2,3}> {
        r = Reshape(x, c) y = SequenceConstruct(r) }""")
    promoted = gk.promote(model, "c").proto.graph.output[0]
    assert not any(d.dim_value for d in promoted.type.sequence_type.elem_type.tensor_type.shape.dim)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (
            add_constant(
                None,
                sparse=[
                    helper.make_sparse_tensor(
                        helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0]),
                        helper.make_tensor("i", TensorProto.INT64, [1], [7]),
                        [3],
                    )
                ],
            ),
            gk.TensorError,
            "indices lie outside",
        ),
        (
            add_constant(node("Cast", ["k"], to=99), initializers=[onnx.numpy_helper.from_array(C, "k")]),
            gk.EditError,
            "a type that ONNX does not have",
        ),
        (
            add_constant(
                node("Cast", ["k"], to=1),
                initializers=[onnx.numpy_helper.from_array(np.array(["a", "1", "2"], object), "k")],
            ),
            gk.EditError,
            "cannot be cast to float32",
        ),
    ],
    ids=["sparse", "no type", "no number"],
)
def test_a_default_that_cannot_be_computed_is_refused(model, error, message):
    with pytest.raises(error, match=message):
        gk.promote(model, "c", keep_default=True)


def test_a_constant_of_no_type_is_no_input():
    model = add_constant(node("Cast", ["k"], to=-(2**63)), initializers=[onnx.numpy_helper.from_array(C, "k")])
    with pytest.raises(gk.EditError, match="Cast 'make_c' casts to a type that ONNX does not have"):
        gk.promote(model, "c")


def test_an_untyped_input_with_a_default_gets_the_type_of_the_constant():
    model = parse("g (float[2,3] x, float k) => (float[2,3] y) <float k = {2}> { y = Mul(x, k) }")
    model.graph.input[1].ClearField("type")
    promoted = gk.promote(model, "k").proto
    assert promoted.graph.input[1].type.tensor_type.elem_type == TensorProto.FLOAT
    assert_same(run_ort(promoted, {"x": X, "k": scalar(3)})["y"], X * 3)


def test_every_weight_can_be_fed_and_need_not_be():
    model = parse(
        "g (float[2] x) => (float[4] y) <float[2] a = {1, 2}, int64[1] r = {2}> { h = Add(x, a) y = Tile(h, r) }"
    )
    promoted = gk.promote(model, every=True, keep_default=True)
    assert [v.name for v in promoted.proto.graph.input] == ["x", "a", "r"]
    x = np.float32([10, 20])
    np.testing.assert_array_equal(gk.run(promoted, {"x": x})["y"], gk.run(model, {"x": x})["y"])
    fed = {"x": x, "a": np.float32([0, 0]), "r": np.int64([3])}
    np.testing.assert_array_equal(gk.run(promoted, fed)["y"], np.tile(x, 3))
    required = gk.promote(model, every=True)
    assert not required.proto.graph.initializer
    np.testing.assert_array_equal(gk.run(required, fed)["y"], np.tile(x, 3))
    with pytest.raises(ValueError, match="neither with tensors"):
        gk.promote(model, ["a"], every=True)


def test_defaults_frozen_and_promoted_again():
    text = "g (float[2] x, float[2] a) => (float[2] y) <float[2] a = {1, 2}> { y = Add(x, a) }"
    frozen = gk.freeze(parse(text), defaults=True)
    assert [v.name for v in frozen.proto.graph.input] == ["x"]
    assert frozen.history[-1].notes == ("1 input with a default value is a constant now",)
    back = gk.promote(frozen, ["a"], keep_default=True)
    assert [v.name for v in back.proto.graph.input] == ["x", "a"]
    x = np.float32([10, 20])
    for model in (frozen, back):
        np.testing.assert_array_equal(gk.run(model, {"x": x})["y"], [11, 22])
    with pytest.raises(ValueError, match="defaults=True"):
        gk.freeze(parse(text))
