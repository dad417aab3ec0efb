"""The network of these pipelines: a classifier of small pictures, and the factory that exports use."""

import torch
from torch import nn


def network() -> nn.Module:
    """A classifier of 3 x 8 x 8 pictures into 4 classes, with weights from a seed."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def exportable() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """What ``graphkit export network:exportable`` takes: the module and its example arguments."""
    return network(), (torch.ones(1, 3, 8, 8),)
