"""Types of values: from the file, from the caller, by the rules for elementwise operators, by onnx's inference."""

import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from backend_cases import file_cases, light_models, node_cases
from graphkit.graph.index import GraphIndex
from graphkit.graph.values import format_type, is_typed, parse_type
from graphkit.semantics import elementwise
from graphkit.shapes import types_of
from graphkit.shapes.inference import drop_unnamed


def types(model: onnx.ModelProto, *names: str, **known: str) -> dict[str, str]:
    found = types_of.types_of(model, GraphIndex(model.graph), names, {n: parse_type(t) for n, t in known.items()})
    return {name: format_type(type_proto) for name, type_proto in found.items()}


def parsed(
    body: str, inputs: str = "float[n, 4] x", weights: str = "", opset: int = 17, ir: int = 8
) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: {ir}, opset_import: ["": {opset}, "custom": 1]> g ({inputs}) => () {weights} {{ {body} }}'
    )


@pytest.fixture
def inferred_nodes(monkeypatch):
    """The operators of each run of onnx's inference."""
    runs: list[list[str]] = []
    real = onnx.shape_inference.infer_shapes

    def spy(model, **options):
        runs.append([node.op_type for node in model.graph.node])
        return real(model, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", spy)
    return runs


def test_what_the_file_says_is_taken_as_it_is(inferred_nodes) -> None:
    model = parsed("a = Neg(x) y = Foo(a)", weights="<float[n, 4] a, float[m] y, int64[2] w = {1, 2}>")
    assert types(model, "x", "a", "y", "w") == {
        "x": "float32[n,4]",
        "a": "float32[n,4]",
        "y": "float32[m]",
        "w": "int64[2]",
    }
    assert inferred_nodes == []


def test_inference_sees_only_what_lies_between(inferred_nodes) -> None:
    model = parsed(
        "a = MatMul(x, w) b = MatMul(a, w) c = MatMul(b, w) d = MatMul(c, w) y = MatMul(d, w)",
        weights="<float[n, 4] b, float[4, 4] w>",
    )
    model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], raw_data=bytes(64))
    assert types(model, "d") == {"d": "float32[n,4]"}
    assert inferred_nodes == [["MatMul", "MatMul"]]
    assert types(model, "b", "a") == {"b": "float32[n,4]", "a": "float32[n,4]"}
    assert inferred_nodes[1:] == [["MatMul"]]


def test_elementwise_operators_need_no_inference(inferred_nodes) -> None:
    model = parsed(
        "a = Relu(x) b = Add(a, bias) c = Greater(b, row) d = Not(c) e = Sum(a, b, row)",
        "float[n, 4] x, float[5, 1, m] row",
        "<float[4] bias = {1, 2, 3, 4}>",
    )
    assert types(model, "b", "d", "e") == {"b": "float32[n,4]", "d": "bool[5,n,4]", "e": "float32[5,n,4]"}
    assert inferred_nodes == []


def test_a_type_the_caller_gives_stops_the_search(inferred_nodes) -> None:
    model = parsed("a = custom.Foo(x) b = MatMul(a, a) c = Neg(b)")
    assert types(model, "b", "c") == {}
    assert types(model, "b", "c", a="float16[k,k]") == {"b": "float16[k,k]", "c": "float16[k,k]"}
    assert inferred_nodes[-1] == ["MatMul", "Neg"]
    assert types(model, "a", a="seq(int64)") == {"a": "seq(int64)"}
    assert types(model, "x", x="float32[2,4]") == {"x": "float32[2,4]"}
    assert types(model, "b", x="float32[2,4]") == {}


def test_a_given_type_of_a_shape_being_computed_stops_the_search() -> None:
    """Also an int64 vector, that inference would otherwise look behind for its values."""
    model = parsed("s = custom.Foo(x) y = Reshape(x, s)")
    assert types(model, "y", s="int64[3]") == {"y": "float32[?,?,?]"}


def test_values_of_computed_shapes_are_propagated() -> None:
    model = parsed("s = Shape(x) k = Constant<value_ints = [1]>() t = Concat<axis = 0>(k, s) y = Reshape(x, t)")
    model.graph.value_info.append(helper.make_tensor_value_info("t", TensorProto.INT64, [3]))
    assert types(model, "y") == {"y": "float32[1,n,4]"}


@pytest.mark.parametrize(("length", "expected"), [(1000, "float32[n,4]"), (10_000_000, "float32[?,?]")])
def test_values_are_not_propagated_through_long_vectors(monkeypatch, length, expected) -> None:
    """onnx makes an object for each element of them: ten million samples of sound took it 1.4 GB."""
    options = []
    real = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        onnx.shape_inference, "infer_shapes", lambda m, **o: options.append(o["data_prop"]) or real(m, **o)
    )
    model = parsed(
        "a = Mul(sound, sound) k = Constant<value_ints = [4]>() n = Shape<start = 0, end = 1>(x) s = Concat<axis = 0>(n, k) y = Reshape(a, s)",
        f"float[{length}] sound, float[n, 4] x",
    )
    assert types(model, "y") == {"y": expected}
    assert options == [False, True][: 2 if length == 1000 else 1]


def test_an_overridable_default_decides_no_shape() -> None:
    weights = "<int64[2] s = {2, 2}>"
    fixed = parsed("y = Reshape(x, s)", weights=weights)
    assert types(fixed, "y") == {"y": "float32[2,2]"}
    free = parsed("y = Reshape(x, s)", "float[n, 4] x, int64[2] s", weights)
    assert types(free, "y") == {"y": "float32[?,?]"}
    old = parsed("y = Reshape(x, s)", "float[n, 4] x, int64[2] s", weights, opset=8, ir=3)
    assert types(old, "y") == {"y": "float32[2,2]"}


def test_dims_that_inference_makes_up_are_unknown() -> None:
    model = parsed(
        "a = NonZero(x) b = SequenceConstruct(a, a) c = SequenceAt(b, k) y = Transpose(a)", weights="<int64 k = {0}>"
    )
    assert types(model, "a", "b", "y") == {"a": "int64[2,?]", "b": "seq(int64[2,?])", "y": "int64[?,2]"}


def test_a_type_without_a_shape_is_asked_for_again_and_kept_if_need_be() -> None:
    model = parsed("a = MatMul(x, x) y = custom.Foo(a)", "float[4, 4] x")
    model.graph.value_info.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("a", "y"))
    assert types(model, "a", "y") == {"a": "float32[4,4]", "y": "float32"}


def test_nodes_in_another_order() -> None:
    model = parsed("y = MatMul(b, a) b = Transpose(a) a = MatMul(x, x)", "float[4, 4] x")
    assert types(model, "y") == {"y": "float32[4,4]"}


def test_below_ir_4_weights_need_not_be_inputs_for_inference() -> None:
    model = parsed("y = MatMul(x, w)", opset=8, ir=3)
    model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[4, 6], raw_data=bytes(96))
    assert types(model, "y") == {"y": "float32[n,6]"}


def test_bodies_and_their_captures() -> None:
    model = parsed(
        """a = MatMul(x, w) y = If(c) <then_branch = t () => (t1) { t1 = MatMul(a, w) },
        else_branch = e () => (e1) { e1 = Transpose<perm = [0, 1]>(a) }>""",
        "float[n, 4] x, bool c",
    )
    model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], raw_data=bytes(64))
    assert types(model, "y") == {"y": "float32[n,4]"}


FUNCTIONS = """<ir_version: 10, opset_import: ["": 17, "local": 1]>
g (float[n, 4] x) => () { y = local.outer(x) }
<domain: "local", opset_import: ["": 17, "local": 1]> outer (i) => (o) { o = local.inner(i) }
<domain: "local", opset_import: ["": 17]> inner (i) => (o) { o = Transpose(i) }
<domain: "local", opset_import: ["": 17]> unused (i) => (o) { o = Neg(i) }
"""


def test_functions_that_call_functions() -> None:
    assert types(onnx.parser.parse_model(FUNCTIONS), "y") == {"y": "float32[4,n]"}


def test_sequences_optionals_and_maps() -> None:
    model = parsed(
        """s = SequenceConstruct(x, x) o = Optional(x) v = OptionalGetElement(o) i = Identity(s)
        z = ai.onnx.ml.ZipMap<classlabels_int64s = [0, 1, 2, 3]>(x)"""
    )
    model.opset_import.add(domain="ai.onnx.ml", version=3)
    assert types(model, "s", "o", "v", "i", "z") == {
        "s": "seq(float32[n,4])",
        "o": "optional(float32[n,4])",
        "v": "float32[n,4]",
        "i": "seq(float32[n,4])",
        "z": "seq(map(int64,float32[]))",
    }


def test_a_model_that_contradicts_itself_has_no_inferred_types() -> None:
    model = parsed("a = Concat<axis = 7>(x, x) b = Add(x, w) y = MatMul(b, b)", weights="<float[3] w = {1, 2, 3}>")
    assert types(model, "a", "y") in ({}, {"y": "float32"}, {"a": "float32", "y": "float32"})


@pytest.mark.parametrize("where", ["main graph", "body"])
def test_a_split_that_would_end_the_process(where) -> None:
    """onnx's inference reads beyond its memory where num_outputs is less than the number of outputs."""
    split = "a, b, z = Split<axis = 0, num_outputs = 1>(x)"
    inside = f"y = If(c) <then_branch = t () => (a) {{ {split} }}, else_branch = e () => (q) {{ q = Neg(x) }}>"
    model = parsed(
        (split if where == "main graph" else inside) + " u = MatMul(x, x)", "float[4, 4] x, bool c", opset=18
    )
    assert types(model, "y" if where == "body" else "b") == {}
    assert types(model, "u") == {"u": "float32[4,4]"}


def test_old_broadcasting_is_left_to_inference(inferred_nodes) -> None:
    """Before opset 7 a second operand was aligned by ``axis``."""
    model = parsed("y = Add<axis = 0, broadcast = 1>(x, w)", "float[4, 3] x, float[4] w", opset=6, ir=3)
    assert types(model, "y") in ({"y": "float32[4,3]"}, {})
    assert inferred_nodes == [["Add"]]


# --- the rules for elementwise operators, against onnx's own inference

DIMS = st.sampled_from([1, 2, 3, "n", "m", None])
OPERATORS = [
    *((op, 1) for op in elementwise.ONE_BY_ONE if op not in ("PRelu", "Clip")),
    ("PRelu", 2),
    ("Clip", 1),
    ("IsInf", 1),
    ("IsNaN", 1),
    *((op, 2) for op in (*elementwise._BROADCAST, *elementwise.BOOLEAN) if op != "Mean"),
    *((op, 3) for op in ("Sum", "Max", "Min", "Mean")),
]
ELEMENT = {
    **dict.fromkeys(("Not", "And", "Or", "Xor"), TensorProto.BOOL),
    **dict.fromkeys(("BitwiseNot", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", "Mod"), TensorProto.UINT8),
}


@settings(derandomize=True, max_examples=400)
@given(st.sampled_from(OPERATORS), st.lists(st.lists(DIMS, max_size=3), min_size=3, max_size=3))
def test_elementwise_rules_say_what_inference_says(operator, shapes) -> None:
    op, count = operator
    assume(shapes[0] or op not in ("Hardmax", "LogSoftmax", "Softmax"))  # a scalar has no axis
    element = ELEMENT.get(op, TensorProto.FLOAT)
    names = ["a", "b", "c"][:count]
    attributes = {"direction": "LEFT"} if op == "BitShift" else {}
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info(n, element, shape) for n, shape in zip(names, shapes, strict=False)],
        [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)], ir_version=10)
    index = GraphIndex(graph)
    ours = elementwise.types_behind(index, ["y"], lambda name: index.inputs[name].type, ())
    theirs = everything(model)
    if "y" in ours:
        assert format_type(ours["y"]) == format_type(theirs.get("y"))
    else:
        assert theirs.get("y") is None or not theirs["y"].tensor_type.HasField("shape")


def test_every_elementwise_operator_was_tried() -> None:
    assert {op for op, _ in OPERATORS} == set(elementwise._RULES)
    for op in elementwise._RULES:
        schema = onnx.defs.get_schema(op, 26)
        assert len(schema.outputs) == 1, op


# --- onnx's own models


def everything(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """What onnx infers for the whole model."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    bare.ir_version = max(4, bare.ir_version)
    del bare.graph.output[:]
    inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    found = {v.name: v.type for v in inferred.graph.value_info if is_typed(v.type)}
    for type_proto in found.values():
        drop_unnamed(type_proto)
    return found


def named_cases() -> list[tuple[str, onnx.ModelProto]]:
    cases = [*node_cases(), *file_cases("simple"), *file_cases("pytorch-operator"), *file_cases("pytorch-converted")]
    light = [(name, onnx.load(path)) for name, path in light_models().items()]
    return [*((case.name, case.model) for case in cases if len(case.model.graph.node) > 1), *light]


def test_onnxs_models_have_the_types_that_onnx_infers_for_the_whole() -> None:
    """For all values at once, and for single ones, where only what lies upstream is looked at."""
    wrong, asked = [], 0
    for name, model in named_cases():
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        del bare.graph.value_info[:], bare.graph.output[:]
        # Inference takes the default value of an input for a constant.
        inputs = {v.name for v in bare.graph.input}
        if bare.ir_version >= 4 and any(t.name in inputs for t in bare.graph.initializer):
            continue
        expected = everything(bare)
        index = GraphIndex(bare.graph)
        made = list(index.producer)
        for wanted in (made, *([value] for value in made[1 :: max(1, len(made) // 4)])):
            asked += len(wanted)
            found = types_of.types_of(bare, index, wanted)
            wrong += [
                (name, v, format_type(found.get(v)), format_type(expected.get(v)))
                for v in wanted
                if found.get(v) != expected.get(v)
            ]
    assert wrong == []
    assert asked > 10_000
