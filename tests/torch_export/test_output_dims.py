"""The dims of outputs: they follow from the inputs' axes, no internal name is left, and they can be named."""

import pytest
import torch
from torch import nn

import graphkit as gk


class Enlarges(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 9, 3, padding=1)
        self.shuffle = nn.PixelShuffle(3)

    def forward(self, x):
        return torch.sigmoid(self.shuffle(self.conv(x)))


class Found(nn.Module):
    def forward(self, x):
        return torch.nonzero(x), x.flatten(1)


PICTURE = (torch.ones(1, 1, 8, 8),)
NAMED = {"input_names": ["input"], "output_names": ["output"]}


def shapes(exported):
    return [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in exported.model.outputs
    ]


# R17, R20
@pytest.mark.parametrize("opset", [10, 11, 18])
def test_espcn_with_a_dynamic_batch_has_a_dynamic_batch_at_its_output(opset):
    dynamic = {"input": {0: "batch_size"}}
    exported = gk.export_report(Enlarges(), PICTURE, exporter="torchscript", opset=opset, dynamic=dynamic, **NAMED)
    assert shapes(exported) == [["batch_size", 1, 24, 24]]
    assert exported.opset == opset
    three = gk.run(exported.model, feeds={"input": torch.ones(3, 1, 8, 8).numpy()})
    assert three["output"].shape == (3, 1, 24, 24)


# R17
def test_sizes_that_are_no_input_axis_have_a_name_of_the_output():
    dynamic = {"input": {0: "batch", 2: "height", 3: "width"}}
    exported = gk.export_report(Enlarges(), PICTURE, exporter="torchscript", opset=10, dynamic=dynamic, **NAMED)
    (shape,) = shapes(exported)
    assert shape[0] == "batch"
    assert all(isinstance(dim, int) or dim.startswith("output_dim_") for dim in shape[1:])


def test_a_count_that_no_size_tells_is_called_after_its_output():
    exported = gk.export_report(
        Found(), (torch.eye(3),), exporter="torchscript", output_names=["places", "rest"], dynamic={"x": {0: "n"}}
    )
    assert shapes(exported) == [["places_dim_0", 2], ["n", 3]]


# R20
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("dynamic", [{"input": {0: "n"}, "output": {0: "n"}}, ["input:0=n", "output:0=n"]])
def test_dynamic_axes_may_name_outputs_as_in_the_tutorials(exporter, dynamic):
    exported = gk.export_report(Enlarges(), PICTURE, exporter=exporter, dynamic=dynamic, **NAMED)
    assert shapes(exported) == [["n", 1, 24, 24]]
    assert exported.findings == ()


# R20
def test_an_axis_of_an_output_that_has_another_size_or_does_not_vary_is_a_finding():
    dynamic = {"input": {0: "n"}, "output": {0: "m", 1: "n", 2: "h", 7: "k"}}
    exported = gk.export_report(Enlarges(), PICTURE, exporter="torchscript", dynamic=dynamic, **NAMED)
    assert shapes(exported) == [["n", 1, 24, 24]]
    assert [finding.kind for finding in exported.findings] == ["dim"] * 4


# R20
def test_an_axis_that_is_computed_gets_the_name_that_is_asked():
    dynamic = {"input": {2: "h"}, "output": {2: "three_h"}}
    exported = gk.export_report(Enlarges(), PICTURE, exporter="torchscript", dynamic=dynamic, **NAMED)
    assert shapes(exported) == [[1, 1, "three_h", 24]]


# R10
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_name_for_a_number_is_refused_with_the_argument_and_what_becomes_of_it(exporter):
    class Scaled(nn.Module):
        def forward(self, x, factor):
            return nn.functional.interpolate(x, scale_factor=factor)

    with pytest.raises(gk.ExportError) as caught:
        gk.export_report(Scaled(), (*PICTURE, 3), exporter=exporter, input_names=["input", "factor"])
    assert "'factor' is the int 3, no tensor" in caught.value.message
    assert "makes a constant of 3" in caught.value.hint
    assert "resize" in caught.value.hint
