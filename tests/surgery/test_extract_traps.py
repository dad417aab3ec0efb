"""35 traps of ONNX's semantics on which tools that cut graphs fail, each with its tests.

The table says where each trap is tested, or why it cannot concern load, save or extract. Traps without a better home
are tested here.
"""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from cuts import assert_cut
from graphkit.graph.values import format_type
from oracle import assert_same, run_ort, run_reference

HERE = Path(__file__).parent
BODIES, LOSS, BACKEND = "test_extract_bodies.py::", "test_extract_loss.py::", "test_extract_backend.py::"
VALUES, INFER = "test_extract.py::", "../shapes/test_types_of.py::"
HERE_ = "test_extract_traps.py::"

RESIZE = "about Resize: what an operation that edits the node has to know; a cut takes the node as it is"

TRAPS: dict[int, tuple[str, list[str] | str]] = {
    1: ("bodies read names of the graphs around them", [BODIES + "test_what_bodies_read_comes_along_once", BODIES + "test_thirty_bodies_deep"]),
    2: ("a body output may be an outer name", [BODIES + "test_a_body_output_that_names_an_outer_value"]),
    3: ("sibling bodies may use one name", [BODIES + "test_bodies_side_by_side_that_use_one_name", VALUES + "test_the_name_of_an_unused_result_is_free_in_every_scope"]),
    4: ("an initializer that is an input is a default; below IR 4 it must be one", [VALUES + "test_an_overridable_default_stays_one", VALUES + "test_below_ir_4_every_initializer_stays_listed", INFER + "test_an_overridable_default_decides_no_shape"]),
    5: ("inputs of bodies are fixed", [BODIES + "test_captured_values_as_inputs", BODIES + "test_a_captured_weight_as_an_input"]),
    6: ("nodes share constants", [HERE_ + "test_06_a_constant_that_both_sides_of_a_cut_read"]),
    7: ("an empty name is an omitted input or output", [HERE_ + "test_07_omitted_inputs_and_outputs"]),
    8: ("Upsample-7 has its scales in an attribute", RESIZE),
    9: ("Resize-10 has no coordinate mode", RESIZE),
    10: ("an empty tensor means unused", [HERE_ + "test_10_tensors_without_elements"]),
    11: ("Resize-13 has one of scales and sizes", RESIZE),
    12: ("Resize-18 has axes", RESIZE),
    13: ("scales are float32 in any graph", RESIZE),
    14: ("sizes and scales round differently", RESIZE),
    15: ("shapes that an edit made untrue", [VALUES + "test_a_constant_that_becomes_an_input_no_longer_decides_shapes", VALUES + "test_a_given_type_replaces_the_files_and_what_follows_from_it"]),
    16: ("backends that want constant scales", RESIZE),
    17: ("constants have many spellings", [HERE_ + "test_17_constants_in_every_spelling"]),
    18: ("a sparse initializer has its name in its values", [HERE_ + "test_18_sparse_initializers"]),
    19: ("quantization annotations name tensors", [LOSS + "test_a_smaller_cut_keeps_annotations_of_what_is_left_with_the_scales_they_name"]),
    20: ("metadata on every level", [LOSS + "test_a_cut_at_its_own_boundary_keeps_every_bit", LOSS + "test_a_smaller_cut_keeps_nodes_and_weights_whole"]),
    21: ("functions: overloads, calls of calls, calls in bodies", [BODIES + "test_functions_that_call_functions_and_those_called_in_a_body", BODIES + "test_overloads_are_told_apart"]),
    22: ("opset imports of functions and bodies", [BODIES + "test_functions_that_call_functions_and_those_called_in_a_body"]),
    23: ("device configurations name tensors", [LOSS + "test_a_cut_at_its_own_boundary_keeps_every_bit", LOSS + "test_the_sharding_of_a_result_that_became_an_input_follows_its_new_name"]),
    24: ("training information binds initializers", [LOSS + "test_training_that_is_no_longer_whole_is_left_out_and_noted", LOSS + "test_training_is_kept_where_everything_it_names_is_there"]),
    25: ("external data: offsets, no length, shared bytes, attributes", [HERE_ + "test_25_external_data_in_every_form"]),
    26: ("protobuf ends at 2 GiB", [HERE_ + "test_26_weights_of_more_than_protobuf_holds"]),
    27: ("raw data is little-endian, typed fields are not", [BACKEND + "test_every_model_comes_back_from_load_and_save", LOSS + "test_load_and_save_keep_every_bit"]),
    28: ("types of less than a byte", [HERE_ + "test_28_four_bit_weights", LOSS + "test_load_and_save_keep_every_bit"]),
    29: ("values that are no tensors", [VALUES + "test_sequence_optional_and_map_boundaries"]),
    30: ("no shape, a scalar, unknown dims and symbols all differ", [HERE_ + "test_30_shapes_are_kept_as_they_are_declared", VALUES + "test_symbolic_dims_are_kept_and_inferred_ones_named_alike"]),
    31: ("a second result is used; an output is an input or an initializer", [VALUES + "test_one_result_is_an_input_and_another_is_still_computed", VALUES + "test_an_initializer_as_an_output", VALUES + "test_an_input_as_an_output", VALUES + "test_nodes_that_are_not_sorted_are_sorted"]),
    32: ("inputs of Loop and Scan bodies go by position", [BODIES + "test_loops_in_loops", BODIES + "test_scan"]),
    33: ("names of nodes may repeat", [VALUES + "test_cuts_through_nodes_that_share_a_name", VALUES + "test_a_name_that_several_nodes_have"]),
    34: ("passing the checker proves little", [BACKEND + "test_a_model_cut_in_two_gives_the_expected_numbers"]),
    35: ("how outputs are compared", "about comparing; tests/test_oracle.py holds the comparison that these tests use"),
}  # fmt: skip


@pytest.mark.parametrize("number", TRAPS)
def test_the_table_names_tests_that_are_there(number) -> None:
    _, tests = TRAPS[number]
    for test in tests if isinstance(tests, list) else []:
        file, _, name = test.partition("::")
        assert callable(getattr(_module(HERE / file), name, None)), test


def test_no_trap_is_forgotten() -> None:
    assert list(TRAPS) == list(range(1, 36))


_MODULES: dict[Path, object] = {}


def _module(path: Path) -> object:
    if path not in _MODULES:
        spec = importlib.util.spec_from_file_location(f"traps_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        _MODULES[path] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return _MODULES[path]


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def test_06_a_constant_that_both_sides_of_a_cut_read() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}>
        { k = Constant<value_float = 0.5>() a = Mul(x, w) b = Mul(a, k) c = Add(b, w) y = Sub(c, k) }"""
    )
    x = np.array([1, -2, 3], np.float32)
    for part in (gk.extract(model, outputs=["b"]), gk.extract(model, inputs=["b"])):
        assert [t.name for t in part.proto.graph.initializer] == ["w"]
        assert sum(node.op_type == "Constant" for node in part.proto.graph.node) == 1
        assert_cut(model, part, {"x": x})


def test_07_omitted_inputs_and_outputs() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2, 4] x, bool c) => (float[2, 4] y) <float top = {1.5}>
        {
          a = Neg(x)
          b, = Dropout(a, , )
          d = If(c) <then_branch = p () => (float[2, 4] t) { t = Clip(b, , top) }, else_branch = q () => (float[2, 4] e) { e = Abs(b) }>
          y = Clip(d, , top)
        }"""
    )
    model.graph.node[1].output[:] = ["b", ""]
    part = gk.extract(model, inputs=["a", "c"], outputs=["d"])
    assert list(part.proto.graph.node[0].input) == list(model.graph.node[1].input)
    assert list(part.proto.graph.node[0].output) == ["b", ""]
    onnx.checker.check_model(part.proto, full_check=True)
    a = np.linspace(-3, 3, 8, dtype=np.float32).reshape(2, 4)
    assert_same(run_ort(part, {"a": a, "c": np.array(True)}), {"d": np.minimum(a, 1.5)})
    assert_same(run_ort(part, {"a": a, "c": np.array(False)}), {"d": np.abs(a)})
    last = gk.extract(model, inputs=["d"], outputs=["y"])
    assert list(last.proto.graph.node[0].input) == ["d", "", "top"]
    assert_same(run_ort(last, {"d": a}), {"y": np.minimum(a, 1.5)})


def test_10_tensors_without_elements(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("graphkit.storage.load.SMALL_FILE", -1)
    model = parsed(
        """<ir_version: 8, opset_import: ["": 11]> g (float[1, 1, 2, 2] x) => (float[1, 1, 4, 4] y)
        <float[0] roi = {}, float[4] scales = {1, 1, 2, 2}> { a = Neg(x) b = Resize<mode = "nearest">(a, roi, scales) y = Abs(b) }"""
    )
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, tmp_path / "m.onnx")
    part = gk.extract(tmp_path / "m.onnx", inputs=["a"], outputs=["b"])
    gk.save(part, tmp_path / "part.onnx")
    assert list(onnx.load(tmp_path / "part.onnx").graph.initializer) == list(model.graph.initializer)
    assert_cut(model, tmp_path / "part.onnx", {"x": np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)})


@pytest.mark.parametrize(
    "spelling",
    [
        {"value": numpy_helper.from_array(np.array([0.5, 1, 2], np.float32))},
        {"value_float": 0.5},
        {"value_floats": [0.5, 1.0, 2.0]},
    ],
    ids=lambda spelling: next(iter(spelling)),
)
def test_17_constants_in_every_spelling(spelling, tmp_path) -> None:
    _assert_constant(helper.make_node("Constant", [], ["k"], **spelling), tmp_path)


@pytest.mark.parametrize(
    "spelling", [{"value_int": 2}, {"value_ints": [1, 2, 3]}], ids=lambda spelling: next(iter(spelling))
)
def test_17_constants_of_integers(spelling, tmp_path) -> None:
    node = helper.make_node("Constant", [], ["n"], **spelling)
    _assert_constant(node, tmp_path, helper.make_node("Cast", ["n"], ["k"], to=TensorProto.FLOAT))


def test_17_constants_that_are_computed(tmp_path) -> None:
    three = helper.make_node("Constant", [], ["n"], value_ints=[3])
    made = helper.make_node("ConstantOfShape", ["n"], ["k"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [7]))
    _assert_constant(three, tmp_path, made)
    plain = helper.make_node("Constant", [], ["n"], value_floats=[1.0, 2.0, 3.0])
    _assert_constant(plain, tmp_path, helper.make_node("Identity", ["n"], ["k"]))


def test_17_sparse_constants(tmp_path) -> None:
    """ONNX Runtime runs them; the reference evaluator does not expand them."""
    values = helper.make_tensor("", TensorProto.FLOAT, [2], [5, 7])
    indices = helper.make_tensor("", TensorProto.INT64, [2], [0, 2])
    node = helper.make_node("Constant", [], ["k"], sparse_value=helper.make_sparse_tensor(values, indices, [3]))
    model = _with_constant([node])
    part = gk.extract(model, inputs=["a"], outputs=["b"])
    assert part.proto.graph.node[0] == node
    a = np.array([1, 2, 3], np.float32)
    assert_same(run_ort(part, {"a": a}), {"b": a * np.array([5, 0, 7], np.float32)})


def _with_constant(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3] x) => (float[3] y) { a = Neg(x) b = Mul(a, k) y = Exp(b) }"""
    )
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return model


def _assert_constant(node: onnx.NodeProto, tmp_path: Path, *more: onnx.NodeProto) -> None:
    model = _with_constant([node, *more])
    part = gk.extract(model, inputs=["a"], outputs=["b"])
    assert list(part.proto.graph.node)[:-1] == [node, *more]
    gk.save(part, tmp_path / "part.onnx")
    assert_cut(model, tmp_path / "part.onnx", {"x": np.array([1, -2, 3], np.float32)})
    freed = gk.extract(model, inputs=["a", "k"], outputs=["b"])
    assert [n.op_type for n in freed.proto.graph.node] == ["Mul"]


def test_18_sparse_initializers(tmp_path) -> None:
    """In the main graph, read from a body too; as an input of the cut a sparse weight is a sparse value."""
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[4] x, bool c) => (float[4] y) {
        a = Neg(x) b = Mul(a, s)
        d = If(c) <then_branch = p () => (float[4] t) { t = Add(b, r) }, else_branch = q () => (float[4] e) { e = Neg(b) }>
        y = Exp(d) }"""
    )
    for name in ("s", "r", "unread"):
        values = helper.make_tensor(name, TensorProto.FLOAT, [2], [5, 7])
        indices = helper.make_tensor(f"{name}_at", TensorProto.INT64, [2], [0, 2])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    onnx.save(model, tmp_path / "m.onnx")
    part = gk.extract(tmp_path / "m.onnx", inputs=["a", "c"], outputs=["d"])
    assert list(part.proto.graph.sparse_initializer) == list(model.graph.sparse_initializer)[:2]
    gk.save(part, tmp_path / "part.onnx")
    a, dense = np.arange(1, 5, dtype=np.float32), np.array([5, 0, 7, 0], np.float32)
    assert_same(run_ort(tmp_path / "part.onnx", {"a": a, "c": np.array(True)}), {"d": a * dense + dense})
    freed = gk.extract(model, inputs=["a", "s"], outputs=["b"])
    assert format_type(freed.proto.graph.input[1].type) == "float32[4]"
    assert list(freed.proto.graph.sparse_initializer) == []
    assert_same(run_ort(freed, {"a": a, "s": a}), {"b": a * a})


def test_25_external_data_in_every_form(tmp_path) -> None:
    """Two files; an offset, none; a length, none; two tensors over the same bytes."""
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((64, 64), np.float32) for _ in range(2))
    (tmp_path / "one.data").write_bytes(bytes(512) + first.tobytes())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "two.data").write_bytes(second.tobytes())
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 64] x) => (float[N, 64] y)
        { a = MatMul(x, w0) b = MatMul(a, w1) c = MatMul(b, w2) d = MatMul(c, w3) y = Neg(d) }"""
    )
    where = [
        {"location": "one.data", "offset": "512", "length": "16384"},
        {"location": "one.data", "offset": "512"},
        {"location": "sub/two.data"},
        {"location": "sub/two.data", "length": "16384", "checksum": "0" * 40},
    ]
    for number, entries in enumerate(where):
        tensor = model.graph.initializer.add(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[64, 64])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    part = gk.extract(tmp_path / "m.onnx", inputs=["a"], outputs=["d"])
    a = rng.standard_normal((2, 64), np.float32)
    expected = {"d": a @ first @ second @ second}
    for name, options in {"inside": {}, "beside": {"external": "w.data"}, "kept": {"weights": "keep"}}.items():
        gk.save(part, tmp_path / f"{name}.onnx", **options)
        assert_same(run_ort(tmp_path / f"{name}.onnx", {"a": a}), expected, rtol=1e-4, atol=1e-3)
        onnx.checker.check_model(tmp_path / f"{name}.onnx")
    assert (tmp_path / "w.data").stat().st_size == 2 * 16384  # shared bytes are written once


def test_26_weights_of_more_than_protobuf_holds(tmp_path) -> None:
    """Three gigabytes of zeros (the file is a hole), of which a cut takes 16 KiB."""
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 64] x) => (float[N, K] z)
        { y = MatMul(x, w) a = Neg(y) z = MatMul(a, huge) }"""
    )
    small = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    columns = (3 << 30) // 256
    with (tmp_path / "m.data").open("wb") as file:
        file.truncate(64 * columns * 4)
        file.seek(0, 2)
        file.write(small.tobytes())
    for name, dims, offset in (("huge", [64, columns], 0), ("w", [64, 64], 64 * columns * 4)):
        tensor = model.graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=dims)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "m.data"), ("offset", offset), ("length", 4 * dims[0] * dims[1])):
            tensor.external_data.add(key=key, value=str(value))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    part = gk.extract(tmp_path / "m.onnx", inputs=["x"], outputs=["y", "a"])
    gk.save(part, tmp_path / "part.onnx")
    assert (tmp_path / "part.onnx").stat().st_size < 20_000
    x = np.ones((2, 64), np.float32)
    assert_same(run_ort(tmp_path / "part.onnx", {"x": x}), {"y": x @ small, "a": -(x @ small)}, rtol=1e-4, atol=1e-4)
    gk.save(gk.extract(tmp_path / "m.onnx", inputs=["a"], outputs=["z"]), tmp_path / "kept.onnx", weights="keep")
    assert (tmp_path / "kept.onnx").stat().st_size < 1000


def test_28_four_bit_weights(tmp_path) -> None:
    """Two values a byte, an odd number of them, large enough to be left in the file."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(-8, 8, 9999)
    weight = helper.make_tensor("w", TensorProto.INT4, [9999], numbers.tolist())
    packed = TensorProto(
        name="w",
        data_type=TensorProto.INT4,
        dims=[9999],
        raw_data=numpy_helper.from_array(numpy_helper.to_array(weight)).raw_data,
    )
    assert len(packed.raw_data) == 5000
    model = parsed(
        """<ir_version: 10, opset_import: ["": 21]> g (float[9999] x) => (float[9999] y) <float scale = {0.5}>
        { a = Neg(x) d = DequantizeLinear(w, scale) y = Mul(a, d) }"""
    )
    model.graph.initializer.append(packed)
    onnx.save(model, tmp_path / "m.onnx")
    part = gk.extract(tmp_path / "m.onnx", inputs=["a"], outputs=["y"])
    gk.save(part, tmp_path / "part.onnx")
    a = rng.standard_normal(9999, np.float32)
    for run in (run_ort, run_reference):
        assert_same(run(tmp_path / "part.onnx", {"a": a}), {"y": a * (numbers * 0.5).astype(np.float32)})


@pytest.mark.parametrize("declared", ["float32", "float32[]", "float32[?,?]", "float32[n,3]", "float32[0,3]"])
def test_30_shapes_are_kept_as_they_are_declared(declared) -> None:
    """Where there is none, none is made up: the operator is a custom one."""
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17, "custom": 1]> g (float[3] x) => (float[3] y)
        { a = custom.Foo(x) b = custom.Bar(a) y = custom.Foo(b) }"""
    )
    for name in ("a", "b"):
        model.graph.value_info.add(name=name)
        model.graph.value_info[-1].type.CopyFrom(_parse(declared))
    part = gk.extract(model, inputs=["a"], outputs=["b"]).proto.graph
    assert part.input[0].type == part.output[0].type == _parse(declared)


def _parse(text: str) -> onnx.TypeProto:
    dims = {
        "float32": None,
        "float32[]": [],
        "float32[?,?]": [None, None],
        "float32[n,3]": ["n", 3],
        "float32[0,3]": [0, 3],
    }
    return helper.make_tensor_type_proto(TensorProto.FLOAT, dims[text])


# the order of nodes


def test_a_cut_of_an_unsorted_graph_is_sorted_in_bodies_too():
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[2] x, bool c) => (float[2] y) {
        y = Neg(b)
        b = If (c) <
            then_branch = t () => (float[2] tb) { tb = Abs(inner)  inner = Neg(a) },
            else_branch = e () => (float[2] eb) { eb = Identity(a) }
        >
        a = Relu(x)
    }"""
    model = onnx.parser.parse_model(text)
    part = gk.extract(model, inputs=["x", "c"], outputs=["y"])
    onnx.checker.check_model(part.proto, full_check=True)
    assert [n.op_type for n in part.proto.graph.node] == ["Relu", "If", "Neg"]
    x = np.float32([-1, 2])
    assert run_ort(part, {"x": x, "c": np.array(True)})["y"].tolist() == [0, -2]
    assert [n.op_type for n in model.graph.node] == ["Neg", "If", "Relu"]


def test_a_sorted_graph_keeps_an_order_that_another_sort_would_not():
    text = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { b = Abs(x)  c = Abs(b)  a = Neg(x)  y = Add(a, c) }'
    part = gk.extract(onnx.parser.parse_model(text), outputs=["y"])
    assert [n.output[0] for n in part.proto.graph.node] == ["b", "c", "a", "y"]


# types of functions' values, as files before IR 10 have them


def test_types_of_the_functions_that_are_called_come_along():
    text = """<ir_version: 9, opset_import: ["": 18, "my.ops": 1]> g (float[2] x) => (float[2] y, float[2] z) {
        y = my.ops.F(x)  z = my.ops.G(x) }
        <domain: "my.ops", opset_import: ["": 18]> F (a) => (b) { t = Relu(a)  b = Neg(t) }
        <domain: "my.ops", opset_import: ["": 18]> G (a) => (b) { t = Abs(a)  b = Neg(t) }"""
    model = onnx.parser.parse_model(text)
    for name in ("my.ops::F/t", "my.ops::G/t", "my.ops::H/t"):
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]))
    part = gk.extract(model, inputs=["x"], outputs=["y"])
    assert [v.name for v in part.proto.graph.value_info] == ["my.ops::F/t"]
    assert [f.name for f in part.proto.functions] == ["F"]
