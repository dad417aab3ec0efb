"""Where does a model stop computing what the torch module computes? Marks, a table of modules, the first wrong value.

The tutorials put a ``DebugOp`` into ``forward`` that the exporter writes as ``my::Debug``, take the nodes out again, and
compare by hand. Here ``gk.mark`` names values, the exporters leave no trace of it, and ``layers`` and ``bisect`` compare.

The net is exported with both exporters. Then a fault is put into one file (a weight changed behind the second mark), and
found: by the marks, by the modules, and down to the node and the line of Python.

    python samples/precision_alignment.py [FOLDER]

Needs: pip install "onnx-graphkit[cpu,torch]"
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

import graphkit as gk


def convolutions(count: int) -> nn.Sequential:
    """Some 3x3 convolutions of three channels."""
    return nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(count)))


class Net(nn.Module):
    """The tutorial's net with a mark where it had a DebugOp."""

    def __init__(self) -> None:
        super().__init__()
        self.convs1, self.convs2, self.convs3, self.convs4 = (convolutions(n) for n in (3, 2, 1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images float32[n,3,h,w] to images of the same size."""
        x = gk.mark(self.convs1(x), "x_0")
        x = gk.mark(self.convs2(x), "x_1")
        x = gk.mark(self.convs3(x), "x_2")
        return gk.mark(self.convs4(x), "x_3")


def marks(model: gk.Model, subject: tuple[nn.Module, tuple[torch.Tensor]]) -> str:
    """Each mark's mean squared error, as the tutorials' Debugger prints it."""
    table = gk.layers(model, torch=subject, device="cpu")
    rows = (row for row in table.rows if row.kind == "mark")
    return "  ".join(f"{row.module} {row.metrics.rms**2:.1e} {'ok' if row.match else 'DIFFERS'}" for row in rows)


def with_a_fault(model: gk.Model) -> gk.Model:
    """The same model with one weight of ``convs2`` multiplied by 1.1."""
    proto = model.copy_proto()
    name = "convs2.1.weight"
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(model.array(name) * np.float32(1.1)), name))
    return gk.Model(proto)


def main(folder: Path) -> int:
    """Compare, break, find."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    subject = Net().eval(), (torch.rand(1, 3, 10, 10),)
    models = {}
    for exporter in ("dynamo", "torchscript"):
        models[exporter] = gk.export(*subject, folder / f"marked_{exporter}.onnx", exporter=exporter)
        print(f"{exporter:12} {marks(models[exporter], subject)}")
    for exporter, model in models.items():
        broken = with_a_fault(model)
        print(f"{exporter:12} {marks(broken, subject)}")
        found = gk.bisect(broken, torch=subject, device="cpu")
        print(f"{'':12} first wrong value: {found.first.value}, module {found.first.module}, {found.first.line}")
        part = gk.extract(broken, inputs=["x_0"], outputs=["x_1"])
        gk.save(part, folder / f"suspect_{exporter}.onnx")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
