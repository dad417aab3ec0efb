"""Small constants are seen where they stand (R09); values, nodes and texts are looked up; what a run computes and holds."""

import json

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.main import main

SPELLINGS = {
    "value": ("value = float[4] {1, 1, 3, 3}", np.float32([1, 1, 3, 3])),
    "value_float": ("value_float = 0.1", np.float32(0.1)),
    "value_floats": ("value_floats = [1.0, 1.0, 3.0, 3.0]", np.float32([1, 1, 3, 3])),
    "value_int": ("value_int = 7", np.int64(7)),
    "value_ints": ("value_ints = [7, 8]", np.int64([7, 8])),
    "value_string": ('value_string = "a"', np.array("a", object)),
    "value_strings": ('value_strings = ["a", "b"]', np.array(["a", "b"], object)),
}
SHOWN = {
    "value": "float32[4] [1, 1, 3, 3]",
    "value_float": "0.1",
    "value_floats": "[1, 1, 3, 3]",
    "value_int": "7",
    "value_ints": "[7, 8]",
    "value_string": "'a'",
    "value_strings": "['a', 'b']",
}


def constant(spelling):
    text = f"""<ir_version: 10, opset_import: ["" : 18]> g () => (float[n] y) {{ [keep] k = Constant<{spelling}>() y = Identity(k) }}"""
    return onnx.parser.parse_model(text)


# R09
@pytest.mark.parametrize("name", SPELLINGS)
def test_the_numbers_of_a_constant_are_seen_in_every_spelling(name):
    spelling, values = SPELLINGS[name]
    model = gk.Model(constant(spelling))
    array = model.array("k")
    assert array.shape == values.shape
    assert np.array_equal(array, values)
    assert gk.inspect(model).nodes[0].attributes == {name: SHOWN[name]}
    found = gk.look_up_value(model, "k")
    assert found.kind == "constant"
    assert found.statistics.values == SHOWN[name].removeprefix("float32[4] ")
    assert f"k={found.statistics.values} -> y" in gk.text(gk.inspect(model), nodes=True)
    (k,) = [value for value in gk.inspect(model).values if value.name == "k"]
    assert k.type == found.type


def test_what_another_node_fills_has_no_type_of_its_value():
    text = """<ir_version: 8, opset_import: ["" : 17]> g (int64[2] s) => (float[n,m] y) {
    f = ConstantOfShape<value = float[1] {2.0}>(s) y = Neg(f) }"""
    (filled,) = gk.inspect(onnx.parser.parse_model(text)).values
    assert filled.type != "float32[1]"


# R09
def test_a_sparse_constant_and_a_sparse_initializer_are_dense_arrays():
    values = onnx.helper.make_tensor("s", 1, [1], [2.0])
    sparse = onnx.helper.make_sparse_tensor(values, onnx.helper.make_tensor("", 7, [1], [1]), [3])
    node = onnx.helper.make_node("Constant", [], ["k"], sparse_value=sparse)
    graph = onnx.helper.make_graph([node], "g", [], [], sparse_initializer=[sparse])
    model = gk.Model(onnx.helper.make_model(graph))
    for name in ("s", "k"):
        assert model.array(name).tolist() == [0, 2, 0]
        assert gk.look_up_value(model, name).statistics.values == "[0, 2, 0]"


def test_an_attribute_of_a_constant_that_is_given_by_a_caller_has_no_numbers():
    with pytest.raises(gk.NameNotFoundError, match="no constant named 'x'"):
        gk.Model(constant("value_int = 1")).array("x")


# R09
def test_small_weights_show_their_numbers_where_they_are_read(tmp_path):
    text = """<ir_version: 10, opset_import: ["" : 18]> g (float[1,1,4,4] x) => (float[1,1,n,m] y)
    <float[4] scales = {1, 1, 3, 3}> { [up] y = Resize<mode = "cubic">(x, , scales) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "up.onnx")
    shown = gk.text(gk.inspect(tmp_path / "up.onnx"), nodes=True, values=True)
    assert 'x, "", scales=[1, 1, 3, 3] -> y' in shown
    assert "scales  float32[4]  16 B  [1, 1, 3, 3]" in shown


@pytest.mark.parametrize(("kind", "value", "shown"), [(np.float32, 0.1, "0.1"), (np.float64, 0.1, "0.1"), (np.float16, 0.1, "0.099975586"), (np.int64, 2**53 + 1, "9007199254740993"), (np.bool_, True, "true")])  # fmt: skip
def test_numbers_are_written_in_few_digits_and_exactly(kind, value, shown):
    model = gk.build([onnx.helper.make_node("Identity", ["w"], ["y"])], {}, {"y": "float32[1]"}, initializers={"w": np.array([value], kind)}) if kind is np.float32 else None  # fmt: skip
    if model is None:
        tensor = onnx.numpy_helper.from_array(np.array([value], kind), "w")
        node = onnx.helper.make_node("Identity", ["w"], ["y"])
        info = onnx.helper.make_tensor_value_info("y", tensor.data_type, [1])
        model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [info], [tensor]))
    assert gk.look_up_value(model, "w").statistics.values == f"[{shown}]"


NET = """<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 3, 8, 8] x, bool c) => (float[batch, 4, 6, 6] y) <float[4, 3, 3, 3] w, float[4] idle> {
  [conv] h = Conv(x, w)
  [pick] y = If (c) <
    then_branch = yes () => (float[batch, 4, 6, 6] a) { k = Constant<value_float = 2.0>() [in] a = Mul(h, k) },
    else_branch = no () => (float[batch, 4, 6, 6] b) { b = Neg(h) }
  >
}"""


def net():
    model = onnx.parser.parse_model(NET)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w"))
    kept = [tensor for tensor in model.graph.initializer if tensor.raw_data or tensor.name == "idle"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    if not any(tensor.name == "idle" for tensor in kept):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4, np.float32), "idle"))
    return model


def test_a_value_its_producer_readers_and_type():
    found = gk.look_up_value(net(), "h")
    assert (found.kind, found.type) == ("made", "float32[batch,4,6,6]")
    assert found.producer == "Conv 'conv'(x, w) -> h"
    assert [reader.partition("(")[0] for reader in found.readers] == ["If 'pick'"]
    inner = gk.look_up_value(net(), "pick.then_branch/k")
    assert (inner.kind, inner.statistics.values) == ("constant", "2")
    with pytest.raises(gk.NameNotFoundError):
        gk.look_up_value(net(), "nope")


def test_statistics_count_what_is_not_finite():
    tensor = onnx.numpy_helper.from_array(np.float32([[0, 3, np.nan], [-1, np.inf, 0]]), "w")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["w"], ["y"])], "g", [], [], [tensor])
    found = gk.look_up_value(onnx.helper.make_model(graph), "w").statistics
    assert (found.elements, found.min, found.max, found.zeros, found.nan, found.inf) == (6, -1, 3, 2, 1, 1)
    assert found.mean == 0.5
    assert found.std == pytest.approx(np.std([0, 3, -1, 0]))


def test_a_node_and_its_neighbours():
    nodes = [onnx.helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=f"n{i}") for i in range(7)]
    model = gk.build(nodes, {"v0": "float32[2]"}, {"v7": "float32[2]"})
    found = gk.neighbours(model, "n3", hops=2)
    assert [(one.distance, one.node.split("'")[1]) for one in found.nodes] == [
        (-2, "n1"),
        (-1, "n2"),
        (0, "n3"),
        (1, "n4"),
        (2, "n5"),
    ]
    assert [one.distance for one in gk.neighbours(model, "n3", hops=0).nodes] == [0]


def test_texts_are_found_in_names_operators_and_shapes():
    assert {match.name for match in gk.find(net(), "CONV").matches} == {"conv"}
    assert {match.name for match in gk.find(net(), "[batch,3").matches} == {"x"}
    assert {match.name for match in gk.find(net(), "neg").matches} == {"pick.else_branch/b"}
    assert not gk.find(net(), "nothing of the kind")


def test_what_a_run_computes_and_holds():
    one = gk.inspect(net(), bind={"batch": 1}).work
    assert one.macs == 4 * 6 * 6 * 3 * 3 * 3
    assert (one.uncounted, one.inputs["x"]) == (1, "1,3,8,8")
    two = gk.inspect(net(), bind={"x:0": 2}).work
    assert two.macs == 2 * one.macs
    x, h, flag = 3 * 64 * 4, 4 * 36 * 4, 1
    assert one.peak_bytes == max(x + h + flag, h + h + flag)
    assert two.peak_bytes == max(2 * x + 2 * h + flag, 4 * h + flag)
    unbound = gk.inspect(net(), bind={})
    assert unbound.work is None
    assert unbound.unbound == ("batch",)
    with pytest.raises(gk.NameNotFoundError, match="'bach'"):
        gk.inspect(net(), bind={"bach": 1})


def test_what_is_in_the_way_comes_with_what_mends_it(tmp_path, capsys):
    model = net()
    model.ir_version = 14
    onnx.save(model, tmp_path / "my net.onnx")
    found = {finding.kind: finding for finding in gk.inspect(tmp_path / "my net.onnx").findings}
    assert set(found) == {"ir-version", "idle-weights"}
    assert found["ir-version"].remedy.startswith("graphkit.set_parts(model, ir=")
    assert main(["inspect", str(tmp_path / "my net.onnx"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["findings"]
    assert told[0]["remedy"].startswith(f"graphkit set '{tmp_path / 'my net.onnx'}' OUT --ir 1")
    assert found["idle-weights"].value == "idle"
    stripped = gk.set_parts(net(), strip_weights=True)
    if any(not tensor.raw_data for tensor in stripped.proto.graph.initializer):
        assert "weights" in {finding.kind for finding in gk.inspect(stripped).findings}


def test_every_look_has_text_within_80_columns_and_json():
    long = "a" * 5000
    node = onnx.helper.make_node("Add", [long, long], ["y" + long], name="n" + long)
    model = gk.build([node], {long: "float32[2]"}, {"y" + long: "float32[2]"})
    looks = [
        gk.inspect(model, bind={}),
        gk.look_up_value(model, long),
        gk.neighbours(model, "n" + long),
        gk.find(model, "aaa"),
    ]
    for look in looks:
        said = gk.text(look)
        assert max(map(len, said.splitlines())) <= 80
        assert len(said) < 4000
        json.loads(gk.to_json(look))
    said = gk.text(looks[0], nodes=True, values=True)
    assert max(map(len, said.splitlines())) <= 80
