"""More nets whose static exports hold sizes: pyramids, correlations, routing, positions, point clouds, heads of detectors."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from surgery.dims_nets import Function


class ShuffleUnit(nn.Module):
    """ShuffleNet v2: half of the channels goes through a branch, then channels are shuffled."""

    def __init__(self):
        super().__init__()
        self.one, self.depth, self.two = (
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 4, 3, 1, 1, groups=4),
            nn.Conv2d(4, 4, 1),
        )

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        x = torch.cat((a, self.two(self.depth(self.one(b).relu())).relu()), 1)
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width)
        return torch.transpose(x, 1, 2).contiguous().view(batch, -1, height, width)


class CBAM(nn.Module):
    """Attention over channels, then over places."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4))
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        batch, channels = x.shape[:2]
        mean = functional.adaptive_avg_pool2d(x, 1).view(batch, channels)
        most = functional.adaptive_max_pool2d(x, 1).view(batch, channels)
        x = x * (self.mlp(mean) + self.mlp(most)).sigmoid().view(batch, channels, 1, 1)
        return x * self.conv(torch.cat((x.mean(1, True), x.max(1, True)[0]), 1)).sigmoid()


class ASPP(nn.Module):
    """Dilated convolutions beside the mean of the picture, which is resized to it."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=2, dilation=2), nn.Conv2d(3, 4, 3, padding=4, dilation=4)
        self.c = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        pooled = self.c(functional.adaptive_avg_pool2d(x, 1))
        pooled = functional.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat((self.a(x), self.b(x), pooled), 1)


class Pyramid(nn.Module):
    """PSPNet's pyramid pooling."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 2, 1) for _ in range(3))

    def forward(self, x):
        size = x.shape[2:]
        made = [
            functional.interpolate(conv(functional.adaptive_avg_pool2d(x, bins)), size, mode="bilinear")
            for conv, bins in zip(self.convs, (1, 2, 3), strict=True)
        ]
        return torch.cat((x, *made), 1)


class Deform(nn.Module):
    """Samples a picture at places that a convolution moves."""

    def __init__(self):
        super().__init__()
        self.offsets = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        batch, _, height, width = x.shape
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack((xs, ys), 0).float()[None].repeat(batch, 1, 1, 1) + self.offsets(x)
        gx = 2 * grid[:, 0] / max(width - 1, 1) - 1
        gy = 2 * grid[:, 1] / max(height - 1, 1) - 1
        return functional.grid_sample(x, torch.stack((gx, gy), -1), align_corners=True)


def correlation(a, b):
    """RAFT's volume of all pairs, pooled once."""
    batch, channels, height, width = a.shape
    volume = torch.matmul(
        a.view(batch, channels, height * width).transpose(1, 2), b.view(batch, channels, height * width)
    )
    volume = volume.view(batch, height, width, 1, height, width) / math.sqrt(channels)
    flat = volume.reshape(batch * height * width, 1, height, width)
    return functional.avg_pool2d(flat, 2, stride=2)


def warped(x, flow):
    """Coordinates that a flow moves, in pixels; what leaves the picture is masked."""
    batch, _, height, width = x.shape
    ys, xs = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    coords = torch.stack([xs, ys], dim=0)[None].repeat(batch, 1, 1, 1) + flow
    return coords.mean(1, keepdim=True) * x


class Perceiver(nn.Module):
    """Latents that attend to the input."""

    def __init__(self):
        super().__init__()
        self.latents, self.kv, self.q = nn.Parameter(torch.randn(3, 8)), nn.Linear(8, 16), nn.Linear(8, 8)

    def forward(self, x):
        batch = x.shape[0]
        latents = self.latents.unsqueeze(0).expand(batch, -1, -1)
        k, v = self.kv(x).chunk(2, dim=-1)
        q = self.q(latents).reshape(batch, 3, 2, 4).permute(0, 2, 1, 3)
        k, v = (t.reshape(batch, x.shape[1], 2, 4).permute(0, 2, 1, 3) for t in (k, v))
        y = torch.softmax(q @ k.transpose(-1, -2) * 4**-0.5, -1) @ v
        return latents + y.permute(0, 2, 1, 3).reshape(batch, 3, 8)


class T5Bias(nn.Module):
    """Relative positions in buckets, as T5 has them."""

    def __init__(self):
        super().__init__()
        self.bias, self.qk = nn.Embedding(8, 2), nn.Linear(8, 16)

    def forward(self, x):
        batch, steps, _ = x.shape
        places = torch.arange(steps)
        apart = places[None, :] - places[:, None]
        buckets = (apart > 0).long() * 4
        apart = apart.abs()
        far = 2 + (torch.log(apart.float().clamp(min=1) / 2) / math.log(8) * 2).long()
        buckets = buckets + torch.where(apart < 2, apart, far.clamp(max=3))
        q, k = (t.view(batch, steps, 2, 4).transpose(1, 2) for t in self.qk(x).chunk(2, -1))
        scores = q @ k.transpose(-1, -2) + self.bias(buckets).permute(2, 0, 1).unsqueeze(0)
        return scores.softmax(-1)


class Shaw(nn.Module):
    """Relative positions that are clamped, and looked up."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, x):
        steps = x.shape[1]
        apart = torch.arange(steps)[None, :] - torch.arange(steps)[:, None]
        bias = self.table(apart.clamp(-4, 4) + 4)
        return (x @ x.transpose(1, 2)).unsqueeze(-1) + bias


class Alibi(nn.Module):
    """A bias that falls with the distance, for each head by a slope of its own; causal."""

    def __init__(self):
        super().__init__()
        self.register_buffer("slopes", torch.tensor([0.5, 0.25]).view(1, 2, 1, 1))
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        batch, steps, _ = x.shape
        q, k, v = self.qkv(x).view(batch, steps, 3, 2, 4).permute(2, 0, 3, 1, 4)
        apart = (torch.arange(steps)[:, None] - torch.arange(steps)[None, :]).float()
        scores = q @ k.transpose(2, 3) - self.slopes * apart
        scores = scores.masked_fill(torch.ones(steps, steps, dtype=torch.bool).triu(1), float("-inf"))
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def interleaved(x):
    """Rotary positions on pairs that lie beside each other."""
    batch, steps, width = x.shape
    freq = 10000.0 ** (-torch.arange(0, width, 2).float() / width)
    angles = torch.outer(torch.arange(steps).float(), freq)
    pairs = x.reshape(batch, steps, width // 2, 2)
    a, b = pairs[..., 0], pairs[..., 1]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


def sinusoids(x):
    """Positions of Vaswani et al., made on the spot."""
    steps, width = x.shape[1:]
    places = torch.arange(steps).float().unsqueeze(1)
    term = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    table = torch.zeros(steps, width)
    table[:, 0::2], table[:, 1::2] = torch.sin(places * term), torch.cos(places * term)
    return x + table


class CausalCache(nn.Module):
    """New steps behind a cache: each sees the cache and what came before it."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x, past):
        q, k, v = self.qkv(x).chunk(3, -1)
        k = torch.cat((past, k), 1)
        v = torch.cat((past, v), 1)
        mask = torch.ones(x.shape[1], k.shape[1], dtype=torch.bool).tril(past.shape[1])
        scores = (q @ k.transpose(1, 2)).masked_fill(~mask, -1e4)
        return scores.softmax(-1) @ v, k


class Experts(nn.Module):
    """The two best of four experts for each token."""

    def __init__(self):
        super().__init__()
        self.gate, self.experts = nn.Linear(6, 4), nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        batch, steps, width = x.shape
        flat = x.view(-1, width)
        weight, chosen = torch.topk(self.gate(flat).softmax(-1), 2, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        share = (functional.one_hot(chosen, 4).float() * weight.unsqueeze(-1)).sum(1)
        made = torch.stack([expert(flat) for expert in self.experts], 1)
        return (made * share.unsqueeze(-1)).sum(1).view(batch, steps, width)


def beams(scores, tokens):
    """The best of all beams and words, and the beams they came from."""
    batch, count, words = scores.shape
    best, places = scores.view(batch, count * words).topk(count, dim=1)
    beam = torch.div(places, words, rounding_mode="floor")
    return best, tokens.gather(1, beam.unsqueeze(-1).expand(-1, -1, tokens.shape[2])), places % words


class CTC(nn.Module):
    """A picture of a line of text, column by column."""

    def __init__(self):
        super().__init__()
        self.conv, self.rnn, self.out = nn.Conv2d(1, 4, 3, 2, 1), nn.LSTM(16, 5, bidirectional=True), nn.Linear(10, 6)

    def forward(self, x):
        x = self.conv(x).relu()
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels * height, width).permute(2, 0, 1)
        x, _ = self.rnn(x)
        steps, batch, hidden = x.shape
        return self.out(x.view(steps * batch, hidden)).view(steps, batch, -1).log_softmax(2)


class Audio(nn.Module):
    """A waveform through strided convolutions, a gated one that looks back, and attentive statistics."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.score = nn.Conv1d(1, 4, 4, 2), nn.Conv1d(4, 8, 3, dilation=2), nn.Conv1d(4, 1, 1)

    def forward(self, x):
        x = self.a(x.unsqueeze(1)).relu()
        x = functional.glu(self.b(functional.pad(x, (4, 0))), dim=1)
        weight = self.score(x).softmax(2)
        mean = (x * weight).sum(2)
        return torch.cat((mean, ((x - mean.unsqueeze(2)) ** 2 * weight).sum(2).clamp(min=1e-6).sqrt()), 1)


def spectrum(x):
    return torch.stft(x, 8, hop_length=4, window=torch.hann_window(8), center=False, return_complex=False)


class GRUState(nn.Module):
    """A GRU whose state comes in and goes out."""

    def __init__(self):
        super().__init__()
        self.net, self.out = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x, h):
        y, h = self.net(x, h)
        return self.out(y), h


class ConvGRU(nn.Module):
    """One step of a convolutional GRU over the picture before."""

    def __init__(self):
        super().__init__()
        self.zr, self.h = nn.Conv2d(7, 8, 3, padding=1), nn.Conv2d(7, 4, 3, padding=1)

    def forward(self, x, h):
        z, r = torch.split(self.zr(torch.cat((x, h), 1)).sigmoid(), 4, dim=1)
        return (1 - z) * h + z * self.h(torch.cat((x, r * h), 1)).tanh()


class Video(nn.Module):
    """Frames, height and width in one convolution; the mean over places for each frame."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu()
        x = functional.max_pool3d(x, (1, 2, 2))
        batch, channels, frames, height, width = x.shape
        x = x.permute(0, 2, 1, 3, 4).reshape(batch * frames, channels, height, width)
        return self.out(x.mean((2, 3))).view(batch, frames, -1)


class Neighbours(nn.Module):
    """DGCNN: the nearest points of each point and what they differ by."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 5, 1)

    def forward(self, x):
        batch, width, count = x.shape
        inner = -2 * torch.matmul(x.transpose(2, 1), x)
        square = (x**2).sum(1, keepdim=True)
        places = (-square - inner - square.transpose(2, 1)).topk(k=3, dim=-1)[1]
        places = (places + torch.arange(batch).view(-1, 1, 1) * count).view(-1)
        points = x.transpose(2, 1).contiguous()
        near = points.view(batch * count, -1)[places, :].view(batch, count, 3, width)
        points = points.view(batch, count, 1, width).repeat(1, 1, 3, 1)
        return self.conv(torch.cat((near - points, points), dim=3).permute(0, 3, 1, 2)).max(-1)[0]


def matrix_nms(boxes, scores):
    """SOLO's suppression without a loop: boxes that better boxes cover lose their score."""
    count = boxes.shape[0]
    left = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    right = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    inter = (right - left).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).abs().prod(1)
    iou = (inter / (area[:, None] + area[None, :] - inter + 1e-3)).triu(diagonal=1)
    most = iou.max(0)[0].expand(count, count).transpose(1, 0)
    return scores * torch.exp(-2 * (iou**2 - most**2)).min(0)[0]


class SinePositions(nn.Module):
    """DETR's positions: counted by a running sum over a mask of ones."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, 4)

    def forward(self, x):
        x = self.conv(x)
        mask = torch.ones(x.shape[0], x.shape[2], x.shape[3])
        ys, xs = mask.cumsum(1), mask.cumsum(2)
        ys, xs = ys / (ys[:, -1:, :] + 1e-6), xs / (xs[:, :, -1:] + 1e-6)
        return (x + torch.stack((ys, xs, ys.sin(), xs.cos()), 1)).flatten(2).permute(2, 0, 1)


class Anchors(nn.Module):
    """YOLOv8's head: three scales, points in the middle of their cells, distances from a distribution."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 18, stride, stride) for stride in (2, 4))

    def forward(self, x):
        maps = [conv(x) for conv in self.convs]
        points, strides = [], []
        for map_, stride in zip(maps, (2, 4), strict=True):
            height, width = map_.shape[2:]
            ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            points.append(torch.stack((xs, ys), -1).view(-1, 2))
            strides.append(torch.full((height * width, 1), float(stride)))
        flat = torch.cat([map_.view(x.shape[0], 18, -1) for map_ in maps], 2)
        box, cls = flat.split((16, 2), 1)
        batch, _, count = box.shape
        box = box.view(batch, 4, 4, count).transpose(2, 1).softmax(1)
        box = (box * torch.arange(4).float().view(1, 4, 1, 1)).sum(1)
        points, strides = torch.cat(points).transpose(0, 1), torch.cat(strides).transpose(0, 1)
        low, high = box.chunk(2, 1)
        return torch.cat((torch.cat((points - low, points + high), 1) * strides, cls.sigmoid()), 1)


class MaskedWindows(nn.Module):
    """Shifted windows, and the mask that keeps parts apart that the shift brought together."""

    def forward(self, x):
        batch, height, width, channels = x.shape
        rolled = torch.roll(x, shifts=(-2, -2), dims=(1, 2))
        image = torch.zeros((1, height, width, 1))
        cuts = (slice(0, -4), slice(-4, -2), slice(-2, None))
        count = 0
        for rows in cuts:
            for columns in cuts:
                image[:, rows, columns, :] = count
                count += 1
        ids = self.windows(image).view(-1, 16)
        apart = ids.unsqueeze(1) - ids.unsqueeze(2)
        mask = apart.masked_fill(apart != 0, -100.0)
        parts = self.windows(rolled).view(-1, 16, channels)
        scores = parts @ parts.transpose(1, 2)
        scores = scores.view(batch, mask.shape[0], 16, 16) + mask.unsqueeze(0)
        parts = scores.view(-1, 16, 16).softmax(-1) @ parts
        y = (
            parts.view(batch, height // 4, width // 4, 4, 4, -1)
            .permute(0, 1, 3, 2, 4, 5)
            .reshape(batch, height, width, -1)
        )
        return torch.roll(y, shifts=(2, 2), dims=(1, 2))

    def windows(self, x):
        batch, height, width, channels = x.shape
        x = x.view(batch, height // 4, 4, width // 4, 4, channels)
        return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 4, 4, channels)


class Merging(nn.Module):
    """Swin's patch merging, from tokens to tokens of half the height and width."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc = nn.LayerNorm(16), nn.Linear(16, 8)

    def forward(self, x):
        batch, height, width, channels = x.shape
        x = torch.cat([x[:, i::2, j::2, :] for j in (0, 1) for i in (0, 1)], -1)
        x = x.view(batch, -1, 4 * channels)
        return self.fc(self.norm(x)).view(batch, height // 2, width // 2, -1)


def by_hand(x):
    """Normalised over channels and places, and over places alone."""
    mean, var = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), keepdim=True, unbiased=False)
    y = (x - mean) / torch.sqrt(var + 1e-5)
    std, mean = torch.std_mean(y, dim=(2, 3), keepdim=True, unbiased=False)
    return (y - mean) / (std + 1e-5)


def unbiased(x):
    return (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5)


def similarities(a, b):
    """CLIP's: every row of one beside every row of the other."""
    a, b = functional.normalize(a, dim=-1), functional.normalize(b, dim=-1)
    return 14.3 * a @ b.t(), functional.cosine_similarity(a.unsqueeze(1), b.unsqueeze(0), dim=-1)


def contrastive(x):
    """NT-Xent's matrix: every row beside every other, its own place masked."""
    x = functional.normalize(x, dim=1)
    return (x @ x.t() / 0.5).masked_fill(torch.eye(x.shape[0], dtype=torch.bool), -1e9).softmax(1)


def half_roll(x):
    """fftshift: rolled by half of the size."""
    return torch.roll(x, x.shape[1] // 2, 1)


def histogram(x):
    """Sums by the number of a bin."""
    bins = (x.sigmoid() * 4).long().clamp(max=3)
    return torch.zeros(x.shape[0], 4).scatter_add(1, bins, x)


def scattered_tokens(x, kept):
    """MAE's decoder: tokens that were kept go back to their places, masks stand at the others."""
    batch, _, width = x.shape
    base = torch.zeros(batch, kept.shape[1] + 2, width)
    return base.scatter(1, kept.unsqueeze(-1).expand(-1, -1, width), x)


def every_second(x):
    return x.index_select(1, torch.arange(0, x.shape[1], 2))


def padded_attention(x, mask):
    """A causal mask beside one that comes in."""
    steps = x.shape[1]
    causal = torch.triu(torch.ones(steps, steps), diagonal=1).bool()
    scores = x @ x.transpose(1, 2)
    scores = scores.masked_fill(causal.unsqueeze(0) | (mask == 0).unsqueeze(1), -1e4)
    return scores.softmax(-1) @ x


class UpShuffle(nn.Module):
    """ESPCN beside a picture that is resized to its size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x):
        y = functional.pixel_shuffle(self.conv(x), 2)
        return y + functional.interpolate(x, size=y.shape[2:], mode="bilinear", align_corners=True)


def linear_attention(x):
    q, k = functional.elu(x) + 1, functional.elu(x) + 1
    kv = torch.einsum("bnd,bne->bde", k, x)
    z = 1 / (torch.einsum("bnd,bd->bn", q, k.sum(1)) + 1e-6)
    return torch.einsum("bnd,bde,bn->bne", q, kv, z)


def axial(x):
    """Attention along rows: columns go into the batch."""
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch * height, width, channels)
    rows = (rows @ rows.transpose(1, 2)).softmax(-1) @ rows
    return rows.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class NonLocal(nn.Module):
    """Attention over all places, to a picture that is pooled."""

    def __init__(self):
        super().__init__()
        self.theta, self.phi = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        batch, channels = x.shape[:2]
        theta = self.theta(x).view(batch, 2, -1).permute(0, 2, 1)
        phi = functional.max_pool2d(self.phi(x), 2).view(batch, 2, -1)
        g = functional.max_pool2d(x, 2).view(batch, channels, -1).permute(0, 2, 1)
        y = torch.matmul(torch.matmul(theta, phi).softmax(-1), g).permute(0, 2, 1).contiguous()
        return y.view(batch, channels, *x.shape[2:]) + x


def relative_shift(x):
    """Transformer-XL: scores by distance become scores by place, by a pad and a view."""
    batch, rows, columns = x.shape
    x = torch.cat((torch.zeros(batch, rows, 1), x), 2).view(batch, columns + 1, rows)
    return x[:, 1:].view(batch, rows, columns)


def chunked(x):
    """Attention in blocks of four steps."""
    batch, steps, width = x.shape
    blocks = x.view(batch, steps // 4, 4, width)
    return (torch.softmax(blocks @ blocks.transpose(-1, -2), -1) @ blocks).view(batch, steps, width)


class OddUNet(nn.Module):
    """A decoder that is resized to what it is joined with."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.a(x).relu()
        b = functional.interpolate(self.b(a), size=a.shape[2:], mode="nearest")
        return functional.interpolate(self.c(torch.cat((a, b), 1)), size=x.shape[2:], mode="bilinear")


def masked_mean(x, lengths):
    mask = torch.arange(x.shape[1]).expand(x.shape[0], -1) < lengths.unsqueeze(1)
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def covariances(x):
    """XCiT: channels attend to channels."""
    q = functional.normalize(x.transpose(1, 2), dim=-1)
    return ((q @ q.transpose(1, 2)).softmax(-1) @ x.transpose(1, 2)).transpose(1, 2)


class Tokens(nn.Module):
    """A class token and positions as a table beside patches, the mean of the rest."""

    def __init__(self):
        super().__init__()
        self.patch, self.cls, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8)), nn.Linear(8, 8)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(x.shape[0], -1, -1), x), dim=1)
        x = x + self.fc(x)
        return torch.cat((x[:, 0], x[:, 1:].mean(1)), -1)


def patchify(x):
    """MAE's patches, and back."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    x = torch.einsum("nchpwq->nhwpqc", x).reshape(batch, (height // 2) * (width // 2), 4 * channels)
    x = torch.tanh(x).reshape(batch, height // 2, width // 2, 2, 2, channels)
    return torch.einsum("nhwpqc->nchpwq", x).reshape(batch, channels, height, width)


def focus(x):
    """YOLOv5's first layer."""
    return torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1)


def soft_argmax(x):
    """Coordinates of the middle of a heat map, from -1 to 1."""
    batch, count, height, width = x.shape
    weight = x.view(batch, count, -1).softmax(-1).view(batch, count, height, width)
    xs = (weight.sum(2) * torch.linspace(-1, 1, width)).sum(-1)
    ys = (weight.sum(3) * torch.linspace(-1, 1, height)).sum(-1)
    return torch.stack((xs, ys), -1)


def top_places(x):
    """CenterNet: peaks of a heat map, and where they lie."""
    batch, _, height, width = x.shape
    peaks = x * (functional.max_pool2d(x, 3, 1, 1) == x)
    scores, places = peaks.view(batch, -1).topk(5)
    places = places % (height * width)
    return scores, (places // width).float(), (places % width).float()


def interactions(x):
    """DLRM: each pair of features once."""
    i, j = torch.tril_indices(x.shape[1], x.shape[1], offset=-1)
    return torch.bmm(x, x.transpose(1, 2))[:, i, j]


def unrolled(x):
    """A recurrence that the exporter unrolls."""
    h = torch.zeros(x.shape[0], x.shape[2])
    made = []
    for step in range(x.shape[1]):
        h = torch.tanh(x[:, step] + 0.5 * h)
        made.append(h)
    return torch.stack(made, 1)


def _nets():
    """name -> (module, args, axes), as in dims_nets."""
    b, s = (0, 0, [2, 3]), (0, 1, [12, 16])
    h, w = (0, 2, [24, 32]), (0, 3, [24, 32])
    draw = torch.randn
    picture = (draw(1, 3, 16, 16),)
    both = [((0, 0), (1, 0), [2, 3]), ((0, 2), (1, 2), [6, 10]), ((0, 3), (1, 3), [6, 10])]
    seq = (draw(1, 8, 8),)
    return {
        "shuffle_unit": (ShuffleUnit(), (draw(1, 8, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "cbam": (CBAM(), (draw(1, 4, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "aspp": (ASPP(), picture, [b, h, w]),
        "pyramid": (Pyramid(), (draw(1, 3, 12, 12),), [b, (0, 2, [24, 36]), (0, 3, [24, 36])]),
        "deform": (Deform(), (draw(1, 3, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "correlation": (Function(correlation), (draw(1, 4, 8, 8), draw(1, 4, 8, 8)), both),
        "warped": (Function(warped), (draw(1, 3, 8, 8), draw(1, 2, 8, 8)), both),
        "perceiver": (Perceiver(), seq, [b, s]),
        "t5": (T5Bias(), seq, [b, s]),
        "shaw": (Shaw(), (draw(1, 8, 4),), [b, s]),
        "alibi_heads": (Alibi(), seq, [b, s]),
        "interleaved": (Function(interleaved), seq, [b, s]),
        "sinusoids": (Function(sinusoids), seq, [b, s]),
        "causal_cache": (CausalCache(), (draw(1, 3, 8), draw(1, 5, 8)), [((0, 0), (1, 0), [2, 3]), (1, 1, [7, 9])]),
        "experts": (Experts(), (draw(1, 8, 6),), [b, s]),
        "beams": (
            Function(beams),
            (draw(1, 3, 6), torch.randint(0, 6, (1, 3, 4))),
            [((0, 0), (1, 0), [2, 3]), (1, 2, [5, 8])],
        ),
        "ctc": (CTC(), (draw(1, 1, 8, 16),), [b, w]),
        "audio": (Audio(), (draw(1, 32),), [b, (0, 1, [48, 64])]),
        "spectrum": (Function(spectrum), (draw(1, 32),), [b, (0, 1, [48, 64])]),
        "gru_state": (GRUState(), (draw(1, 5, 4), draw(1, 1, 6)), [((0, 0), (1, 1), [2, 3]), (0, 1, [7, 9])]),
        "conv_gru": (ConvGRU(), (draw(1, 3, 8, 8), draw(1, 4, 8, 8)), both),
        "video": (Video(), (draw(1, 2, 4, 8, 8),), [b, (0, 2, [3, 6]), (0, 3, [6, 10])]),
        "neighbours": (Neighbours(), (draw(1, 3, 8),), [b, (0, 2, [12, 16])]),
        "matrix_nms": (Function(matrix_nms), (draw(6, 4), draw(6)), [((0, 0), (1, 0), [4, 9])]),
        "sine_positions": (SinePositions(), picture, [b, h, w]),
        "anchors": (Anchors(), picture, [b, h, w]),
        "masked_windows": (MaskedWindows(), (draw(1, 8, 8, 4),), [b, (0, 1, [12, 16]), (0, 2, [12, 16])]),
        "merging": (Merging(), (draw(1, 8, 8, 4),), [b, (0, 1, [12, 16]), (0, 2, [12, 16])]),
        "by_hand": (Function(by_hand), (draw(1, 3, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "unbiased": (Function(unbiased), seq, [b, s]),
        "similarities": (Function(similarities), (draw(3, 5), draw(4, 5)), [(0, 0, [2, 6]), (1, 0, [2, 7])]),
        "contrastive": (Function(contrastive), (draw(6, 5),), [(0, 0, [4, 9])]),
        "half_roll": (Function(half_roll), seq, [b, s]),
        "histogram": (Function(histogram), (draw(1, 8),), [b, s]),
        "scattered_tokens": (
            Function(scattered_tokens),
            (draw(1, 4, 5), torch.tensor([[3, 0, 4, 1]])),
            [((0, 0), (1, 0), [2, 3])],
        ),
        "every_second": (Function(every_second), seq, [b, s]),
        "padded_attention": (
            Function(padded_attention),
            (draw(1, 8, 4), torch.randint(0, 2, (1, 8))),
            [((0, 0), (1, 0), [2, 3]), ((0, 1), (1, 1), [12, 16])],
        ),
        "up_shuffle": (UpShuffle(), (draw(1, 3, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "linear_attention": (Function(linear_attention), seq, [b, s]),
        "axial": (Function(axial), (draw(1, 4, 6, 8),), [b, (0, 2, [4, 9]), (0, 3, [6, 12])]),
        "non_local": (NonLocal(), (draw(1, 4, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "relative_shift": (Function(relative_shift), (draw(1, 6, 6),), [b, ((0, 1), (0, 2), [9, 12])]),
        "chunked": (Function(chunked), (draw(1, 16, 8),), [b, (0, 1, [24, 32])]),
        "odd_unet": (OddUNet(), (draw(1, 3, 15, 13),), [b, (0, 2, [18, 21]), (0, 3, [18, 21])]),
        "masked_mean": (
            Function(masked_mean),
            (draw(1, 8, 4), torch.tensor([5])),
            [((0, 0), (1, 0), [2, 3]), s],
        ),
        "covariances": (Function(covariances), seq, [b, s]),
        "tokens": (Tokens(), picture, [b, h, w]),
        "patchify": (Function(patchify), (draw(1, 3, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "focus": (Function(focus), (draw(1, 3, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "soft_argmax": (Function(soft_argmax), (draw(1, 2, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "top_places": (Function(top_places), (draw(1, 2, 8, 8),), [b, (0, 2, [6, 10]), (0, 3, [6, 10])]),
        "interactions": (Function(interactions), (draw(1, 5, 4),), [b, (0, 1, [4, 7])]),
        "unrolled": (Function(unrolled), (draw(1, 5, 4),), [b, (0, 1, [4, 7])]),
    }


def more_nets():
    """The nets, in eval mode, their weights from one seed."""
    torch.manual_seed(1)
    return {name: (module.eval(), args, axes) for name, (module, args, axes) in _nets().items()}
