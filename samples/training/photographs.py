"""Batches of training patches out of the photographs that scikit-image carries: public domain or CC0 only.

The licences are those that the docstrings of skimage.data state. The photograph that the samples are judged on
(samples/photos) is not among them. Needs: torch, scikit-image.
"""

import skimage.data
import torch

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
