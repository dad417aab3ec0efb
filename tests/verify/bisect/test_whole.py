"""What no single value shows: the runtime's optimizer, another sample, another dtype; and values between other writings."""

import numpy as np
import onnx
import pytest
from onnx import helper

import graphkit as gk


def model(text, opset=18):
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {text}')


def test_the_runtimes_optimizer_is_named_with_its_level():
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.batch_norm(x, torch.zeros(3), torch.ones(3), training=True)

    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    net = Net().eval()
    exported = gk.export(net, (x,), exporter="torchscript")
    if gk.validate(exported, torch=(net, (x,))):
        pytest.skip("this runtime's optimizer leaves it alone")
    assert gk.validate(exported, torch=(net, (x,)), optimization="none")
    found = gk.bisect(exported, torch=(net, (x,)))
    assert not found
    assert found.first is None
    said = " ".join(found.notes)
    assert "ONNX Runtime's optimizer changes the output" in said
    assert "from the optimization level 'basic' on" in said
    assert "it agrees at 'none'" in said


SAMPLE = "(float[4] x) => (float[4] y) <float limit = {LIMIT}> { m = ReduceMax <keepdims = 0> (x) big = Greater(m, limit) b = Cast <to = 1> (big) y = Add(x, b) }"


def test_the_sample_that_differs_is_found_or_chosen():
    maxima = [gk.validate(model(SAMPLE.replace("LIMIT", "9")), against=model(SAMPLE.replace("LIMIT", "9")), samples=3)]
    right, wrong = model(SAMPLE.replace("LIMIT", "9")), None
    for limit in np.linspace(-1, 3, 41):
        other = model(SAMPLE.replace("LIMIT", repr(float(limit))))
        report = gk.validate(other, against=right, samples=3)
        if report.samples[0].match and not report.match:
            wrong, first = other, next(s.number for s in report.samples if not s.match)
            break
    assert maxima
    assert wrong is not None
    found = gk.bisect(wrong, against=right)
    assert not found
    assert f"the outputs of sample {first} do not" in found.notes[0]
    assert found.first.value == "big"
    assert gk.bisect(wrong, against=right, sample=first).first.value == "big"
    assert gk.bisect(wrong, against=right, sample=0)


@pytest.mark.parametrize(("mine", "its"), [("float16", "float"), ("double", "float"), ("int32", "int64")])
def test_an_output_of_another_dtype_is_a_difference_unless_that_is_allowed(mine, its):
    kinds = {"float16": 10, "float": 1, "double": 11, "int32": 6, "int64": 7}
    make = lambda kind: model(f"(float[4] x) => ({kind}[4] y) {{ a = Ceil(x) y = Cast <to = {kinds[kind]}> (a) }}")  # noqa: E731
    found = gk.bisect(make(mine), against=make(its))
    assert not found
    assert found.first.value == "y"
    assert "the numbers agree" in found.first.metrics.problem
    assert not gk.validate(make(mine), against=make(its))
    assert gk.bisect(make(mine), against=make(its), any_dtype=True)


def layered(count=4):
    rng = np.random.default_rng(0)
    nodes, weights = [], {}
    for i in range(count):
        weights[f"w{i}"] = (rng.standard_normal((4, 4, 3, 3)) * 0.2).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [f"r{i}", f"w{i}"], [f"c{i}"], pads=[1] * 4),
            helper.make_node("Relu", [f"c{i}"], [f"r{i + 1}"]),
        ]
    return gk.build(nodes, {"r0": "float32[1,4,8,8]"}, {f"r{count}": "float32[1,4,8,8]"}, initializers=weights)


@pytest.mark.parametrize("to", ["int8", "float16"])
def test_every_value_of_a_model_of_lower_precision_is_compared(to):
    net = layered()
    found = gk.bisect(gk.precision(net, to=to), against=net, any_dtype=True)
    names = {f"c{i}" for i in range(4)} | {f"r{i}" for i in range(1, 5)}
    assert names <= {row.value for row in found.rows} | {"r4"}
    assert found.matched >= 8


def test_a_node_that_reads_a_sequence_is_named_and_reproduced(tmp_path):
    def make(axis):
        nodes = [
            helper.make_node("SequenceConstruct", ["a", "b"], ["s"], name="made"),
            helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=axis, name="joined"),
        ]
        return gk.build(nodes, {"a": "float32[2,2]", "b": "float32[2,2]"}, {"y": "float32[h,w]"})

    for isolate in (True, False):
        found = gk.bisect(make(0), against=make(1), isolate=isolate)
        assert found.first.value == "y"
        assert found.first.node == "joined"
        gk.save_repro(found, tmp_path / f"repro{isolate}")


def test_submodules_around_each_other_that_return_the_same_tensors():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)

        def forward(self, x):
            a = self.a(x).relu()
            return a, self.b(a).relu()

    class Around(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.outer = Around(Around(Inner()))

        def forward(self, x):
            a, b = self.outer(x * 2)
            return a.mean() + b.mean()

    net = Net().eval()
    exported = gk.export(net, (torch.rand(1, 3, 8, 8),), exporter="torchscript")
    assert gk.bisect(exported, torch=net)
    assert gk.layers(exported, torch=net)
