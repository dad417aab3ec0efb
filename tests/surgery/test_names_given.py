"""Names as arguments: one name is a list of one, and a node's name where a value's is meant is recognised, everywhere."""

import onnx
import pytest

import graphkit as gk

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3] x, float[n, 3] k) => (float[n, 3] y) <float[3] w = {1, 2, 3}> { [add] a = Add(x, w) [mul] y = Mul(a, k) }
"""


def model():
    return onnx.parser.parse_model(TEXT)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        (gk.extract, {"outputs": "a"}),
        (gk.extract, {"inputs": "x", "outputs": "a"}),
        (gk.extract, {"nodes": "mul"}),
        (gk.tap, {"names": "a"}),
        (gk.remove, {"nodes": "add"}),
        (gk.reorder, {"inputs": "k"}),
        (gk.promote, {"tensors": "w"}),
        (gk.precision, {"to": "float16", "keep_ops": "Add"}),
        (gk.precision, {"to": "float16", "keep_nodes": "add"}),
        (gk.insert, {"at": "a", "function": "relu"}),
        (gk.replace, {"inputs": "x", "outputs": "a", "function": "relu"}),
    ],
)
def test_one_name_is_a_list_of_one(operation, arguments):
    many = {name: value if name in ("to", "function") else [value] for name, value in arguments.items()}
    one, listed = operation(model(), **arguments), operation(model(), **many)
    assert one.proto.graph == listed.proto.graph
    assert gk.replay(one, model()).proto == one.proto


def test_one_name_is_a_list_of_one_where_no_model_comes_back():
    assert gk.suggest(model(), outputs="y") == gk.suggest(model(), outputs=["y"])
    assert [s.outputs for s in gk.split(model(), at="a").stages] == [
        s.outputs for s in gk.split(model(), at=["a"]).stages
    ]


def test_one_name_that_the_model_lacks_is_named_whole():
    with pytest.raises(gk.NameNotFoundError, match="named 'mule'"):
        gk.inline(model(), functions="mule")
    with pytest.raises(gk.NameNotFoundError, match="named 'mule'"):
        gk.resize(model(), nodes="mule")


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: gk.freeze(m, {"mul": 1}),
        lambda m: gk.rename(m, values={"mul": "z"}),
        lambda m: gk.promote(m, ["mul"]),
        lambda m: gk.dims(m, {"mul:0": "n"}),
        lambda m: gk.extract(m, outputs=["mul"]),
        lambda m: gk.tap(m, ["mul"]),
        lambda m: gk.reorder(m, inputs=["mul", "x"]),
        lambda m: gk.retype(m, {"mul": "float16"}),
        lambda m: gk.layout(m, {"mul": "NHWC"}),
        lambda m: gk.remove(m, outputs=["mul"]),
        lambda m: gk.remove(m, inputs=["mul"]),
        lambda m: gk.split(m, at=["mul"]),
        lambda m: gk.insert(m, "mul", function="relu"),
        lambda m: gk.image(m, "mul"),
        lambda m: gk.run(m, {"mul": 1}),
        lambda m: gk.run(m, outputs=["mul"]),
        lambda m: gk.bench(m, feeds={"mul": 1.0}, runs=1),
        lambda m: gk.probe(m, [{"mul": [2]}]),
        lambda m: gk.validate(m, against=m, feeds={"mul": 1.0}),
        lambda m: gk.validate(m, against=m, outputs=["mul"]),
        lambda m: gk.validate(m, against=m, map={"mul": "x"}),
        lambda m: gk.validate(m, against=m, map={"x": "mul"}),
        lambda m: gk.bisect(m, against=m, feeds={"mul": 1.0}),
    ],
)
def test_a_node_where_a_value_is_meant_is_told_with_what_it_makes(edit):
    with pytest.raises(gk.NameNotFoundError) as caught:
        edit(model())
    assert caught.value.hint == "it is the name of a node, Mul, which makes 'y'"
