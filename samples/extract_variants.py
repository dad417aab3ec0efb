"""Cutting a model up: a plain cut, an extra output, an input too many, an input too few, inner values, stages.

    python samples/extract_variants.py [FOLDER]

The net: three convolutions, then two branches of two convolutions, added up, then three more::

    x -> conv2d -> conv2d_1 -> conv2d_2 -+-> conv2d_3 -> conv2d_4 -+-> add -> conv2d_7 -> conv2d_8 -> conv2d_9
                                         +-> conv2d_5 -> conv2d_6 -+

Needs: pip install "onnx-graphkit[cpu,torch]"
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

import graphkit as gk


def convolutions(count: int) -> nn.Sequential:
    """Some 3x3 convolutions of three channels."""
    return nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(count)))


class Branches(nn.Module):
    """The net of the drawing above."""

    def __init__(self) -> None:
        super().__init__()
        self.convs1, self.convs2, self.convs3, self.convs4 = map(convolutions, (3, 2, 2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images float32[n,3,h,w] to images of the same size."""
        x = self.convs1(x)
        return self.convs4(self.convs2(x) + self.convs3(x))


def show(title: str, model: gk.Model) -> None:
    """One line about a model."""
    graph = model.proto.graph
    names = [", ".join(value.name for value in values) for values in (graph.input, graph.output)]
    print(f"{title:18} {names[0]} -> {names[1]}: {len(graph.node)} nodes")


def main(folder: Path) -> int:
    """Cut the net in every way, run every part, hold it against the whole."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    whole = gk.export(Branches(), (torch.zeros(1, 3, 20, 20),), folder / "whole.onnx")
    x = np.random.default_rng(0).random((1, 3, 20, 20), np.float32)

    # Any value can be looked at: tap makes it an output.
    tapped = gk.tap(whole, ["conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4", "conv2d_6", "add"])
    show("inner values:", tapped)
    known = {"x": x, **gk.run(tapped, {"x": x})}
    last = whole.proto.graph.output[0].name

    def prove(title: str, part: gk.Model) -> dict[str, np.ndarray]:
        """Run a part on what the whole model computes at the part's inputs; its outputs must be the same."""
        show(title, part)
        made = gk.run(part, {value.name: known[value.name] for value in part.proto.graph.input})
        for name, array in made.items():
            np.testing.assert_allclose(array, known[name], atol=1e-6)
        return made

    prove("plain cut:", gk.extract(whole, inputs=["conv2d_1"], outputs=["add"]))
    prove("extra output:", gk.extract(whole, inputs=["conv2d_1"], outputs=["conv2d_6", last]))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prove("an input too many:", gk.extract(whole, inputs=["conv2d_1", "x"], outputs=["add"]))
    print(f"  warning: {caught[0].message}")

    try:
        gk.extract(whole, inputs=["conv2d_3"], outputs=["add"])
    except gk.CutError as error:
        print(f"an input too few:   {error}")
        prove("with the advice:", gk.extract(whole, inputs=["conv2d_3", *error.suggestion], outputs=["add"]))

    # A torch module by its path, and the whole in four stages that feed each other.
    prove("a torch module:", gk.extract(whole, module="convs3"))
    stages = [
        (["x"], ["conv2d_2"]),
        (["conv2d_2"], ["conv2d_4"]),
        (["conv2d_2"], ["conv2d_6"]),
        (["conv2d_4", "conv2d_6"], [last]),
    ]
    values = {"x": x}
    for number, (inputs, outputs) in enumerate(stages, 1):
        stage = gk.extract(whole, inputs=inputs, outputs=outputs)
        gk.save(stage, folder / f"stage{number}.onnx")
        values |= gk.run(stage, {name: values[name] for name in inputs})
    np.testing.assert_allclose(values[last], known[last], atol=1e-6)
    print(f"four stages give what the whole gives, within {abs(values[last] - known[last]).max():.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
