"""Nets whose static exports hold sizes: each kind of holder that exporters write, and the axes that torch can vary."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional


class Heads(nn.Module):
    """Attention written out, in one of several spellings."""

    def __init__(self, spelling, width=16, heads=2):
        super().__init__()
        self.spelling, self.heads, self.width = spelling, heads, width
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, steps, width = x.shape
        heads, part = self.heads, width // self.heads
        if self.spelling == "permute":
            q, k, v = self.qkv(x).reshape(batch, steps, 3, heads, part).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            q, k, v = self.qkv(x).chunk(3, -1)
            if self.spelling == "merged":  # the batch and the heads in one axis
                q, k, v = (t.reshape(batch, steps, heads, part).transpose(1, 2) for t in (q, k, v))
                q, k, v = (t.reshape(batch * heads, steps, part) for t in (q, k, v))
            else:
                q, k, v = (t.view(batch, -1, heads, part).transpose(1, 2) for t in (q, k, v))
        if self.spelling == "sdpa":
            y = functional.scaled_dot_product_attention(q, k, v)
        elif self.spelling == "einsum":
            y = torch.einsum("bhqk,bhkd->bhqd", torch.einsum("bhqd,bhkd->bhqk", q, k).div(part**0.5).softmax(-1), v)
        else:
            y = (q @ k.transpose(-2, -1) / math.sqrt(part)).softmax(-1) @ v
        if self.spelling == "merged":
            y = y.view(batch, heads, steps, part)
        return self.out(y.transpose(1, 2).reshape(batch, steps, width))


class TorchHeads(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.attn = nn.MultiheadAttention(16, 2, batch_first=batch_first)

    def forward(self, x):
        return self.attn(x, x, x, need_weights=False)[0]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, x):
        return self.net(x)


class CausalText(nn.Module):
    """Token and position embeddings, a causal mask from a buffer or made on the spot."""

    def __init__(self, mask):
        super().__init__()
        self.mask, self.tokens, self.places = mask, nn.Embedding(20, 16), nn.Embedding(64, 16)
        self.q, self.out = nn.Linear(16, 48), nn.Linear(16, 20)
        self.register_buffer("tril", torch.tril(torch.ones(64, 64, dtype=torch.bool)))

    def forward(self, ids):
        batch, steps = ids.shape
        x = self.tokens(ids) + self.places(torch.arange(steps))
        q, k, v = (t.view(batch, steps, 2, 8).transpose(1, 2) for t in self.q(x).chunk(3, -1))
        if self.mask == "sdpa":
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1)
            if self.mask == "buffer":
                scores = scores.masked_fill(~self.tril[:steps, :steps], -1e9)
            elif self.mask == "triu":
                scores = scores + torch.triu(torch.full((steps, steps), float("-inf")), 1)
            y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, steps, 16))


class Rotary(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.register_buffer("freq", 1.0 / (100.0 ** (torch.arange(0, width, 2).float() / width)))

    def forward(self, x):
        angles = torch.arange(x.shape[1]).float()[:, None] * self.freq
        cos, sin = torch.cat((angles.cos(),) * 2, -1), torch.cat((angles.sin(),) * 2, -1)
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin


class RotaryTable(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        angles = torch.arange(64).float()[:, None] * 1.0 / (100.0 ** (torch.arange(0, width, 2).float() / width))
        self.register_buffer("cos", torch.cat((angles.cos(),) * 2, -1))
        self.register_buffer("sin", torch.cat((angles.sin(),) * 2, -1))

    def forward(self, x):
        steps = x.shape[1]
        a, b = x.chunk(2, -1)
        return x * self.cos[:steps] + torch.cat((-b, a), -1) * self.sin[:steps]


class Cached(nn.Module):
    """One step with a cache of keys and values."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x, keys, values):
        batch, steps, _ = x.shape
        q, k, v = (t.view(batch, steps, 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        k, v = torch.cat((keys, k), 2), torch.cat((values, v), 2)
        y = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return y.transpose(1, 2).reshape(batch, steps, 8), k, v


class Swin(nn.Module):
    """Window partition, attention in windows, a roll, and back."""

    def __init__(self, shift):
        super().__init__()
        self.shift, self.heads = shift, Heads("permute", 8, 2)
        self.bias = nn.Parameter(torch.randn(2, 16, 16))

    def forward(self, x):
        batch, height, width, channels = x.shape
        if self.shift:
            x = torch.roll(x, (-1, -1), (1, 2))
        x = x.view(batch, height // 4, 4, width // 4, 4, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels)
        count, steps = x.shape[:2]
        q, k, v = self.heads.qkv(x).reshape(count, steps, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        x = ((q @ k.transpose(-2, -1) + self.bias).softmax(-1) @ v).transpose(1, 2).reshape(count, steps, channels)
        x = x.view(-1, height // 4, width // 4, 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch, height, width, channels)
        return torch.roll(x, (1, 1), (1, 2)) if self.shift else x


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))
        self.place, self.attn, self.head = nn.Parameter(torch.randn(1, 17, 16)), Heads("sdpa"), nn.Linear(16, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.place
        return self.head(self.attn(x)[:, 0])


class FPN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.c = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        c = self.c(b)
        b = b + functional.interpolate(c, size=b.shape[-2:], mode="nearest")
        a = a + functional.interpolate(b, size=a.shape[-2:], mode="bilinear", align_corners=False)
        return functional.interpolate(a, size=x.shape[-2:], mode="bilinear", align_corners=False), c


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.up = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 8, 3, 1, 1), nn.ConvTranspose2d(8, 4, 2, 2)
        self.norm, self.out = nn.GroupNorm(2, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.a(x).relu()
        b = self.norm(self.b(functional.max_pool2d(a, 2))).relu()
        up = self.up(b)
        up = functional.pad(up, (0, a.shape[3] - up.shape[3], 0, a.shape[2] - up.shape[2]))
        return self.out(torch.cat((a, up), 1))


class Recurrent(nn.Module):
    def __init__(self, kind, *, states=False, batch_first=True):
        super().__init__()
        self.states, self.batch_first, self.kind = states, batch_first, kind
        self.net = getattr(nn, kind)(4, 6, 2, batch_first=batch_first, bidirectional=True)

    def forward(self, x):
        if not self.states:
            return self.net(x)[0]
        batch = x.shape[0 if self.batch_first else 1]
        h = torch.zeros(4, batch, 6)
        y, last = self.net(x, (h, h.clone()) if self.kind == "LSTM" else h)
        return y, last[0] if self.kind == "LSTM" else last


class ConvLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates = nn.Conv2d(3 + 4, 16, 3, padding=1)

    def forward(self, x):
        batch, steps, _, height, width = x.shape
        h, c = torch.zeros(batch, 4, height, width), torch.zeros(batch, 4, height, width)
        for step in range(steps):
            i, f, o, g = self.gates(torch.cat((x[:, step], h), 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


class Yolo(nn.Module):
    """A head that adds a grid, and flattens."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2 * 7, 4, 4)
        self.register_buffer("anchors", torch.tensor([[1.0, 2.0], [3.0, 4.0]]))

    def forward(self, x):
        x = self.conv(x)
        batch, _, height, width = x.shape
        x = x.view(batch, 2, 7, height, width).permute(0, 1, 3, 4, 2)
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack((xs, ys), -1).view(1, 1, height, width, 2).float()
        xy = (x[..., :2].sigmoid() * 2 - 0.5 + grid) * 4
        wh = (x[..., 2:4].sigmoid() * 2) ** 2 * self.anchors.view(1, 2, 1, 1, 2)
        return torch.cat((xy, wh, x[..., 4:].sigmoid()), -1).view(batch, -1, 7)


class Detr(nn.Module):
    """Queries that are repeated for each picture, attending to a flattened map."""

    def __init__(self):
        super().__init__()
        self.conv, self.queries = nn.Conv2d(3, 16, 4, 4), nn.Embedding(5, 16)
        self.attn, self.box = nn.MultiheadAttention(16, 2), nn.Linear(16, 4)

    def forward(self, x):
        memory = self.conv(x).flatten(2).permute(2, 0, 1)
        queries = self.queries.weight.unsqueeze(1).repeat(1, x.shape[0], 1)
        return self.box(self.attn(queries, memory, memory, need_weights=False)[0]).sigmoid().transpose(0, 1)


class Function(nn.Module):
    """A net of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *given):
        return self.function(*given)


class WithWeights(nn.Module):
    def __init__(self, function, *layers):
        super().__init__()
        self.layers, self.function = nn.ModuleList(layers), function

    def forward(self, x):
        return self.function(x, *self.layers)


def shuffle(x):
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


def grid_sample(x):
    theta = torch.tensor([[[0.9, 0.1, 0.0], [-0.1, 0.9, 0.1]]]).repeat(x.shape[0], 1, 1)
    return functional.grid_sample(
        x, functional.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False
    )


def warp(x):
    _, _, height, width = x.shape
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    grid = torch.stack((xs, ys), -1)[None].expand(x.shape[0], -1, -1, -1)
    return functional.grid_sample(x, grid * 0.9, align_corners=True)


def positions_2d(x):
    _, _, height, width = x.shape
    ys = (torch.arange(height).float() / height).view(1, 1, height, 1).expand(x.shape[0], 1, height, width)
    xs = (torch.arange(width).float() / width).view(1, 1, 1, width).expand(x.shape[0], 1, height, width)
    return torch.cat((x, xs, ys), 1)


def even_steps(x):
    y = torch.zeros_like(x)
    y[:, ::2] = x[:, ::2]
    return y


def new_zeros(x):
    y = torch.zeros(x.shape[0], x.shape[1] + 2, x.shape[2])
    y[:, 1:-1] = x
    return y


def alibi(x):
    steps = x.shape[1]
    bias = -(torch.arange(steps)[None, :] - torch.arange(steps)[:, None]).abs().float()
    return ((x @ x.transpose(1, 2)) + bias).softmax(-1) @ x


def pick_last(x):
    return x[:, -1]


def relative(x):
    return x / torch.arange(1, x.shape[1] + 1).view(1, -1, 1)


def running_mean(x):
    return x.cumsum(1) / x.shape[1]


def conv_mlp(x, conv, fc):
    return fc(conv(x).relu().mean((2, 3)))


def flat_head(x, conv, fc):
    return fc(conv(x).relu().flatten(1))


def big_pool(x, conv, fc):
    x = conv(x)
    return fc(functional.avg_pool2d(x, x.shape[-2:]).flatten(1))


def adaptive(x, conv):
    return functional.adaptive_avg_pool2d(conv(x), (2, 2))


def squeeze_excite(x, a, b):
    s = functional.adaptive_avg_pool2d(x, 1)
    return x * b(a(s).relu()).sigmoid()


def token_mixer(x, fc):
    return x + fc(x.transpose(1, 2)).transpose(1, 2)


def patches(x):
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // 4, 4, width // 4, 4)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, 16 * channels)


def space_to_depth(x):
    return functional.pixel_unshuffle(x, 2)


def stft_like(x):
    return x.unfold(1, 4, 2) * torch.hann_window(4)


def group_norm(x, norm):
    return norm(x)


def repeated(x):
    return x.repeat_interleave(2, 1)


def pairwise(x):
    a = x.unsqueeze(2).expand(-1, -1, x.shape[1], -1)
    b = x.unsqueeze(1).expand(-1, x.shape[1], -1, -1)
    return torch.cat((a, b), -1)


def mask_from_lengths(x):
    lengths = torch.full((x.shape[0],), x.shape[1])
    mask = torch.arange(x.shape[1])[None, :] < lengths[:, None]
    return x * mask[..., None]


def attention_pool(x):
    return (x * x.mean(-1, keepdim=True).softmax(1)).sum(1)


def sequence_of_mean(x):
    return x.sum(1) / x.shape[1]


def feature(*shape):
    return torch.randn(*shape)


def _nets():
    """name -> (module, args, axes): an axis is (argument, axis, whether it is a batch, other sizes)."""
    text = torch.randint(0, 20, (1, 16))
    seq, picture = (1, 16, 16), (1, 3, 16, 16)
    b, s = (0, 0, [2, 3]), (0, 1, [24, 32])
    h, w = (0, 2, [24, 32]), (0, 3, [24, 32])

    def one(function, shape, axes, *layers):
        return (WithWeights(function, *layers) if layers else Function(function)), (feature(*shape),), axes

    nets = {f"heads_{k}": (Heads(k), (feature(*seq),), [b, s]) for k in ("view", "permute", "merged", "sdpa", "einsum")}
    nets |= {
        "torch_heads": (TorchHeads(True), (feature(*seq),), [b, s]),
        "torch_heads_steps_first": (TorchHeads(False), (feature(16, 1, 16),), [(0, 1, [2, 3]), (0, 0, [24, 32])]),
        "encoder": (Encoder(), (feature(*seq),), [b, s]),
        **{f"text_{k}": (CausalText(k), (text,), [b, s]) for k in ("sdpa", "buffer", "triu", "none")},
        "rotary": (Rotary(), (feature(1, 16, 8),), [b, s]),
        "rotary_table": (RotaryTable(), (feature(1, 16, 8),), [b, s]),
        "cached": (
            Cached(),
            (feature(1, 1, 8), feature(1, 2, 6, 4), feature(1, 2, 6, 4)),
            [((0, 0), (1, 0), (2, 0), [2, 3]), ((1, 2), (2, 2), [9, 12])],
        ),
        "swin": (Swin(0), (feature(1, 8, 8, 8),), [b, (0, 1, [12, 16]), (0, 2, [12, 16])]),
        "swin_shifted": (Swin(1), (feature(1, 8, 8, 8),), [b, (0, 1, [12, 16]), (0, 2, [12, 16])]),
        "vit": (ViT(), (feature(*picture),), [b]),
        "fpn": (FPN(), (feature(*picture),), [b, h, w]),
        "unet": (UNet(), (feature(*picture),), [b, h, w]),
        "lstm": (Recurrent("LSTM"), (feature(1, 8, 4),), [b, (0, 1, [5, 12])]),
        "lstm_states": (Recurrent("LSTM", states=True), (feature(1, 8, 4),), [b, (0, 1, [5, 12])]),
        "gru": (Recurrent("GRU"), (feature(1, 8, 4),), [b, (0, 1, [5, 12])]),
        "gru_states_steps_first": (
            Recurrent("GRU", states=True, batch_first=False),
            (feature(8, 1, 4),),
            [(0, 1, [2, 3]), (0, 0, [5, 12])],
        ),
        "rnn": (Recurrent("RNN"), (feature(1, 8, 4),), [b, (0, 1, [5, 12])]),
        "conv_lstm": (ConvLSTM(), (feature(1, 2, 3, 8, 8),), [b, (0, 3, [12, 10]), (0, 4, [12, 10])]),
        "yolo": (Yolo(), (feature(*picture),), [b, h, w]),
        "detr": (Detr(), (feature(*picture),), [b, h, w]),
        "shuffle": one(shuffle, (1, 4, 8, 8), [b, (0, 2, [6, 10])]),
        "grid_sample": one(grid_sample, (1, 2, 8, 8), [b, (0, 2, [6, 10])]),
        "warp": one(warp, (1, 2, 8, 8), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "positions_2d": one(positions_2d, (1, 2, 8, 8), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "even_steps": one(even_steps, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "new_zeros": one(new_zeros, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "alibi": one(alibi, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "pick_last": one(pick_last, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "relative": one(relative, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "running_mean": one(running_mean, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "conv_mlp": one(conv_mlp, picture, [b, h, w], nn.Conv2d(3, 4, 3), nn.Linear(4, 2)),
        "flat_head": one(flat_head, (1, 3, 8, 8), [b], nn.Conv2d(3, 4, 3), nn.Linear(144, 2)),
        "big_pool": one(big_pool, picture, [b, h], nn.Conv2d(3, 4, 3), nn.Linear(4, 2)),
        "adaptive": one(adaptive, picture, [b, h], nn.Conv2d(3, 4, 3, padding=1)),
        "squeeze_excite": one(
            squeeze_excite, (1, 4, 8, 8), [b, (0, 2, [6, 10])], nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        ),
        "token_mixer": one(token_mixer, (1, 8, 4), [b], nn.Linear(8, 8)),
        "patches": one(patches, (1, 3, 8, 8), [b, (0, 2, [12, 16]), (0, 3, [12, 16])]),
        "space_to_depth": one(space_to_depth, (1, 3, 8, 8), [b, (0, 2, [12, 16])]),
        "unfold": one(stft_like, (1, 16), [b, (0, 1, [20, 32])]),
        "group_norm": one(group_norm, (1, 4, 8, 8), [b, (0, 2, [6, 10])], nn.GroupNorm(2, 4)),
        "instance_norm": one(group_norm, (1, 4, 8, 8), [b, (0, 2, [6, 10])], nn.InstanceNorm2d(4, affine=True)),
        "repeat_interleave": one(repeated, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "pairwise": one(pairwise, (1, 6, 4), [b, (0, 1, [5, 9])]),
        "lengths": one(mask_from_lengths, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "attention_pool": one(attention_pool, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "divisor": one(sequence_of_mean, (1, 8, 4), [b, (0, 1, [6, 12])]),
        "mean": one(lambda x: x.mean(1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "roll": one(lambda x: torch.roll(x, 2, 1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "roll_back": one(lambda x: torch.roll(x, (-2, 1), (1, 2)), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "flip": one(lambda x: x.flip(1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "sort": one(lambda x: x.sort(1)[0], (1, 8, 4), [b, (0, 1, [6, 12])]),
        "topk": one(lambda x: x.topk(3, 1)[0], (1, 8, 4), [b, (0, 1, [6, 12])]),
        "argsort_gather": one(lambda x: x.gather(1, x.argsort(1)), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "chunk": one(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "halves": one(lambda x: x[:, : x.shape[1] // 2] - x[:, x.shape[1] // 2 :], (1, 8, 4), [b, (0, 1, [6, 12])]),
        "every_other": one(lambda x: torch.cat((x[:, 0::2], x[:, 1::2]), -1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "shift": one(lambda x: x[:, 1:] - x[:, :-1], (1, 8, 4), [b, (0, 1, [6, 12])]),
        "double": one(
            lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"), (1, 2, 8, 8), [b, (0, 2, [6, 10])]
        ),
        "to_size": one(
            lambda x: functional.interpolate(x, size=(x.shape[2] * 2, x.shape[3] * 2), mode="bilinear"),
            (1, 2, 8, 8),
            [b, (0, 2, [6, 10])],
        ),
        "there_and_back": one(
            lambda x: functional.interpolate(functional.avg_pool2d(x, 2), size=x.shape[2:]),
            (1, 2, 8, 8),
            [b, (0, 2, [6, 10])],
        ),
        "tile": one(lambda x: x.mean(1, keepdim=True).repeat(1, x.shape[1], 1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "cumsum": one(lambda x: x.cumsum(1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "tril": one(lambda x: torch.tril(x @ x.transpose(1, 2)), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "eye": one(lambda x: x @ x.transpose(1, 2) + torch.eye(x.shape[1]), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "norm": one(lambda x: x / x.norm(dim=1, keepdim=True), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "zeros_pad": one(lambda x: torch.cat((torch.zeros(x.shape[0], 2, 4), x), 1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "one_hot": (
            (Function(lambda i: functional.one_hot(i, 6).float()), (torch.randint(0, 6, (1, 8)),), [b, (0, 1, [6, 12])])
        ),
        "einsum": one(lambda x: torch.einsum("bsd,btd->bst", x, x), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "flatten_all": one(lambda x: x.reshape(x.shape[0], -1), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "gelu_linear": one(lambda x, f: functional.gelu(f(x)), (1, 8, 4), [b, (0, 1, [6, 12])], nn.Linear(4, 4)),
        "depthwise": one(
            lambda x, c: c(x), (1, 4, 8, 8), [b, (0, 2, [6, 10])], nn.Conv2d(4, 4, 3, groups=4, padding=1)
        ),
        "conv1d": one(
            lambda x, c: c(x.transpose(1, 2)).transpose(1, 2),
            (1, 8, 4),
            [b, (0, 1, [6, 12])],
            nn.Conv1d(4, 4, 3, padding=1),
        ),
        "two_batch": one(lambda x: torch.cat((x, x), 0), (1, 8, 4), [b, (0, 1, [6, 12])]),
        "batch2_heads": (Heads("merged"), (feature(2, 16, 16),), [(0, 0, [1, 4]), s]),
        "bmm_fold": one(lambda x: (x.view(x.shape[0] * 2, 4, 4) @ torch.eye(4)).view(x.shape[0], 8, 4), (1, 8, 4), [b]),
    }
    return nets


def nets():
    """The nets, in eval mode, their weights from one seed."""
    torch.manual_seed(0)
    return {name: (module.eval(), args, axes) for name, (module, args, axes) in _nets().items()}
