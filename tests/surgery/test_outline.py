"""outline: modules become functions, the numbers stay, and inline takes it back."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

NET = """<ir_version: 7, opset_import: ["" : 17]> g (float[2] x, bool flag) => (float[2] y, float[2] z)
<float[2] k = {1, 2}, float[2] m = {3, 4}> {
  h = Add(x, k)
  r = Mul(h, m)
  s = Neg(r)
  z = Exp(s)
  t = If(flag) <then_branch = a () => (float[2] p) { p = Add(s, m) }, else_branch = b () => (float[2] q) { q = Sub(s, h) }>
  y = Abs(t)
}"""
PATHS = ["a", "b", "b", "", "b.c", "d"]

X = np.float32([0.1, 0.2])


def net(paths=PATHS):
    model = onnx.parser.parse_model(NET)
    for node, path in zip(model.graph.node, paths, strict=True):
        node.name = f"{node.op_type}_of_{path}"
        if path:
            scopes = ["", *[path[: i + len(part)] for i, part in _parts(path)], "x"]
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(scopes))
    return model


def _parts(path):
    at = 0
    for part in path.split("."):
        yield at, part
        at += len(part) + 1


def same(one, other):
    for flag in (True, False):
        feeds = {"x": X, "flag": np.array(flag)}
        got, want = gk.run(one, feeds), gk.run(other, feeds)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])


def test_a_module_becomes_a_function_and_a_call():
    model = gk.outline(net(), "b")
    function = model.proto.functions[0]
    assert (function.domain, function.name) == ("graphkit.modules", "b")
    assert list(function.input) == ["h", "flag", "m"]
    assert list(function.output) == ["s", "t"]
    assert [node.op_type for node in model.nodes] == ["Add", "b", "Exp", "Abs"]
    assert model.proto.ir_version == 8
    assert model.history[-1].notes == ("b: 3 nodes became graphkit.modules::b",)
    same(model, net())


def test_inline_takes_it_back():
    back = gk.inline(gk.outline(net(), ["b", "d"]))
    assert sorted(node.op_type for node in back.nodes) == sorted(node.op_type for node in net().graph.node)
    assert not back.proto.functions
    same(back, net())


def test_a_module_that_is_not_closed_is_refused():
    with pytest.raises(gk.EditError, match=r"'a' is not closed: Mul 'Mul_of_b' stands outside of it"):
        gk.outline(net(["a", "b", "a", "", "c", "d"]), "a")


def test_bad_names_are_refused():
    with pytest.raises(gk.NameNotFoundError, match="'bb'"):
        gk.outline(net(), "bb")
    with pytest.raises(gk.EditError, match="share nodes"):
        gk.outline(net(), ["b", "b.c"])
    with pytest.raises(ValueError, match="at least one"):
        gk.outline(net(), [])
    with pytest.raises(ValueError, match="domain of their own"):
        gk.outline(net(), "b", domain="")
    with pytest.raises(gk.EditError, match="already"):
        gk.outline(gk.outline(net(), "d"), "d")


def test_types_inside_go_into_the_function():
    model = net()
    for name in ("r", "s"):
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, 1, [2]))
    outlined = gk.outline(model, "b")
    assert [v.name for v in outlined.proto.functions[0].value_info] == ["r", "s"]
    assert [v.name for v in outlined.proto.graph.value_info] == ["s"]


def test_modules_that_read_from_each_other_are_refused_together():
    """Each is closed; calls of both could not be put in order."""
    model = net(["a", "b", "b", "a", "", ""])
    for place, name in ((1, "x"), (2, "h"), (3, "r")):  # a: x -> h, r -> z; b: x -> r, h -> s
        model.graph.node[place].input[0] = name
    same(gk.outline(model, "a"), model)
    same(gk.outline(model, "b"), model)
    with pytest.raises(gk.EditError, match="'a' and 'b' read from each other"):
        gk.outline(model, ["a", "b"])


CUT = """<ir_version: 8, opset_import: ["" : 18]> g (float[2] x, float[2] z) => (float[2] y) <float[2] w = {2, 3}> {
  a = Neg(x) b = Mul(a, w) c = Add(b, z) d = Exp(c) y = Sub(d, a) }"""


def test_a_cut_becomes_a_function():
    model = onnx.parser.parse_model(CUT)
    outlined = gk.outline(model, inputs=["a", "z"], outputs=["d"], name="block", domain="my")
    assert [node.op_type for node in outlined.nodes] == ["Neg", "block", "Sub"]
    function = outlined.proto.functions[0]
    assert (function.domain, list(function.input), list(function.output)) == ("my", ["a", "z", "w"], ["d"])
    feeds = {"x": np.float32([1, 2]), "z": np.float32([3, 4])}
    for made in (outlined, gk.inline(outlined)):
        assert_same(run_ort(made, feeds), run_ort(model, feeds))
    assert gk.prove(outlined, model)
    assert [node.op_type for node in gk.inline(outlined).nodes] == [node.op_type for node in model.graph.node]


def test_a_cut_that_is_none_is_refused():
    model = onnx.parser.parse_model(CUT)
    with pytest.raises(gk.CutError, match="missing is 'z'"):
        gk.outline(model, inputs=["a"], outputs=["d"])
    with pytest.raises(gk.EditError, match="the cut is not closed: Neg 'a' stands outside"):
        gk.outline(
            onnx.parser.parse_model(
                CUT.replace("a = Neg(x) b = Mul(a, w)", "b = Mul(x, w) a = Neg(b)").replace("Add(b, z)", "Add(b, a)")
            ),
            inputs=["x", "a"],
            outputs=["b", "c"],
        )
    with pytest.raises(gk.NameNotFoundError, match="'nobody'"):
        gk.outline(model, outputs=["nobody"])
    with pytest.raises(ValueError, match="has outputs too"):
        gk.outline(model, "m", inputs=["a"])
    with pytest.raises(gk.EditError, match="no node lies between"):
        gk.outline(model, inputs=["a"], outputs=["a"])
