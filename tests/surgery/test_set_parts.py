"""set: what is set is what counts, of the type that the operator wants; the rest stays."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x, bool c) => (float[2,3] y, float[n,m] z)
<float[3] w = {1, 2, 3}, float[2,3] a> {
  [scale] a = Mul(x, w)
  [soft] y = Softmax<axis = 0>(a)
  [sum] z = ReduceSum<keepdims = 1>(a)
}"""
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
W = np.float32([1, 2, 3])


def net(text=NET):
    return onnx.parser.parse_model(text)


def outputs(model):
    onnx.checker.check_model(model.proto, full_check=True)
    return run_ort(model, {"x": X, "c": np.array(True)})


def softmax(a, axis):
    e = np.exp(a - a.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("value", [1, "1", -1, np.int64(1), [1]])
def test_an_attribute_is_typed_by_the_definition(value):
    edited = gk.set_parts(net(), attributes={"soft:axis": value})
    assert edited.nodes[1].attribute[0].type == onnx.AttributeProto.INT
    assert_same(outputs(edited)["y"], softmax(X * W, 1))


def test_attributes_of_every_kind():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,1,4,4] x) => (float[n,c,h,w] y) {
        k = Constant<value = float[1,1,3,3] {0,0,0,0,1,0,0,0,0}>() [conv] p = Conv(x, k) [leak] q = LeakyRelu(p)
        [pad] r = Pad(q, pads) [cast] y = Cast<to = 1>(r) } """.replace("Pad(q, pads)", "Identity(q)")
    )
    edited = gk.set_parts(
        model,
        attributes={
            "conv:pads": "1,1,1,1",
            "conv:auto_pad": "NOTSET",
            "leak:alpha": 0.5,
            "cast:to": "float16",
            "k:value": np.full((1, 1, 3, 3), 2, np.float32),
        },
    )
    x = -np.ones((1, 1, 4, 4), np.float32)
    y = run_ort(edited, {"x": x})["y"]
    assert y.dtype == np.float16
    assert y.shape == (1, 1, 4, 4)
    assert y[0, 0, 0, 0] == -4
    assert edited.outputs[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    onnx.checker.check_model(edited.proto, full_check=True)


def test_a_size_that_an_attribute_changes_is_declared_again():
    edited = gk.set_parts(net(NET.replace("float[n,m] z", "float[1,1] z")), attributes={"sum:keepdims": 0})
    assert gk.inspect(edited).outputs[1].type == "float32[]"
    assert_same(outputs(edited)["z"], (X * W).sum())


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"attributes": {"soft:axes": 1}}, gk.EditError, "Softmax of opset 17 has no attribute 'axes'.*\n.*'axis'"),
        ({"attributes": {"soft:axis": 1.5}}, gk.EditError, "'axis' of Softmax 'soft' is of type INT, and 1.5 is none"),
        ({"attributes": {"soft:axis": "last"}}, gk.EditError, "of type INT"),
        ({"attributes": {"sift:axis": 1}}, gk.NameNotFoundError, "sift"),
        ({"attributes": {"soft": 1}}, gk.EditError, "write NODE:NAME"),
        ({"attributes": {"soft:axis": 7}}, gk.EditError, "what was set at 'soft'"),
        ({"clear": ["soft:axes"]}, gk.EditError, "has no attribute 'axes'"),
        ({"operands": {"scale:5": "x"}}, gk.EditError, "has 2 operands"),
        ({"operands": {"scale:1": "q"}}, gk.NameNotFoundError, "no value named 'q'"),
        ({"operands": {"scale:1": "y"}}, gk.EditError, "in a cycle"),
        ({"operands": {"scale:1": "c"}}, gk.EditError, "what was set at 'scale'"),
        ({"operands": {"soft:0": ""}}, gk.EditError, "soft"),
        ({"tensors": {"w": np.zeros(3)}}, gk.TensorError, "'w' is float32.*float64"),
        ({"tensors": {"w": np.zeros(4, np.float32)}}, gk.TensorError, r"shape \[4\]"),
        ({"tensors": {"a": 1}}, gk.NameNotFoundError, "no weight named 'a'"),
        ({"opset_import": {"": 0}}, gk.EditError, "Mul 'scale': there is no Mul in opset 0"),
        ({"ir": 99}, gk.EditError, "no IR version 99"),
        ({}, ValueError, "something to set"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, error, said):
    model = net()
    before = model.SerializeToString()
    with pytest.raises(error, match=said):
        gk.set_parts(model, **arguments)
    assert model.SerializeToString() == before


def test_an_attribute_that_goes_has_its_default_again():
    assert_same(outputs(gk.set_parts(net(), clear="soft:axis"))["y"], softmax(X * W, -1))
    with pytest.raises(gk.EditError, match="cannot do without"):
        gk.set_parts(
            net('<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { [c] y = Cast<to = 1>(x) }'),
            clear=["c:to"],
        )


def test_operands_are_values_or_constants():
    assert_same(outputs(gk.set_parts(net(), operands={"soft:0": "x"}))["y"], softmax(X, 0))
    zero = gk.set_parts(net(), operands={"scale:1": 0})
    assert_same(outputs(zero)["z"], np.zeros((1, 1), np.float32))
    assert [t.name for t in zero.proto.graph.initializer] == ["w_set"]
    listed = gk.set_parts(net(), operands={"scale:1": "[3,2,1]"})
    assert_same(outputs(listed)["y"], softmax(X * np.float32([3, 2, 1]), 0))
    axes = gk.set_parts(net(), operands={"sum:1": np.array([1])})
    assert_same(outputs(axes)["z"], (X * W).sum(1, keepdims=True))
    assert_same(outputs(gk.set_parts(axes, operands={"sum:1": ""}))["z"], (X * W).sum(keepdims=True))


def test_weights_also_large_ones_and_in_bodies(tmp_path):
    edited = gk.set_parts(net(), tensors={"w": np.float32([4, 5, 6])})
    assert_same(outputs(edited)["y"], softmax(X * np.float32([4, 5, 6]), 0))
    assert_same(outputs(gk.set_parts(net(), tensors={"w": 2}))["y"], softmax(X * 2, 0))
    model = net('<ir_version: 8, opset_import: ["": 17]> g (float[n,256] x) => (float[n,256] y) { y = MatMul(x, w) }')
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((256, 256), np.float32), "w"))
    w = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)
    np.save(tmp_path / "w.npy", w)
    gk.set_parts(model, tensors={"w": f"@{tmp_path / 'w.npy'}"}).save(tmp_path / "out.onnx")
    assert_same(onnx.numpy_helper.to_array(onnx.load(tmp_path / "out.onnx").graph.initializer[0]), w)
    body = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x, bool c) => (float[2] y) { [choose] y = If(c)
        <then_branch = t () => (float[2] u) { k = Constant<value_floats = [1.0, 2.0]>() u = Add(x, k) },
         else_branch = e () => (float[2] v) { v = Neg(x) }> }"""
    )
    inside = gk.set_parts(body, tensors={"choose.then_branch/k": [5, 6]})
    x = np.float32([1, 1])
    assert_same(run_ort(inside, {"x": x, "c": np.array(True)}), {"y": np.float32([6, 7])})


def test_what_the_model_says_about_itself():
    model = net()
    model.doc_string = model.graph.node[0].doc_string = "old"
    model.graph.node[0].metadata_props.add(key="k", value="v")
    edited = gk.set_parts(model, metadata={"author": "me"}, doc="new", opset_import={"ai.onnx": 18, "my": 3}, ir=9)
    assert {e.key: e.value for e in edited.proto.metadata_props} == {"author": "me"}
    assert edited.proto.doc_string == "new"
    assert {o.domain: o.version for o in edited.proto.opset_import} == {"": 18, "my": 3}
    assert edited.proto.ir_version == 9
    bare = gk.set_parts(edited, clear=["metadata", "docs"]).proto
    assert not bare.metadata_props
    assert not bare.doc_string
    assert not bare.graph.node[0].metadata_props
    assert not bare.graph.node[0].doc_string


def test_shapes_are_written_and_taken_out():
    model = net(NET.replace(", float[2,3] a>", ">"))
    inferred = gk.set_parts(model, shapes="infer").proto
    assert [(v.name, [d.dim_value for d in v.type.tensor_type.shape.dim]) for v in inferred.graph.value_info] == [
        ("a", [2, 3])
    ]
    assert not gk.set_parts(inferred, shapes="clear").proto.graph.value_info


def test_weights_go_come_back_and_are_stood_in_for(tmp_path):
    model = net(
        '<ir_version: 8, opset_import: ["": 17]> g (float[n,64] x) => (float[n,64] y) <float[1] b = {1}> { h = MatMul(x, w) y = Add(h, b) }'
    )
    w = np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    onnx.save(model, tmp_path / "whole.onnx")
    gk.set_parts(tmp_path / "whole.onnx", strip_weights=True).save(tmp_path / "bare.onnx")
    assert (tmp_path / "bare.onnx").stat().st_size < 1000
    x = np.ones((1, 64), np.float32)
    with pytest.raises(gk.WeightsError, match="'w'"):
        gk.run(tmp_path / "bare.onnx", {"x": x})
    again = gk.set_parts(tmp_path / "bare.onnx", restore_weights=tmp_path / "whole.onnx")
    assert_same(run_ort(again, {"x": x}), {"y": x @ w + 1}, rtol=1e-4, atol=1e-4)
    with pytest.raises(gk.GraphkitError, match="weights came from another model"):
        gk.replay(again, tmp_path / "whole.onnx")
    zeros = gk.set_parts(tmp_path / "bare.onnx", fill_weights="zeros")
    assert_same(run_ort(zeros, {"x": x}), {"y": np.ones((1, 64), np.float32)})
    random = gk.set_parts(tmp_path / "bare.onnx", fill_weights="random")
    assert 0.5 < random.array("w").std() * 8 < 2
    assert_same(random.array("w"), gk.set_parts(tmp_path / "bare.onnx", fill_weights="random").array("w"))
    with pytest.raises(gk.NothingFoundError, match="no weight of the model is stripped") as refused:
        gk.set_parts(tmp_path / "whole.onnx", fill_weights="zeros")
    assert "strip_weights" in refused.value.hint
    with pytest.raises(gk.EditError, match="no values for 'w'"):
        gk.set_parts(tmp_path / "bare.onnx", restore_weights=tmp_path / "bare.onnx")
    with pytest.raises(gk.EditError, match="'w' is of another type or shape"):
        gk.set_parts(tmp_path / "bare.onnx", restore_weights=net())


def test_an_operand_that_a_branch_captures_keeps_its_dtype():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[3] x, bool c) => (float[3] y) <float[3] w = {1, 2, 3}> {
        [choose] y = If(c) <then_branch = t () => (float[3] p) { [in] p = Mul(x, w) },
                            else_branch = e () => (float[3] q) { q = Neg(x) }> }"""
    )
    edited = gk.set_parts(model, operands={"choose.then_branch/in:1": [2, 0, 1]})
    got = run_ort(edited, {"x": np.float32([1, 2, 3]), "c": np.array(True)})["y"]
    assert got.tolist() == [2, 0, 3]


def test_the_turn_of_a_loop_keeps_its_type_where_the_types_of_carried_values_are_not_known_any_more():
    """ONNX Runtime refuses a Loop whose turn has no shape (found by a random model)."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[n, 3] x, int64 turns) => (float[n, 3] y) <float[3] w = {1, 2, 3}> {
        [start] s = Sub(x, w) [again] i = Identity(s)
        yes = Constant<value = bool {1}>()
        y = Loop(turns, yes, i) <body = b (int64 turn, bool go, float[n, 3] c) => (bool next, float[n, 3] o) {
          next = Identity(go) o = Tanh(c) }> }"""
    )
    del model.graph.value_info[:]
    edited = gk.set_parts(model, operands={"start:1": 0.75})
    body = next(node for node in edited.nodes if node.op_type == "Loop").attribute[0].g
    assert body.input[0].type.tensor_type.HasField("shape")
    x = np.float32([[1, 2, 3]])
    got = run_ort(edited, {"x": x, "turns": np.array(1)})["y"]
    assert np.allclose(got, np.tanh(x - 0.75))


WIDE = "g (float[2,3] x) => (float[2,30000] y) { y = MatMul(x, w) }"


@pytest.fixture
def wide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = np.random.default_rng(0).standard_normal((3, 30000)).astype(np.float32)
    np.save("w.npy", new)
    np.savez("one.npz", w=new)
    np.savez("two.npz", w=new, v=new[:1])
    return parse(WIDE, w=np.zeros((3, 30000))), new


@pytest.mark.parametrize("text", ["@w.npy", "@one.npz", "@two.npz:w"])
def test_a_large_weight_comes_from_a_file(wide, text):
    model, new = wide
    x = np.float32([[1, 2, 3], [4, 5, 6]])
    edited = gk.set_parts(model, tensors={"w": text})
    edited.save("out.onnx")
    assert_same(run_ort("out.onnx", {"x": x}), {"y": x @ new}, rtol=1e-4, atol=1e-4)
    assert gk.replay(gk.load("out.onnx"), model).array("w").tolist() == new.tolist()


def test_a_large_npy_file_is_not_held_in_memory(wide):
    model, _ = wide
    edited = gk.set_parts(model, tensors={"w": "@w.npy"})
    (tensor,) = edited.proto.graph.initializer
    assert not tensor.raw_data
    assert [type(source).__name__ for name, source in edited.sources.items() if name.startswith("set:")] == [
        "LocalFile"
    ]


def test_a_part_of_a_mapped_file_is_that_part(wide):
    _, new = wide
    model = parse("g (float[1,2] x) => (float[1,30000] y) { y = MatMul(x, w) }", w=np.zeros((2, 30000)))
    part = np.load("w.npy", mmap_mode="r")[1:]
    edited = gk.set_parts(model, tensors={"w": part})
    assert edited.array("w").tolist() == new[1:].tolist()
    edited.save("out.onnx")
    assert gk.replay(gk.load("out.onnx"), model).array("w").tolist() == new[1:].tolist()
    fortran = np.asfortranarray(new)
    np.save("f.npy", fortran)
    assert (
        gk.set_parts(parse(WIDE, w=np.zeros((3, 30000))), tensors={"w": "@f.npy"}).array("w").tolist() == new.tolist()
    )


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("@nope.npy", gk.ModelFileError, "No such file"),
        ("@two.npz", gk.EditError, "holds 2 arrays"),
        ("@two.npz:z", gk.EditError, "has no array 'z'"),
        ("@.", gk.ModelFileError, "no regular file"),
    ],
)
def test_a_file_that_is_no_weight_is_named(wide, text, error, said):
    with pytest.raises(error, match=said):
        gk.set_parts(wide[0], tensors={"w": text})


def test_a_bfloat16_weight_takes_floats_that_it_holds_exactly():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g () => (float[2] y) <bfloat16[2] w = {0, 0}> { y = Cast<to = 1>(w) }'
    )
    edited = gk.set_parts(model, tensors={"w": np.float32([1.5, -2])})
    assert run_ort(edited, {})["y"].tolist() == [1.5, -2]
    with pytest.raises(gk.TensorError, match="bfloat16"):
        gk.set_parts(model, tensors={"w": np.float32([1.001, 2])})


GRAMS = """[n] y = TfIdfVectorizer<max_gram_length = 1, max_skip_count = 0, min_gram_length = 1, mode = "TF",
ngram_counts = [0], ngram_indexes = [0, 1], pool_strings = ["a", "b"]>(s)"""


@pytest.mark.parametrize(
    ("node", "attribute", "value", "said"),
    [
        ("[n] y = Gelu(x)", "approximate", "tanh", "approximate of Gelu 'n' is 'tanh'"),
        (GRAMS, "pool_strings", ["é", "b"], "pool_strings of TfIdfVectorizer 'n' is ['é', 'b']"),
        ("[n] y = Elu(x)", "alpha", 0.1, "alpha of Elu 'n' is 0.1"),
    ],
)
def test_notes_show_texts_as_texts_and_numbers_as_people_write_them(node, attribute, value, said):
    edited = gk.set_parts(
        parse(f'<ir_version: 10, opset_import: ["": 20]> g (float[2] x, string[2] s) => (float[n] y) {{ {node} }}'),
        attributes={f"n:{attribute}": value},
    )
    assert edited.history[-1].notes == (said,)


def test_an_ir_version_without_opset_imports_is_refused_where_the_model_has_some():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
    )
    with pytest.raises(gk.EditError, match=r"imports opsets, which IR version 2 does not know: the lowest is 3"):
        gk.set_parts(model, ir=2)
    onnx.checker.check_model(gk.set_parts(model, ir=3).proto)
