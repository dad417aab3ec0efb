"""torch modules to be exported and compared: what each family of networks has, drawn from a seed; and rounding of every kind."""

import torch
from torch import nn
from torch.nn import functional


class ConvNet(nn.Module):
    """Convolutions with BatchNorm, GroupNorm and pools; numbers with their mean taken off."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), norm, nn.ReLU())
            for a, b, norm in ((3, 8, nn.BatchNorm2d(8)), (8, 8, nn.GroupNorm(4, 8)), (8, 16, nn.BatchNorm2d(16)))
        )
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = x - x.mean((2, 3), keepdim=True)
        for block in self.blocks:
            x = functional.max_pool2d(block(x), 2)
        centred = x - x.mean((2, 3), keepdim=True)
        x = x.amax((2, 3)) + centred.mean((2, 3))  # nothing but rounding
        return torch.softmax(self.fc(x), 1)


class UNet(nn.Module):
    """Down, up by interpolation, with skips."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.four, self.five, self.last = (
            nn.Conv2d(16, 6, 3, padding=1),
            nn.Conv2d(12, 4, 3, padding=1),
            nn.Conv2d(4, 1, 1),
        )

    def forward(self, x):
        one = torch.relu(self.one(x))
        two = torch.relu(self.two(functional.avg_pool2d(one, 2)))
        three = functional.leaky_relu(self.three(functional.max_pool2d(two, 2)), 0.1)
        up = functional.interpolate(three, scale_factor=2.0, mode="bilinear")
        h = torch.relu(self.four(torch.cat([up, two], 1)))
        up = functional.interpolate(h, scale_factor=2.0, mode="nearest")
        h = torch.relu(self.five(torch.cat([up, one], 1)))
        return torch.sigmoid(self.last(h))


class Attention(nn.Module):
    """Attention of two heads, written out, causal or not."""

    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, memory, causal=False):
        q, k, v = (
            f(y).unflatten(-1, (2, -1)).transpose(1, 2) for f, y in ((self.q, x), (self.k, memory), (self.v, memory))
        )
        scores = q @ k.transpose(-1, -2) / k.shape[-1] ** 0.5
        if causal:
            keep = torch.tril(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool))
            scores = scores.masked_fill(~keep, float("-inf"))
        return self.out((torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """One layer of an encoder or, with a memory, of a decoder."""

    def __init__(self, width):
        super().__init__()
        self.mine, self.other = Attention(width), Attention(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x, memory=None):
        h = self.norms[0](x)
        x = x + self.mine(h, h, causal=memory is not None)
        if memory is not None:
            x = x + self.other(self.norms[1](x), memory)
        return x + self.down(functional.gelu(self.up(self.norms[2](x))))


class Encoder(nn.Module):
    """Token ids to a few numbers."""

    def __init__(self):
        super().__init__()
        self.embedding, self.layers, self.head = (
            nn.Embedding(20, 16),
            nn.ModuleList(Layer(16) for _ in range(2)),
            nn.Linear(16, 4),
        )

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return torch.tanh(self.head(x.mean(1)))


class Decoder(nn.Module):
    """Two layers with attention to a memory."""

    def __init__(self):
        super().__init__()
        self.layers, self.head = nn.ModuleList(Layer(16) for _ in range(2)), nn.Linear(16, 12)

    def forward(self, x, memory):
        for layer in self.layers:
            x = layer(x, memory)
        return torch.log_softmax(self.head(x), -1), x


class Recurrent(nn.Module):
    """An LSTM and a GRU."""

    def __init__(self):
        super().__init__()
        self.into, self.lstm, self.gru, self.head = (
            nn.Linear(4, 5),
            nn.LSTM(5, 6, batch_first=True),
            nn.GRU(6, 6, batch_first=True),
            nn.Linear(6, 3),
        )

    def forward(self, x):
        h, _ = self.lstm(self.into(x))
        h, last = self.gru(h - h.mean(-1, keepdim=True))
        return self.head(h), last


class Flow(nn.Module):
    """A branch and a loop, as the dynamo exporter takes them."""

    def __init__(self):
        super().__init__()
        self.into, self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x, turns):
        from torch._higher_order_ops.while_loop import while_loop

        h = torch.tanh(self.into(x))
        h = torch.cond(h.sum() > 100, lambda v: v + 1, lambda v: self.inner(v) * 0.5, (h,))
        h = while_loop(lambda at, _: at > 0, lambda at, v: (at - 1, torch.tanh(self.inner(v)) + v), (turns, h))[1]
        return self.head(h)


class Scripted(nn.Module):
    """A branch and a loop that tracing would unroll: to be scripted before it is exported."""

    def __init__(self):
        super().__init__()
        self.into, self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x, turns):
        h = torch.tanh(self.into(x))
        h = h + 1 if bool(h.sum() > 100) else self.inner(h) * 0.5
        for _ in range(int(turns)):
            h = torch.tanh(self.inner(h)) + h
        return self.head(h)


class Rounding(nn.Module):
    """Values that would be nothing if numbers had no end: each is what some kernel rounds. Only their sum is an output."""

    def __init__(self):
        super().__init__()
        self.turn = nn.Parameter(torch.linalg.qr(torch.randn(64, 64))[0])
        self.flat = nn.Conv2d(2, 4, 3, bias=False)
        self.wide, self.norm = nn.Linear(1024, 8, bias=False), nn.LayerNorm(64)
        with torch.no_grad():
            self.flat.weight -= self.flat.weight.mean((1, 2, 3), keepdim=True)
            self.wide.weight -= self.wide.weight.mean(1, keepdim=True)

    def forward(self, x):
        y = x.flatten(1)[:, :64]
        one = torch.ones_like(x[:, :2]) * (y.mean() + 3.3)
        nothing = [
            (y - y.mean(1, keepdim=True)).mean(1),
            ((y + 1e4) - 1e4 - y).mean(1),
            (y @ self.turn @ self.turn.T - y).mean(1),
            (torch.softmax(y, 1).sum(1) - 1),
            (y.sin() ** 2 + y.cos() ** 2 - 1).mean(1),
            ((y.abs() + 0.1).log().exp() - y.abs() - 0.1).mean(1),
            self.flat(one).mean((1, 2, 3)),
            self.wide(torch.ones(1, 1024) * y.mean(1, keepdim=True)).mean(1),
            self.norm(torch.ones_like(y) * y.mean(1, keepdim=True)).mean(1),
            (functional.interpolate(one, scale_factor=1.7, mode="bilinear") - y.mean() - 3.3).mean((1, 2, 3)),
            functional.avg_pool2d(x - x.mean((2, 3), keepdim=True), x.shape[-1]).mean((1, 2, 3)),
            (torch.cumsum(y - y.mean(1, keepdim=True), 1)[:, -1]),
            ((y * 3.7) / 3.7 - y).mean(1),
            (y.std(1) - y.var(1).sqrt()),
        ]
        small = [
            torch.sigmoid(-15 - y.abs()),
            functional.gelu(-6 - y.abs()),
            functional.softplus(-14 - y.abs()),
            functional.elu(y * 1e-7),
            torch.log_softmax(y.T + 40 * (torch.arange(2) == 1), 1)[:, 1],
            functional.silu(-20 - y.abs()),
            functional.mish(-18 - y.abs()),
            functional.selu(y * 1e-7),
            torch.tanh(y * 1e-8),
            torch.erf(y * 1e-9),
            torch.exp(-80 - y.abs()),
            (y * 1e-20) * (y * 1e-20),
        ]
        return y + sum(nothing)[:, None] + sum(small)


NETS = {
    "convnet": (ConvNet, lambda: (torch.rand(2, 3, 16, 16),)),
    "unet": (UNet, lambda: (torch.rand(1, 3, 16, 16),)),
    "encoder": (Encoder, lambda: (torch.randint(0, 20, (2, 6)),)),
    "decoder": (Decoder, lambda: (torch.randn(1, 5, 16), torch.randn(1, 5, 16))),
    "recurrent": (Recurrent, lambda: (torch.randn(2, 6, 4),)),
    "flow": (Flow, lambda: (torch.randn(3, 4), torch.tensor(3))),
    "scripted": (Scripted, lambda: (torch.randn(3, 4), torch.tensor(3))),
    "rounding": (Rounding, lambda: (torch.randn(2, 3, 12, 12),)),
}


def net(name, seed=0):
    """(a module in eval mode, its arguments); statistics of BatchNorms are drawn too."""
    torch.manual_seed(seed)
    make, args = NETS[name]
    module = make().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.1, 2)
    return module, args()


def smaller(module, factor, layer):
    """A layer, given by its path or its number, has its weights made smaller."""
    layers = {path: part for path, part in module.named_modules() if any(True for _ in part.parameters(recurse=False))}
    part = layers[layer] if isinstance(layer, str) else list(layers.values())[layer % len(layers)]
    with torch.no_grad():
        for parameter in part.parameters(recurse=False):
            parameter.mul_(factor)
