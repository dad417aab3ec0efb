"""Feeds: from files, numbers, texts and ranges to what the model declares."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.feeds.random import RandomFeeds
from graphkit.graph.ports import input_ports
from graphkit.reading.values import value_for as fit
from oracle import assert_same


def port(text):
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 19]> g ({text} x) => ({text} y) {{ y = Identity(x) }}'
    )
    return input_ports(model)["x"]


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        ("float[2]", "2.5", np.array([2.5, 2.5], np.float32)),
        ("float[2]", "2,3", np.array([2, 3], np.float32)),
        ("float[2]", 2.5, np.array([2.5, 2.5], np.float32)),
        ("float[n]", "2.5", np.array([2.5], np.float32)),
        ("float", "2.5", np.array(2.5, np.float32)),
        ("int64[n]", "[1,2,3]", np.array([1, 2, 3])),
        ("int64[2,2]", [[1, 2], [3, 4]], np.array([[1, 2], [3, 4]])),
        ("bool[1]", "true", np.array([True])),
        ("double[3]", (1, 2, 3), np.array([1.0, 2.0, 3.0])),
        ("float16[1]", "0.5", np.array([0.5], np.float16)),
    ],
)
def test_numbers_and_lists_take_the_declared_type(declared, given, expected):
    assert_same(fit(port(declared), given), expected)


@pytest.mark.parametrize(
    ("declared", "given", "message"),
    [
        ("float[2]", "1,2,3", "axis 0 is 3 and must be 2"),
        ("float[2]", "abc", "neither a number nor a list"),
        ("int64[n]", "1.5", "does not fit that type"),
        ("uint8[n]", "300", "does not"),
        ("float[n,3]", np.zeros((2, 3)), "float64"),
        ("float[n,3]", np.zeros((3,), np.float32), "rank 2"),
        ("float[n]", "@nowhere.npy", "does not exist"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_runtime_sees_it(declared, given, message):
    with pytest.raises(gk.FeedError, match=message):
        fit(port(declared), given)


def test_files_of_arrays(tmp_path):
    a, b = np.arange(3, dtype=np.float32), np.ones(3, np.float32)
    np.save(tmp_path / "a.npy", a)
    np.savez(tmp_path / "ab.npz", x=a, other=b)
    np.savez(tmp_path / "one.npz", whatever=b)
    x = port("float[n]")
    assert_same(fit(x, f"@{tmp_path}/a.npy"), a)
    assert_same(fit(x, f"@{tmp_path}/ab.npz"), a)
    assert_same(fit(x, f"@{tmp_path}/ab.npz:other"), b)
    assert_same(fit(x, f"@{tmp_path}/one.npz"), b)
    np.savez(tmp_path / "two.npz", p=a, q=b)
    with pytest.raises(gk.FeedError, match="no array 'x'") as caught:
        fit(x, f"@{tmp_path}/two.npz")
    assert "'p', 'q'" in str(caught.value)
    (tmp_path / "bad.npz").write_bytes(b"PK nonsense")
    with pytest.raises(gk.FeedError, match="cannot be read"):
        fit(x, f"@{tmp_path}/bad.npz")


def test_pictures_as_the_model_declares_them(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    path = tmp_path / "p.png"
    image.fromarray(pixels).save(path)
    assert_same(fit(port("float[1,3,h,w]"), f"@{path}"), pixels.transpose(2, 0, 1)[None] / np.float32(255))
    assert_same(fit(port("uint8[1,h,w,3]"), f"@{path}"), pixels[None])
    assert fit(port("float[n,1,h,w]"), f"@{path}").shape == (1, 1, 4, 6)
    with pytest.raises(gk.FeedError, match="7 channels"):
        fit(port("float[1,7,h,7]"), f"@{path}")
    with pytest.raises(gk.FeedError, match="axis 2 is 4 and must be 8"):
        fit(port("float[1,3,8,8]"), f"@{path}")


def test_a_saved_picture_is_the_one_that_was_read(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "p.png")
    array = fit(port("float[1,3,h,w]"), f"@{tmp_path}/p.png")
    gk.save_arrays({"y": array}, tmp_path / "q.png")
    assert_same(np.asarray(image.open(tmp_path / "q.png")), pixels)
    gk.save_arrays({"y": array[:, :1]}, tmp_path / "grey.png")
    with image.open(tmp_path / "grey.png") as grey:
        assert grey.mode == "L"
    with pytest.raises(gk.SaveError, match="no single picture"):
        gk.save_arrays({"y": np.zeros((2, 3, 4, 4), np.float32)}, tmp_path / "no.png")
    with pytest.raises(gk.SaveError, match="holds one array"):
        gk.save_arrays({"y": array, "z": array}, tmp_path / "no.npy")
    assert not (tmp_path / "no.png").exists()


def test_a_missing_and_an_unknown_feed_are_named():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x, float[n] factor) => (float[n] y) { y = Mul(x, factor) }'
    )
    x = np.ones(2, np.float32)
    with pytest.raises(gk.FeedError, match="no feed for 'factor'"):
        gk.run(model, {"x": x})
    with pytest.raises(gk.NameNotFoundError, match="'facto'") as caught:
        gk.run(model, {"x": x, "facto": x})
    assert "did you mean 'factor'" in str(caught.value)
    with pytest.raises(gk.NameNotFoundError, match="'nope'") as caught:
        gk.run(model, {"x": x, "nope": x})
    assert caught.value.hint == "it has 'x', 'factor'"


def test_an_input_with_a_default_needs_no_feed():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x, float[1] w = {2.0}) => (float[n] y) { y = Mul(x, w) }'
    )
    x = np.ones(2, np.float32)
    assert_same(gk.run(model, {"x": x}), {"y": 2 * x})
    assert_same(gk.run(model, {"x": x, "w": "3"}), {"y": 3 * x})


def drawn(text, **options):
    model = gk.Model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}'))
    return RandomFeeds(model, **options).draw_all(0)


def test_random_feeds_keep_to_what_the_graph_can_take():
    ids = drawn("g (int64[n,s] ids) => (float[n,s,4] y) <float[7,4] w> { y = Gather(w, ids) }")["ids"]
    assert ids.min() >= 0
    assert ids.max() <= 6
    assert len(np.unique(ids)) > 3
    logs = drawn("g (float[n,s] x) => (float[n,s] y) { t = Identity(x)\n u = Transpose<perm=[1,0]>(t)\n y = Log(u) }")[
        "x"
    ]
    assert logs.min() > 0
    mask = drawn("g (int64[n,s] attention_mask) => (float[n,s] y) { y = Cast<to=1>(attention_mask) }")["attention_mask"]
    assert set(np.unique(mask)) <= {0, 1}
    assert mask[:, 0].all()
    one_hot = drawn(
        "g (int64[n] k) => (float[n,5] y) <int64 d = {5}, float[2] v = {0.0, 1.0}> { y = OneHot(k, d, v) }"
    )["k"]
    assert 0 <= one_hot.min() <= one_hot.max() < 5
    scales = drawn("g (float[1,3,8,8] x, float[k] s) => (float[a,b,c,d] y) { y = Resize(x, , s) }")
    assert scales["s"].shape == (4,)
    assert scales["s"][:2].tolist() == [1, 1]
    assert 1.5 <= scales["s"][2] <= 3
    factor = drawn(
        "g (float[1,3,8,8] x, float[2] f) => (float[a,b,c,d] y) <float[2] o = {1.0,1.0}> "
        "{ s = Concat<axis=0>(o, f)\n y = Resize(x, , s) }"
    )["f"]
    assert factor.min() >= 1.5
    pixels = drawn("g (float[n,3,h,w] x) => (float[n,3,h,w] y) { y = Relu(x) }")["x"]
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_random_feeds_repeat_and_follow_symbols():
    text = "g (float[n,h] a, float[n,h] b) => (float[n,h] y) { y = Add(a, b) }"
    first, again, other = drawn(text), drawn(text), drawn(text, seed=1)
    assert_same(first, again)
    assert not np.array_equal(first["a"], other["a"])
    assert not np.array_equal(first["a"], first["b"])
    assert first["a"].shape == first["b"].shape
    bound = drawn(text, bind={"n": 5})
    assert bound["a"].shape[0] == bound["b"].shape[0] == 5


def test_a_symbol_that_is_computed_from_another_follows_it():
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["b"], ["y"])
    inputs = [value("a", 1, ["h"]), value("b", 1, ["2*h"]), value("c", 1, ["h + 1"])]
    graph = onnx.helper.make_graph([node], "g", inputs, [value("y", 1, [None])])
    feeds = RandomFeeds(gk.Model(onnx.helper.make_model(graph)), bind={"h": 5})
    assert [len(feeds.draw(name, 0)) for name in "abc"] == [5, 10, 6]
    with pytest.raises(gk.FeedError, match="no input has a symbolic dim 'batch'"):
        feeds.bound({"batch": 2})


def test_a_random_model_with_everything_random_runs():
    model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    g (int64[n,s] ids, bool[n,s] keep, float[n,s,4] x, uint8[n] u) => (float[n,s,4] y, uint8[n] v) <float[9,4] w> {
      e = Gather(w, ids)
      r = Sqrt(x)
      y = Add(e, r)
      v = Identity(u)
      k = Not(keep)
    }""")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((9, 4), np.float32), "w"))
    made = gk.run(model, dict.fromkeys(("ids", "keep", "x", "u"), "random"))
    assert np.isfinite(made["y"]).all()


def test_a_factor_given_as_a_number_makes_torchs_size():
    text = "g (float[1,1,15,30] x) => (float[a,b,c,d] y) <float[4] s = {1,1,2,2}> { y = Resize(x,, s) }"
    model = gk.resize(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}'))
    x = np.zeros((1, 1, 15, 30), np.float32)
    for factor in (4.2, "4.2", [4.2, 4.2], "4.2,4.2"):
        assert gk.run(model, {"x": x, "factor": factor})["y"].shape == (1, 1, 63, 126)
    given = np.array([4.2], np.float32)  # an array is fed as it is, and trunc(15 * float32(4.2)) is 62
    assert gk.run(model, {"x": x, "factor": given})["y"].shape == (1, 1, 62, 125)


@pytest.mark.parametrize(
    "options", [{}, {"semantics": "sizes"}, {"relative": True}, {"form": "sizes"}, {"form": "scales"}]
)
def test_what_resize_made_an_input_can_be_fed_at_random(options):
    text = "g (float[1,1,15,30] x) => (float[a,b,c,d] y) <float[4] s = {1,1,2,2}> { y = Resize(x,, s) }"
    model = gk.resize(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}'), **options)
    assert gk.run(model, {"x": "random", "factor": "random"})["y"].ndim == 4


@pytest.mark.parametrize("shape", [[0, 2**40, 2**40], [2**62, 2**62, 0], [1] * 70, [0] * 65, [2**40]])
@pytest.mark.parametrize("feed", ["random", 1])
def test_declared_shapes_that_no_array_has_are_refused(shape, feed):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)])
    with pytest.raises(gk.FeedError, match="'x' would be"):
        gk.run(model, {"x": feed})
    with pytest.raises(gk.FeedError, match="'x' would be"):
        gk.bisect(model, against=model)
