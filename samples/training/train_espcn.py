"""Trains the ESPCN of the samples and writes checkpoints/espcn.pt: ``python samples/training/train_espcn.py``.

Repeatable: fixed seed, one thread, photographs out of a package. About two minutes. Needs: torch, scikit-image.
"""

import sys
from pathlib import Path

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from images import luma, psnr, shrink
from photographs import patches, photographs
from super_resolution import CHECKPOINTS, ESPCN

STEPS, BATCH, SIZE, FACTOR = 5000, 16, 72, 3


def main() -> None:
    """Train and write the checkpoint."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = photographs()
    model = ESPCN(FACTOR)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=1e-5)
    for step in range(STEPS):
        large = luma(patches(images, BATCH, SIZE, generator))
        small = shrink(large, SIZE // FACTOR)
        guess = model(small)
        loss = functional.mse_loss(guess, large)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 250 == 0:
            plain = functional.interpolate(small, size=SIZE, mode="bicubic")
            print(f"{step + 1:5} bicubic {psnr(plain, large):.2f} dB, ours {psnr(guess, large):.2f} dB", flush=True)
    torch.save(model.state_dict(), CHECKPOINTS / "espcn.pt")


if __name__ == "__main__":
    main()
