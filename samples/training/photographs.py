"""Batches of training patches out of the photographs that scikit-image carries: public domain or CC0 only.

The licences are those that the docstrings of skimage.data state. The photograph that the samples are judged on
(samples/photos) is not among them. Needs: torch, scikit-image.
"""

import skimage.data
import torch
from torch.nn import functional

PHOTOGRAPHS = (
    "chelsea",  # CC0, Stefan van der Walt
    "coffee",  # CC0, Rachel Michetti
    "rocket",  # public domain, SpaceX
    "camera",  # CC0, Lav Varshney; grey
    "brick",  # CC0, cc0textures.com; grey
    "gravel",  # CC0, cc0textures.com; grey
)


def photographs() -> list[torch.Tensor]:
    """The training photographs, float32[3,h,w] of 0..1; grey ones three times the same plane."""
    images = []
    for name in PHOTOGRAPHS:
        pixels = torch.from_numpy(getattr(skimage.data, name)()).float() / 255
        images.append(pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels.expand(3, -1, -1))
    return images


def patches(images: list[torch.Tensor], count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Random crops float32[count,3,size,size], mirrored, turned and with the colour channels in random order."""

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    found = []
    for _ in range(count):
        image = images[draw(len(images))]
        top, left = draw(image.shape[1] - size + 1), draw(image.shape[2] - size + 1)
        patch = image[:, top : top + size, left : left + size]
        patch = patch[torch.randperm(3, generator=generator)].rot90(draw(4), (1, 2))
        found.append(patch.flip(2) if draw(2) else patch)
    return torch.stack(found)


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
    return float(-10 * torch.log10(torch.mean((image.clamp(0, 1) - truth) ** 2)))
