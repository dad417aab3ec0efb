"""A module that computes something else in an export: validate, bisect and layers say the same, and name the branch."""

import functools

import pytest
import torch
from torch import nn
from torch.onnx import is_in_onnx_export

import graphkit as gk


class Clipped(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x):
        x = self.conv(x) * 4
        if torch.onnx.is_in_onnx_export():
            x = torch.clip(x, 0, 1)
        return x


class ShiftedBefore(nn.Module):
    """The export has fewer products, and the last of them is its output."""

    def forward(self, x):
        x = x + 1 if is_in_onnx_export() else x * 3
        return (x * 2).relu() if is_in_onnx_export() else x * 2 * 5


class SameEitherWay(nn.Module):
    def forward(self, x):
        return torch.relu(x) if is_in_onnx_export() else x.clamp(min=0)


@functools.cache
def answers(kind, exporter):
    """(findings, the three comparisons) of an export, made once for all tests that read them."""
    torch.manual_seed(0)
    module = kind()
    args = (torch.randn(1, 3, 6, 6),)
    exported = gk.export_report(module, args, exporter=exporter)
    subject = (module, args)
    found = [look(exported.model, torch=subject) for look in (gk.validate, gk.bisect, gk.layers)]
    return exported.findings, found


# R27, R47
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("module", [Clipped, ShiftedBefore])
def test_the_three_comparisons_agree_that_the_export_holds_another_branch(module, exporter):
    _, (report, found, layers) = answers(module, exporter)
    assert not report.match
    assert found.diverges
    assert not bool(layers)
    for result in (report, found, layers):
        assert any("is_in_onnx_export() at" in note and "test_export_branch.py:" in note for note in result.notes)


# R27, R47
def test_bisect_finds_the_node_of_the_branch():
    _, (_, found, _) = answers(Clipped, "dynamo")
    assert found.first.op_type == "Clip"
    agreeing = [row.op_type for row in found.rows if row.match]
    assert agreeing == ["Conv"]


# R27
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_branch_that_computes_the_same_agrees_in_all_three(exporter):
    _, (report, found, layers) = answers(SameEitherWay, exporter)
    assert report.match
    assert not found.diverges
    assert bool(layers)


# R27
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_the_export_names_the_line_of_the_branch(exporter):
    findings, _ = answers(Clipped, exporter)
    assert [(f.kind, f.source.partition(":")[2]) for f in findings] == [("export-branch", "20 (in forward)")]


def test_torch_answers_as_before_afterwards():
    answers(SameEitherWay, "dynamo")
    assert torch.onnx.is_in_onnx_export() is False
    assert is_in_onnx_export.__code__.co_filename.endswith("__init__.py")
