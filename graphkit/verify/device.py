"""Tensors on a device: how they get there, and how two of them differ without leaving it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.verify.metrics import Metrics, drowned
from graphkit.verify.tolerance import SMALLEST_SCALE, Policy, Tolerance, coarser

if TYPE_CHECKING:
    import torch


def to_tensor(value: Any, device: str) -> torch.Tensor:
    """An array as a tensor on a device; bfloat16 included."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device)
    array = np.ascontiguousarray(value)
    if str(array.dtype) == "bfloat16":
        tensor = torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    return tensor.reshape(np.shape(value)).to(device)


def measure_tensors(
    actual: torch.Tensor,
    expected: torch.Tensor,
    policy: Policy,
    *,
    any_dtype: bool = False,
    equal_nan: bool = False,
    small: bool = True,
) -> Metrics:
    """``metrics.measure`` on the device where the tensors are; only the results are copied to the host."""
    dtype, other = (str(t.dtype).removeprefix("torch.") for t in (actual, expected))
    shape = tuple(actual.shape)
    if shape != tuple(expected.shape):
        return Metrics(False, f"shape {list(shape)} instead of {list(expected.shape)}", dtype, shape)
    wrong = None if dtype == other or any_dtype else f"dtype {dtype} instead of {other}"
    found = _numbers(actual, expected, policy.tolerance(coarser(dtype, other)), equal_nan=equal_nan, small=small)
    problem = wrong or found.problem
    return replace(found, problem=problem, match=found.match and problem is None, dtype=dtype)


def _numbers(
    actual: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance, *, equal_nan: bool, small: bool
) -> Metrics:
    import torch

    a, b = actual.double(), expected.double()
    shape = tuple(a.shape)
    problem, valid = _special(a, b, equal_nan=equal_nan)
    a, b = torch.where(valid, a, 0.0), torch.where(valid, b, 0.0)
    atol = tolerance.atol * (_scale(b) if tolerance.scaled else 1.0)
    base = Metrics(problem is None, problem, str(actual.dtype), shape, rtol=tolerance.rtol, atol=atol)
    base = replace(base, tolerance=tolerance.source)
    if not a.numel():
        return replace(base, max_abs=0.0, max_rel=0.0, mean_abs=0.0, rms=0.0, cosine=1.0, psnr=math.inf, share_out=0.0)
    error, magnitude = (a - b).abs(), b.abs()
    exact = not tolerance.rtol and not atol
    outside = actual != expected if exact else error > atol + tolerance.rtol * magnitude
    share = float(outside.double().mean())
    if problem is None and small and share == 0:
        problem = drowned(error, magnitude, tolerance)
    at = np.unravel_index(int(error.argmax()), shape)
    place = tuple(int(i) for i in at)
    rms = float(error.square().mean().sqrt())
    relative = torch.where(magnitude > max(atol, 1e-300), error / magnitude.clamp_min(1e-300), 0.0)
    peak = float(b.max() - b.min()) or float(magnitude.max()) or 1.0
    norms = float(a.norm()) * float(b.norm())
    dot = float((a * b).sum())
    same_direction = dot / norms if norms else float(not a.any() and not b.any())
    return replace(
        base,
        problem=problem,
        match=problem is None and share == 0,
        max_abs=float(error[place]),
        max_rel=float(relative.max()),
        mean_abs=float(error.mean()),
        rms=rms,
        cosine=min(1.0, max(-1.0, same_direction)),
        psnr=math.inf if rms == 0 else 20 * math.log10(peak / rms),
        ulp=_ulp(actual, expected),
        share_out=share,
        worst=place,
        actual=float(a[place]),
        expected=float(b[place]),
    )


def _special(a: torch.Tensor, b: torch.Tensor, *, equal_nan: bool) -> tuple[str | None, torch.Tensor]:
    nan_a, nan_b, inf_a, inf_b = a.isnan(), b.isnan(), a.isinf(), b.isinf()
    problems = []
    if not equal_nan and bool(nan_a.any() | nan_b.any()):
        problems.append(f"NaN: {int(nan_a.sum())} elements, {int(nan_b.sum())} in the reference")
    elif equal_nan and bool((nan_a != nan_b).any()):
        problems.append(f"NaN in other places: {int((nan_a != nan_b).sum())} elements")
    infinite = (inf_a | inf_b) & ~(nan_a | nan_b)
    if bool((infinite & (a != b)).any()):
        problems.append(f"infinite: {int(inf_a.sum())} elements, {int(inf_b.sum())} in the reference")
    return "; ".join(problems) or None, ~(nan_a | nan_b | inf_a | inf_b)


def _scale(expected: torch.Tensor) -> float:
    flat = expected.abs().flatten()
    flat = flat[:: -(-flat.numel() // (1 << 16))] if flat.numel() > 1 << 16 else flat
    positive = flat[flat > 0]
    if not positive.numel():
        return SMALLEST_SCALE
    middle = float(positive.quantile(0.5))
    clipped = positive.clamp_max(100 * middle)
    return max(SMALLEST_SCALE, math.sqrt(float(clipped.square().mean())))


def _ulp(actual: torch.Tensor, expected: torch.Tensor) -> dict[str, float] | None:
    import torch

    plain = {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(actual.element_size())
    if actual.dtype != expected.dtype or not actual.is_floating_point() or plain is None:
        return None
    lowest = torch.iinfo(plain).min
    a, b = (t.contiguous().flatten().view(plain).long() for t in (actual, expected))
    if a.numel() > 1 << 20:
        step = -(-a.numel() // (1 << 20))
        a, b = a[::step], b[::step]
    a, b = (torch.where(t < 0, lowest - t, t) for t in (a, b))
    distance = (a.double() - b.double()).abs().sort().values
    last = distance.numel() - 1
    return {"p50": float(distance[last // 2]), "p99": float(distance[int(last * 0.99)]), "max": float(distance[last])}
