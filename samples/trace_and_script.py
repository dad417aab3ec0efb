"""Why an export needs an example input, what a trace sees and a script keeps, and what ``get_device()`` says and does not.

    python samples/trace_and_script.py [FOLDER]

Needs: pip install "onnx-graphkit[cpu,torch]"
"""

import sys
import warnings
from pathlib import Path

import onnxruntime
import torch
from torch import nn

import graphkit as gk


class Rounds(nn.Module):
    """Adds 1 as often as it is told, in a loop of Python's."""

    def forward(self, x: torch.Tensor, rounds: torch.Tensor) -> torch.Tensor:
        """Numbers float32[n] and a count int64[] to float32[n]."""
        for _ in range(int(rounds)):
            x = x + 1
        return x


class Halves(nn.Module):
    """A convolution with stride 2; no size of an image is anywhere in its class."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images float32[n,3,h,w] to float32[n,4,(h-1)//2,(w-1)//2]."""
        return self.conv(image)


def main(folder: Path) -> int:
    """Tell the three stories, each with the numbers that show it."""
    folder.mkdir(parents=True, exist_ok=True)

    # A module is code, not a graph: nothing in it says which operators run until it runs on something.
    # So the exporter calls it once, on an example, and writes down what happens: types and shapes come from there.
    # The numbers of the example do not matter, but its dtype, its rank and every size that is not declared dynamic do.
    # Halves was never told a size; its file has that of the example, and another size is refused.
    # An axis that may vary has to be said: then the file has a name there instead of a number.
    for name, dynamic in (("fixed", None), ("free", {"image": {2: "h", 3: "w"}})):
        model = gk.export(Halves(), (torch.rand(1, 3, 8, 8),), folder / f"{name}.onnx", dynamic=dynamic)
        shape = [dim.dim_param or dim.dim_value for dim in model.inputs[0].type.tensor_type.shape.dim]
        try:
            larger = str(gk.run(model, torch.rand(1, 3, 16, 16).numpy())[model.outputs[0].name].shape)
        except gk.FeedError:
            larger = "refused"
        print(f"{name}: image {shape}, 16 x 16 {larger}")

    # A trace records one run: loops are unrolled, ifs are decided, and numbers that Python computed are constants.
    # A script (torch.jit.script) compiles the source instead: a loop stays a loop, an if an if, for any input.
    # It knows only a part of Python, and today's torch keeps it for the torchscript exporter alone.
    # The dynamo exporter follows the bytecode: it refuses such a loop, and torch.while_loop says it in its own words.
    # So the traced file below adds 3, whatever it is told, and the scripted one has a Loop and does what it is told.
    x, three = torch.zeros(2), torch.tensor(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says itself that the trace may not hold for other inputs
        traced = gk.export(Rounds(), (x, three), folder / "traced.onnx", exporter="torchscript")
        scripted = gk.export(torch.jit.script(Rounds()), (x, three), folder / "scripted.onnx", exporter="torchscript")
    for name, model in (("traced", traced), ("scripted", scripted)):
        known = {value.name for value in model.inputs}
        feeds = {n: v.numpy() for n, v in (("x", x), ("rounds", torch.tensor(5))) if n in known}
        (made,) = gk.run(model, feeds).values()
        print(
            f"{name}: inputs {sorted(known)}, {'Loop' if 'Loop' in {n.op_type for n in model.nodes} else 'no Loop'},",
            end=" ",
        )
        print(f"told 5 it adds {made[0]:g}")

    # onnxruntime.get_device() says for what the installed package was built: "CPU" or "GPU". It looks at no machine.
    # get_available_providers() lists what is compiled in, in order of preference; a library may still be missing.
    # A session takes the next provider where one does not load, with a line on stderr: it runs, on the CPU.
    # Only a session's own get_providers() says what loaded, and only its nodes say where each of them runs.
    # graphkit doctor runs a model on each; session.providers and session.placed are what really happened.
    session = gk.session(folder / "free.onnx")
    print(
        f"get_device() {onnxruntime.get_device()}, compiled in {len(onnxruntime.get_available_providers())} providers"
    )
    print(f"loaded {', '.join(session.providers)}; nodes on {', '.join(sorted({p.provider for p in session.placed}))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
