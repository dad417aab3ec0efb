"""A fourth set of nets whose static exports hold sizes: graphs, retention, memories, matching, codes, and numbers that stand for a size."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from surgery.dims_nets import Function


def retention(x):
    """RetNet: what is further back counts for less, by a matrix of powers of the distance."""
    n = x.shape[1]
    apart = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    decay = torch.where(apart >= 0, 0.9 ** apart.clamp(min=0).float(), torch.zeros(()))
    return (x @ x.transpose(1, 2) * decay) @ x


class Linformer(nn.Module):
    """Keys and values are projected along the sequence: the length is the net's."""

    def __init__(self):
        super().__init__()
        self.e = nn.Parameter(torch.randn(3, 10))

    def forward(self, x):
        k = self.e @ x
        return (x @ k.transpose(1, 2)).softmax(-1) @ k


def local_attention(x):
    """Chunks of four that see the chunk before them as well."""
    b, n, c = x.shape
    parts = x.view(b, n // 4, 4, c)
    before = functional.pad(parts, (0, 0, 0, 0, 1, 0))[:, :-1]
    k = torch.cat((before, parts), 2)
    return ((parts @ k.transpose(2, 3)).softmax(-1) @ k).reshape(b, n, c)


class GraphAttention(nn.Module):
    """Edges come in as indices; messages are summed at their ends."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(8, 4)

    def forward(self, x, edges):
        h = self.lin(x)
        source, target = h[edges[0]], edges[1]
        total = torch.zeros(x.shape[0], 4).index_add(0, target, source)
        count = torch.zeros(x.shape[0], 1).index_add(0, target, torch.ones(edges.shape[1], 1))
        return total / (count + 1)


class DeformableDetr(nn.Module):
    """Sampling places are offsets from reference points that are normalised by each level's size."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.query, self.ref, self.off = nn.Linear(6, 4), nn.Linear(6, 2), nn.Linear(6, 4)

    def forward(self, x, q):
        levels = [self.a(x), self.b(self.a(x))]
        ref, off = self.ref(q).sigmoid(), self.off(q).view(q.shape[0], q.shape[1], 2, 2)
        shapes = torch.tensor([[level.shape[3], level.shape[2]] for level in levels], dtype=torch.float)
        places = ref[:, :, None] + off / shapes[None, None]
        parts = [
            functional.grid_sample(level, 2 * places[:, :, i : i + 1] - 1, align_corners=False)
            for i, level in enumerate(levels)
        ]
        return self.query(q) + sum(parts).squeeze(-1).transpose(1, 2)


class Capsules(nn.Module):
    """Routing: logits that begin as zeros of the batch's size."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 8, 5) * 0.3)

    def forward(self, x):
        u = torch.einsum("bnc,kcd->bknd", x, self.w)
        logits = torch.zeros(x.shape[0], 3, x.shape[1], 1)
        for _ in range(2):
            v = (logits.softmax(1) * u).sum(2, keepdim=True)
            logits = logits + (u * v).sum(-1, keepdim=True)
        return v.squeeze(2)


class Codebook(nn.Module):
    """VQ-VAE: each place takes the nearest of some vectors."""

    def __init__(self):
        super().__init__()
        self.codes = nn.Embedding(7, 3)

    def forward(self, x):
        b, c, h, w = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(-1, c)
        apart = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.codes.weight.t() + self.codes.weight.pow(2).sum(1)
        found = self.codes(apart.argmin(1)).view(b, h, w, c).permute(0, 3, 1, 2)
        return found, apart.argmin(1).view(b, h, w)


class LocationAttention(nn.Module):
    """Tacotron's: the weights of the step before go through a convolution; they begin as zeros."""

    def __init__(self):
        super().__init__()
        self.conv, self.mix, self.v = nn.Conv1d(1, 4, 3, padding=1), nn.Linear(8, 4), nn.Linear(4, 1)

    def forward(self, x):
        weights = torch.zeros(x.shape[0], x.shape[1])
        for _ in range(2):
            place = self.conv(weights.unsqueeze(1)).transpose(1, 2)
            weights = self.v(torch.tanh(self.mix(x) + place)).squeeze(-1).softmax(-1)
        return torch.bmm(weights.unsqueeze(1), x).squeeze(1)


class Causal(nn.Module):
    """WaveNet: dilated convolutions, padded in front; and a TCN that cuts off what is behind."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(3, 4, 2, dilation=2), nn.Conv1d(4, 3, 3, padding=4, dilation=2)

    def forward(self, x):
        y = torch.tanh(self.a(functional.pad(x, (2, 0))))
        return x + self.b(y)[:, :, :-4]


def dct_blocks(x):
    """JPEG: blocks of four times four, each multiplied from both sides."""
    b, c, h, w = x.shape
    k = torch.arange(4).float()
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 8)
    blocks = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 1, 2, 4, 3, 5)
    return (basis @ blocks @ basis.t()).permute(0, 1, 2, 4, 3, 5).reshape(b, c, h, w)


def wavelet(x):
    """Haar there and back."""
    a, b, c, d = x[:, :, 0::2, 0::2], x[:, :, 0::2, 1::2], x[:, :, 1::2, 0::2], x[:, :, 1::2, 1::2]
    low, high = (a + b + c + d) / 2, (a - b + c - d) / 2
    both = torch.stack((low + high, low - high), -1).flatten(3)
    return torch.stack((both, both * 0.5), 3).flatten(2, 3)


def edge_features(x):
    """DGCNN: the nearest points of each, looked up in the points of all samples."""
    b, n, c = x.shape
    apart = (x.unsqueeze(2) - x.unsqueeze(1)).pow(2).sum(-1)
    near = (-apart).topk(3, -1)[1]
    near = (near + torch.arange(b).view(-1, 1, 1) * n).view(-1)
    found = x.reshape(b * n, c)[near].view(b, n, 3, c)
    own = x.view(b, n, 1, c).repeat(1, 1, 3, 1)
    return torch.cat((found - own, own), 3).max(2)[0]


def shifted_parts(x):
    """S2-MLP: a part of the channels is moved down, another one right, in place."""
    y = x.clone()
    y[:, :2, 1:] = x[:, :2, :-1]
    y[:, 2:4, :, 1:] = x[:, 2:4, :, :-1]
    return y


class PartRotary(nn.Module):
    """GPT-NeoX: a part of each head is rotated, at positions behind the cache."""

    def __init__(self):
        super().__init__()
        self.qk = nn.Linear(12, 12)
        self.register_buffer("inv", 1.0 / 10000 ** (torch.arange(0, 4, 2).float() / 4))

    def forward(self, x, past):
        b, n, _ = x.shape
        q = self.qk(x).view(b, n, 2, 6).transpose(1, 2)
        places = torch.arange(past.shape[2], past.shape[2] + n).float()
        angle = torch.cat((torch.outer(places, self.inv),) * 2, -1)
        turned, rest = q[..., :4], q[..., 4:]
        low, high = turned.chunk(2, -1)
        turned = turned * angle.cos() + torch.cat((-high, low), -1) * angle.sin()
        k = torch.cat((past, torch.cat((turned, rest), -1)), 2)
        return (turned @ k[..., :4].transpose(2, 3)).softmax(-1) @ k, k


def band_mask(x):
    """Mistral: each step sees itself and the three before it."""
    n = x.shape[1]
    seen = torch.ones(n, n, dtype=torch.bool).tril().triu(-3)
    return (x @ x.transpose(1, 2)).masked_fill(~seen, -1e9).softmax(-1) @ x


def prefix_mask(x):
    """A prefix of three is seen by all, the rest is causal."""
    n = x.shape[1]
    seen = torch.arange(n)[None, :] <= torch.arange(n)[:, None]
    seen = seen | (torch.arange(n)[None, :] < 3)
    return (x @ x.transpose(1, 2)).masked_fill(~seen, -1e9).softmax(-1) @ x


def block_mask(x):
    """Each step sees its own block of four."""
    n = x.shape[1]
    block = torch.arange(n) // 4
    return (x @ x.transpose(1, 2)).masked_fill(block[:, None] != block[None, :], -1e9).softmax(-1) @ x


class Decoder(nn.Module):
    """nn.TransformerDecoder with the mask that torch makes."""

    def __init__(self):
        super().__init__()
        self.net = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 1)

    def forward(self, x, memory):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.net(x, memory, tgt_mask=mask)


class ZeroAttention(nn.Module):
    """nn.MultiheadAttention with a key of its own, a zero key and a padding mask."""

    def __init__(self):
        super().__init__()
        self.net = nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True)

    def forward(self, x, mask):
        return self.net(x, x, x, key_padding_mask=mask > 4)[0]


class Conformer(nn.Module):
    """Relative positions from n - 1 down to 1 - n as sines, scores shifted by a pad and a view."""

    def __init__(self):
        super().__init__()
        self.pos = nn.Linear(8, 8, bias=False)

    def forward(self, x):
        b, n, c = x.shape
        places = torch.arange(n - 1, -n, -1.0)
        angle = places[:, None] * torch.exp(torch.arange(0, c, 2.0) * -(math.log(10000.0) / c))
        pe = self.pos(torch.stack((angle.sin(), angle.cos()), -1).flatten(1))
        scores = functional.pad(x @ pe.t(), (1, 0)).view(b, -1, n)[:, 1:].reshape(b, n, 2 * n - 1)[:, :, :n]
        return (x @ x.transpose(1, 2) + scores).softmax(-1) @ x


class SwinTwo(nn.Module):
    """Cosine attention in windows, a bias that a small net makes of distances; windows are shifted and masked."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift
        self.qkv, self.bias = nn.Linear(8, 24), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
        line = torch.arange(4.0)
        places = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).view(16, 2)
        self.register_buffer("apart", places[:, None] - places[None])

    @staticmethod
    def windows(x):
        b, h, w, c = x.shape
        return x.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)

    def mask(self, h, w):
        """Swin's: the picture is cut in nine regions, and places of two regions do not see each other."""
        regions, count = torch.zeros(1, h, w, 1), 0
        cuts = (slice(0, -4), slice(-4, -self.shift), slice(-self.shift, None))
        for rows in cuts:
            for columns in cuts:
                regions[:, rows, columns] = count
                count += 1
        parts = self.windows(regions).squeeze(-1)
        apart = parts.unsqueeze(1) - parts.unsqueeze(2)
        return apart.masked_fill(apart != 0, -100.0).masked_fill(apart == 0, 0.0)

    def forward(self, x):
        _, h, w, c = x.shape
        y = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        parts = self.windows(y)
        n = parts.shape[0]
        q, k, v = self.qkv(parts).view(n, 16, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(2, 3)
        scores = scores + self.bias(self.apart).permute(2, 0, 1).sigmoid() * 16
        if self.shift:
            mask = self.mask(h, w)
            scores = scores.view(-1, mask.shape[0], 2, 16, 16) + mask[None, :, None]
            scores = scores.view(-1, 2, 16, 16)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, 16, c)
        y = y.view(-1, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, c)
        return torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y


class Involution(nn.Module):
    """A kernel for each place, made of what is there, over its neighbourhood."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Conv2d(4, 9, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        near = functional.unfold(x, 3, padding=1).view(b, c, 9, h, w)
        return (self.kernel(x).view(b, 1, 9, h, w).softmax(2) * near).sum(2)


class ConvexUpsample(nn.Module):
    """RAFT: each place of the finer flow is a mean of the nine coarse ones about it."""

    def __init__(self):
        super().__init__()
        self.mask = nn.Conv2d(3, 9 * 4, 3, padding=1)

    def forward(self, x):
        n, _, h, w = x.shape
        mask = self.mask(x).view(n, 1, 9, 2, 2, h, w).softmax(2)
        near = functional.unfold(2 * x[:, :2], [3, 3], padding=1).view(n, 2, 9, 1, 1, h, w)
        return (mask * near).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(n, 2, 2 * h, 2 * w)


class Carafe(nn.Module):
    """Kernels of the finer picture over the coarse one, resized by two."""

    def __init__(self):
        super().__init__()
        self.enc = nn.Conv2d(4, 36, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        kernel = functional.pixel_shuffle(self.enc(x), 2).softmax(1)
        near = functional.unfold(x, 3, padding=1).view(b, c * 9, h, w)
        near = functional.interpolate(near, scale_factor=2, mode="nearest").view(b, c, 9, 2 * h, 2 * w)
        return (near * kernel.unsqueeze(1)).sum(2)


def radiance(x):
    """NeRF: points as sines of their powers of two, and densities that hide what lies behind."""
    freqs = 2.0 ** torch.arange(3)
    enc = (x[..., None] * freqs).flatten(-2)
    alpha = 1 - torch.exp(-torch.cat((enc.sin(), enc.cos()), -1).mean(-1).relu())
    hidden = torch.cat((torch.ones(x.shape[0], 1), 1 - alpha + 1e-6), 1).log().cumsum(1).exp()[:, :-1]
    return ((alpha * hidden)[..., None] * x).sum(1)


class Matching(nn.Module):
    """SuperGlue: scores with a dustbin, and two turns of Sinkhorn between counts of both sides."""

    def __init__(self):
        super().__init__()
        self.bin = nn.Parameter(torch.tensor(0.5))

    def forward(self, x, y):
        scores = x @ y.transpose(1, 2)
        b, m, n = scores.shape
        bins = [self.bin.expand(b, m, 1), self.bin.expand(b, 1, n), self.bin.expand(b, 1, 1)]
        z = torch.cat((torch.cat((scores, bins[0]), -1), torch.cat((bins[1], bins[2]), -1)), 1)
        norm = -math.log(m + n)
        rows = torch.cat((torch.full((m,), norm), torch.tensor([math.log(n) + norm])))[None].expand(b, -1)
        u = rows - torch.logsumexp(z, 2)
        return z + u[..., None]


def patched_series(x):
    """PatchTST: patches of a series, overlapping, behind a padding that repeats its end."""
    return functional.pad(x, (0, 4), mode="replicate").unfold(-1, 8, 4).mean(-1)


def decomposed(x):
    """Autoformer: the trend is a moving mean, with the first and last step repeated."""
    front, end = x[:, :1].repeat(1, 2, 1), x[:, -1:].repeat(1, 2, 1)
    trend = functional.avg_pool1d(torch.cat((front, x, end), 1).transpose(1, 2), 5, 1).transpose(1, 2)
    return x - trend, trend


def compressed(x):
    """Means of four steps each are keys and values."""
    b, n, c = x.shape
    k = x.view(b, n // 4, 4, c).mean(2)
    return (x @ k.transpose(1, 2)).softmax(-1) @ k


class ClipText(nn.Module):
    """The step at which the ids are largest is the whole text."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 8), nn.Linear(8, 4)

    def forward(self, ids):
        x = self.table(ids)
        mask = torch.empty(ids.shape[1], ids.shape[1]).fill_(float("-inf")).triu_(1)
        x = (x @ x.transpose(1, 2) + mask).softmax(-1) @ x
        return self.head(x[torch.arange(x.shape[0]), ids.argmax(-1)])


class CoordConv(nn.Module):
    """Coordinates from -1 to 1 as two more channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(5, 2, 3, padding=1)

    def forward(self, x):
        b, _, h, w = x.shape
        rows = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(b, 1, h, w)
        columns = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(b, 1, h, w)
        return self.conv(torch.cat((x, columns, rows), 1))


class DeconvTo(nn.Module):
    """A transposed convolution that is told how large its result is."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 3, 3, 2, 1)

    def forward(self, x):
        return self.up(self.down(x), output_size=x.shape[2:]) + x


def style(x):
    """Gram matrices of the channels, divided by how many numbers there are."""
    b, c, h, w = x.shape
    flat = x.view(b, c, h * w)
    return flat @ flat.transpose(1, 2) / (c * h * w)


class Scripted(nn.Module):
    """A loop over the steps that stays a Loop."""

    def __init__(self):
        super().__init__()
        self.step = torch.jit.script(Turns())

    def forward(self, x):
        return self.step(x)


class Turns(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(x[:, 0])
        for i in range(x.shape[1]):
            total = total * 0.5 + x[:, i]
        return total


def split_last(x):
    """The last step apart from those before it."""
    n = x.shape[1]
    front, last = torch.split(x, [n - 1, 1], 1)
    return front * last


def windowed(x):
    """Patches of a picture by two unfolds of the tensor."""
    parts = x.unfold(2, 4, 2).unfold(3, 4, 2)
    return parts.mean((4, 5))


def root_scale(x):
    """Scores divided by the root of how many steps there are."""
    return (x.transpose(1, 2) @ x / math.sqrt(x.shape[1])).softmax(-1)


def log_scale(x):
    """Scores that grow with the logarithm of how many steps there are."""
    return (x @ x.transpose(1, 2) * math.log(x.shape[1])).softmax(-1) @ x


def covariance(x):
    """Divided by one step less than there are."""
    y = x - x.mean(1, keepdim=True)
    return y.transpose(1, 2) @ y / (x.shape[1] - 1)


def middle(x):
    """The step in the middle stands for all."""
    return x[:, x.shape[1] // 2]


def sampled_frames(x):
    """TSN: the middles of four equal parts."""
    places = ((torch.arange(4) + 0.5) * x.shape[1] / 4).long()
    return x[:, places].mean(1)


def half_mask(x):
    """Steps behind the middle are zero."""
    n = x.shape[1]
    return x * (torch.arange(n) < n // 2)[None, :, None].float()


def length_feature(x):
    """How many steps there are is one more feature."""
    return torch.cat((x.mean(1), torch.full((x.shape[0], 1), float(x.shape[1]))), 1)


def tapered(x):
    """A window of Hann over all steps."""
    return x * torch.hann_window(x.shape[1], periodic=False)[None, :, None]


def log_distance(x):
    """A bias that falls with the logarithm of the distance."""
    n = x.shape[1]
    apart = (torch.arange(n)[:, None] - torch.arange(n)[None]).abs()
    return (x @ x.transpose(1, 2) - torch.log1p(apart.float())).softmax(-1) @ x


def reversed_positions(x):
    """How many steps are left."""
    n = x.shape[1]
    return torch.cat((x, (n - 1 - torch.arange(n)).float()[None, :, None].expand(x.shape[0], n, 1)), -1)


def stage_sum(x):
    """Pools with ceil, an upsampling back to size, and a crop."""
    y = functional.max_pool2d(x, 2, ceil_mode=True)
    y = functional.interpolate(y, scale_factor=2, mode="nearest")
    return y[:, :, : x.shape[2], : x.shape[3]] + x


def vignette(x):
    """Darker with the distance from the middle."""
    h, w = x.shape[2:]
    rows, columns = torch.arange(h).float() - (h - 1) / 2, torch.arange(w).float() - (w - 1) / 2
    return x * torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 50)


def _nets():
    """name -> (module, args, axes), as in dims_nets."""
    b, s, fours = (0, 0, [2, 3]), (0, 1, [12, 18]), (0, 1, [12, 20])
    small = [b, (0, 2, [6, 12]), (0, 3, [12, 8])]
    draw, f = torch.randn, Function
    seq, eight, picture = (draw(1, 10, 8),), (draw(1, 8, 6),), (draw(1, 4, 8, 10),)
    both = [((0, 0), (1, 0), [2, 3]), ((0, 1), (1, 1), [12, 18])]
    two = [((0, 0), (1, 0), [2, 3]), (0, 1, [7, 3]), (1, 1, [12, 4])]
    grid = [b, (0, 1, [12, 16]), (0, 2, [16, 8])]
    of_fours = [b, (0, 2, [12, 20]), (0, 3, [16, 8])]
    return {
        "retention": (f(retention), seq, [b, s]),
        "linformer": (Linformer(), seq, [b]),
        "local_attention": (f(local_attention), eight, [b, fours]),
        "graph_attention": (
            GraphAttention(),
            (draw(10, 8), torch.randint(0, 6, (2, 13))),
            [(0, 0, [12, 18]), (1, 1, [7, 21])],
        ),
        "deformable_detr": (
            DeformableDetr(),
            (draw(1, 3, 16, 24), draw(1, 5, 6)),
            [((0, 0), (1, 0), [2, 3]), (0, 2, [24, 32]), (0, 3, [16, 40]), (1, 1, [7, 3])],
        ),
        "capsules": (Capsules(), seq, [b, s]),
        "codebook": (Codebook(), (draw(1, 3, 8, 10),), small),
        "location_attention": (LocationAttention(), seq, [b, s]),
        "causal": (Causal(), (draw(1, 3, 12),), [b, (0, 2, [24, 31])]),
        "dct_blocks": (f(dct_blocks), (draw(1, 3, 8, 12),), of_fours),
        "wavelet": (f(wavelet), picture, small),
        "edge_features": (f(edge_features), (draw(1, 9, 3),), [b, s]),
        "shifted_parts": (f(shifted_parts), (draw(1, 6, 8, 10),), small),
        "part_rotary": (
            PartRotary(),
            (draw(1, 4, 12), draw(1, 2, 7, 6)),
            [((0, 0), (1, 0), [2, 3]), (0, 1, [5, 3]), (1, 2, [9, 14])],
        ),
        "band_mask": (f(band_mask), seq, [b, s]),
        "prefix_mask": (f(prefix_mask), seq, [b, s]),
        "block_mask": (f(block_mask), (draw(1, 12, 8),), [b, (0, 1, [16, 24])]),
        "decoder": (Decoder(), (draw(1, 5, 8), draw(1, 9, 8)), two),
        "zero_attention": (ZeroAttention(), (*seq, torch.randint(0, 6, (1, 10))), both),
        "conformer": (Conformer(), seq, [b, s]),
        "swin_two": (SwinTwo(0), (draw(1, 8, 12, 8),), grid),
        "swin_two_shifted": (SwinTwo(2), (draw(1, 8, 12, 8),), grid),
        "swin_shifted_by_one": (SwinTwo(1), (draw(1, 16, 12, 8),), [b, (0, 1, [12, 20]), (0, 2, [16, 24])]),
        "involution": (Involution(), picture, small),
        "convex_upsample": (ConvexUpsample(), (draw(1, 3, 8, 10),), small),
        "carafe": (Carafe(), picture, small),
        "radiance": (f(radiance), (draw(1, 9, 3),), [b, s]),
        "matching": (Matching(), (draw(1, 5, 8), draw(1, 9, 8)), two),
        "patched_series": (f(patched_series), (draw(1, 3, 32),), [b, (0, 2, [24, 48])]),
        "decomposed": (f(decomposed), seq, [b, s]),
        "compressed": (f(compressed), eight, [b, fours]),
        "clip_text": (ClipText(), (torch.randint(0, 6, (1, 10)),), [b, s]),
        "coord_conv": (CoordConv(), (draw(1, 3, 8, 10),), small),
        "deconv_to": (DeconvTo(), (draw(1, 3, 8, 10),), [b, (0, 2, [6, 13]), (0, 3, [12, 7])]),
        "style": (f(style), picture, small),
        "scripted": (Scripted(), seq, [b, s]),
        "split_last": (f(split_last), seq, [b, s]),
        "windowed": (f(windowed), (draw(1, 3, 10, 12),), [b, (0, 2, [8, 14]), (0, 3, [16, 10])]),
        "root_scale": (f(root_scale), seq, [b, s]),
        "log_scale": (f(log_scale), seq, [b, s]),
        "covariance": (f(covariance), seq, [b, s]),
        "middle": (f(middle), seq, [b, s]),
        "sampled_frames": (f(sampled_frames), seq, [b, s]),
        "half_mask": (f(half_mask), seq, [b, s]),
        "length_feature": (f(length_feature), seq, [b, s]),
        "tapered": (f(tapered), seq, [b, s]),
        "log_distance": (f(log_distance), seq, [b, s]),
        "reversed_positions": (f(reversed_positions), seq, [b, s]),
        "stage_sum": (f(stage_sum), (draw(1, 3, 8, 10),), [b, (0, 2, [6, 13]), (0, 3, [12, 7])]),
        "vignette": (f(vignette), (draw(1, 3, 8, 10),), small),
    }


def fourth_nets():
    """The nets, in eval mode, their weights from one seed."""
    torch.manual_seed(3)
    return {name: (module.eval(), args, axes) for name, (module, args, axes) in _nets().items()}
