"""Two small super-resolution nets with trained weights, as an ordinary torch project would write them.

``srcnn`` and ``espcn`` are factories: called without arguments they give (module, example arguments), which is what
``graphkit export`` and ``--torch`` take. Needs: torch.
"""

from pathlib import Path

import torch
from torch import nn

CHECKPOINTS = Path(__file__).parent / "checkpoints"


class SRCNN(nn.Module):
    """Bicubic upsampling by a fixed factor, then 9-1-5 convolutions that correct what bicubic got wrong.

    Dong et al., "Image Super-Resolution Using Deep Convolutional Networks" (arXiv:1501.00092), with three channels
    and a skip connection around the convolutions. Images are 0..1.
    """

    def __init__(self, factor: float | tuple[float, float]) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=factor, mode="bicubic")
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 64, 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(64, 32, 1),
            nn.ReLU(),
            nn.Conv2d(32, 3, 5, padding=2),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images float32[n,3,h,w] to float32[n,3,h*factor,w*factor], sizes rounded down."""
        large = self.upsample(image)
        return large + self.trunk(large)


class ESPCN(nn.Module):
    """Three convolutions on the small image, the last with factor * factor channels, which PixelShuffle spreads out.

    Shi et al., "Real-Time Single Image and Video Super-Resolution ..." (arXiv:1609.05158). Luma is 0..1.
    """

    def __init__(self, factor: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 64, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(32, factor * factor, 3, padding=1),
        )
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, luma: torch.Tensor) -> torch.Tensor:
        """Luma float32[n,1,h,w] to float32[n,1,h*factor,w*factor]."""
        return self.shuffle(self.layers(luma))


def trained_srcnn(factor: float | tuple[float, float]) -> SRCNN:
    """SRCNN with the weights of ``training/train_srcnn.py``, which serve every factor."""
    model = SRCNN(factor)
    model.load_state_dict(torch.load(CHECKPOINTS / "srcnn.pt", weights_only=True))
    return model.eval()


def srcnn() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """SRCNN with the factor 3 baked in, and an example image of 64 x 64 pixels."""
    return trained_srcnn(3), (torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)),)


def espcn() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """ESPCN x3 with the weights of ``training/train_espcn.py``, and an example luma plane of 64 x 64 pixels."""
    model = ESPCN(3)
    model.load_state_dict(torch.load(CHECKPOINTS / "espcn.pt", weights_only=True))
    return model.eval(), (torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)),)
