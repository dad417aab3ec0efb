"""Photographs as torch tensors, and what the samples and the training do with them. Needs: torch, pillow."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

PHOTOS = Path(__file__).parent / "photos"


def photograph(name: str = "astronaut.png") -> torch.Tensor:
    """A photograph of ``photos/``, float32[1,3,h,w] of 0..1."""
    pixels = np.asarray(Image.open(PHOTOS / name).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def shrink(images: torch.Tensor, size: int | tuple[int, int]) -> torch.Tensor:
    """Antialiased bicubic downscaling to ``size`` pixels, rounded to the 256 levels of an image file."""
    small = functional.interpolate(images, size=size, mode="bicubic", antialias=True)
    return (small.clamp(0, 1) * 255).round() / 255


def luma(images: torch.Tensor) -> torch.Tensor:
    """ITU-R BT.601 luma of RGB images: float32[n,3,h,w] to float32[n,1,h,w]."""
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    """Peak signal to noise ratio in dB of images of 0..1."""
    return float(-10 * torch.log10(torch.mean((image.detach().clamp(0, 1) - truth) ** 2)))


def picture(image: torch.Tensor) -> Image.Image:
    """float32[1,3,h,w] or [1,1,h,w] of 0..1 as a picture."""
    pixels = (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def contact_sheet(
    rows: dict[str, list[Image.Image]], columns: list[str], box: tuple[int, int, int, int], side: int = 200
) -> Image.Image:
    """The same part of many pictures side by side, with a label to every row and column.

    Args:
        rows: Label -> one picture for each column; all pictures have the same size.
        columns: Labels.
        box: Left, top, right, bottom of the part that is shown.
        side: Width and height of a tile in pixels.
    """
    left, top, gap = 130, 30, 4
    size = (left + len(columns) * (side + gap), top + len(rows) * (side + gap))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, label in enumerate(columns):
        draw.text((left + column * (side + gap) + side // 2, top // 2), label, "black", font, anchor="mm")
    for row, (label, pictures) in enumerate(rows.items()):
        draw.multiline_text((left // 2, top + row * (side + gap) + side // 2), label, "black", font, anchor="mm")
        for column, shown in enumerate(pictures):
            tile = shown.convert("RGB").crop(box).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(tile, (left + column * (side + gap), top + row * (side + gap)))
    return sheet
