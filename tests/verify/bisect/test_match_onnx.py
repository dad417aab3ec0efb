"""Which value is which after a rewriting: equal names with another meaning, names given anew, nodes fused."""

import itertools

import numpy as np
import onnx
import pytest

from graphkit.verify.bisect.bisect import bisect

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'


def model(text):
    return onnx.parser.parse_model(f"{HEAD} {text}")


def constant(proto, name, array):
    proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))


HEADS = """g (float[6,2,4] x) => (float[2,2,6,2] y)
<int64[3] flat = {6, 4, 2}, int64[4] four = {2, 2, 6, 2}, float k = {KK}> {
  r = Reshape(x, flat)
  t = Transpose<perm = [1, 0, 2]>(r)
  s = Reshape(t, four)
  m = Mul(s, k)
  y = Relu(m)
}"""

MERGED = """g (float[6,2,4] x) => (float[2,2,6,2] y)
<int64[4] split = {6, 2, 2, 2}, float k = {KK}> {
  t = Reshape(x, split)
  s = Transpose<perm = [1, 2, 0, 3]>(t)
  m = Mul(s, k)
  y = Relu(m)
}"""


def test_a_name_that_a_tool_gave_to_another_value_is_not_believed():
    """onnxslim merges Reshape, Transpose, Reshape into Reshape, Transpose, and calls the first one by the name of the second."""
    right = model(HEADS.replace("KK", "2.0"))
    result = bisect(model(MERGED.replace("KK", "2.0")), against=right, isolate=True)
    assert not result.diverges
    assert [row.value for row in result.rows] == ["s", "m", "y"]
    result = bisect(model(MERGED.replace("KK", "2.1")), against=right)
    assert result.first.value == "m"
    assert result.first.introduces is True


def test_a_fold_that_keeps_the_name_of_its_first_node_is_no_difference():
    random = np.random.default_rng(0)
    weight, scale = random.normal(size=(4, 3, 1, 1)).astype(np.float32), random.normal(size=4).astype(np.float32)
    plain = model(
        "g (float[1,3,5,5] x) => (float[1,4,5,5] y) { c = Conv(x, w)\n b = Mul(c, s)\n r = Relu(b)\n y = Neg(r) }"
    )
    constant(plain, "w", weight)
    constant(plain, "s", scale.reshape(4, 1, 1))
    folded = model("g (float[1,3,5,5] x) => (float[1,4,5,5] y) { c = Conv(x, w)\n r = Relu(c)\n y = Neg(r) }")
    constant(folded, "w", weight * scale.reshape(4, 1, 1, 1))
    result = bisect(folded, against=plain, isolate=True)
    assert not result.diverges
    assert [row.value for row in result.rows] == ["r", "y"]
    folded.graph.node[1].op_type = "Elu"
    assert bisect(folded, against=plain).first.value == "r"


def chain(names, first=""):
    lines = [f"{names[0]} = Identity(x)"] if first else []
    values = [names[0] if first else "x", *names[1 if first else 0 :]]
    lines += [f"{b} = Add({a}, w{at})" for at, (a, b) in enumerate(itertools.pairwise(values))]
    weights = ", ".join(f"float w{at} = {{{at}.5}}" for at in range(len(lines)))
    return model(f"g (float[3] x) => (float[3] y) <{weights}> {{ " + "\n ".join(lines) + " }")


def test_numbers_that_are_shifted_by_a_node_that_is_gone_mean_nothing():
    """Where a tool numbers the values anew after it has removed one, equal names are those of neighbours."""
    long = chain(["v0", "v1", "v2", "v3", "v4", "y"], first="Identity")
    short = chain(["v0", "v1", "v2", "v3", "y"])
    result = bisect(short, against=long, isolate=True)
    assert not result.diverges
    assert {row.value: row.twin for row in result.rows} == {f"v{at}": f"v{at + 1}" for at in range(4)} | {"y": "y"}


@pytest.mark.parametrize("names", ["same", "others"])
@pytest.mark.parametrize("fault", ["attribute", "operator", "constant", "wiring"])
def test_what_a_fault_changes_does_not_part_the_twins(fault, names):
    def net(mul="Mul", perm="0, 2, 1", k="2.0", read="a", new=""):
        a, b, c, d = (f"{new}{name}" for name in "abcd")
        return model(
            f"g (float[2,3,3] x) => (float[2,3,3] y) <float k = {{{k}}}> {{ {a} = Tanh(x)\n"
            f" {b} = Transpose<perm = [{perm}]>({a})\n {c} = {mul}({b}, k)\n {d} = Sub({c}, {new}{read})\n y = Neg({d}) }}"
        )

    wrong, value = {
        "attribute": ({"perm": "0, 1, 2"}, "b"),
        "operator": ({"mul": "Add"}, "c"),
        "constant": ({"k": "2.1"}, "c"),
        "wiring": ({"read": "b"}, "d"),
    }[fault]
    new = "" if names == "same" else "n"
    result = bisect(net(**wrong, new=new), against=net(), isolate=True)
    first = f"{new}{value}"
    assert result.first.value == first or first in result.first.between
    assert all(row.introduces for row in result.introduced_by)
    if names == "same":
        assert [row.value for row in result.introduced_by] == [first]
        assert {row.value: row.twin for row in result.rows} == {name: name for name in "abcdy"}
