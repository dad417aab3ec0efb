"""A training script that patches its own export: the last four lines are what graphkit adds.

    python samples/pipelines/train.py [FOLDER]

Needs: pip install "onnx-graphkit[cpu,torch]"
"""

import sys
from pathlib import Path

import torch
from torch import nn

import graphkit as gk

sys.path.insert(0, str(Path(__file__).parent))
from network import network

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
FOLDER.mkdir(parents=True, exist_ok=True)

# Pictures whose class is the quarter that is brightest; twenty steps are enough to see the loss fall.
generator = torch.Generator().manual_seed(0)
pictures = torch.rand(64, 3, 8, 8, generator=generator)
classes = pictures.unflatten(2, (2, 4)).unflatten(4, (2, 4)).mean((1, 3, 5)).flatten(1).argmax(1)
model = network()
optimizer = torch.optim.Adam(model.parameters(), 0.01)
for step in range(20):
    loss = nn.functional.cross_entropy(model(pictures), classes)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 9:
        print(f"step {step + 1}: loss {loss.item():.3f}")

exported = gk.export(model, (pictures[:1],), FOLDER / "exported.onnx")
patched = gk.Recipe.load(Path(__file__).parent / "patch.toml").apply(exported)
gk.testing.assert_same(patched, (model, (pictures[:1],)), map={patched.inputs[0].name: "input"})
print(patched.save(FOLDER / "patched.onnx"))
