"""Both exporters: the numbers of the model, and what is said about what the exporter did silently."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.graph.module_paths import fx_node, module_path, stack_trace
from oracle import assert_same, run_ort

torch = pytest.importorskip("torch")
F = torch.nn.functional

BOTH = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
RNG = np.random.default_rng(7)


class Convs(torch.nn.Module):
    """Two convolutions with everything whose training mode matters."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout(0.5)
        self.last = torch.nn.Conv2d(4, 3, 3)

    def forward(self, x, scale: float = 2.0):
        return self.last(self.drop(F.relu(self.norm(self.conv(x))))) * scale


class Three(torch.nn.Module):
    def forward(self, a, b, c):
        return a + c


class Nested(torch.nn.Module):
    def forward(self, x, pair, *, weight):
        return {"sum": x + pair[0] * 2 + pair[1]["y"] * weight}


class Scripted(torch.nn.Module):
    """The tutorial's module: a scripted helper keeps the branch that tracing would lose."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(positive(x))


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.script is deprecated; the tutorials use it

    @torch.jit.script
    def positive(x):
        if x.sum() > 0:
            return x
        else:  # noqa: RET505 (TorchScript wants both branches)
            return -x


def image(*shape):
    return torch.from_numpy(RNG.random(shape, dtype=np.float32))


def compare(model, module, feeds, **call):
    with torch.no_grad():
        expected = module.eval()(*call.get("args", feeds.values()), **call.get("kwargs", {}))
    actual = run_ort(model, {name: value.numpy() for name, value in feeds.items()})
    assert_same(next(iter(actual.values())), expected.numpy(), atol=1e-5)


@BOTH
def test_training_mode_is_off_in_the_model_and_as_it_was_in_the_module(exporter):
    module = Convs().train()
    module.last.eval()
    model = gk.export(module, (image(1, 3, 8, 8),), exporter=exporter, dynamic=["x:0=batch", "x:2=h"])
    assert [m.training for m in module.modules()] == [True, True, True, True, False]
    compare(model, module, {"x": image(2, 3, 11, 8)})


# R20
@BOTH
def test_dynamic_axes_are_given_once_for_both_exporters(exporter):
    model = gk.export(Convs(), image(1, 3, 8, 8), exporter=exporter, dynamic={"x": {2: "h", -1: "w"}})
    (shape,) = [v.type.tensor_type.shape.dim for v in model.proto.graph.input]
    assert [d.dim_param or d.dim_value for d in shape] == [1, 3, "h", "w"]
    assert model.history[-1].arguments["dynamic"] == ["x:2=h", "x:3=w"]


# R30
@BOTH
def test_the_default_of_a_python_parameter_is_no_input(exporter):
    report = gk.export_report(Convs(), (image(1, 3, 8, 8), 3.0), exporter=exporter)
    assert [v.name for v in report.model.proto.graph.input] == ["x"]
    found = {finding.kind: finding.message for finding in report.findings}
    assert set(found) == {"training-mode", "number-baked", "folded"}
    assert "3.0" in found["number-baked"]
    module = Convs()
    model = gk.export(module, (image(1, 3, 8, 8),), exporter=exporter)
    assert [v.name for v in model.proto.graph.input] == ["x"]
    compare(model, module, {"x": image(1, 3, 8, 8)})


def test_nested_and_keyword_arguments_have_names_in_both_exporters():
    x, y, z, w = (image(2, 3) for _ in range(4))
    call = {"args": (x, (y, {"y": z})), "kwargs": {"weight": w}}
    for exporter in ("dynamo", "torchscript"):
        model = gk.export(Nested(), call["args"], kwargs=call["kwargs"], exporter=exporter)
        assert [v.name for v in model.proto.graph.input] == ["x", "pair_0", "pair_1_y", "weight"]
        feeds = {"x": x, "pair_0": y, "pair_1_y": z, "weight": w}
        actual = run_ort(model, {name: value.numpy() for name, value in feeds.items()})
        assert_same(next(iter(actual.values())), Nested()(*call["args"], **call["kwargs"])["sum"].numpy())


@BOTH
def test_one_tensor_given_twice_stays_two_inputs(exporter):
    x = image(2, 3)
    model = gk.export(Three(), (x, x, x), exporter=exporter)
    one, three = image(2, 3), image(2, 3)
    answer = run_ort(
        model, {"a": one.numpy(), "c": three.numpy()} | ({"b": one.numpy()} if exporter == "dynamo" else {})
    )
    assert_same(next(iter(answer.values())), (one + three).numpy())


def test_an_input_that_nothing_reads_is_found():
    args = (image(2, 3), image(2, 3), image(2, 3))
    (kept,) = gk.export_report(Three(), args).findings
    (gone,) = gk.export_report(Three(), args, exporter="torchscript").findings
    assert (kept.kind, kept.value) == ("input-unused", "b")
    assert (gone.kind, gone.value) == ("input-vanished", "b")


@pytest.mark.parametrize(
    ("exporter", "asked", "got"),
    [
        ("torchscript", 9, 9),
        ("torchscript", 17, 17),
        ("torchscript", 21, 21),
        ("dynamo", 18, 18),
        ("dynamo", 23, 23),
        ("dynamo", 11, 18),
    ],
)
def test_the_opset_is_read_back_from_the_model(exporter, asked, got):
    module = Convs()
    report = gk.export_report(module, image(1, 3, 8, 8), exporter=exporter, opset=asked)
    assert (report.opset_asked, report.opset) == (asked, got)
    assert [e.version for e in report.model.proto.opset_import if not e.domain] == [got]
    assert ("opset" in [f.kind for f in report.findings]) == (asked != got or asked == 21)
    compare(report.model, module, {"x": image(1, 3, 8, 8)})


# R18
@BOTH
@pytest.mark.parametrize("parameters", ["defaults", "inputs"])
def test_weights_as_inputs_make_a_valid_model(exporter, parameters):
    module = Convs()
    model = gk.export(module, image(1, 3, 8, 8), exporter=exporter, parameters=parameters)
    proto = model.materialize()
    onnx.checker.check_model(proto, full_check=True)
    weights = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    names = {v.name for v in proto.graph.input}
    assert {"x", "conv.weight", "norm.running_mean"} <= names <= {"x", *weights}
    held = {t.name for t in proto.graph.initializer}
    assert ("conv.weight" in held) == (parameters == "defaults")
    x = image(1, 3, 8, 8)
    weights["last.bias"] = weights["last.bias"] + 1
    feeds = {"x": x.numpy()} | {name: weights[name] for name in names & set(weights)}
    with torch.no_grad():
        expected = module.eval()(x) + 2.0
    assert_same(next(iter(run_ort(proto, feeds).values())), expected.numpy(), atol=1e-5)


def test_the_file_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "convs.onnx"
    gk.export(torch.nn.Linear(32, 32), image(1, 32), target, exporter="torchscript", external="convs.data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["convs.data", "convs.onnx"]
    before = target.read_bytes()
    with pytest.raises(gk.ExportError):
        gk.export(Convs(), image(1, 5, 8, 8), target, exporter="torchscript")
    assert target.read_bytes() == before
    history = {entry.key: entry.value for entry in gk.load(target).proto.metadata_props}["graphkit.history"]
    assert '"exporter": "torchscript"' in history


def test_the_torchscript_exporters_shared_dim_is_repaired():
    """Tracing an unknown operator, the exporter calls two axes of the output by one name (export-facts R13)."""

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            return F.interpolate(x, scale_factor=(2, 2))

        @staticmethod
        def symbolic(g, x, factor):
            roi = g.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
            return g.op(
                "Resize",
                x,
                roi,
                factor,
                mode_s="nearest",
                coordinate_transformation_mode_s="asymmetric",
                nearest_mode_s="floor",
            )

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x, factor):
            return self.conv(Doubled.apply(x, factor))

    report = gk.export_report(
        Net(), (image(1, 3, 8, 8), torch.tensor([1.0, 1, 2, 2])), exporter="torchscript", opset=17, output_names=["y"]
    )
    (dims,) = [v.type.tensor_type.shape.dim for v in report.model.proto.graph.output]
    names = [d.dim_param for d in dims if d.dim_param]
    assert len(names) == len(set(names))
    assert "dim-shared" in [f.kind for f in report.findings]
    out = run_ort(report.model, {"x": np.ones((1, 3, 8, 8), np.float32), "factor": np.array([1, 1, 3, 4], np.float32)})
    assert out["y"].shape == (1, 3, 24, 32)


# R28
def test_tracer_warnings_come_back_as_findings_with_the_users_line():
    class Breaks(torch.nn.Module):
        def forward(self, x):
            x = x * x[0].item()
            return x, torch.Tensor([i for i in x])  # noqa: C416 (the tutorial's line)

    report = gk.export_report(Breaks(), image(4), exporter="torchscript")
    assert {f.kind for f in report.findings} == {"traced-constant"}
    assert all("test_export.py" in (f.source or "") for f in report.findings)
    assert any("loop over a tensor" in f.message for f in report.findings)
    assert report.model.history[-1].notes == tuple(str(f) for f in report.findings)


# R25
def test_a_scripted_helper_keeps_its_branch_in_torchscript_and_is_explained_in_dynamo():
    module = Scripted()
    model = gk.export(module, image(1, 4), exporter="torchscript")
    assert "If" in [n.op_type for n in model.proto.graph.node]
    for sign in (1, -1):
        compare(model, module, {next(v.name for v in model.proto.graph.input): sign * image(1, 4)})
    with pytest.raises(gk.ExportError, match="'if' or loop depends on the values"):
        gk.export(module, image(1, 4))


# R26
def test_cond_becomes_if_and_is_explained_in_torchscript():
    class Cond(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda a: a + 1, lambda a: a * 2, (x,))

    model = gk.export(Cond(), image(2, 3))
    assert "If" in [n.op_type for n in model.proto.graph.node]
    for sign in (1, -1):
        compare(model, Cond(), {"x": sign * image(2, 3)})
    with pytest.raises(gk.ExportError, match="use exporter 'dynamo'"):
        gk.export(Cond(), image(2, 3), exporter="torchscript")


# R26
def test_while_loop_becomes_loop():
    from torch._higher_order_ops.while_loop import while_loop

    class Repeat(torch.nn.Module):
        def forward(self, n, x):
            return while_loop(lambda i, _: i > 0, lambda i, v: (i - 1, v * 2), (n, x))[1]

    model = gk.export(Repeat(), (torch.tensor(3), image(2)))
    assert "Loop" in [n.op_type for n in model.proto.graph.node]
    for n in (1, 2, 5):
        x = image(2)
        answer = run_ort(model, {"n": np.array(n), "x": x.numpy()})
        assert_same(next(iter(answer.values())), x.numpy() * 2**n)


# R20
@BOTH
def test_dynamic_axes_without_names_are_called_after_their_input(exporter):
    """``{"in": [2, 3]}`` is the tutorials' other spelling; torch makes up names, of its own or with a UserWarning."""
    module, x = torch.nn.Conv2d(3, 3, 3), image(1, 3, 10, 10)
    model = gk.export(module, x, exporter=exporter, input_names=["in"], dynamic={"in": [2, -1]})
    (shape,) = [v.type.tensor_type.shape.dim for v in model.proto.graph.input]
    assert [d.dim_param or d.dim_value for d in shape] == [1, 3, "in_2", "in_3"]
    compare(model, module, {"in": image(1, 3, 20, 15)})
    with pytest.raises(
        gk.ExportError, match=r"'im', which is no input\n  hint: did you mean in.* dims of outputs follow"
    ):
        gk.export(module, x, exporter=exporter, input_names=["in"], output_names=["out"], dynamic={"im": [0]})


# R24
@BOTH
@pytest.mark.parametrize("kind", ["traced", "scripted", "loaded"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_module_that_was_traced_or_came_from_a_file_is_exported(exporter, kind, tmp_path):
    module, x = torch.nn.Conv2d(3, 2, 3).eval(), image(1, 3, 8, 8)
    held = torch.jit.script(module) if kind == "scripted" else torch.jit.trace(module, x)
    if kind == "loaded":
        torch.jit.save(held, tmp_path / "conv.pt")
        held = torch.jit.load(tmp_path / "conv.pt")
    model = gk.export(held, x, exporter=exporter, dynamic=["input:2=h", "input:3=w"])
    (shape,) = [v.type.tensor_type.shape.dim for v in model.proto.graph.input]
    assert [d.dim_param or d.dim_value for d in shape] == [1, 3, "h", "w"]
    compare(model, module, {"input": image(1, 3, 9, 11)})
    assert gk.validate(model, torch=(held, (x,)), device="cpu").match


# R23, R24
@BOTH
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_script_module_is_exported(exporter):
    class Loops(torch.nn.Module):
        def forward(self, x, n: int):
            for _ in range(n):
                x = x * 1.5
            return x

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 3)

        def forward(self, x):
            return self.conv(x)

    module = Fixed()
    model = gk.export(torch.jit.script(module), image(1, 3, 8, 8), exporter=exporter)
    compare(model, module, {next(v.name for v in model.proto.graph.input): image(1, 3, 8, 8)})
    if exporter == "torchscript":
        loops = gk.export(torch.jit.script(Loops()), (image(3), 2), exporter=exporter)
        assert "Loop" in [n.op_type for n in loops.proto.graph.node]
        x = image(3)
        for n in (1, 2, 5):
            names = [v.name for v in loops.proto.graph.input]
            assert_same(
                next(iter(run_ort(loops, dict(zip(names, [x.numpy(), np.array(n)], strict=True))).values())),
                x.numpy() * np.float32(1.5**n),
            )


def test_another_output_type_than_torchs_is_found():
    class Shift(torch.nn.Module):
        def forward(self, x):
            return x << 1

    x = torch.tensor([1, 200], dtype=torch.uint8)
    (finding,) = gk.export_report(Shift(), x).findings
    assert finding.kind == "output-type"
    report = gk.export_report(Shift(), x, exporter="torchscript")
    assert report.findings == ()
    assert_same(next(iter(run_ort(report.model, {"x": x.numpy()}).values())), Shift()(x).numpy())


# R27
@BOTH
def test_what_is_done_only_in_an_export_is_in_the_model_and_not_in_torch(exporter):
    class Clipped(torch.nn.Module):
        def forward(self, x):
            x = x * 3
            return torch.clip(x, 0, 1) if torch.onnx.is_in_onnx_export() else x

    model, x = gk.export(Clipped(), image(4), exporter=exporter), torch.tensor([-1.0, 0.1, 0.3, 2.0])
    assert [n.op_type for n in model.proto.graph.node if n.op_type != "Constant"] == ["Mul", "Clip"]
    assert_same(next(iter(run_ort(model, {"x": x.numpy()}).values())), np.clip(x.numpy() * 3, 0, 1))
    assert torch.equal(Clipped()(x), x * 3)
    assert not gk.validate(model, torch=(Clipped(), (x,)), device="cpu").match
    if exporter == "dynamo":  # torch.export alone is no ONNX export
        program = torch.export.export(Clipped(), (x,))
        assert "Clip" not in [n.op_type for n in gk.export(program, (x,)).proto.graph.node]


def test_nothing_is_printed_and_warnings_as_errors_do_no_harm(capfd):
    class Unsupported(torch.nn.Module):
        def forward(self, x):
            return torch.special.i0(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for exporter in ("dynamo", "torchscript"):
            gk.export(Three(), (image(2), image(2), image(2)), exporter=exporter)
        with pytest.raises(gk.ExportError) as caught:
            gk.export(Unsupported(), image(2), exporter="torchscript")
    assert capfd.readouterr() == ("", "")
    assert "Torch IR graph at exception" in caught.value.details


def test_nodes_know_their_modules_after_a_conversion_to_an_older_opset():
    module = Convs()
    report = gk.export_report(module, image(1, 3, 8, 8), opset=16)
    assert report.opset == 16
    assert {module_path(node) for node in report.model.proto.graph.node} >= {"norm", "last"}
    compare(report.model, module, {"x": image(1, 3, 8, 8)})
    (conv, *_) = report.model.proto.graph.node
    assert fx_node(conv) == (
        "_native_batch_norm_legit_no_training",
        "torch.ops.aten._native_batch_norm_legit_no_training.default",
    )
    assert "in forward" in stack_trace(conv)


def test_an_exported_program_is_exported():
    module = Convs().eval()
    x = image(1, 3, 8, 8)
    program = torch.export.export(module, (x,))
    model = gk.export(program, (x,), input_names=["picture"], output_names=["y"])
    assert [v.name for v in model.proto.graph.input] == ["picture"]
    compare(model, module, {"picture": image(1, 3, 8, 8)})
    with pytest.raises(gk.ExportError, match="by dynamo only"):
        gk.export(program, (x,), exporter="torchscript")


@BOTH
def test_large_weights_go_through_a_file_and_stay_there(exporter, monkeypatch, tmp_path):
    """With a limit of no bytes, a small module takes the way that one of two gigabytes takes."""
    monkeypatch.setattr("graphkit.torch_export.job.LARGE", 0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    x = image(3, 64)
    report = gk.export_report(module, (x,), exporter=exporter, folder=str(tmp_path))
    (kept,) = tmp_path.iterdir()
    compare(report.model, module, {"input": x})
    gk.save(report.model, tmp_path / "net.onnx")
    compare(tmp_path / "net.onnx", module, {"input": x})
    assert gk.load(tmp_path / "net.onnx").array("0.weight").shape == (64, 64)
    del report
    gc.collect()
    assert not kept.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_script_module_in_dynamo_has_dynamic_axes_and_they_are_told_or_named():
    scripted = torch.jit.script(torch.nn.Conv2d(3, 2, 3))
    report = gk.export_report(scripted, image(1, 3, 8, 8))
    assert [f.kind for f in report.findings] == ["dim", "dim"]
    (dims,) = [v.type.tensor_type.shape.dim for v in report.model.proto.graph.input]
    assert [d.dim_value for d in dims] == [1, 3, 0, 0]  # torch calls axis 1 a symbol whose name is 3
    half = gk.export_report(scripted, image(1, 3, 8, 8), dynamic=["input:2=h"])
    assert [f.message.partition(",")[0] for f in half.findings] == [
        "axis 3 of input 'input' was not asked to be dynamic"
    ]
    named = gk.export_report(scripted, image(1, 3, 8, 8), dynamic=["input:2=h", "input:3=w"])
    (dims,) = [v.type.tensor_type.shape.dim for v in named.model.proto.graph.input]
    assert [dims[2].dim_param, dims[3].dim_param] == ["h", "w"]
    assert named.findings == ()


def test_axes_that_torch_finds_equal_are_told():
    report = gk.export_report(Sum(), (image(4), image(4)), dynamic=["a:0=n", "b:0=m"])
    (finding,) = report.findings
    assert finding.message == "axis 0 of input 'b' is called 'n', not 'm': torch says the two are equal"


class Sum(torch.nn.Module):
    def forward(self, a, b):
        return a + b


class Batch(torch.nn.Module):
    def forward(self, batch):
        return {"logits": batch["ids"].float() * batch["mask"], "nothing": None, "also": (batch["mask"],)}


class Shuffled(torch.nn.Module):
    def forward(self, a, b, c=None, *, d):
        return a - b * 2 + c * 3 + d * 4


@BOTH
def test_a_dict_is_an_argument_like_any_other(exporter):
    """torch takes a dict at the end of the arguments for the keyword arguments."""
    batch = {"ids": torch.tensor([1, 2]), "mask": image(2)}
    model = gk.export(Batch(), (batch,), exporter=exporter)
    assert [v.name for v in model.proto.graph.input] == ["batch_ids", "batch_mask"]
    answer = list(run_ort(model, {f"batch_{name}": value.numpy() for name, value in batch.items()}).values())
    expected = Batch()(batch)
    assert_same(answer, [expected["logits"].numpy(), expected["also"][0].numpy()])


@BOTH
def test_keyword_arguments_in_another_order_go_where_they_belong(exporter):
    given = {"d": image(2), "c": image(2), "b": image(2)}
    model = gk.export(Shuffled(), (image(2),), kwargs=given, exporter=exporter)
    assert [v.name for v in model.proto.graph.input] == ["a", "b", "c", "d"]
    feeds = {name: image(2) for name in "abcd"}
    answer = run_ort(model, {name: value.numpy() for name, value in feeds.items()})
    assert_same(next(iter(answer.values())), Shuffled()(**feeds).numpy())


class Chain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([0.5, -2.0]))

    def forward(self, x):
        return torch.sigmoid(torch.relu(x) + 1) * self.w, self.w


@BOTH
@pytest.mark.parametrize("names", [("relu", None), ("sigmoid", ["add", "relu"]), ("w", None), ("w", ["relu", "mul"])])
def test_a_name_that_something_else_has_stands_for_one_thing_only(exporter, names):
    """dynamo, asked for such a name, writes a model that computes something else, or none that loads (torch 2.13)."""
    module, (input_name, output_names) = Chain(), names
    model = gk.export(module, image(2), exporter=exporter, input_names=[input_name], output_names=output_names)
    proto = model.materialize()
    onnx.checker.check_model(proto, full_check=True)
    assert [v.name for v in proto.graph.input] == [input_name]
    assert output_names in (None, [v.name for v in proto.graph.output])
    x = image(2) - 0.5
    expected = [tensor.detach().numpy() for tensor in module(x)]
    assert_same(list(run_ort(model, {input_name: x.numpy()}).values()), expected)


@BOTH
def test_an_output_that_is_an_input_or_another_output_has_a_name_of_its_own(exporter):
    class Same(torch.nn.Module):
        def forward(self, x):
            y = torch.relu(x)
            return x, y, y

    model = gk.export(Same(), image(2), exporter=exporter)
    names = [v.name for v in model.proto.graph.output]
    assert len({"x", *names}) == 4
    x = image(2) - 0.5
    assert_same(list(run_ort(model, {"x": x.numpy()}).values()), [t.numpy() for t in Same()(x)])


@BOTH
@pytest.mark.matrix
def test_more_than_two_gigabytes_of_weights(exporter, tmp_path):
    module = torch.nn.Sequential(*(torch.nn.Linear(8192, 8192, bias=False) for _ in range(9)))
    x = image(1, 8192)
    gk.export(module, x, tmp_path / "large.onnx", exporter=exporter, external="large.data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.data", "large.onnx"]
    compare(tmp_path / "large.onnx", module, {"input": x})


class Chunked(torch.nn.Module):
    def forward(self, x):
        one, other = x.chunk(2, 1)
        return one * torch.sigmoid(other)


def test_a_graph_that_the_exporters_optimizer_fails_on_is_exported_without_it():
    x = torch.randn(2, 8)
    report = gk.export_report(Chunked(), (x,), dynamic={"x": {1: "n"}})
    assert "not-optimized" in [finding.kind for finding in report.findings]
    assert gk.validate(report.model, torch=Chunked(), feeds={"x": np.random.default_rng(0).random((2, 12), np.float32)})


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_an_export_says_which_stage_of_how_many_it_is_at(exporter):
    told = []
    with gk.watched(lambda *now: told.append(now)):
        gk.export(torch.nn.ReLU(), (torch.ones(1, 3),), exporter=exporter)
    done = [done for done, _, _ in told]
    assert done == sorted(done)
    assert told[-1][:2] == (told[0][1], told[0][1])
    if exporter == "dynamo":
        stages = [what for _, _, what in told]
        assert stages[1:5] == [
            "tracing with torch.export",
            "decomposing operators",
            "translating into ONNX",
            "optimizing",
        ]
