"""A third set of nets whose static exports hold sizes: other spellings of attention, windows, heads, states and grids."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from surgery.dims_nets import Function


class GroupedQuery(nn.Module):
    """Fewer keys than queries, repeated by expand and reshape; a causal mask made on the spot."""

    def __init__(self):
        super().__init__()
        self.q, self.kv, self.out = nn.Linear(12, 24), nn.Linear(12, 12), nn.Linear(24, 12)

    def forward(self, x):
        bsz, q_len, _ = x.size()
        q = self.q(x).view(bsz, q_len, 4, 6).transpose(1, 2)
        k, v = self.kv(x).split(6, dim=-1)
        k, v = (t.view(bsz, q_len, 1, 6).transpose(1, 2) for t in (k, v))
        k, v = (t[:, :, None].expand(bsz, 1, 4, q_len, 6).reshape(bsz, 4, q_len, 6) for t in (k, v))
        mask = torch.full((q_len, q_len), torch.finfo(x.dtype).min).triu(1)[None, None].expand(bsz, 1, -1, -1)
        weights = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(6) + mask
        y = torch.matmul(weights.softmax(-1, dtype=torch.float32), v).transpose(1, 2).contiguous()
        return self.out(y.reshape(bsz, q_len, -1))


class MaskedSdpa(nn.Module):
    """scaled_dot_product_attention with a mask that comes in, as additive or boolean."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x, mask):
        b, n, _c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, 4).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :].bool())
        return y.transpose(1, 2).flatten(-2)


class CausalSdpa(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, n, c)


class EinsumHeads(nn.Module):
    """Weights that have the heads as an axis of their own, all in einsum."""

    def __init__(self):
        super().__init__()
        self.w, self.o = nn.Parameter(torch.randn(3, 8, 2, 4) * 0.3), nn.Parameter(torch.randn(2, 4, 8) * 0.3)

    def forward(self, x):
        q, k, v = torch.einsum("bnc,schd->sbhnd", x, self.w)
        a = torch.einsum("bhid,bhjd->bhij", q, k).mul(0.5).softmax(-1)
        return torch.einsum("bhid,hdc->bic", torch.einsum("bhij,bhjd->bhid", a, v), self.o)


class Cross(nn.Module):
    """Two inputs of two lengths."""

    def __init__(self):
        super().__init__()
        self.net = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x, memory):
        y, weights = self.net(x, memory, memory)
        return x + y, weights


class Bahdanau(nn.Module):
    """Additive attention: every step beside every other."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.v = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 1)

    def forward(self, x, y):
        scores = self.v(torch.tanh(self.a(x).unsqueeze(2) + self.b(y).unsqueeze(1))).squeeze(-1)
        return scores.softmax(-1).bmm(y)


class WindowAttention(nn.Module):
    """Windows with a relative position bias that an index looks up, and heads inside of a window."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(49, 2) * 0.2)
        coords = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")).flatten(1)
        apart = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0) + 3
        self.register_buffer("index", apart[..., 0] * 7 + apart[..., 1])
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        b, h, w, c = x.shape
        x = x.view(b, h // 4, 4, w // 4, 4, c).transpose(2, 3).flatten(0, 2).flatten(1, 2)
        n = x.shape[0]
        q, k, v = self.qkv(x).view(n, 16, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index.view(-1)].view(16, 16, -1).permute(2, 0, 1).contiguous()
        y = ((q @ k.transpose(-2, -1)) * 0.5 + bias.unsqueeze(0)).softmax(-1) @ v
        y = y.transpose(1, 2).reshape(n, 16, c).view(b, h // 4, w // 4, 4, 4, c)
        return y.permute(0, 1, 3, 2, 4, 5).contiguous().view(b, h, w, c)


def padded_windows(x):
    """Pads to whole windows, partitions, undoes it and cuts the padding off."""
    b, h, w, c = x.shape
    x = functional.pad(x, (0, 0, 0, (4 - w % 4) % 4, 0, (4 - h % 4) % 4))
    hp, wp = x.shape[1:3]
    parts = x.view(b, hp // 4, 4, wp // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
    parts = parts - parts.mean(1, keepdim=True)
    x = parts.view(b, hp // 4, wp // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(b, hp, wp, c)
    return x[:, :h, :w, :].contiguous()


class ClassToken(nn.Module):
    """ViT: a class token by repeat, a position table, blocks that keep the class in front."""

    def __init__(self):
        super().__init__()
        self.patch, self.cls = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.pos, self.block = nn.Parameter(torch.randn(1, 17, 8)), nn.TransformerEncoderLayer(8, 2, 16)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        n = x.shape[0]
        x = self.patch(x).reshape(n, 8, -1).permute(0, 2, 1)
        x = torch.cat([self.cls.repeat(n, 1, 1), x], 1) + self.pos
        x = self.block(x.permute(1, 0, 2)).permute(1, 0, 2)
        return self.head(x[:, 0])


class ResizedPositions(nn.Module):
    """Positions as a picture that is resized to the patches."""

    def __init__(self):
        super().__init__()
        self.patch, self.pos = nn.Conv2d(3, 6, 4, 4), nn.Parameter(torch.randn(1, 6, 3, 3))

    def forward(self, x):
        x = self.patch(x)
        pos = functional.interpolate(self.pos, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return (x + pos).flatten(2).transpose(1, 2)


class Conditional(nn.Module):
    """CPVT: tokens become a picture again for a convolution that says where they are."""

    def __init__(self):
        super().__init__()
        self.patch, self.peg = nn.Conv2d(3, 6, 2, 2), nn.Conv2d(6, 6, 3, padding=1, groups=6)

    def forward(self, x):
        x = self.patch(x)
        h, w = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        b, _n, c = x.shape
        y = x.transpose(1, 2).view(b, c, h, w)
        return x + self.peg(y).flatten(2).transpose(1, 2)


class TopDown(nn.Module):
    """FPN whose upper maps are resized by the size of the lower ones, in another order of words."""

    def __init__(self):
        super().__init__()
        self.downs = nn.ModuleList(nn.Conv2d(c, 4, 3, 2, 1) for c in (3, 4, 4))
        self.lateral = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(3))

    def forward(self, x):
        maps = []
        for down in self.downs:
            x = down(x).relu()
            maps.append(x)
        out = self.lateral[2](maps[2])
        made = [out]
        for i in (1, 0):
            target = self.lateral[i](maps[i])
            out = target + functional.interpolate(out, size=target.size()[2:], mode="nearest")
            made.append(out)
        return tuple(made)


class CropUNet(nn.Module):
    """A U-Net without padding: the left side is cropped in the middle to the right one."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(8, 2, 3)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, x):
        left = self.a(x).relu()
        right = self.up(self.b(functional.max_pool2d(left, 2)).relu())
        dy, dx = (left.shape[2] - right.shape[2]) // 2, (left.shape[3] - right.shape[3]) // 2
        left = left[:, :, dy : dy + right.shape[2], dx : dx + right.shape[3]]
        return self.c(torch.cat((left, right), 1))


class PadUNet(nn.Module):
    """A U-Net whose right side is padded to the left one."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.up = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, x):
        left = self.a(x).relu()
        right = self.up(self.b(functional.max_pool2d(left, 2)))
        dy, dx = left.size(2) - right.size(2), left.size(3) - right.size(3)
        right = functional.pad(right, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return torch.cat([left, right], dim=1)


class BiLstmStates(nn.Module):
    """Two layers, both directions, states that are zeros of the batch's size made by new_zeros."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.net = kind, getattr(nn, kind)(4, 5, 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        h = x.new_zeros(4, x.size(0), 5)
        y, last = self.net(x, (h, h) if self.kind == "LSTM" else h)
        if self.kind == "LSTM":
            last = last[0]
        return y, torch.cat((last[-2], last[-1]), -1)


class ReverseGru(nn.Module):
    """A GRU over the sequence backwards, by flip."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.GRU(4, 5, batch_first=True), nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        return torch.cat((self.one(x)[0], self.two(x.flip(1))[0].flip(1)), -1)


class Seq2Seq(nn.Module):
    """The last state of an encoder goes into a decoder and is repeated for each of its steps."""

    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.LSTM(4, 6, batch_first=True), nn.LSTM(9, 6, batch_first=True)

    def forward(self, x, y):
        _, (h, c) = self.enc(x)
        context = h[-1].unsqueeze(1).repeat(1, y.size(1), 1)
        return self.dec(torch.cat((y, context), -1), (h, c))[0]


class RotaryHalf(nn.Module):
    """Llama's: tables that are sliced, halves that are rotated."""

    def __init__(self):
        super().__init__()
        inv = 1.0 / 10000 ** (torch.arange(0, 4, 2).float() / 4)
        emb = torch.outer(torch.arange(64).float(), inv)
        emb = torch.cat((emb, emb), -1)
        self.register_buffer("cos", emb.cos(), persistent=False)
        self.register_buffer("sin", emb.sin(), persistent=False)
        self.qk = nn.Linear(8, 16)

    def forward(self, x):
        b, n, _ = x.shape
        q, k = self.qk(x).view(b, n, 2, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        cos, sin = self.cos[:n][None, None], self.sin[:n][None, None]

        def turn(t):
            low, high = t[..., : t.shape[-1] // 2], t[..., t.shape[-1] // 2 :]
            return t * cos + torch.cat((-high, low), -1) * sin

        return turn(q) @ turn(k).transpose(2, 3)


def rotary_positions(x):
    """Positions by arange of the steps, an outer product by einsum, as GPT-J does it."""
    n = x.shape[1]
    inv = 1.0 / 10000 ** (torch.arange(0, 8, 2).float() / 8)
    angle = torch.einsum("i,j->ij", torch.arange(n, dtype=torch.float), inv)
    sin, cos = (t.repeat_interleave(2, 1)[None] for t in (angle.sin(), angle.cos()))
    half = torch.stack((-x[:, :, 1::2], x[:, :, ::2]), -1).flatten(-2)
    return x * cos + half * sin


class CacheHeads(nn.Module):
    """One step, a cache of keys and of values in heads; both come out longer; a mask over all."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x, past_k, past_v, mask):
        b, n, _ = x.shape
        q, k, v = (t.view(b, n, 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        k, v = torch.cat((past_k, k), 2), torch.cat((past_v, v), 2)
        scores = q @ k.transpose(2, 3) / 2 + (1 - mask[:, None, None, :].to(q.dtype)) * -1e4
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, 8), k, v


class YoloGrid(nn.Module):
    """YOLOv5's head: anchors, a grid and a stride for each scale, boxes of all scales one behind the other."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 2 * 7, s, s) for s in (4, 8))
        self.register_buffer("anchors", torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]]))

    def forward(self, x):
        z = []
        for i, (conv, stride) in enumerate(zip(self.convs, (4, 8), strict=True)):
            y = conv(x)
            bs, _, ny, nx = y.shape
            y = y.view(bs, 2, 7, ny, nx).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
            yv, xv = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
            grid = torch.stack((xv, yv), 2).expand(1, 2, ny, nx, 2).float() - 0.5
            anchor = (self.anchors[i] * stride).view(1, 2, 1, 1, 2).expand(1, 2, ny, nx, 2)
            xy = (y[..., 0:2] * 2 + grid) * stride
            wh = (y[..., 2:4] * 2) ** 2 * anchor
            z.append(torch.cat((xy, wh, y[..., 4:]), 4).view(bs, 2 * nx * ny, 7))
        return torch.cat(z, 1)


class YoloX(nn.Module):
    """Grids and strides for all scales, by hand, boxes decoded at the end."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 6, s, s) for s in (4, 8))

    def forward(self, x):
        outs = [conv(x) for conv in self.convs]
        hw = [o.shape[-2:] for o in outs]
        y = torch.cat([o.flatten(start_dim=2) for o in outs], dim=2).permute(0, 2, 1)
        grids, strides = [], []
        for (h, w), stride in zip(hw, (4, 8), strict=True):
            yv, xv = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack((xv, yv), 2).view(1, -1, 2)
            grids.append(grid)
            strides.append(torch.full((*grid.shape[:2], 1), stride))
        grids, strides = torch.cat(grids, 1).to(y.dtype), torch.cat(strides, 1).to(y.dtype)
        return torch.cat([(y[..., 0:2] + grids) * strides, y[..., 2:4].exp() * strides, y[..., 4:]], -1)


class RetinaAnchors(nn.Module):
    """Anchors that are shifted over the places of a map, and deltas that move them."""

    def __init__(self):
        super().__init__()
        self.reg = nn.Conv2d(3, 8, 4, 4)
        self.register_buffer("cells", torch.tensor([[-2.0, -2, 2, 2], [-4, -1, 4, 1]]))

    def forward(self, x):
        d = self.reg(x)
        n, _, h, w = d.shape
        sx, sy = torch.arange(0, w).float() * 4, torch.arange(0, h).float() * 4
        sy, sx = torch.meshgrid(sy, sx, indexing="ij")
        sx, sy = sx.reshape(-1), sy.reshape(-1)
        shifts = torch.stack((sx, sy, sx, sy), dim=1)
        anchors = (shifts.view(-1, 1, 4) + self.cells.view(1, -1, 4)).reshape(-1, 4)
        d = d.view(n, 2, 4, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 4)
        return anchors + d


class DetrHead(nn.Module):
    """Queries that are repeated for each sample attend to a picture that is flattened; boxes and classes."""

    def __init__(self):
        super().__init__()
        self.conv, self.query = nn.Conv2d(3, 8, 4, 4), nn.Embedding(5, 8)
        self.row, self.col = nn.Parameter(torch.rand(20, 4)), nn.Parameter(torch.rand(20, 4))
        self.net = nn.TransformerDecoderLayer(8, 2, 16, 0.0)
        self.box = nn.Linear(8, 4)

    def forward(self, x):
        h = self.conv(x)
        height, width = h.shape[-2:]
        pos = torch.cat(
            [
                self.col[:width].unsqueeze(0).repeat(height, 1, 1),
                self.row[:height].unsqueeze(1).repeat(1, width, 1),
            ],
            -1,
        )
        pos = pos.flatten(0, 1).unsqueeze(1)
        query = self.query.weight.unsqueeze(1).repeat(1, x.shape[0], 1)
        return self.box(self.net(query, pos + 0.1 * h.flatten(2).permute(2, 0, 1)).transpose(0, 1)).sigmoid()


def rolled_both(x):
    """Rolled along two axes at once, then back along one by shape."""
    y = torch.roll(x, (1, -2), (1, 2))
    return y * torch.roll(x, -1, 2)


def top_queries(x, q):
    """DETR with two stages: the best places of an encoder become queries."""
    scores = x.max(-1)[0]
    places = torch.topk(scores, 4, dim=1)[1]
    picked = torch.gather(x, 1, places.unsqueeze(-1).repeat(1, 1, x.shape[-1]))
    return picked + q


class Affine(nn.Module):
    """A spatial transformer: affine_grid of the picture's size, then grid_sample."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Linear(3, 6)

    def forward(self, x):
        theta = self.loc(x.mean((2, 3))).view(-1, 2, 3)
        grid = functional.affine_grid(theta, x.size(), align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)


class FlowWarp(nn.Module):
    """Coordinates in pixels moved by a flow, normalised by the size less one."""

    def forward(self, x, flow):
        b, _, h, w = x.shape
        gx = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(b, -1, h, -1)
        gy = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(b, -1, -1, w)
        grid = torch.cat([gx, gy], 1)
        flow = torch.cat([flow[:, 0:1] / ((w - 1.0) / 2.0), flow[:, 1:2] / ((h - 1.0) / 2.0)], 1)
        return functional.grid_sample(x, (grid + flow).permute(0, 2, 3, 1), align_corners=True)


class ConvLstmCell(nn.Module):
    """Three frames through one cell whose state begins as zeros of the picture's size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(5, 12, 3, padding=1)

    def forward(self, x):
        b, t, _, h, w = x.size()
        hid = torch.zeros(b, 3, h, w, device=x.device)
        cell = torch.zeros_like(hid)
        made = []
        for i in range(t):
            i_, f, o, g = torch.split(self.conv(torch.cat([x[:, i], hid], 1)), 3, 1)[:4]
            cell = f.sigmoid() * cell + i_.sigmoid() * g.tanh()
            hid = o.sigmoid() * cell.tanh()
            made.append(hid)
        return torch.stack(made, 1)


class Shuffles(nn.Module):
    """pixel_unshuffle, a convolution, pixel_shuffle."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 27, 3, padding=1)

    def forward(self, x):
        return functional.pixel_shuffle(self.conv(functional.pixel_unshuffle(x, 2)), 3)


def unfold_fold(x):
    """Patches by unfold, changed, and put together by fold."""
    y = functional.unfold(x, 2, stride=2)
    return functional.fold(y.softmax(1), x.shape[2:], 2, stride=2)


def tensor_unfold(x):
    """Windows of a sequence that overlap."""
    return x.unfold(1, 4, 2).mean(-1)


class Pools(nn.Module):
    """Adaptive pools to 1 of both kinds, beside the mean over each axis."""

    def forward(self, x):
        a = functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        b = functional.adaptive_max_pool2d(x, 1).flatten(1)
        c = functional.adaptive_avg_pool2d(x, (None, 1)).squeeze(-1).amax(-1)
        return torch.cat((a, b, c, functional.lp_pool2d(x.abs(), 2, x.shape[2:]).flatten(1)), 1)


class CoordAttention(nn.Module):
    """Means along rows and along columns, joined, and split again by the sizes."""

    def __init__(self):
        super().__init__()
        self.a, self.h, self.w = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        _n, _c, h, w = x.size()
        rows = functional.adaptive_avg_pool2d(x, (h, 1))
        columns = functional.adaptive_avg_pool2d(x, (1, w)).permute(0, 1, 3, 2)
        y = self.a(torch.cat([rows, columns], dim=2)).relu()
        rows, columns = torch.split(y, [h, w], dim=2)
        return x * self.h(rows).sigmoid() * self.w(columns.permute(0, 1, 3, 2)).sigmoid()


class NormByReshape(nn.Module):
    """GroupNorm and InstanceNorm spelt by reshape and moments, in an order of their own."""

    def __init__(self):
        super().__init__()
        self.g, self.b = nn.Parameter(torch.rand(1, 6, 1, 1)), nn.Parameter(torch.rand(1, 6, 1, 1))
        self.norm = nn.GroupNorm(3, 6)

    def forward(self, x):
        n, c, h, w = x.shape
        y = x.reshape(n * 3, -1)
        y = (y - y.mean(1, keepdim=True)) / torch.sqrt(y.var(1, unbiased=False, keepdim=True) + 1e-5)
        y = y.reshape(n, c, h, w) * self.g + self.b
        z = functional.instance_norm(x.view(1, n * c, h, w)).view(n, c, h, w)
        return y + z + self.norm(x)


def channel_shuffle(x):
    """In groups of three, by flatten and unflatten."""
    n, c, h, w = x.shape
    return x.unflatten(1, (3, c // 3)).swapaxes(1, 2).flatten(1, 2) + x.view(n, 3, -1, h, w).transpose(1, 2).reshape(
        n, c, h, w
    )


class SqueezeExcite(nn.Module):
    """By mean over places and Linear, and expand_as."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(4, 2), nn.SiLU(), nn.Linear(2, 4), nn.Hardsigmoid())

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.fc(nn.AdaptiveAvgPool2d(1)(x).view(b, c)).view(b, c, 1, 1)
        return x * y.expand_as(x)


class DeepLab(nn.Module):
    """ASPP with a pooled branch and a decoder that is resized twice."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.branches = nn.ModuleList(nn.Conv2d(4, 3, 3, padding=r, dilation=r) for r in (1, 2))
        self.pool, self.out = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 3, 1)), nn.Conv2d(13, 2, 1)

    def forward(self, x):
        low = self.low(x).relu()
        high = self.high(low).relu()
        made = [branch(high) for branch in self.branches]
        made.append(functional.interpolate(self.pool(high), size=high.shape[2:], mode="bilinear", align_corners=False))
        y = functional.interpolate(torch.cat(made, 1), size=low.shape[-2:], mode="bilinear", align_corners=False)
        y = self.out(torch.cat((y, low), 1))
        return functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class GatherOffsets(nn.Module):
    """Deformable in the small: places in a flattened picture by floor and clamp, gathered."""

    def __init__(self):
        super().__init__()
        self.off = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        b, c, h, w = x.shape
        off = self.off(x)
        ys = (torch.arange(h).view(1, h, 1) + off[:, 0]).clamp(0, h - 1).long()
        xs = (torch.arange(w).view(1, 1, w) + off[:, 1]).clamp(0, w - 1).long()
        flat = (ys * w + xs).view(b, 1, h * w).expand(-1, c, -1)
        return x.view(b, c, h * w).gather(2, flat).view(b, c, h, w)


class CumsumPositions(nn.Module):
    """RoBERTa's positions: a running count of what is no padding."""

    def __init__(self):
        super().__init__()
        self.words, self.pos = nn.Embedding(20, 6), nn.Embedding(64, 6)

    def forward(self, ids):
        mask = ids.ne(1).int()
        pos = (torch.cumsum(mask, dim=1).type_as(mask) * mask).long() + 1
        return self.words(ids) + self.pos(pos)


class BertEmbeddings(nn.Module):
    """Position ids and token types that are buffers, sliced and expanded."""

    def __init__(self):
        super().__init__()
        self.words, self.pos, self.kinds = nn.Embedding(20, 6), nn.Embedding(64, 6), nn.Embedding(2, 6)
        self.register_buffer("ids", torch.arange(64).expand((1, -1)))
        self.register_buffer("types", torch.zeros(1, 64, dtype=torch.long))

    def forward(self, ids, mask):
        n, steps = ids.size()
        types = self.types[:, :steps].expand(n, steps)
        x = self.words(ids) + self.kinds(types) + self.pos(self.ids[:, :steps])
        extended = (1.0 - mask[:, None, :].float()) * -10000.0
        return (x @ x.transpose(1, 2) + extended).softmax(-1) @ x


def one_hot_mean(x, labels):
    """The mean of each class by one_hot and einsum."""
    hot = functional.one_hot(labels, 6).to(x.dtype)
    return torch.einsum("bnk,bnd->bkd", hot, x) / hot.sum(1).clamp(min=1).unsqueeze(-1)


def mean_pooling(x, mask):
    """Sentence-transformers': a mask that is expanded to the width."""
    wide = mask.unsqueeze(-1).expand(x.size()).float()
    return torch.sum(x * wide, 1) / torch.clamp(wide.sum(1), min=1e-9)


def beam_step(log_probs, scores):
    """Scores of beams, of all words, the best of them, and where they came from, flat."""
    b, k, v = log_probs.shape
    total = (log_probs + scores[:, :, None]).view(b, -1)
    best, index = total.topk(2 * k, dim=1, largest=True, sorted=True)
    return best, index // v, index.remainder(v)


class MoE(nn.Module):
    """All experts as one weight, gates by scatter into zeros."""

    def __init__(self):
        super().__init__()
        self.gate, self.w = nn.Linear(6, 4), nn.Parameter(torch.randn(4, 6, 6) * 0.3)

    def forward(self, x):
        b, n, d = x.shape
        flat = x.reshape(b * n, d)
        logits = self.gate(flat)
        top, places = logits.topk(2, -1)
        gates = torch.zeros_like(logits).scatter(1, places, top.softmax(-1))
        y = torch.einsum("te,td,edf->tf", gates, flat, self.w)
        return y.reshape(b, n, d)


class ArangePositions(nn.Module):
    """GPT-2: positions by arange, a table that is longer, the causal mask a slice of a buffer."""

    def __init__(self):
        super().__init__()
        self.words, self.pos, self.qkv = nn.Embedding(20, 8), nn.Embedding(64, 8), nn.Linear(8, 24)
        self.register_buffer("bias", torch.tril(torch.ones(64, 64, dtype=torch.bool)).view(1, 1, 64, 64))

    def forward(self, ids):
        b, n = ids.shape
        pos = torch.arange(0, n, dtype=torch.long).unsqueeze(0)
        x = self.words(ids) + self.pos(pos)
        q, k, v = self.qkv(x).split(8, dim=2)
        q, k, v = (t.view(b, n, 2, 4).transpose(1, 2) for t in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * 0.5
        att = att.masked_fill(~self.bias[:, :, :n, :n], float("-inf")).softmax(-1)
        return (att @ v).transpose(1, 2).contiguous().view(b, n, 8)


class RelativeBias(nn.Module):
    """A bias for each distance, looked up in a table that is long enough, by row - column."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(63, 2)

    def forward(self, x):
        n = x.shape[1]
        pos = torch.arange(n)
        bias = self.table(pos[:, None] - pos[None, :] + 31)
        return x @ x.transpose(1, 2) + bias.permute(2, 0, 1)[:1]


def alibi_bias(x):
    """Bloom's: positions by cumsum of a mask of ones, times slopes."""
    b, n, _ = x.shape
    slopes = torch.tensor([0.5, 0.25])
    pos = ((torch.ones(b, n).cumsum(-1) - 1) * 1.0)[:, None, :]
    alibi = slopes[..., None] * pos
    scores = (x @ x.transpose(1, 2)).unsqueeze(1) + alibi.view(b, 2, 1, n)
    return scores.softmax(-1)


def masks(x):
    """Lower, upper, both, banded."""
    n = x.shape[1]
    s = x @ x.transpose(1, 2)
    low = torch.tril(torch.ones(n, n))
    up = torch.triu(torch.full((n, n), -1e4), 1)
    band = torch.triu(torch.ones(n, n), -1) * torch.tril(torch.ones(n, n), 1)
    return s * low, (s + up).softmax(-1), s.masked_fill(band == 0, 0.0)


def repeats(x, y):
    """expand, repeat and tile, of one to the length of another."""
    n = x.shape[1]
    a = y.unsqueeze(1).expand(-1, n, -1)
    b = y[:, None].repeat(1, n, 1)
    c = torch.tile(y.unsqueeze(1), (1, n, 1))
    return torch.cat((x, a, b * c), -1)


def stacked(x):
    """stack, chunk, split, unbind, cat along the batch and back."""
    a, b = x.chunk(2, -1)
    y = torch.stack((a, b), 1).flatten(0, 1)
    y = y * y.sigmoid()
    c, d = y.view(x.shape[0], 2, x.shape[1], -1).unbind(1)
    e, f = torch.split(torch.cat((c, d), 0), x.shape[0], 0)
    return torch.cat((e, f), -1)


def flips(x):
    return x.flip((1, 2)) + torch.flip(x, [-1]) * x[:, range(x.shape[1] - 1, -1, -1)]


def pads(x):
    """Reflected, replicated and by a constant; reflected by half of a window."""
    a = functional.pad(x, (2, 1, 1, 2), mode="reflect")
    b = functional.pad(x, (2, 1, 1, 2), mode="replicate")
    return a - b + functional.pad(x, (2, 1, 1, 2), value=0.5)


class SizeInterpolate(nn.Module):
    """Resized to twice and to half the size by size=, linear and nearest, in one and two dimensions."""

    def forward(self, x):
        h, w = x.shape[2:]
        y = functional.interpolate(x, size=(h * 2, w * 2), mode="nearest")
        y = functional.interpolate(y, size=(h, w), mode="bilinear", align_corners=False)
        return y + functional.interpolate(x.flatten(1, 2), size=w, mode="linear").view_as(x)


def dft(x):
    """A discrete Fourier transform of frames as a product of matrices."""
    frames = x.unfold(-1, 8, 4)
    k = torch.arange(8).float()
    angle = 2 * math.pi * torch.outer(k, k[:5]) / 8
    return torch.stack((frames @ angle.cos(), frames @ angle.sin()), -1)


def whole_dft(x):
    """Over the whole of the sequence: the matrix is as large as it."""
    n = x.shape[1]
    k = torch.arange(n).float()
    angle = 2 * math.pi * torch.outer(k, k) / n
    return (angle.cos() @ x).pow(2) + (angle.sin() @ x).pow(2)


class Mixer(nn.Module):
    """What is spatial is mixed by an attention whose scale is a size of the picture (linear attention of EfficientViT)."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Conv2d(4, 12, 1)

    def forward(self, x):
        b, _c, h, w = x.shape
        qkv = self.qkv(x).reshape(b, -1, 12, h * w).transpose(-1, -2)
        q, k, v = qkv[..., :4].relu(), qkv[..., 4:8].relu(), qkv[..., 8:]
        v = functional.pad(v, (0, 1), value=1.0)
        y = q @ (k.transpose(-1, -2) @ v)
        y = y[..., :-1] / (y[..., -1:] + 1e-5)
        return y.transpose(-1, -2).reshape(b, -1, h, w)


class Pyramidal(nn.Module):
    """PVT: keys and values of a picture that a strided convolution made smaller."""

    def __init__(self):
        super().__init__()
        self.q, self.kv, self.sr = nn.Linear(8, 8), nn.Linear(8, 16), nn.Conv2d(8, 8, 2, 2)

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)
        q = self.q(x).reshape(b, h * w, 2, 4).permute(0, 2, 1, 3)
        y = self.sr(x.permute(0, 2, 1).reshape(b, c, h, w)).reshape(b, c, -1).permute(0, 2, 1)
        k, v = self.kv(y).reshape(b, -1, 2, 2, 4).permute(2, 0, 3, 1, 4)
        return ((q @ k.transpose(-2, -1) * 0.5).softmax(-1) @ v).transpose(1, 2).reshape(b, h * w, c)


class TimeSpace(nn.Module):
    """Video: attention over time with places in the batch, then over places with time in the batch."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.MultiheadAttention(6, 2, batch_first=True), nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        b, t, n, c = x.shape
        y = x.permute(0, 2, 1, 3).reshape(b * n, t, c)
        y = self.a(y, y, y)[0].reshape(b, n, t, c).permute(0, 2, 1, 3).reshape(b * t, n, c)
        return self.b(y, y, y)[0].reshape(b, t, n, c)


class Wave(nn.Module):
    """WaveNet's gates over causal convolutions, skips summed; trimmed to the shortest."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(3, 6, 2, dilation=d) for d in (1, 2, 4))
        self.mix = nn.ModuleList(nn.Conv1d(3, 3, 1) for _ in range(3))

    def forward(self, x):
        skip = 0
        for conv, mix in zip(self.convs, self.mix, strict=True):
            a, b = conv(x).chunk(2, 1)
            y = mix(a.tanh() * b.sigmoid())
            x = x[:, :, -y.size(2) :] + y
            skip = skip[:, :, -y.size(2) :] + y if torch.is_tensor(skip) else y
        return skip


class Upsampled(nn.Module):
    """SegFormer: every map is resized to the first, joined, and reshaped by the batch's size."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.la, self.lb, self.out = nn.Linear(4, 5), nn.Linear(6, 5), nn.Conv2d(10, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        size = a.size()[2:]
        made = []
        for map_, fc in ((a, self.la), (b, self.lb)):
            n, _, h, w = map_.shape
            y = fc(map_.flatten(2).transpose(1, 2)).permute(0, 2, 1).reshape(n, -1, h, w)
            made.append(functional.interpolate(y, size=size, mode="bilinear", align_corners=False))
        return self.out(torch.cat(made, 1))


def temporal_shift(x):
    """TSM: a part of the channels moves one frame on, another one back."""
    b, t, c, h, w = x.shape
    out = torch.zeros_like(x)
    out[:, :-1, :1] = x[:, 1:, :1]
    out[:, 1:, 1:2] = x[:, :-1, 1:2]
    out[:, :, 2:] = x[:, :, 2:]
    return out.view(b * t, c, h, w)


def normalised_grid(x):
    """CoordConv: two channels of coordinates from -1 to 1 beside the picture."""
    b, _, h, w = x.shape
    xs = torch.arange(w).view(1, 1, 1, w).repeat(b, 1, h, 1).float() / (w - 1) * 2 - 1
    ys = torch.arange(h).view(1, 1, h, 1).repeat(b, 1, 1, w).float() / (h - 1) * 2 - 1
    return torch.cat((x, xs, ys, torch.sqrt((xs - 0.5) ** 2 + (ys - 0.5) ** 2)), 1)


def pointnet(x, y):
    """Distances of every point to some centres, the three nearest, what they hold interpolated."""
    d = ((x[:, :, None] - y[:, None]) ** 2).sum(-1)
    near, places = d.sort(dim=-1)
    near, places = near[:, :, :3], places[:, :, :3]
    weight = 1.0 / (near + 1e-8)
    weight = weight / weight.sum(2, keepdim=True)
    b, n = x.shape[:2]
    rows = torch.arange(b).view(b, 1, 1).expand(b, n, 3)
    return (y[rows, places] * weight.unsqueeze(-1)).sum(2)


def adjacency(x):
    """A graph convolution: similarities become edges, with loops, normalised by degrees."""
    n = x.shape[1]
    a = (x @ x.transpose(1, 2)).sigmoid() + torch.eye(n).unsqueeze(0)
    d = a.sum(-1).pow(-0.5)
    return d.unsqueeze(-1) * a * d.unsqueeze(1) @ x


def log_sum_crf(x):
    """A step of a CRF's forward pass over all pairs of tags."""
    _b, _n, k = x.shape
    trans = torch.arange(k * k).float().view(1, k, k) / 10
    return torch.logsumexp(x[:, :-1].unsqueeze(-1) + x[:, 1:].unsqueeze(2) + trans, dim=-1).sum(1)


def _nets():
    """name -> (module, args, axes), as in dims_nets."""
    b, s = (0, 0, [2, 3]), (0, 1, [12, 18])
    h, w = (0, 2, [24, 40]), (0, 3, [40, 24])
    small = [b, (0, 2, [6, 12]), (0, 3, [12, 8])]
    draw = torch.randn
    seq, ids = (draw(1, 10, 8),), (torch.randint(2, 6, (1, 10)),)
    picture, flat = (draw(1, 3, 16, 32),), (draw(1, 6, 8, 10),)
    ones = torch.ones(1, 10, dtype=torch.long)
    f = Function
    return {
        "grouped_query": (GroupedQuery(), (draw(1, 10, 12),), [b, s]),
        "masked_sdpa": (MaskedSdpa(), (*seq, ones), [((0, 0), (1, 0), [2, 3]), ((0, 1), (1, 1), [12, 18])]),
        "causal_sdpa": (CausalSdpa(), seq, [b, s]),
        "einsum_heads": (EinsumHeads(), seq, [b, s]),
        "cross": (Cross(), (draw(1, 5, 8), draw(1, 9, 8)), [((0, 0), (1, 0), [2, 3]), (0, 1, [7, 3]), (1, 1, [12, 4])]),
        "bahdanau": (
            Bahdanau(),
            (draw(1, 5, 6), draw(1, 9, 6)),
            [((0, 0), (1, 0), [2, 3]), (0, 1, [7, 3]), (1, 1, [12, 4])],
        ),
        "window_attention": (WindowAttention(), (draw(1, 8, 12, 8),), [b, (0, 1, [12, 4]), (0, 2, [16, 8])]),
        "padded_windows": (f(padded_windows), (draw(1, 6, 10, 5),), [b, (0, 1, [8, 11]), (0, 2, [8, 13])]),
        "class_token": (ClassToken(), (draw(1, 3, 16, 16),), [b]),
        "resized_positions": (ResizedPositions(), picture, [b, h, w]),
        "conditional": (Conditional(), (draw(1, 3, 12, 16),), small),
        "top_down": (TopDown(), (draw(1, 3, 16, 24),), [b, h, w]),
        "crop_unet": (CropUNet(), (draw(1, 3, 20, 24),), [b, (0, 2, [24, 28]), (0, 3, [28, 20])]),
        "pad_unet": (PadUNet(), (draw(1, 3, 15, 12),), [b, (0, 2, [18, 21]), (0, 3, [13, 16])]),
        "bi_lstm": (BiLstmStates("LSTM"), (draw(1, 7, 4),), [b, s]),
        "bi_gru": (BiLstmStates("GRU"), (draw(1, 7, 4),), [b, s]),
        "reverse_gru": (ReverseGru(), (draw(1, 7, 4),), [b, s]),
        "seq2seq": (Seq2Seq(), (draw(1, 7, 4), draw(1, 5, 3)), [((0, 0), (1, 0), [2, 3]), s, (1, 1, [8, 3])]),
        "rotary_half": (RotaryHalf(), seq, [b, s]),
        "rotary_positions": (f(rotary_positions), seq, [b, s]),
        "cache_heads": (
            CacheHeads(),
            (draw(1, 1, 8), draw(1, 2, 6, 4), draw(1, 2, 6, 4), torch.ones(1, 7, dtype=torch.long)),
            [((0, 0), (1, 0), (2, 0), (3, 0), [2, 3])],
        ),
        "yolo_grid": (YoloGrid(), (draw(1, 3, 32, 48),), [b, (0, 2, [64, 16]), (0, 3, [32, 64])]),
        "yolo_x": (YoloX(), (draw(1, 3, 32, 48),), [b, (0, 2, [64, 16]), (0, 3, [32, 64])]),
        "retina": (RetinaAnchors(), (draw(1, 3, 16, 24),), [b, h, w]),
        "detr_head": (DetrHead(), (draw(1, 3, 16, 24),), [b, h, w]),
        "rolled_both": (f(rolled_both), (draw(1, 7, 9, 2),), [b, s, (0, 2, [12, 5])]),
        "top_queries": (f(top_queries), (draw(1, 9, 6), draw(1, 4, 6)), [((0, 0), (1, 0), [2, 3]), s]),
        "affine": (Affine(), (draw(1, 3, 8, 10),), small),
        "flow_warp": (
            FlowWarp(),
            (draw(1, 3, 8, 10), draw(1, 2, 8, 10)),
            [((0, 0), (1, 0), [2, 3]), ((0, 2), (1, 2), [6, 12]), ((0, 3), (1, 3), [12, 8])],
        ),
        "conv_lstm_cell": (ConvLstmCell(), (draw(1, 3, 2, 8, 10),), [b, (0, 3, [6, 12]), (0, 4, [12, 8])]),
        "shuffles": (Shuffles(), (draw(1, 3, 8, 10),), small),
        "unfold_fold": (f(unfold_fold), (draw(1, 3, 8, 10),), small),
        "tensor_unfold": (f(tensor_unfold), seq, [b, s]),
        "pools": (Pools(), (draw(1, 3, 8, 10),), small),
        "coord_attention": (CoordAttention(), (draw(1, 4, 8, 10),), small),
        "norm_by_reshape": (NormByReshape(), flat, small),
        "channel_shuffle": (f(channel_shuffle), flat, small),
        "squeeze_excite_fc": (SqueezeExcite(), (draw(1, 4, 8, 10),), small),
        "deep_lab": (DeepLab(), picture, [b, h, w]),
        "gather_offsets": (GatherOffsets(), (draw(1, 3, 8, 10),), small),
        "cumsum_positions": (CumsumPositions(), ids, [b, s]),
        "bert_embeddings": (BertEmbeddings(), (*ids, ones), [((0, 0), (1, 0), [2, 3]), ((0, 1), (1, 1), [12, 18])]),
        "one_hot_mean": (
            f(one_hot_mean),
            (draw(1, 9, 5), torch.randint(0, 4, (1, 9))),
            [((0, 0), (1, 0), [2, 3]), ((0, 1), (1, 1), [12, 18])],
        ),
        "mean_pooling": (f(mean_pooling), (*seq, ones), [((0, 0), (1, 0), [2, 3]), ((0, 1), (1, 1), [12, 18])]),
        "beam_step": (f(beam_step), (draw(1, 3, 7), draw(1, 3)), [((0, 0), (1, 0), [2, 4]), (0, 2, [9, 11])]),
        "moe": (MoE(), (draw(1, 9, 6),), [b, s]),
        "arange_positions": (ArangePositions(), ids, [b, s]),
        "relative_bias": (RelativeBias(), (draw(1, 9, 4),), [b, s]),
        "alibi_bias": (f(alibi_bias), seq, [b, s]),
        "masks": (f(masks), (draw(1, 9, 4),), [b, s]),
        "repeats": (f(repeats), (draw(1, 9, 4), draw(1, 3)), [((0, 0), (1, 0), [2, 3]), s]),
        "stacked": (f(stacked), (draw(1, 9, 4),), [b, s]),
        "flips": (f(flips), (draw(1, 9, 4),), [b, s]),
        "pads": (f(pads), (draw(1, 3, 8, 10),), small),
        "size_interpolate": (SizeInterpolate(), (draw(1, 3, 8, 10),), small),
        "dft": (f(dft), (draw(1, 32),), [b, (0, 1, [48, 64])]),
        "whole_dft": (f(whole_dft), (draw(1, 9, 4),), [b, s]),
        "mixer": (Mixer(), (draw(1, 4, 8, 10),), small),
        "pyramidal": (Pyramidal(), (draw(1, 8, 8, 12),), small),
        "time_space": (TimeSpace(), (draw(1, 4, 5, 6),), [b, (0, 1, [6, 3]), (0, 2, [7, 4])]),
        "wave": (Wave(), (draw(1, 3, 20),), [b, (0, 2, [24, 31])]),
        "upsampled": (Upsampled(), (draw(1, 3, 16, 24),), [b, h, w]),
        "temporal_shift": (f(temporal_shift), (draw(1, 4, 3, 5, 6),), [b, (0, 1, [6, 3]), (0, 3, [7, 4])]),
        "normalised_grid": (f(normalised_grid), (draw(1, 3, 8, 10),), small),
        "pointnet": (f(pointnet), (draw(1, 9, 3), draw(1, 5, 3)), [((0, 0), (1, 0), [2, 3]), s, (1, 1, [7, 4])]),
        "adjacency": (f(adjacency), (draw(1, 9, 4),), [b, s]),
        "log_sum_crf": (f(log_sum_crf), (draw(1, 9, 4),), [b, s]),
    }


def third_nets():
    """The nets, in eval mode, their weights from one seed."""
    torch.manual_seed(2)
    return {name: (module.eval(), args, axes) for name, (module, args, axes) in _nets().items()}
