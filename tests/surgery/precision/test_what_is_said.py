"""precision: what is to be kept has to be there, whatever the precision; notes name what was quantized, and only that."""

import re
from collections import Counter

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.main import main

pytest.importorskip("onnxruntime")

ALL = ("float16", "bfloat16", "int8", "int8-dynamic", "int8-weights", "int4-weights")


@pytest.fixture(scope="module")
def net():
    """A convolution, an activation, a product with a weight, one of two values, a softmax."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,8,8] x) => (float[2,32] y) {
        c = Conv<kernel_shape = [3,3]>(x, w)  r = Relu(c)  p = GlobalAveragePool(r)  f = Flatten(p)
        m = MatMul(f, v)  t = Transpose(m)  q = MatMul(t, m)  z = ReduceMean<axes = [1], keepdims = 0>(q)
        s = Softmax(m)  y = Mul(s, z) }"""
    proto = onnx.parser.parse_model(text)
    draw = np.random.default_rng(0)
    for name, shape in (("w", (32, 3, 3, 3)), ("v", (32, 32))):
        array = draw.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for number, node in enumerate(proto.graph.node):
        node.name = f"n{number}"
    return proto


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize(
    ("option", "named"),
    [("keep_ops", "Convv"), ("keep_ops", "QLinearConv"), ("keep_nodes", "n99"), ("only_ops", "Convv")],
)
def test_what_is_not_there_cannot_be_kept(net, to, option, named):
    with pytest.raises(gk.NameNotFoundError, match=named) as caught:
        gk.precision(net, to=to, **{option: [named]})
    assert caught.value.kind == ("node" if option == "keep_nodes" else "operator")


def test_the_command_refuses_an_unknown_operator_as_it_refuses_an_unknown_node(net, tmp_path, capsys):
    onnx.save(net, tmp_path / "m.onnx")
    for option, named in (("--keep-op", "Convv"), ("--keep-node", "n99")):
        code = main(["precision", str(tmp_path / "m.onnx"), str(tmp_path / "o.onnx"), "--to", "int8", option, named])
        assert (code, f"named '{named}'" in capsys.readouterr().err) == (3, True)
    assert not (tmp_path / "o.onnx").exists()


def counted(notes):
    """Operator -> how many of them a note says were quantized."""
    (told,) = [note for note in notes if re.match(r"quantized|weights in", note)]
    return Counter({operator: int(number) for number, operator in re.findall(r"(\d+) ([A-Z]\w+)", told)})


def reading(proto):
    """Operators of the nodes that read a dequantized value."""
    made = {name for node in proto.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return [n for n in proto.graph.node if made & set(n.input) and n.op_type != "QuantizeLinear"]


@pytest.mark.parametrize(
    "options", [{}, {"keep_ops": ["Conv"]}, {"keep_nodes": ["n4"]}, {"only_ops": ["MatMul", "Softmax"]}]
)
def test_notes_of_int8_name_the_nodes_between_quantized_values(net, options):
    """A node in float32 beside a quantized one reads what was dequantized too; what it gives is not quantized."""
    model = gk.precision(net, to="int8", samples=4, **options)
    kept = options.get("keep_nodes", ())
    taken = {node.input[0] for node in model.proto.graph.node if node.op_type == "QuantizeLinear"}
    between = Counter(
        node.op_type for node in reading(model.proto) if node.output[0] in taken and node.name not in kept
    )
    assert counted(model.history[-1].notes) == between
    assert not set(options.get("keep_ops", ())) & set(counted(model.history[-1].notes))


@pytest.mark.parametrize("options", [{}, {"keep_ops": ["Conv"]}, {"keep_nodes": ["n4"]}])
def test_notes_of_int8_dynamic_name_the_products_that_became_integer_ones(net, options):
    model = gk.precision(net, to="int8-dynamic", **options)
    operators = gk.inspect(model).operators
    integer = {"MatMul": operators.get("MatMulInteger", 0), "Conv": operators.get("ConvInteger", 0)}
    assert counted(model.history[-1].notes) == Counter(integer)


@pytest.mark.parametrize("options", [{}, {"keep_nodes": ["n4"]}, {"keep_ops": ["Conv"]}])
def test_notes_of_int8_weights_name_the_operators_whose_weights_were_stored_so(net, options):
    model = gk.precision(net, to="int8-weights", **options)
    assert counted(model.history[-1].notes) == Counter(node.op_type for node in reading(model.proto))
