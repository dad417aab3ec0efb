"""Small inner values are held against themselves, rounding is not: what torch computes beside what its exports compute."""

import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.model import Model
from graphkit.verify.bisect import perturbation
from graphkit.verify.compare.blocks import Blocks
from graphkit.verify.compare.metrics import small_numbers_differ
from graphkit.verify.compare.tolerance import Policy
from oracle import run_ort

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'


def model(text):
    return onnx.parser.parse_model(f"{HEAD} {text}")


def noise_of(text, feeds, value="y", policy=None):
    """How much of a model's output may be rounding, beside what it is."""
    proto = model(text)
    made = run_ort(proto, feeds)[value]
    shaky, renamed = perturbation.shaken(Model(proto), policy or Policy(), absolutely=True)
    fed = {renamed.get(name, name): array for name, array in feeds.items()}
    onnx.checker.check_model(shaky.proto)
    return perturbation.largest_difference(made, lambda: run_ort(shaky.proto, fed)[value]), made


X = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)


def rms(array):
    return float(np.sqrt(np.mean(np.square(np.float64(array)))))


@pytest.mark.parametrize(
    ("body", "low", "high"),
    [
        ("y = Mul(x, small)", 1e-6, 1e-4),  # small weights: the result is as exact as its inputs
        ("h = MatMul(x, x)\n y = Mul(h, small)", 1e-6, 1e-4),
        (
            "m = ReduceMean<keepdims=1>(x)\n s = Sub(x, m)\n y = ReduceMean<keepdims=1>(s)",
            1e-2,
            np.inf,
        ),  # only rounding
        ("h = Add(x, large)\n s = Sub(h, large)\n y = Sub(s, x)", 1e-2, np.inf),
        ("e = Sigmoid(minus)\n y = Mul(e, one)", 1e-2, np.inf),  # made of numbers near 1
        ("h = Sigmoid(x)\n y = Mul(h, small)", 1e-6, 1e-4),  # those of a large Sigmoid are no excuse
    ],
)
def test_what_rounding_is(body, low, high):
    text = f"""g (float[64, 64] x) => (float[a, b] y)
        <float small = {{1e-5}}, float large = {{10000}}, float minus = {{-15}}, float one = {{1}}> {{ {body} }}"""
    found, made = noise_of(text, {"x": X})
    assert low <= rms(found) / rms(made) <= high


def test_every_dtype_and_bodies_and_functions_are_shaken():
    for name, dtype in (("float16", np.float16), ("double", np.float64)):
        found, made = noise_of(f"g ({name}[64, 64] x) => ({name}[a, b] y) {{ y = Neg(x) }}", {"x": X.astype(dtype)})
        assert found.dtype == made.dtype == dtype
        assert 0 < rms(found) / rms(made) < 10 * Policy().tolerance(str(made.dtype)).rtol
    inside = """g (float[4] x, bool c) => (float[4] y) <float[4] k = {1e4, 1e4, 1e4, 1e4}> {
        y = If(c) <then_branch = t () => (float[4] a) { h = Add(x, k)\n a = Sub(h, k) }, else_branch = e () => (float[4] b) { b = Neg(x) }> }"""
    assert rms(noise_of(inside, {"x": np.ones(4, np.float32), "c": np.array(True)})[0]) > 1e-2
    assert rms(noise_of(inside, {"x": np.ones(4, np.float32), "c": np.array(False)})[0]) < 1e-4
    function = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 18, "f" : 1]>
        g (float[4] x) => (float[4] y) { y = f.around(x) }
        <domain: "f", opset_import: ["" : 18]> around (a) => (b) { k = Constant<value = float {1e4}>()
        h = Add(a, k)\n b = Sub(h, k) }""")
    assert any(
        node.op_type == "Sub"
        for node in perturbation.shaken(Model(function), Policy(), absolutely=True)[0].proto.graph.node
    )


def test_what_is_not_understood_is_said():
    for body in ("y = RandomNormalLike(x)", "y = com.microsoft.Gelu(x)"):
        proto = model(f"g (float[4] x) => (float[4] y) {{ {body} }}")
        assert perturbation.shaken(Model(proto), Policy(), absolutely=True) is None
    assert perturbation.largest_difference(np.zeros(3), lambda: np.zeros(4)) is None
    gone = perturbation.largest_difference(np.float32([1, np.inf, 2]), lambda: np.float32([1.5, np.inf, np.nan]))
    assert gone.tolist() == [0.5, 0, 0]


def test_rounding_is_taken_off_what_is_allowed():
    expected = X * np.float32(1e-6)
    actual = expected * np.float32(1.01)
    tolerance = Policy().tolerance("float32")
    assert small_numbers_differ(Blocks(actual, expected), tolerance)
    for size, passes in ((1e-9, False), (2e-8, True)):
        rounding = np.full_like(expected, size)
        assert (small_numbers_differ(Blocks(actual, expected), tolerance, rounding) is None) == passes
    smaller = (X * np.float32(1e-3)).astype(
        np.float16
    )  # near the smallest numbers that there are, the last digit is lost
    assert small_numbers_differ(Blocks(smaller, smaller), tolerance, np.zeros_like(smaller)) is None


torch = pytest.importorskip("torch")

import torch_nets  # noqa: E402 (torch may be missing)

CASES = [
    (name, exporter)
    for name in torch_nets.NETS
    for exporter in ("dynamo", "torchscript")
    if (name, exporter) not in (("flow", "torchscript"), ("scripted", "dynamo"))
]


def exported(name, exporter, module, args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gk.export(torch.jit.script(module) if name == "scripted" else module, args, exporter=exporter)


def agrees(name, exporter, module, args):
    made = exported(name, exporter, module, args)
    for isolate in (True,) if exporter == "dynamo" else (False, True):  # the dynamo exporter takes its time
        result = gk.bisect(made, torch=(module, args), isolate=isolate)
        assert not result.diverges, (result.first, name, exporter)
        assert result.introduced_by == ()
        doubtful = [row.value for row in result.rows if row.doubt]
        assert bool(doubtful) == (name == "rounding" and exporter == "dynamo"), doubtful
        assert any("whether they differ by more than rounding" in note for note in result.notes) == bool(doubtful)
    return made


@pytest.mark.parametrize(("name", "exporter"), CASES)
def test_a_correct_export_gives_no_alarm(name, exporter):
    agrees(name, exporter, *torch_nets.net(name))


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("name", "exporter"), CASES)
def test_a_correct_export_with_a_small_layer_gives_no_alarm(name, exporter, seed):
    for at in range(0, 12, 3):
        module, args = torch_nets.net(name, seed)
        torch_nets.smaller(module, 1e-5, at)
        agrees(name, exporter, module, args)


def scaled(made, name):
    """The model with one of its weights 1 % larger, and what to call the nodes that read it."""
    proto = made.materialize()
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.01), name))
    return proto, {node.name or node.output[0] for node in proto.graph.node if name in node.input}


SMALL_LAYERS = [
    ("convnet", "dynamo", "blocks.0.1"),
    ("unet", "dynamo", "two"),
    ("unet", "torchscript", "five"),
    ("encoder", "dynamo", "layers.1.mine.v"),
    ("encoder", "torchscript", "layers.0.mine.out"),
    ("decoder", "dynamo", "layers.1.other.out"),
    ("decoder", "torchscript", "layers.1.up"),
    ("decoder", "torchscript", "layers.1.down"),
    ("recurrent", "dynamo", "into"),
    ("recurrent", "torchscript", "into"),
]


@pytest.mark.parametrize(("name", "exporter", "path"), SMALL_LAYERS)
def test_a_fault_in_a_layer_of_small_numbers_is_located(name, exporter, path):
    """The layer's numbers are a hundred thousandth of what they were: a percent of them is below every tolerance."""
    module, args = torch_nets.net(name)
    torch_nets.smaller(module, 1e-5, path)
    made = exported(name, exporter, module, args)
    tensors = [(len(t.dims), t.name) for t in made.proto.graph.initializer if 0 < abs(made.array(t.name)).max() < 1e-3]
    proto, wrong = scaled(made, max(tensors)[1])
    result = gk.bisect(proto, torch=(module, args))
    assert result.first is not None
    assert result.first.node in wrong or wrong & set(result.first.between), result.first
    assert result.first.introduces is True
    assert result.first.metrics.max_abs < 1e-6
