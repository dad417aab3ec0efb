"""bisect: bodies, functions, precisions, torch under both exporters, reproductions."""

import functools
import io
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.verify.bisect.bisect import bisect
from nets import NETS, with_fault

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'


def model(text):
    return onnx.parser.parse_model(f"{HEAD} {text}")


LOOP = """g (float[2] x, int64 m) => (float[2] y) <float[2] k = {{0.5, 0.25}}, bool go = {{1}}> {{
  h = Neg(x)
  y = Loop(m, go, h) <body = b (int64 i, bool c, float[2] s) => (bool c2, float[2] s2) {{
    c2 = Identity(c)
    f = Cast<to=1>(i)
    p = {}(s, f)
    s2 = Mul(p, k)
  }}>
}}"""


def test_the_turn_of_a_loop_is_named():
    right, wrong = model(LOOP.format("Add")), model(LOOP.format("Sub"))
    feeds = {"x": np.float32([1, 2]), "m": np.array(4)}
    result = bisect(wrong, against=right, feeds=feeds)
    assert result.first.value == "p"
    assert result.first.op_type == "Sub"
    assert len(result.first.inside) == 1
    assert result.first.inside[0].endswith("turn 1")  # in turn 0 the number of the turn is 0: x + 0 = x - 0
    assert result.first.introduces is True


SCAN = """g (float[2] x, float[3,2] rows) => (float[2] y, float[3,2] z) {{
  y, z = Scan<num_scan_inputs = 1, body = b (float[2] s, float[2] r) => (float[2] s2, float[2] o) {{
    t = {}(s, r)
    s2 = Identity(t)
    o = Neg(t)
  }}>(x, rows)
}}"""


def test_the_turn_of_a_scan_is_named():
    feeds = {"x": np.float32([1, 2]), "rows": np.float32([[0, 0], [0, 0], [1, 1]])}
    result = bisect(model(SCAN.format("Sub")), against=model(SCAN.format("Add")), feeds=feeds)
    assert (result.first.value, result.first.inside[0][-6:]) == ("t", "turn 2")


FUNCTIONS = """<ir_version: 9, opset_import: ["" : 18, "f" : 1]>
g (float[2] x) => (float[2] y) {{ h = Neg(x)
 y = f.twice(h) }}
<domain: "f", opset_import: ["" : 18]> twice (a) => (b) {{ one = Constant<value = float[1] {{1.0}}>()
 t = {}(a, one)
 b = Mul(t, t) }}"""


def test_a_function_is_looked_into():
    right, wrong = (onnx.parser.parse_model(FUNCTIONS.format(op)) for op in ("Add", "Sub"))
    result = bisect(wrong, against=right)
    assert result.first.op_type == "Sub"
    assert len(result.first.inside) == 1


def test_another_precision_of_the_same_model():
    half, full = (
        model(f"g ({t}[2,3] x) => ({t}[2,3] y) {{ a = Sigmoid(x)\n b = Mul(a, a)\n c = Exp(b)\n y = Neg(c) }}")
        for t in ("float16", "float")
    )
    result = bisect(half, against=full, isolate=True, any_dtype=True)
    assert not result.diverges
    assert result.rows[0].metrics.dtype == "float16"
    wrong = onnx.ModelProto.FromString(half.SerializeToString())
    wrong.graph.node[2].op_type = "Softplus"
    result = bisect(wrong, against=full, isolate=True, any_dtype=True)
    assert [row.value for row in result.introduced_by] == ["c"]
    assert result.first.value == "c"


def test_a_rewritten_model_with_one_more_input():
    baked = model(
        "g (float[n,3] x) => (float[n,3] y) <float[1] k = {2.0}> { h = Relu(x)\n s = Mul(h, k)\n y = Neg(s) }"
    )
    raised = model("g (float[n,3] x, float[1] k) => (float[n,3] y) { h = Relu(x)\n s = Mul(h, k)\n y = Neg(s) }")
    assert not bisect(raised, against=baked).diverges
    assert bisect(raised, against=baked, feeds={"k": 3.0}).first.value == "s"
    assert bisect(raised, against=baked, feeds={"k": 3.0}, isolate=True).introduced_by[0].node == "s"


def test_nodes_out_of_order_and_values_nobody_reads():
    right = model("g (float[3] x) => (float[3] y) { dead = Exp(x)\n h = Relu(x)\n y = Neg(h) }")
    wrong = onnx.ModelProto.FromString(right.SerializeToString())
    nodes = [wrong.graph.node[i] for i in (2, 0, 1)]
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del wrong.graph.node[:]
    wrong.graph.node.extend(kept)
    assert not bisect(wrong, against=right).diverges
    wrong.graph.node[2].op_type = "Sigmoid"
    assert bisect(wrong, against=right).first.value == "h"


def test_a_candidate_that_cannot_run_to_its_end_is_still_searched():
    right = model("g (float[2,3] x) => (float[2,2] y) { h = Transpose<perm=[1,0]>(x)\n y = MatMul(x, h) }")
    wrong = model("g (float[2,3] x) => (float[2,2] y) { h = Transpose<perm=[0,1]>(x)\n y = MatMul(x, h) }")
    result = bisect(wrong, against=right)
    assert result.first.value == "h"
    result = bisect(wrong, against=right, isolate=True)
    assert result.first.value == "h"
    assert not result.complete
    assert any("cannot run any further" in note for note in result.notes)
    with pytest.raises(gk.SessionError):
        bisect(wrong, against=wrong)


def test_models_that_share_nothing_are_refused():
    with pytest.raises(gk.ComparisonError, match="share no value"):
        bisect(
            model("g (float[3] x) => (float[3] x) { y = Relu(x) }"),
            against=model("g (float[3] x) => (float[3] x) { z = Shape(x) }"),
        )
    with pytest.raises(ValueError, match="either"):
        bisect(LOOP)


def test_outputs_in_another_order_or_number_are_bad_input_as_for_validate():
    one, two, turned = (
        model(f"g (float[3] x) => ({outputs}) {{ y = Relu(x)\n q = Neg(x) }}")
        for outputs in ("float[3] y", "float[3] y, float[3] q", "float[3] q, float[3] y")
    )
    alone = model("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    for candidate, reference, says in (
        (two, alone, "'q' are no values of the reference"),
        (one, two, "'q' is missing"),
        (turned, two, "another order"),
    ):
        for ask in (bisect, gk.validate):
            with pytest.raises(gk.ComparisonError, match=says):
                ask(candidate, against=reference)
    assert not bisect(turned, against=two, map={"y": "y", "q": "q"}).diverges
    assert not bisect(two, against=one).diverges  # a part may show inner values as outputs
    other = model("g (float[3] x) => (float[3] z) { z = Relu(x) }")
    result = bisect(other, against=alone)
    assert [(row.value, row.twin) for row in result.rows] == [("z", "y")]
    assert any("by position: 'z' with 'y'" in note for note in result.notes)


def test_a_model_that_does_not_load_as_a_whole_never_agrees():
    """The branch that is not taken multiplies what cannot be multiplied; pieces are loaded without shapes."""
    text = """g (float[2,3] x, bool c) => (float[2,3] y) <float[3,3] w = {{1,0,0,0,1,0,0,0,1}}> {{
      a = Neg(x)
      y = If(c) <then_branch = t () => (float[2,3] p) {{ p = Gemm(a, w) }},
                 else_branch = e () => (float[2,3] q) {{ q = Gemm<transA = {}>(a, w) }}>
    }}"""
    wrong, feeds = model(text.format(1)), {"x": np.ones((2, 3), np.float32), "c": np.array(True)}
    with pytest.raises(gk.SessionError):
        gk.validate(wrong, against=model(text.format(0)), feeds=feeds)
    with pytest.raises(gk.SessionError, match="agree with the reference, and the runtime refuses the model"):
        bisect(wrong, against=model(text.format(0)), feeds=feeds)
    wrong.graph.node[0].op_type = "Abs"  # what differs is found all the same
    assert bisect(wrong, against=model(text.format(0)), feeds=feeds).first.value == "a"


@pytest.mark.parametrize(("last", "diverges"), [(100.0, True), (0.001, False)])
def test_rounding_that_adds_up_is_told_from_a_wrong_node(last, diverges):
    """A difference below the tolerance is made larger than it by the next node, which is right."""
    text = "g (float[4] x) => (float[4] y) <float[1] k = {{{}}}, float[1] m = {{100.0}}, float[1] n = {{{}}}> {{ a = Mul(x, k)\n b = Mul(a, m)\n y = Mul(b, n) }}"
    feeds = {"x": np.ones(4, np.float32)}
    options = {"feeds": feeds, "rtol": 0.0, "atol": 1e-3}
    result = bisect(model(text.format("1.0001", last)), against=model(text.format("1.0", last)), **options)
    assert [row.match for row in result.rows] == [True, False, not diverges]
    assert result.diverges is diverges
    assert (result.first.value if diverges else result.first) == ("b" if diverges else None)
    assert not diverges or result.first.introduces is False
    assert result.introduced_by == ()
    assert any("rounding that has added up" in note for note in result.notes)


SHRINKING = """g (float[4, 4] x) => (float[4, 4] y) <float small = {{1e-6}}, float k = {{{}}}> {{
  a = Mul(x, small)
  b = Mul(a, k)
  y = Tanh(b)
}}"""


def test_numbers_below_every_tolerance_are_no_hiding_place():
    right, wrong = model(SHRINKING.format(3)), model(SHRINKING.format(3.03))
    assert not gk.validate(wrong, against=right).match
    result = bisect(wrong, against=right, isolate=True)
    assert result.first.value == "b"
    assert [row.value for row in result.introduced_by] == ["b"]
    assert not bisect(right, against=right, isolate=True).diverges


def test_values_are_never_held_beyond_the_limit(monkeypatch):
    """Sixteen values of 400 kB each under a limit of 4 MB: what is fetched at once never takes more."""
    from graphkit.verify.bisect import onnx_side

    lines = "\n ".join(f"v{i + 1} = Relu(v{i})" for i in range(15))
    proto = model(f"g (float[100000] v0) => (float[100000] y) {{ {lines}\n y = Neg(v15) }}")
    held = []
    plain = onnx_side.OnnxSide.fetch

    def weighed(self, names):
        made = plain(self, names)
        held.append(sum(a.nbytes for a in made.values()))
        return made

    monkeypatch.setattr(onnx_side.OnnxSide, "fetch", weighed)
    result = bisect(proto, against=proto, memory="8MB", isolate=True)
    assert result.stretches > 2
    assert max(held) * 3 <= 8_000_000
    assert len(result.rows) == 16


def test_weights_count_against_the_limit_and_are_given_back(tmp_path):
    from graphkit.storage.source import LocalFile
    from graphkit.verify.bisect.onnx_side import OnnxSide

    lines = "\n ".join(f"v{i + 1} = Add(v{i}, w{i})" for i in range(8))
    proto = model(f"g (float[1] v0) => (float[n] y) {{ {lines}\n y = Neg(v8) }}")
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.full(100_000, i, np.float32), f"w{i}") for i in range(8)
    )
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    feeds = {"v0": np.zeros(1, np.float32)}
    whole, parts = (
        bisect(path, against=path, feeds=feeds, memory=limit) for limit in ("8GB", "5MB")
    )  # what the process itself holds counts
    assert (whole.stretches, parts.stretches > 3) == (1, True)
    side = OnnxSide(gk.load(path), feeds)
    side.expect(["v8"])
    assert side.fetch(["v8"])["v8"].tolist()[:2] == [28, 28]
    assert any(isinstance(source, LocalFile) for source in side.model.sources.values())
    assert side.model.array("w7")[0] == 7


def test_a_reproduction_is_small_and_shows_the_fault(tmp_path):
    net, feeds = NETS["encoder"]()
    faulty, wrong = with_fault(net, "swap", ("Tanh_" + net.graph.node[-1].name.rpartition("_")[2], "Sigmoid"))
    result = bisect(faulty, against=net, feeds=feeds)
    paths = gk.save_repro(result, tmp_path / "repro")
    assert sorted(os.listdir(tmp_path / "repro")) == ["expected.npz", "feeds.npz", "model.onnx", "repro.py"]
    small = onnx.load(paths[0])
    onnx.checker.check_model(small, full_check=True)
    assert [n.name for n in small.graph.node] == wrong
    done = subprocess.run([sys.executable, "repro/repro.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    error = float(done.stdout.split()[-1])
    assert error == pytest.approx(result.first.metrics.max_abs, rel=1e-3)
    assert len((tmp_path / "repro" / "repro.py").read_text().splitlines()) <= 20
    with pytest.raises(gk.SaveError, match="nothing to reproduce"):
        gk.save_repro(bisect(net, against=net, feeds=feeds), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_reproduction_of_a_fault_in_a_body(tmp_path):
    result = bisect(
        model(LOOP.format("Sub")), against=model(LOOP.format("Add")), feeds={"x": np.float32([1, 2]), "m": np.array(4)}
    )
    gk.save_repro(result, tmp_path)
    assert [n.op_type for n in onnx.load(tmp_path / "model.onnx").graph.node] == ["Sub"]


torch = pytest.importorskip("torch")
nn = torch.nn


class Net(nn.Module):
    """Shared modules called twice, Conv + BatchNorm, Dropout, two outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.relu, self.shared = nn.ReLU(), nn.Conv2d(8, 8, 1)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.drop, self.fc, self.norm = nn.Dropout(), nn.Linear(8, 6), nn.LayerNorm(6, eps=1e-3)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = gk.mark(self.shared(self.relu(self.shared(x))), "features")
        x = self.drop(self.block(x).mean((2, 3)))
        y = self.norm(self.fc(x))
        return torch.softmax(y, -1), y


def exported(exporter, module=None, args=None):
    module = module or Net().eval()
    args = args or (torch.rand(2, 3, 10, 10),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = gk.export(module, args, exporter=exporter)
    return module, args, made


EXPORTERS = ["dynamo", "torchscript"]


net_and_export = functools.cache(exported)


@pytest.fixture(scope="module", params=EXPORTERS)
def pair(request):
    return request.param, *net_and_export(request.param)


def test_torch_and_its_export_agree(pair):
    _, module, args, made = pair
    result = bisect(made, torch=(module, args))
    assert not result.diverges
    assert result.matched >= 8
    assert result.reference_providers == ("torch",)


def faulty(made, op_type, change, at=0):
    proto = made.materialize()
    node = [n for n in proto.graph.node if n.op_type == op_type][at]
    change(proto, node)
    return proto, node


def scaled(proto, node):
    tensor = next(t for t in proto.graph.initializer if t.name == node.input[1])
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))


def epsilon(proto, node):
    next(a for a in node.attribute if a.name == "epsilon").f = 0.5


FAULTS = [("Conv", scaled, 0), ("Conv", scaled, -1), ("LayerNormalization", epsilon, 0), ("Gemm", scaled, 0)]


@pytest.mark.parametrize(("op_type", "change", "at"), FAULTS)
def test_a_fault_in_an_export_is_located(pair, op_type, change, at):
    exporter, module, args, made = pair
    proto, node = faulty(made, op_type, change, at)
    result = bisect(proto, torch=(module, args), isolate=True)
    assert result.first.node == (node.name or node.output[0])
    assert result.first.introduces is True
    assert [row.node for row in result.introduced_by] == [result.first.node]
    assert result.first.module is not None
    if exporter == "dynamo":
        assert "test_bisect.py" in result.first.line


def test_the_candidate_may_be_torch(pair):
    _, module, args, made = pair
    proto, node = faulty(made, "Conv", scaled, -1)
    result = bisect((module, args), against=proto)
    assert result.first.node == (node.name or node.output[0])
    assert result.providers == ("torch",)
    assert result.candidate == "Net"


def test_two_torch_modules():
    one, two = Net().eval(), Net().eval()
    with torch.no_grad():
        two.fc.bias.add_(0.1)
    args = (torch.rand(1, 3, 8, 8),)
    assert not bisect((one, args), torch=one).diverges
    assert bisect((one, args), torch=two).first.value == "fc"
    with pytest.raises(gk.ComparisonError, match="example arguments"):
        bisect(one, torch=two)


def test_a_dynamic_export_numbers_its_nodes_otherwise():
    class Sums(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            n = x.shape[0] + 1
            return (self.a(x) + 1 + self.b(x) * 2 + n).tanh() + x

    module, args = Sums().eval(), (torch.rand(3, 4),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = gk.export(module, args, dynamic=["x:0=n"])
    result = bisect(made, torch=(module, args))
    assert not result.diverges
    assert result.matched >= 5


def test_a_module_that_torch_cannot_export_is_compared_by_modules():
    module, args, made = net_and_export("dynamo")

    class Unfriendly(Net):
        def forward(self, x):
            if x.sum().item() > -1e9:  # the exporter cannot know
                return super().forward(x)
            return x, x

    other = Unfriendly().eval()
    other.load_state_dict(module.state_dict())
    result = bisect(made, torch=(other, args))
    assert not result.diverges
    assert any("cannot export" in note for note in result.notes)


def test_a_while_loop_whose_body_calls_a_submodule():
    torch = pytest.importorskip("torch")
    from torch._higher_order_ops.while_loop import while_loop

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(4, 4)

        def forward(self, x, n):
            return while_loop(lambda i, _: i > 0, lambda i, v: (i - 1, self.inner(v)), (n, x))[1]

    torch.manual_seed(0)
    module, args = Net().eval(), (torch.randn(2, 4), torch.tensor(3))
    made = gk.export(module, args)
    assert not bisect(made, torch=(module, args)).diverges
    wrong = made.materialize()
    weight = next(t for t in wrong.graph.initializer if t.dims == [4, 4])
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    result = bisect(wrong, torch=(module, args))
    assert result.first.op_type == "Loop"
    assert any("where inside of Loop" in note for note in result.notes)


def test_layers_beside_each_other(pair):
    exporter, module, args, made = pair
    table = gk.layers(made, torch=(module, args))
    assert table.match
    rows = {row.output: row for row in table.rows}
    assert rows["drop"].remark == "hands on what it was given"
    assert rows["relu"].value != rows["relu (call 2)"].value
    assert rows["shared"].value != rows["shared (call 2)"].value
    assert rows["conv1"].remark == "folded into the node behind it"
    assert rows["bn1"].match
    assert rows["block"].value == rows["block.2"].value
    if exporter == "torchscript":
        assert rows["mark features"].value == "features"
    assert rows["(whole) [0]"].match
    assert rows["(whole) [1]"].match
    missing = [row.output for row in table.rows if row.match is None]
    assert set(missing) <= {"conv1", "block.0", "mark features", "drop"}
    proto, _ = faulty(made, "Conv", scaled, -1)
    table = gk.layers(proto, torch=(module, args))
    assert not table.match
    assert next(row.output for row in table.rows if row.match is False) == "block.1"


def test_the_debugger_of_the_tutorials(pair):
    """The blog's Debugger: name values in forward, and compare each with the model's (R46)."""
    _, module, args, made = pair
    expected = {}
    from graphkit.torch_export.mark import marks_heard

    with marks_heard(lambda value, name: expected.setdefault(name, value)), torch.no_grad():
        module(*args)
    feeds = dict(zip((i.name for i in made.proto.graph.input), args, strict=True))
    actual = gk.run(made, feeds, outputs=["features"])
    np.testing.assert_allclose(actual["features"], expected["features"].numpy(), rtol=1e-4, atol=1e-5)


def test_an_encoder_of_torchs_own():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    args = (torch.rand(2, 5, 16),)
    _, _, made = exported("torchscript", module, args)
    table = gk.layers(made, torch=(module, args))
    assert table.match
    matched = [row.output for row in table.rows if row.match]
    assert len(matched) >= 16
    proto, _ = faulty(made, "LayerNormalization", epsilon, 2)
    assert bisect(proto, torch=(module, args)).first.module == "layers.1.norm1"


def test_an_lstm_with_tuples():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.rnn, self.out = nn.Embedding(10, 6), nn.LSTM(6, 7, batch_first=True), nn.Linear(7, 3)

        def forward(self, ids):
            y, (h, _) = self.rnn(self.emb(ids))
            return self.out(y), h

    module, args = Recurrent().eval(), (torch.randint(0, 10, (2, 4)),)
    _, _, made = exported("torchscript", module, args)
    table = gk.layers(made, torch=(module, args))
    assert table.match
    assert next(row for row in table.rows if row.output == "out").match


def test_json_of_a_result():
    result = bisect(
        model(LOOP.format("Sub")), against=model(LOOP.format("Add")), feeds={"x": np.float32([1, 2]), "m": np.array(4)}
    )
    answer = json.loads(gk.to_json(result))
    assert answer["diverges"] is True
    assert answer["first"]["value"] == "p"
    assert {"node", "value", "op_type"} <= set(answer["first"])
    assert io.StringIO(gk.text(result)).readline().startswith("DIVERGES")
    assert "<script" not in gk.report_html(result)
