"""Models that contradict themselves are refused by name; models that a runtime takes are not."""

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto

import graphkit as gk
from backend_cases import file_cases, light_models, node_cases
from graphkit.semantics.valid import require_valid

HEAD = '<ir_version: 9, opset_import: ["" : 18, "local" : 1]>'
X = "g (float[2] x) => (float[2] y)"


def model(text, functions=""):
    return onnx.parser.parse_model(f"{HEAD} {text} {functions}")


CASES = {
    "made by two nodes": (f"{X} {{ y = Relu(x) [two] y = Neg(x) }}", "'y' has two definitions: Relu 'y' and Neg 'two'"),
    "made twice by one node": (
        f"{X} {{ a, a = Split <num_outputs: int = 2>(x) y = Neg(x) }}",
        "Split 'a' makes it twice",
    ),
    "made, and an input": (f"{X} {{ x = Relu(x) y = Neg(x) }}", "'x' has two definitions: .* it is a graph input"),
    "made, and a weight": (f"{X} <float[2] a = {{1.0, 2.0}}> {{ a = Relu(x) y = Neg(a) }}", "and it is an initializer"),
    "an input twice": ("g (float[2] x, float[2] x) => (float[2] y) { y = Neg(x) }", "'x' has .*two graph inputs"),
    "made twice in a body": (
        (
            "g (float[2] x, bool c) => (float[2] y) { y = If (c) <then_branch = t () => (float[2] p) { p = Neg(x) p = Abs(x) },"
            " else_branch = e () => (float[2] q) { q = Neg(x) }> }"
        ),
        "'p' has two definitions",
    ),
    "an output of two types": (
        "g (float[2] x) => (float[2] y, int64[2] y) { y = Neg(x) }",
        "the graph output 'y' is declared twice, with two types",
    ),
    "one of many inputs left out": (
        f"{X} {{ [max] y = Max(x, , x) }}",
        "Max 'max' has one of its inputs 'data_0' left out, which none may be",
    ),
    "too few inputs": (f"{X} {{ [sum] y = Add(x) }}", "Add 'sum' has 1 input, and Add of opset 18 has 2"),
    "too many inputs": (f"{X} {{ y = Relu(x, x) }}", "Relu 'y' has 2 inputs, and Relu of opset 18 has 1"),
    "none of many inputs": (f"{X} {{ y = Concat <axis: int = 0>() }}", "has 0 inputs, .* has 1 or more"),
    "an input left out": (f"{X} {{ y = Add(, x) }}", "Add 'y' has no input 'A', which may not be left out"),
    "no outputs": (f"{X} {{ = Relu(x) y = Neg(x) }}", "Relu 'Relu' has 0 outputs"),
    "an output left out": (f"{X} {{ , i = TopK(x, k) y = Neg(x) k = Shape(x) }}", "has no output 'Values'"),
    "a Resize without a size": (f"{X} {{ [up] y = Resize(x, , ) }}", "Resize 'up' is given neither scales nor sizes"),
    "a missing attribute": (f"{X} {{ y = Cast(x) }}", "Cast 'y' has no attribute 'to', which it must have"),
    "an attribute of another type": (
        f'{X} {{ y = Cast <to: string = "a">(x) }}',
        "'to' of type STRING, which must be of type INT",
    ),
    "an attribute twice": (f"{X} {{ y = Cast <to: int = 1, to: int = 6>(x) }}", "two attributes 'to'"),
    "a function's attribute in no function": (f"{X} {{ y = Cast <to: int = @k>(x) }}", "in no function"),
    "a cycle": (f"{X} {{ a = Neg(b) b = Neg(a) y = Add(a, x) }}", "in a cycle: Neg of 'b' -> Neg of 'a'"),
    "a cycle through a body": (
        (
            "g (float[2] x, bool c) => (float[2] y) { y = If (c) <then_branch = t () => (float[2] p) { p = Neg(y) },"
            " else_branch = e () => (float[2] q) { q = Neg(x) }> }"
        ),
        "in a cycle: If of 'y'",
    ),
    "a name that nothing defines": (f"{X} {{ y = Add(x, ghost) }}", "Add 'y' reads 'ghost', which nothing"),
    "an output that nothing makes": ("g (float[2] x) => (float[2] z) { y = Neg(x) }", "an output reads 'z'"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_contradiction_is_named(case):
    text, message = CASES[case]
    with pytest.raises(gk.InvalidGraphError, match=message) as caught:
        require_valid(model(text))
    assert "make it again" in caught.value.hint


FUNCTION = '<domain: "local", opset_import: ["" : 18, "local" : 1]>'
CALL = f"{X} {{ y = local.F(x) }}"


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        (f"{FUNCTION} F (a) => (b) {{ b = local.F(a) }}", "local::F calls local::F"),
        (
            f"{FUNCTION} F (a) => (b) {{ b = local.G(a) }} {FUNCTION} G (a) => (b) {{ b = local.F(a) }}",
            "local::F calls local::G calls local::F|local::G calls local::F calls local::G",
        ),
        (f"{FUNCTION} F (a) => (b) {{ b = Neg(a) }} {FUNCTION} F (a) => (b) {{ b = Abs(a) }}", "local::F twice"),
        (f"{FUNCTION} F (a) => (b) {{ b = Neg(a) b = Abs(a) }}", "'b' has two definitions"),
        (f"{FUNCTION} F (a) => (b) {{ b = Add(a) }}", "Add 'b' has 1 input"),
        (f"{FUNCTION} F (a) => (b) {{ b = Add(a, ghost) }}", "Add 'b' reads 'ghost'"),
        (f"{FUNCTION} F (a) => (b) {{ c = Neg(a) }}", "an output of local::F reads 'b'"),
        (f"{FUNCTION} F (a) => (b) {{ c = Neg(b) b = Neg(c) }}", "in a cycle"),
    ],
)
def test_functions(functions, message):
    with pytest.raises(gk.InvalidGraphError, match=message):
        require_valid(model(CALL, functions))


def test_functions_may_call_each_other_and_take_attributes():
    require_valid(
        model(
            f"{X} {{ y = local.F <k: int = 1>(x) }}",
            f"{FUNCTION} F <k> (a) => (b) {{ c = local.G(a) b = Cast <to: int = @k>(c) }}"
            f" {FUNCTION} G (a) => (b) {{ b = Neg(a) }}",
        )
    )


def change_opsets(proto, *imports):
    del proto.opset_import[:]
    for domain, version in imports:
        proto.opset_import.add(domain=domain, version=version)


@pytest.mark.parametrize(
    ("imports", "message"),
    [
        ((("", 18), ("ai.onnx", 13)), "imports ai.onnx twice, as versions 18 and 13"),
        ((("", 0),), "version 0 of ai.onnx"),
        ((("local", 1),), "imports no version of ai.onnx .* Neg 'y' belongs"),
    ],
)
def test_opset_imports(imports, message):
    proto = model(f"{X} {{ y = Neg(x) }}")
    change_opsets(proto, *imports)
    with pytest.raises(gk.InvalidGraphError, match=message):
        require_valid(proto)


def test_an_opset_that_is_newer_than_the_installed_onnx_is_taken_for_the_newest():
    proto = model(f"{X} {{ y = Neg(x) }}")
    change_opsets(proto, ("", 1 << 40), ("ai.onnx", 1 << 40))
    require_valid(proto)


def test_attributes_hold_what_they_say():
    proto = model(f"{X} {{ y = Neg(x) z = ConstantOfShape(s) s = Shape(x) }}")
    value = proto.graph.node[1].attribute.add(name="value", type=AttributeProto.TENSOR)
    with pytest.raises(gk.InvalidGraphError, match="attribute 'value' of type TENSOR that holds none"):
        require_valid(proto)
    value.t.data_type = TensorProto.FLOAT
    value.t.dims.append(1)
    value.t.float_data.extend([1, 2])
    with pytest.raises(gk.TensorError, match="takes 1"):
        require_valid(proto)
    value.t.float_data.pop()
    require_valid(proto)


def sparse(indices, count=2, dims=(4,)):
    made = onnx.SparseTensorProto(dims=dims)
    made.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(count, np.float32), "s"))
    made.indices.CopyFrom(onnx.numpy_helper.from_array(np.array(indices), "i"))
    return made


@pytest.mark.parametrize("where", ["initializer", "attribute"])
@pytest.mark.parametrize(
    ("made", "good"),
    [
        (sparse([0, 3]), True),
        (sparse([[0, 0], [1, 1]], dims=(2, 2)), True),
        (sparse([[0], [3]]), True),
        (sparse([0, 1, 3]), False),
        (sparse([[0, 0], [1, 1]]), False),
        (sparse([0.0, 3.0]), False),
        (sparse([0, 3], dims=(-4,)), False),
        (onnx.SparseTensorProto(dims=[4], values=TensorProto(name="s")), False),
    ],
    ids=["flat", "pairs", "column", "too many", "another rank", "no integers", "negative", "empty"],
)
def test_sparse_tensors(where, made, good):
    proto = model(f"{X} {{ y = Neg(x) }}")
    if where == "initializer":
        proto.graph.sparse_initializer.append(made)
    else:
        node = proto.graph.node.add(op_type="Constant", output=["c"])
        node.attribute.add(name="sparse_value", type=AttributeProto.SPARSE_TENSOR).sparse_tensor.CopyFrom(made)
    if good:
        require_valid(proto)
    else:
        with pytest.raises(gk.TensorError, match="which make none"):
            require_valid(proto)


def test_what_is_given_has_a_name():
    proto = model(f"{X} {{ y = Neg(x) }}")
    proto.graph.sparse_initializer.append(sparse([0, 3]))
    proto.graph.sparse_initializer[0].values.ClearField("name")
    with pytest.raises(gk.InvalidGraphError, match="an initializer of 'g' has no name"):
        require_valid(proto)
    del proto.graph.sparse_initializer[:]
    proto.graph.input.add()
    with pytest.raises(gk.InvalidGraphError, match="a graph input of 'g' has no name"):
        require_valid(proto)


def test_a_number_that_is_left_out_is_zero():
    proto = model(f"{X} {{ y = Concat(x) }}")
    proto.graph.node[0].attribute.add(name="axis", type=AttributeProto.INT)
    require_valid(proto)


def test_an_output_may_be_listed_twice():
    require_valid(model("g (float[2] x) => (float[2] y, float[2] y) { y = Neg(x) }"))


def test_what_only_some_runtimes_know_is_let_through():
    """Operators of TensorRT's plugins stand in the default domain; nodes may stand in any order."""
    require_valid(model(f"{X} {{ y = EfficientNMS_TRT(a, a, a) a = local.What() }}"))


def test_an_operator_of_a_later_opset_is_held_against_its_first_form():
    """ONNX Runtime has LayerNormalization in every opset."""
    old = model(f"{X} <float[2] s = {{1.0, 1.0}}> {{ y = LayerNormalization(x, s) }}")
    change_opsets(old, ("", 12))
    require_valid(old)
    del old.graph.node[0].input[1:]
    with pytest.raises(gk.InvalidGraphError, match=r"has 1 input, .* has 2 or more"):
        require_valid(old)


def test_every_model_of_onnx_is_valid():
    for case in node_cases():
        require_valid(case.model)
    for kind in ("simple", "pytorch-operator", "pytorch-converted"):
        for case in file_cases(kind):
            require_valid(case.model)
    for path in light_models().values():
        require_valid(onnx.load(path))
