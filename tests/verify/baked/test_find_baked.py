"""Constants that belong to the example arguments: the tutorials' traps, each found, named and mended."""

from __future__ import annotations

import numpy as np
import pytest

import graphkit as gk
from graphkit.torch_export.arguments import bind
from graphkit.verify.baked.variations import other_values
from graphkit_cli.spelling import spelt
from oracle import assert_same, run_ort

torch = pytest.importorskip("torch")
F = torch.nn.functional


class Item(torch.nn.Module):
    """The factor as a tensor, made a number (tutorial 1)."""

    def forward(self, x, factor):
        return F.interpolate(x, scale_factor=factor.item(), mode="bicubic")


class Number(torch.nn.Module):
    """The factor as a Python number."""

    def forward(self, x, factor):
        return F.interpolate(x, scale_factor=factor, mode="bicubic")


class Element(torch.nn.Module):
    def forward(self, x):
        return x * x[0].item()


class Iterated(torch.nn.Module):
    def forward(self, x):
        return torch.Tensor([i for i in x])  # noqa: C416 (the tutorial's line)


class Branch(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x + 1
        return x * 2


class Flattened(torch.nn.Module):
    def forward(self, x):
        return x.reshape(x.shape[0], int(x.shape[1]) * int(x.shape[2])) + 1


class Fine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3)

    def forward(self, x, factor):
        return self.conv(x).flatten(2) * factor


X = torch.from_numpy(np.random.default_rng(5).random((1, 3, 8, 8), dtype=np.float32))
V = X.ravel()[:5]


def found(module, *args_list, **options):
    baked = gk.find_baked(module, list(args_list), **options)
    assert not baked.agrees
    assert all(f.source is None or "test_find_baked.py" in f.source for f in baked.findings)
    return baked


# R11
@pytest.mark.parametrize(
    ("module", "args", "exporter", "node"),
    [
        (Item(), (X, torch.tensor(2.0)), "torchscript", "/Resize"),
        (Number(), (X, 2), "torchscript", "/Resize"),
        (Number(), (X, 2), "dynamo", "node_upsample_bicubic2d"),
    ],
)
def test_a_factor_is_named_and_resize_mends_it(module, args, exporter, node, tmp_path):
    baked = found(module, args, exporter=exporter)
    (finding,) = baked.findings
    assert (finding.kind, finding.node) == ("constant", node)
    assert "[1, 1, 2, 2], and [1, 1, 3, 3] with other arguments: it is argument 'factor'" in finding.message
    assert finding.source
    assert spelt(finding.remedy) == f"graphkit resize MODEL OUT --node {node}"
    assert [t.agrees for t in baked.trials][:2] == [True, False]
    mended = gk.resize(baked.model, nodes=[node])
    expected = F.interpolate(X, scale_factor=2.5, mode="bicubic")
    answer = run_ort(mended, {"x": X.numpy(), "factor": np.array([2.5, 2.5], np.float32)})
    assert_same(next(iter(answer.values())), expected.numpy(), atol=1e-5)


# R11
@pytest.mark.parametrize("factor", [2, 2.0])
def test_dynamo_takes_no_factor_out_of_a_tensor_and_the_way_round_is_said(factor):
    with pytest.raises(gk.ExportError, match=r"taken from a tensor \(.item\(\)\).*test_find_baked.py:\d+") as caught:
        gk.export(Item(), (X, torch.tensor(factor)))
    assert "graphkit resize" in spelt(caught.value.hint)


# R28
def test_an_element_of_the_input_is_named():
    (finding,) = found(Element(), (V,), exporter="torchscript").findings
    assert "it is element x[0]" in finding.message
    assert "graphkit promote MODEL OUT --tensor /Constant_output_0" in spelt(finding.remedy)
    assert gk.find_baked(Element(), [(V,)], exporter="dynamo").agrees


# R28
def test_an_output_made_of_python_values_is_named():
    (finding,) = found(Iterated(), (V,), exporter="torchscript").findings
    assert "it is argument 'x'" in finding.message
    assert "torch.stack" in spelt(finding.remedy)


def test_a_branch_is_named_with_its_line():
    (finding,) = found(Branch(), (V,), exporter="torchscript").findings
    assert finding.kind == "branch"
    assert "torch.cond" in spelt(finding.remedy)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_fixed_reshape_is_named_with_the_axes_it_is_made_of(exporter):
    baked = found(Flattened(), (X[0],), (torch.ones(3, 10, 8),), exporter=exporter)
    assert [f.kind for f in baked.findings] == ["fixed-axis", "constant"]
    assert "axis 1 of input 'x' is fixed to 8" in baked.findings[0].message
    assert (
        "[3, 64], and [3, 80] with other arguments: it is made of the size of 'x' on axis 1"
        in baked.findings[1].message
    )
    other = "--exporter dynamo " if exporter == "torchscript" else ""
    assert {spelt(f.remedy) for f in baked.findings} == {f"export with {other}--dynamic x:1=x_1"}


def test_a_reshape_that_tracing_fixed_although_its_axes_are_dynamic():
    baked = found(Flattened(), (X[0],), exporter="torchscript", dynamic=["x:1=h", "x:2=w"])
    (finding,) = baked.findings
    assert "[64], and [384]" in finding.message
    assert "the size of 'x' on axis 1 and the size of 'x' on axis 2" in finding.message
    assert spelt(finding.remedy) == "export with --exporter dynamo"
    assert [t.agrees for t in baked.trials] == [True, True, True, False, False, False]
    assert gk.find_baked(Flattened(), [(X[0],)], dynamic=["x:1=h", "x:2=w"]).agrees


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_nothing_is_found_where_nothing_is_baked(exporter):
    baked = gk.find_baked(Fine(), [(X, torch.tensor(2.0))], exporter=exporter, dynamic=["x:2=h"])
    assert baked.agrees
    assert len({t.arguments for t in baked.trials}) == 5  # two sizes of each kind, and other factors


def test_what_could_not_be_varied_is_not_called_right():
    class Lookup(torch.nn.Module):
        def forward(self, x, row):
            assert row == 2
            return x[:, row.item()]

    baked = gk.find_baked(Lookup(), [(V.reshape(1, 5)[:, :3], torch.tensor(2))], exporter="torchscript")
    assert (baked.agrees, [f.kind for f in baked.findings]) == (False, ["undecided", "undecided"])
    (told,) = baked.not_compared
    assert told.startswith("values of 'row': Lookup does not run with x float32[1,3], row 3, at ")
    assert "check_inputs=[NAME=SHAPE]" in told
    baked = gk.find_baked(Fixed(), [(X[0],)], exporter="torchscript", dynamic=["x:1=h"])
    assert (baked.agrees, baked.findings, len(baked.trials)) == (False, (), 3)
    assert baked.not_compared[0].startswith("sizes of 'h': Fixed does not run with x float32[3,16,8], at ")


class Fixed(torch.nn.Module):
    def forward(self, x):
        return x.reshape(3, 64) * 2


def test_arguments_that_the_module_refuses_are_told_apart():
    with pytest.raises(gk.ExportError, match="Flattened does not run with x float32"):
        gk.find_baked(Flattened(), [(X[0],), (X,)], exporter="torchscript")


class Factors(torch.nn.Module):
    """One factor for each axis, iterated."""

    def forward(self, x, factors):
        return F.interpolate(x, scale_factor=[float(f) for f in factors], mode="bilinear")


def test_factors_that_are_tried_stay_positive():
    baked = found(Factors(), (X, torch.tensor([2.0, 3.0])), exporter="torchscript")
    named = [f for f in baked.findings if "[1, 1, 2, 3], and [1, 1, 3, 4.5]" in f.message]
    assert any("graphkit resize" in spelt(f.remedy) for f in named)
    assert not baked.not_compared


class Patches(torch.nn.Module):
    """Takes multiples of 4 only, and computes with Python numbers."""

    def forward(self, x):
        n, c, h, w = map(int, x.shape)
        return x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(n, (h // 4) * (w // 4), c * 16)


class Padded(torch.nn.Module):
    """Takes every size, and pads by a Python number that is 0 for all multiples of 8."""

    def forward(self, x):
        return F.pad(x, (0, -int(x.shape[3]) % 8)) * 2


class Short(torch.nn.Module):
    """Takes no more than 8 rows."""

    def __init__(self):
        super().__init__()
        self.register_buffer("places", torch.rand(8, 8))

    def forward(self, x):
        return x + self.places[: int(x.shape[2])]


class Square(torch.nn.Module):
    def forward(self, x):
        return (x + x.transpose(2, 3)).reshape(1, 3, int(x.shape[2]) ** 2)


class Threshold(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.shape[2] > 6 else x * 3


@pytest.mark.parametrize(
    ("module", "dynamic", "says"),
    [
        (Patches(), ["x:2=h", "x:3=w"], "the size of 'x' on axis 2 and the size of 'x' on axis 3"),
        (Padded(), ["x:3=w"], "'/"),
        (Short(), ["x:2=h"], "float32[8,8], and float32[4,8] with other arguments"),
        (Square(), ["x:2=h", "x:3=w"], "[1, 3, 64]"),
        (Threshold(), ["x:2=h"], "a Python 'if' at"),
    ],
)
def test_sizes_are_tried_until_the_module_runs(module, dynamic, says):
    baked = found(module, (X,), exporter="torchscript", dynamic=dynamic)
    assert not baked.not_compared
    assert any(says in f.message for f in baked.findings)
    assert not any("promote" in spelt(f.remedy) for f in baked.findings)


def test_the_size_that_a_constant_is_comes_before_what_it_could_be_made_of():
    class Masked(torch.nn.Module):
        def forward(self, ids, mask):
            return ids.reshape(-1, int(ids.shape[1])) * mask

    pair = torch.arange(20).reshape(2, 10), torch.ones(2, 10)
    axes = ["ids:0=n", "ids:1=s", "mask:0=n", "mask:1=s"]
    (finding,) = found(Masked(), pair, exporter="torchscript", dynamic=axes).findings
    assert "made of the size of 'ids' on axis 1" in finding.message
    assert "axis 0" not in finding.message


class Second(torch.nn.Module):
    def forward(self, x, w):
        return x * float(w[1])


class Target(torch.nn.Module):
    def forward(self, x, sizes):
        return F.interpolate(x, size=sizes.tolist())


class Longest(torch.nn.Module):
    def forward(self, x, lengths):
        return x[..., : int(lengths.max())]


class Any(torch.nn.Module):
    def forward(self, x, state):
        return x * 2 if (state > 0).any() else x + state


@pytest.mark.parametrize(
    ("module", "second", "says"),
    [
        (Second(), torch.tensor([2.0, 3.0]), "it is element w[1]"),
        (Target(), torch.tensor([6, 6]), "[6, 6], and [7, 8] with other arguments: it is argument 'sizes'"),
        (Longest(), torch.tensor([3, 4]), "it is element lengths[1]"),
        (Any(), torch.zeros(1, 3, 8, 8), "a Python 'if' at"),
        (Any(), torch.zeros(1, 3, 8, 8, dtype=torch.bool), "a Python 'if' at"),
    ],
)
def test_values_that_are_tried_differ_in_every_element(module, second, says):
    (finding,) = found(module, (X, second), exporter="torchscript").findings
    assert says in finding.message


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 4),
        torch.ones(3, 4, dtype=torch.float16),
        torch.tensor([2.0, 3.0]),
        torch.tensor([6, 6]),
        torch.tensor([[5, 7], [7, 5]]),
        torch.tensor([1.0, 0.5, -1.0]),
        torch.tensor([1.0, -0.8]),
        torch.tensor(True),
        torch.tensor([1 + 2j, 3 - 1j]),
        torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).bfloat16(),
    ],
    ids=str,
)
def test_the_first_values_that_are_tried(tensor):
    bound = bind(Element(), (tensor,), None, None)
    variation = next(other_values(bound))
    assert not bool((variation.args[0] == tensor).any())
    assert variation.args[0].dtype == tensor.dtype


def test_masks_that_are_tried_have_both_truth_values_in_every_row():
    for mask in (
        torch.zeros(2, 6, dtype=torch.bool),
        torch.ones(6, dtype=torch.bool),
        torch.arange(10).reshape(2, 5) < 3,
    ):
        for variation in other_values(bind(Element(), (mask,), None, None)):
            tried = variation.args[0]
            assert not bool((tried == mask).all())
            assert bool(tried.any(-1).all())
            assert not bool(tried.all(-1).any())


def test_a_vector_of_scales_keeps_its_ones():
    bound = bind(Element(), (torch.tensor([1.0, 1.0, 2.0, 2.0]),), None, None)
    assert next(other_values(bound)).args[0].tolist() == [1, 1, 3, 3.5]


def test_a_value_that_no_set_changes_is_undecided():
    class Guarded(torch.nn.Module):
        def forward(self, x):
            if x.isnan().any():
                return x * 0
            return x * 2

    baked = gk.find_baked(Guarded(), [(X,)], exporter="torchscript")
    (finding,) = baked.findings
    assert (baked.agrees, finding.kind) == (False, "undecided")
    assert "the Python value False" in finding.message
    assert "test_find_baked.py:" in finding.source
    assert gk.find_baked(Guarded(), [(X,), (X * torch.nan,)], exporter="torchscript").findings[0].kind != "undecided"


def test_a_number_made_of_weights_is_no_number_made_of_inputs():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(3.0))

        def forward(self, x, unused):
            return x * float(self.scale)

    assert gk.find_baked(Scaled(), [(X, V)], exporter="torchscript").agrees


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision(exporter, dtype):
    linear = torch.nn.Linear(8, 3).to(dtype)
    assert gk.find_baked(linear, [(X.to(dtype),)], exporter=exporter).agrees


def test_low_precision_with_something_baked():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(8, 3).bfloat16()

        def forward(self, x, factor):
            return self.linear(x) * factor.item()

    (finding,) = found(Scaled(), (X.bfloat16(), torch.tensor(2.0)), exporter="torchscript").findings
    assert "it is argument 'factor'" in finding.message


def test_complex_numbers():
    class Turn(torch.nn.Module):
        def forward(self, x):
            return torch.view_as_real(x).sum(-1)

    assert gk.find_baked(Turn(), [(torch.tensor([1 + 2j, 3 - 1j]),)]).agrees


class Asked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scales):
        return F.interpolate(x, scale_factor=(float(scales[2]), float(scales[3])), mode="nearest")

    @staticmethod
    def symbolic(g, x, scales):
        return g.op("Resize", x, g.op("Constant", value_t=torch.tensor([])), scales, mode_s="nearest")


class Asking(torch.nn.Module):
    def forward(self, x, scales):
        return Asked.apply(x, scales) * 2


def test_what_a_function_with_a_symbolic_computes_is_not_in_the_model():
    args = X, torch.tensor([1.0, 1.0, 2.0, 2.0])
    report = gk.export_report(Asking(), args, exporter="torchscript")
    assert not [f for f in report.findings if f.kind == "traced-constant"]
    assert gk.find_baked(Asking(), [args], exporter="torchscript").agrees


def test_a_module_that_writes_into_its_input():
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return x.mul_(2) + 1

    before = X.clone()
    assert gk.find_baked(Doubled(), [(X,)]).agrees
    assert torch.equal(X, before)


def test_a_second_set_in_words(tmp_path):
    np.save(tmp_path / "x.npy", np.full((1, 3, 12, 8), 0.5, np.float32))
    for text in ("x=1,3,12,8", f"x=@{tmp_path / 'x.npy'}"):
        baked = gk.find_baked(
            Fine(), [(X, torch.tensor(2.0))], exporter="torchscript", check_inputs=[text, "factor=[7]"]
        )
        assert baked.trials[1].arguments == "x float32[1,3,12,8], factor 7"
        assert [f.kind for f in baked.findings] == ["fixed-axis"]
    baked = gk.find_baked(Number(), [(X, 2)], exporter="torchscript", check_inputs=["factor=5"])
    assert "[1, 1, 2, 2], and [1, 1, 5, 5]" in baked.findings[0].message


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["x"], "'x' gives no other input"),
        (["y=1,3"], "there is no argument 'y'"),
        (["x=1,3,8,8", "x=[2]"], "given twice"),
        (["x=1,a"], "'1,a' is no value for 'x'"),
        (["factor=[1,"], r"'\[1,' is no value for 'factor'"),
        (["x=1,4,8,8"], "Fine does not run with x float32"),
    ],
)
def test_a_second_set_that_is_none(texts, says):
    with pytest.raises(gk.ExportError, match=says):
        gk.find_baked(Fine(), [(X, torch.tensor(2.0))], exporter="torchscript", check_inputs=texts)
