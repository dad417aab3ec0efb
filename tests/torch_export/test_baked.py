"""Constants that belong to the example arguments: the tutorials' traps, each found, named and mended."""

from __future__ import annotations

import numpy as np
import pytest

import graphkit as gk
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
    assert all(f.source is None or "test_baked.py" in f.source for f in baked.findings)
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
    assert finding.remedy == f"graphkit resize MODEL OUT --node {node!r}"
    assert [t.agrees for t in baked.trials] == [True, False]
    mended = gk.resize(baked.model, nodes=[node])
    expected = F.interpolate(X, scale_factor=2.5, mode="bicubic")
    answer = run_ort(mended, {"x": X.numpy(), "factor": np.array([2.5, 2.5], np.float32)})
    assert_same(next(iter(answer.values())), expected.numpy(), atol=1e-5)


# R11
@pytest.mark.parametrize("factor", [2, 2.0])
def test_dynamo_takes_no_factor_out_of_a_tensor_and_the_way_round_is_said(factor):
    with pytest.raises(gk.ExportError, match=r"taken from a tensor \(.item\(\)\).*test_baked.py:\d+") as caught:
        gk.export(Item(), (X, torch.tensor(factor)))
    assert "graphkit resize" in caught.value.hint


# R28
def test_an_element_of_the_input_is_named():
    (finding,) = found(Element(), (V,), exporter="torchscript").findings
    assert "it is element x[0]" in finding.message
    assert "graphkit promote MODEL OUT --tensor /Constant_output_0" in finding.remedy
    assert gk.find_baked(Element(), [(V,)], exporter="dynamo").agrees


# R28
def test_an_output_made_of_python_values_is_named():
    (finding,) = found(Iterated(), (V,), exporter="torchscript").findings
    assert "it is argument 'x'" in finding.message
    assert "torch.stack" in finding.remedy


def test_a_branch_is_named_with_its_line():
    (finding,) = found(Branch(), (V,), exporter="torchscript").findings
    assert finding.kind == "branch"
    assert "torch.cond" in finding.remedy


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_fixed_reshape_is_named_with_the_axes_it_is_made_of(exporter):
    baked = found(Flattened(), (X[0],), (torch.ones(3, 10, 8),), exporter=exporter)
    assert [f.kind for f in baked.findings] == ["fixed-axis", "constant"]
    assert (
        "[3, 64], and [3, 80] with other arguments: it is made of the size of 'x' on axis 1"
        in baked.findings[1].message
    )
    assert "--dynamic x:1=NAME" in baked.findings[1].remedy


def test_a_reshape_that_tracing_fixed_although_its_axes_are_dynamic():
    baked = found(Flattened(), (X[0],), exporter="torchscript", dynamic=["x:1=h", "x:2=w"])
    (finding,) = baked.findings
    assert "[64], and [121]" in finding.message
    assert "the size of 'x' on axis 1 and the size of 'x' on axis 2" in finding.message
    assert [t.agrees for t in baked.trials] == [True, True, False]
    assert gk.find_baked(Flattened(), [(X[0],)], dynamic=["x:1=h", "x:2=w"]).agrees


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_nothing_is_found_where_nothing_is_baked(exporter):
    baked = gk.find_baked(Fine(), [(X, torch.tensor(2.0))], exporter=exporter, dynamic=["x:2=h"])
    assert baked.agrees
    assert len(baked.trials) == 3


def test_made_up_arguments_that_the_module_refuses_are_left_out():
    class Lookup(torch.nn.Module):
        def forward(self, x, row):
            return x[:, row.item() : row.item() + 1] if row.item() < 3 else x[:, row.item()]

    last = torch.tensor(2)
    with pytest.raises(
        gk.ExportError, match=r"no other arguments were found to compare with: Lookup does not run with x"
    ):
        gk.find_baked(Lookup(), [(V.reshape(1, 5)[:, :3], last)], exporter="torchscript")
    baked = gk.find_baked(Fixed(), [(X[0],)], exporter="torchscript", dynamic=["x:1=h"])
    assert len(baked.trials) == 2
    assert "Fixed does not run with x float32[3,11,8]" in baked.refused[0]


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
    assert any("[1, 1, 2, 3], and [1, 1, 4, 3]" in str(f) and "graphkit resize" in str(f) for f in baked.findings)
    assert not baked.refused
