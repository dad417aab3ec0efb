"""Over forty torch nets that export correctly: (module, arguments, axes that vary, three sizes of each), for campaigns against false alarms."""

import torch
from torch import nn
from torch.nn import functional

from torch_nets import net as drawn


class Of(nn.Module):
    """A function and the layers that it uses."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def _pictures(function, **layers):
    """A net of pictures of one size."""
    return Of(function, **layers), (torch.rand(2, 3, 16, 16),), {"inputs_0": {0: "n"}}, {"n": (1, 2, 5)}


def _sided(function, *, sizes=(16, 20, 33), **layers):
    """A net of pictures of any side."""
    axes = {"inputs_0": {2: "h", 3: "w"}}
    return Of(function, **layers), (torch.rand(1, 3, 16, 19),), axes, {"h": sizes, "w": sizes[::-1]}


def _sequence(function, **layers):
    return (
        Of(function, **layers),
        (torch.randn(2, 7, 8),),
        {"inputs_0": {0: "n", 1: "t"}},
        {"n": (1, 2, 3), "t": (3, 7, 12)},
    )


def _rows(function, **layers):
    return Of(function, **layers), (torch.randn(3, 12),), {"inputs_0": {0: "n"}}, {"n": (1, 3, 9)}


def _ids(function, **layers):
    return (
        Of(function, **layers),
        (torch.randint(0, 20, (2, 6)),),
        {"inputs_0": {0: "n", 1: "t"}},
        {"n": (1, 2, 4), "t": (2, 6, 11)},
    )


class Scaled(nn.Module):
    """Its factor is an attribute, so that a model whose factor is an input can be compared at others."""

    def __init__(self):
        super().__init__()
        self.factor, self.conv = 2.0, nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return functional.interpolate(self.conv(x), scale_factor=self.factor, mode="nearest")


def _resized(mode, factor, **options):
    def forward(_, x):
        return functional.interpolate(x, scale_factor=factor, mode=mode, **options)

    return lambda: _sided(forward, sizes=(12, 19, 30))


def _attention(net, x):
    q, k, v = net.q(x), net.k(x), net.v(x)
    return net.out(torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1) @ v)


def _causal(_, x):
    heads = x[:, None]
    return functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)[:, 0]


def _residual(net, x):
    return torch.relu(net.b(torch.relu(net.a(x))) + x)


def _gated(net, x):
    a, b = net.into(x).chunk(2, -1)
    return net.out(a * torch.sigmoid(b))


def _pyramid(net, x):
    small = torch.relu(net.down(x))
    return net.out(functional.interpolate(small, size=x.shape[2:], mode="nearest") + net.side(x))


def _norms(net, x):
    return net.group(net.conv(net.inst(x)))


def _grid(net, x):
    y, z = torch.meshgrid(torch.linspace(-1, 1, x.shape[2]), torch.linspace(-1, 1, x.shape[3]), indexing="ij")
    return net.conv(torch.cat([x, torch.stack([y, z])[None].expand(x.shape[0], -1, -1, -1)], 1))


def _layer(width=8):
    return {name: nn.Linear(width, width) for name in "q k v out".split()}


NETS = {
    "conv": lambda: _sided(lambda m, x: torch.relu(m.a(x)), a=nn.Conv2d(3, 6, 3, padding=1)),
    "stride": lambda: _sided(lambda m, x: m.a(x), a=nn.Conv2d(3, 6, 3, stride=2)),
    "dilated": lambda: _sided(lambda m, x: m.a(x), a=nn.Conv2d(3, 6, 3, dilation=2, padding=2)),
    "depthwise": lambda: _sided(lambda m, x: m.b(m.a(x)), a=nn.Conv2d(3, 9, 3, groups=3), b=nn.Conv2d(9, 4, 1)),
    "transposed": lambda: _sided(lambda m, x: m.a(x), a=nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1)),
    "residual": lambda: _sided(
        _residual, a=nn.Conv2d(3, 3, 3, padding=1), b=nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
    ),
    "pools": lambda: _sided(lambda _, x: functional.max_pool2d(x, 2) - functional.avg_pool2d(x, 2), sizes=(16, 21, 34)),
    "adaptive": lambda: _pictures(
        lambda m, x: m.a(functional.adaptive_avg_pool2d(x, 4).flatten(1)), a=nn.Linear(48, 5)
    ),
    "norms": lambda: _sided(
        _norms, inst=nn.InstanceNorm2d(3, affine=True), conv=nn.Conv2d(3, 8, 3), group=nn.GroupNorm(4, 8)
    ),
    "pyramid": lambda: _sided(
        _pyramid, down=nn.Conv2d(3, 4, 3, stride=2, padding=1), side=nn.Conv2d(3, 4, 1), out=nn.Conv2d(4, 2, 3)
    ),
    "grid": lambda: _sided(_grid, conv=nn.Conv2d(5, 4, 3)),
    "shuffle": lambda: _sided(lambda m, x: functional.pixel_shuffle(m.a(x), 2), a=nn.Conv2d(3, 12, 3, padding=1)),
    "padded": lambda: _sided(lambda m, x: m.a(functional.pad(x, (1, 2, 3, 1), mode="reflect")), a=nn.Conv2d(3, 4, 3)),
    "nearest2": _resized("nearest", 2.0),
    "nearest1.5": _resized("nearest", 1.5),
    "nearest1.7": _resized("nearest", 1.7),
    "nearest0.5": _resized("nearest", 0.5),
    "bilinear1.5": _resized("bilinear", 1.5, align_corners=False),
    "bilinear0.7": _resized("bilinear", 0.7, align_corners=False),
    "corners2": _resized("bilinear", 2.0, align_corners=True),
    "bicubic1.3": _resized("bicubic", 1.3, align_corners=False),
    "attention": lambda: _sequence(_attention, **_layer()),
    "causal": lambda: _sequence(_causal),
    "heads": lambda: _sequence(
        lambda m, x: m.a(x, x, x, need_weights=False)[0], a=nn.MultiheadAttention(8, 2, batch_first=True)
    ),
    "transformer": lambda: _sequence(lambda m, x: m.a(x), a=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
    "gated": lambda: _sequence(_gated, into=nn.Linear(8, 16), out=nn.Linear(8, 8)),
    "conv1d": lambda: _sequence(lambda m, x: m.a(x.transpose(1, 2)).transpose(1, 2), a=nn.Conv1d(8, 8, 3, padding=1)),
    "cumulated": lambda: _sequence(lambda _, x: torch.cumsum(x, 1) / 3),
    "lstm": lambda: _sequence(lambda m, x: m.a(x)[0], a=nn.LSTM(8, 6, batch_first=True)),
    "gru": lambda: _sequence(lambda m, x: m.a(x)[1], a=nn.GRU(8, 6, batch_first=True)),
    "top": lambda: _rows(lambda m, x: torch.topk(m.a(x), 3)[0], a=nn.Linear(12, 9)),
    "sorted": lambda: _rows(lambda m, x: torch.sort(m.a(x), dim=1)[0], a=nn.Linear(12, 9)),
    "argmax": lambda: _rows(lambda m, x: m.a(x).argmax(1), a=nn.Linear(12, 9)),
    "perceptron": lambda: _rows(lambda m, x: m.b(functional.gelu(m.a(x))), a=nn.Linear(12, 30), b=nn.Linear(30, 4)),
    "normed": lambda: _rows(
        lambda m, x: m.b(functional.normalize(m.a(x), dim=1)), a=nn.Linear(12, 8), b=nn.LayerNorm(8)
    ),
    "activations": lambda: _rows(
        lambda m, x: functional.mish(m.a(x)) + functional.silu(x) + functional.hardswish(x) + functional.softplus(x),
        a=nn.Linear(12, 12),
    ),
    "einsum": lambda: _rows(lambda m, x: torch.einsum("ni,ij,nj->n", x, m.a.weight, x), a=nn.Linear(12, 12)),
    "where": lambda: _rows(lambda m, x: torch.where(x > 0, m.a(x), x.clamp(-1, 1)), a=nn.Linear(12, 12)),
    "embedding": lambda: _ids(lambda m, i: m.b(m.a(i)).log_softmax(-1), a=nn.Embedding(20, 8), b=nn.Linear(8, 20)),
    "bag": lambda: _ids(lambda m, i: m.a(i).mean(1) @ m.a.weight.T, a=nn.Embedding(20, 8)),
    "unet": lambda: (*drawn("unet"), {"x": {0: "n"}}, {"n": (1, 2, 3)}),
    "convnet": lambda: (*drawn("convnet"), {"x": {0: "n"}}, {"n": (1, 2, 3)}),
}
"""Name -> makes the net, its example arguments, the axes that vary, and three sizes of each."""

ONE_EXPORTER = {"grid": "torchscript", "heads": "dynamo", "transformer": "dynamo"}
"""Nets that the other exporter refuses, or makes for one size only."""
