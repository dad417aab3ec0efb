"""Example inputs described as text."""

import pytest

import graphkit as gk

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """Something with parameters and buffers, and a Python number among its arguments."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)

    def forward(self, x, scale: float = 2.0):
        return self.norm(self.conv(x)) * scale


def test_examples_from_texts():
    module = Net()
    examples = gk.example_inputs(module, ["x=1,3,8,8"])
    assert examples.kwargs["x"].shape == (1, 3, 8, 8)
    named = gk.example_inputs(module, ["picture=1x3x8x8:float16"])
    assert (named.names, named.args[0].dtype) == (("picture",), torch.float16)
    assert gk.example_inputs(module, ["scale="]).kwargs["scale"].shape == ()
    for text, says in [
        ("x", "describes no input"),
        ("x=1,a", "describes no input"),
        ("x=1:floot", "did you mean float"),
    ]:
        with pytest.raises(gk.ExportError, match=says):
            gk.example_inputs(module, [text])
    with pytest.raises(gk.ExportError, match="no parameter 'scael'"):
        gk.example_inputs(module, ["x=1,3,8,8", "scael="])
    with pytest.raises(gk.ExportError, match="'x' is described twice"):
        gk.example_inputs(module, ["x=1,3,8,8", "x=1,3,9,9"])
