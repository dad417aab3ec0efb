"""What a value is: types declared and written, constants in every spelling."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from graphkit.graph import values
from graphkit.graph.index import GraphIndex


@pytest.mark.parametrize(
    ("text", "proto"),
    [
        ("float32[1,3,n]", helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 3, "n"])),
        ("float32[]", helper.make_tensor_type_proto(TensorProto.FLOAT, [])),
        ("float32", helper.make_tensor_type_proto(TensorProto.FLOAT, None)),
        ("int64[?]", helper.make_tensor_type_proto(TensorProto.INT64, [None])),
        ("bfloat16[0]", helper.make_tensor_type_proto(TensorProto.BFLOAT16, [0])),
        ("float8e4m3fn[n]", helper.make_tensor_type_proto(TensorProto.FLOAT8E4M3FN, ["n"])),
        ("int4[8]", helper.make_tensor_type_proto(TensorProto.INT4, [8])),
        ("string[n]", helper.make_tensor_type_proto(TensorProto.STRING, ["n"])),
        ("float32[2 * h,floor(w/2),Max(1, n)]", helper.make_tensor_type_proto(1, ["2 * h", "floor(w/2)", "Max(1, n)"])),
        ("seq(float32[n])", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, ["n"]))),
        (
            "optional(seq(int64))",
            helper.make_optional_type_proto(helper.make_sequence_type_proto(helper.make_tensor_type_proto(7, None))),
        ),
        ("map(int64,float32[])", helper.make_map_type_proto(7, helper.make_tensor_type_proto(1, []))),
        (
            "map(string,seq(int64))",
            helper.make_map_type_proto(8, helper.make_sequence_type_proto(helper.make_tensor_type_proto(7, None))),
        ),
        ("sparse(float32[3,4])", helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [3, 4])),
    ],
)
def test_types_as_users_write_them(text, proto) -> None:
    assert values.parse_type(text) == proto
    assert values.format_type(proto) == text


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (" float32[ 1 , n ] ", "float32[1,n]"),
        ("float[n]", "float32[n]"),
        ("double", "float64"),
        ("FLOAT16[2]", "float16[2]"),
        ("seq( float32[n] )", "seq(float32[n])"),
        ("map( int64 , float32 )", "map(int64,float32)"),
    ],
)
def test_other_ways_to_write_a_type(text, same) -> None:
    assert values.format_type(values.parse_type(text)) == same


@pytest.mark.parametrize(
    "text",
    ["", "floaty[1]", "float32[1", "float32[1]]", "float32(1)", "[1,2]", "float32[1,,2]", "float32[-1]", "float32[1,2](3)",
     "seq()", "map(float32)", "map(seq(int64),float32)", "sparse(seq(float32))", "list(float32)", "undefined", "float32[1;2]["],
)  # fmt: skip
def test_what_is_no_type(text) -> None:
    with pytest.raises(ValueError, match=r"type|dim"):
        values.parse_type(text)


dims = st.none() | st.lists(
    st.none() | st.integers(0, 1 << 40) | st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_.+*/ ]{0,5}[a-z]", fullmatch=True),
    max_size=4,
)
elements = st.sampled_from([v for v in TensorProto.DataType.values() if v])
tensors = st.builds(helper.make_tensor_type_proto, elements, dims)
types = st.recursive(
    tensors | st.builds(helper.make_sparse_tensor_type_proto, elements, dims),
    lambda inner: (
        st.builds(helper.make_sequence_type_proto, inner)
        | st.builds(helper.make_optional_type_proto, inner)
        | st.builds(helper.make_map_type_proto, st.sampled_from([TensorProto.INT64, TensorProto.STRING]), inner)
    ),
    max_leaves=3,
)


@settings(derandomize=True, max_examples=200)
@given(types)
def test_every_type_can_be_written_and_read(proto) -> None:
    assert values.parse_type(values.format_type(proto)) == proto


def test_format_of_nothing_and_of_types_without_notation() -> None:
    assert values.format_type(None) == "unknown"
    assert values.format_type(onnx.TypeProto()) == "unknown"
    assert values.format_type(helper.make_tensor_type_proto(0, None)) == "undefined"
    opaque = onnx.TypeProto()
    opaque.opaque_type.name = "thing"
    assert values.format_type(opaque) == "opaque"


def test_value_type_of_each_kind_of_value() -> None:
    graph = onnx.parser.parse_graph(
        """g (float[n] x, float[2] k) => (float[n] y) <float[2] k = {1, 2}, int64[3] w = {1, 2, 3}, float[n] between>
        { between = Neg(x) y = Abs(between) other = Exp(y) }"""
    )
    graph.value_info.add(name="other")
    sparse = graph.sparse_initializer.add(dims=[4, 4])
    sparse.values.CopyFrom(TensorProto(name="s", data_type=TensorProto.FLOAT))
    index = GraphIndex(graph)
    found = {name: values.format_type(values.value_type(index, name)) for name in index.values()}
    assert found == {
        "x": "float32[n]",
        "k": "float32[2]",
        "between": "float32[n]",
        "y": "float32[n]",
        "other": "unknown",
        "w": "int64[3]",
        "s": "float32[4,4]",
    }


def test_an_empty_type_is_none_and_another_place_may_have_it() -> None:
    graph = onnx.GraphProto()
    graph.input.add(name="x")
    graph.input.add(name="z").type.tensor_type.shape.dim.add(dim_value=3)
    graph.value_info.add(name="x").type.CopyFrom(values.parse_type("float32[3]"))
    index = GraphIndex(graph)
    assert values.format_type(values.value_type(index, "x")) == "float32[3]"
    assert values.value_type(index, "z") is None
    assert values.value_type(index, "q") is None


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({"value": numpy_helper.from_array(np.array([[1, 2]], np.int8))}, np.array([[1, 2]], np.int8)),
        ({"value_float": 1.5}, np.array(1.5, np.float32)),
        ({"value_floats": [1.5, 2.5]}, np.array([1.5, 2.5], np.float32)),
        ({"value_int": 7}, np.array(7, np.int64)),
        ({"value_ints": [7, 8]}, np.array([7, 8], np.int64)),
        ({"value_string": "a"}, np.array("a", object)),
        ({"value_strings": ["a", "b"]}, np.array(["a", "b"], object)),
    ],
)
def test_constants_in_every_dense_spelling_also_behind_identity(attribute, expected) -> None:
    nodes = [helper.make_node("Constant", [], ["c"], **attribute), helper.make_node("Identity", ["c"], ["i"])]
    index = GraphIndex(helper.make_graph(nodes, "g", [], []))
    for name in ("c", "i"):
        tensor = values.constant(index, name)
        assert tensor is not None
        array = numpy_helper.to_array(tensor)
        assert array.shape == expected.shape
        assert array.tolist() == expected.tolist()
        if expected.dtype != object:
            assert array.dtype == expected.dtype


def test_what_is_no_dense_constant() -> None:
    graph = onnx.parser.parse_graph(
        """g (float[2] x, float[2] k) => (float[2] y) <float[2] k = {1, 2}, float[2] w = {3, 4}>
        { y = Neg(x) i = Identity(k) j = Identity(w) n = custom.Constant <value_int = 1> () }"""
    )
    held = helper.make_node("Constant", [], ["held"])
    held.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, ref_attr_name="attribute")
    sparse = onnx.SparseTensorProto(dims=[2], values=TensorProto(data_type=1), indices=TensorProto(data_type=7))
    graph.node.extend([held, helper.make_node("Constant", [], ["sparse"], sparse_value=sparse)])
    index = GraphIndex(graph)
    assert [n for n in index.values() if values.constant(index, n) is not None] == ["j", "w"]


def test_identities_in_a_circle_and_without_an_input_are_no_constants() -> None:
    graph = onnx.GraphProto()
    for name, reads in (("a", ["b"]), ("b", ["a"]), ("c", [])):
        graph.node.add(op_type="Identity", input=reads, output=[name])
    index = GraphIndex(graph)
    assert values.constant(index, "a") is None
    assert values.constant(index, "c") is None
