"""Trains the SRCNN of the samples and writes checkpoints/srcnn.pt: ``python samples/training/train_srcnn.py``.

Repeatable: fixed seed, one thread, photographs out of a package. About five minutes. Needs: torch, scikit-image.
Every batch has its own factor between 2 and 4, so that one set of weights serves every factor.
"""

import sys
from pathlib import Path

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from images import psnr, shrink
from photographs import patches, photographs
from super_resolution import CHECKPOINTS, SRCNN

STEPS, BATCH, SIZE = 4000, 16, 48


def main() -> None:
    """Train and write the checkpoint."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = photographs()
    model = SRCNN(3)
    torch.nn.init.normal_(model.trunk[4].weight, std=1e-3)  # starts as plain bicubic
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=1e-5)
    for step in range(STEPS):
        large = patches(images, BATCH, SIZE, generator)
        side = int(torch.randint(SIZE // 4, SIZE // 2 + 1, (), generator=generator))
        start = functional.interpolate(shrink(large, side), size=SIZE, mode="bicubic")
        guess = start + model.trunk(start)
        loss = functional.mse_loss(guess, large)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        schedule.step()
        if (step + 1) % 250 == 0:
            print(
                f"{step + 1:5} factor {SIZE / side:.2f}  bicubic {psnr(start, large):.2f} dB, "
                f"ours {psnr(guess, large):.2f} dB",
                flush=True,
            )
    torch.save(model.state_dict(), CHECKPOINTS / "srcnn.pt")


if __name__ == "__main__":
    main()
