"""autograd Functions with a symbolic: torchscript takes it, dynamo traces forward, and both are said."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

import graphkit as gk


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * x

    @staticmethod
    def symbolic(g, x):
        return g.op("my::Square", x)


class Enlarge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scales):
        factors = scales.tolist()[-2:]
        return interpolate(x, scale_factor=factors, mode="bicubic")

    @staticmethod
    def symbolic(g, x, scales):
        empty = g.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
        return g.op("Resize", x, empty, scales, mode_s="cubic")


class Squares(nn.Module):
    def forward(self, x):
        return Square.apply(x) + 1


class Enlarges(nn.Module):
    def forward(self, x, scales):
        return Enlarge.apply(x, scales) + 1


ENLARGED = (torch.ones(1, 1, 4, 4), torch.tensor([1.0, 1, 2, 2]))


def operators(exported):
    return [node.op_type for node in exported.model.proto.graph.node]


# R13, R54
def test_dynamo_says_that_it_took_forward_in_the_place_of_symbolic():
    exported = gk.export_report(Squares(), (torch.ones(2, 3),))
    assert operators(exported) == ["Mul", "Add"]
    (finding,) = exported.findings
    assert finding.kind == "symbolic-ignored"
    assert "ignores Square.symbolic" in finding.message
    assert "test_symbolic_forwards.py:35" in finding.source
    assert "torchscript" in finding.remedy


# R13
def test_dynamo_names_the_function_whose_forward_it_cannot_trace():
    with pytest.raises(gk.ExportError) as caught:
        gk.export_report(Enlarges(), ENLARGED)
    assert "ignores Enlarge.symbolic and cannot trace Enlarge.forward" in caught.value.message
    assert "test_symbolic_forwards.py:25 (in forward)" in caught.value.message
    assert "Enlarge.apply calls, at" in caught.value.message
    assert "test_symbolic_forwards.py:40 (in forward)" in caught.value.message
    assert "torchscript" in caught.value.hint


# R13, R54
def test_torchscript_takes_symbolic_without_a_finding():
    plain = gk.export_report(Squares(), (torch.ones(2, 3),), exporter="torchscript")
    assert "Square" in operators(plain)
    assert plain.findings == ()
    resized = gk.export_report(Enlarges(), ENLARGED, exporter="torchscript")
    assert "Resize" in operators(resized)
    assert gk.run(resized.model, feeds={"x": ENLARGED[0].numpy(), "scales": ENLARGED[1].numpy()})


def test_a_function_that_was_not_applied_is_not_mentioned():
    class Plain(nn.Module):
        def forward(self, x):
            return x * x

    assert gk.export_report(Plain(), (torch.ones(2, 3),)).findings == ()
