"""How different two arrays are, in numbers: computed once, in float64, on the host."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.verify.tolerance import FEW, SMALLEST_SCALE, Policy, Tolerance, coarser

if TYPE_CHECKING:
    from graphkit.tensor import Array

BINS = tuple(range(-12, 3))
"""Powers of ten between which errors are counted; below the first, and zero, is the first bin."""

QUANTILE_SIZE = 1 << 20
"""Elements from which quantiles are taken at most; larger arrays are thinned out evenly."""

HEAT = 48
"""Rows and columns of the heat map at most."""


@dataclass(frozen=True)
class Metrics:
    """One output of the candidate beside the same output of the reference.

    Attributes:
        match: Whether every element agrees within the tolerance, and shape and dtype are the same.
        problem: Why it does not match where that is no matter of numbers: another shape or dtype, NaN, infinity.
        dtype: The candidate's dtype.
        shape: The candidate's shape.
        max_abs: Largest absolute error.
        max_rel: Largest relative error among elements whose expected magnitude is above the absolute tolerance.
        mean_abs: Mean absolute error.
        rms: Root mean square of the error.
        cosine: Cosine of the angle between the two arrays as vectors; 1 is the same direction.
        psnr: Peak signal to noise ratio in dB, the peak being the reference's largest minus its smallest number.
        ulp: Quantiles of the distance in units in the last place: 50 %, 99 %, largest. None for other than floats.
        share_out: Share of elements out of tolerance.
        worst: Index of the largest error.
        actual: The candidate's number there.
        expected: The reference's number there.
        rtol: Relative tolerance.
        atol: Absolute tolerance, the scale included.
        tolerance: Where the two come from.
    """

    match: bool
    problem: str | None
    dtype: str
    shape: tuple[int, ...]
    max_abs: float | None = None
    max_rel: float | None = None
    mean_abs: float | None = None
    rms: float | None = None
    cosine: float | None = None
    psnr: float | None = None
    ulp: dict[str, float] | None = None
    share_out: float | None = None
    worst: tuple[int, ...] | None = None
    actual: float | None = None
    expected: float | None = None
    rtol: float | None = None
    atol: float | None = None
    tolerance: str = ""


def measure(
    actual: Any,
    expected: Any,
    policy: Policy,
    *,
    any_dtype: bool = False,
    equal_nan: bool = False,
    small: bool = True,
) -> Metrics:
    """Compare two arrays.

    Args:
        actual: The candidate's array; a list of arrays for a sequence.
        expected: The reference's.
        policy: The tolerances.
        any_dtype: Compare the numbers also where the dtypes differ, with the tolerance of the coarser one.
        equal_nan: NaN agrees with NaN; otherwise any NaN is a failure.
        small: Hold small numbers against themselves (``drowned``). Inner values may be nothing but rounding noise.

    Cost: O(elements), in float64.
    """
    if hasattr(actual, "is_cuda") or hasattr(expected, "is_cuda"):
        from graphkit.verify.device import measure_tensors, to_tensor

        where = str((actual if hasattr(actual, "is_cuda") else expected).device)
        actual, expected = to_tensor(actual, where), to_tensor(expected, where)
        return measure_tensors(actual, expected, policy, any_dtype=any_dtype, equal_nan=equal_nan, small=small)
    if isinstance(actual, list) or isinstance(expected, list) or actual is None or expected is None:
        return _measure_sequence(actual, expected, policy, any_dtype=any_dtype, equal_nan=equal_nan, small=small)
    actual, expected = np.asarray(actual), np.asarray(expected)
    dtype, other = dtype_name(actual), dtype_name(expected)
    if actual.shape != expected.shape:
        return Metrics(False, f"shape {list(actual.shape)} instead of {list(expected.shape)}", dtype, actual.shape)
    wrong = None if dtype == other else f"dtype {dtype} instead of {other}"
    tolerance = policy.tolerance(coarser(dtype, other))
    if actual.dtype.kind in "OSUT" or expected.dtype.kind in "OSUT":
        return _measure_text(actual, expected, wrong, dtype)
    found = _numbers(actual, expected, tolerance, equal_nan=equal_nan, small=small)
    problem = found.problem if any_dtype else wrong or found.problem
    return replace(found, problem=problem, match=found.match and problem is None, dtype=dtype)


def dtype_name(array: Array) -> str:
    """A dtype's name as ONNX users write it."""
    return "string" if array.dtype.kind in "OSUT" else str(array.dtype)


def _numbers(actual: Array, expected: Array, tolerance: Tolerance, *, equal_nan: bool, small: bool) -> Metrics:
    wide = np.complex128 if "c" in (actual.dtype.kind, expected.dtype.kind) else np.float64
    a, b = actual.astype(wide), expected.astype(wide)
    problem, valid = _special(a, b, equal_nan=equal_nan)
    atol = tolerance.atol * (scale_of(b) if tolerance.scaled else 1.0)
    shape = actual.shape
    base = Metrics(problem is None, problem, str(actual.dtype), shape, rtol=tolerance.rtol, atol=atol)
    base = replace(base, tolerance=tolerance.source)
    if valid is not None:
        a, b = np.where(valid, a, 0), np.where(valid, b, 0)
    if not a.size:
        return replace(base, max_abs=0.0, max_rel=0.0, mean_abs=0.0, rms=0.0, cosine=1.0, psnr=math.inf, share_out=0.0)
    error, magnitude = np.abs(a - b), np.abs(b)
    if actual.dtype.kind in "iub" and not tolerance.rtol and not atol:
        outside = actual != expected  # float64 does not tell neighbours above 2**53 apart
    else:
        outside = error > atol + tolerance.rtol * magnitude
    share = float(np.count_nonzero(outside)) / a.size
    if problem is None and small and share == 0:
        problem = drowned(error, magnitude, tolerance)
    at = tuple(int(i) for i in np.unravel_index(int(error.argmax()), shape))
    rms = float(np.sqrt(np.mean(np.square(error))))
    return replace(
        base,
        problem=problem,
        match=problem is None and share == 0,
        max_abs=float(error[at]),
        max_rel=_max_relative(error, magnitude, atol),
        mean_abs=float(error.mean()),
        rms=rms,
        cosine=_cosine(a, b),
        psnr=_psnr(b.real, rms),
        ulp=ulp_quantiles(actual, expected),
        share_out=share,
        worst=at,
        actual=float(a[at].real),
        expected=float(b[at].real),
    )


def _special(a: Array, b: Array, *, equal_nan: bool) -> tuple[str | None, Array | None]:
    """(what is wrong with NaN and infinities, which elements are finite on both sides; None for all)."""
    # A sum is finite unless an element is not (or the sum overflows, which float64 does not do here): one pass.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(a.sum()) and np.isfinite(b.sum()):
            return None, None
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    inf_a, inf_b = np.isinf(a), np.isinf(b)
    valid = ~(nan_a | nan_b | inf_a | inf_b)
    problems = []
    if not equal_nan and (nan_a.any() or nan_b.any()):
        problems.append(f"NaN: {int(nan_a.sum())} elements, {int(nan_b.sum())} in the reference")
    elif equal_nan and (nan_a != nan_b).any():
        problems.append(f"NaN in other places: {int((nan_a != nan_b).sum())} elements")
    infinite = (inf_a | inf_b) & ~(nan_a | nan_b)
    if (a[infinite] != b[infinite]).any():
        problems.append(f"infinite: {int(inf_a.sum())} elements, {int(inf_b.sum())} in the reference")
    return "; ".join(problems) or None, valid


def scale_of(expected: Array) -> float:
    """The magnitude of an array: root mean square of what is not zero, outliers clipped at 100 times the median; at least 0.01.

    Zeros are left out because a Relu makes many and takes no error away; clipping keeps a mask of -1e9 from hiding every
    other difference.
    """
    flat = _thinned(np.abs(expected).ravel())
    flat = flat[np.isfinite(flat) & (flat > 0)]
    if not flat.size:
        return SMALLEST_SCALE
    clipped = np.minimum(flat, 100 * float(np.median(flat)))
    return max(SMALLEST_SCALE, float(np.sqrt(np.mean(np.square(clipped)))))


def drowned(error: Any, magnitude: Any, tolerance: Tolerance) -> str | None:
    """What is wrong with numbers so small that ``atol`` would let any error of theirs pass.

    The whole output may be smaller than the smallest scale (probabilities of a large vocabulary); or a part of it, as
    the scores of a detector beside coordinates in pixels. So the errors of the output, and of each slice of FEW
    elements or more along each axis, are held against the numbers of that slice. Numpy arrays or torch tensors.

    Returns:
        What to tell the user; None where nothing is wrong or the user gave ``atol``.
    """
    if not tolerance.scaled or not bool((error > 0).any()):
        return None
    squares, numbers = error * error, magnitude * magnitude
    wrong, right = float(squares.sum()), float(numbers.sum())
    if wrong > tolerance.share**2 * right > 0:
        return _share_text("", wrong, right, error.size if isinstance(error, np.ndarray) else error.numel())
    count = math.prod(error.shape)
    for axis, size in enumerate(error.shape):
        if size == 1 or count // size < FEW:
            continue
        others = tuple(other for other in range(error.ndim) if other != axis)
        wrongs, rights = squares.sum(others), numbers.sum(others)
        bad = (wrongs > tolerance.share**2 * rights) & (rights > 0)
        if bool(bad.any()):
            at = int(bad.argmax()) if isinstance(bad, np.ndarray) else int(bad.int().argmax())
            return _share_text(f" at {at} on axis {axis}", float(wrongs[at]), float(rights[at]), count // size)
    return None


def _share_text(where: str, wrong: float, right: float, count: int) -> str:
    return (
        f"off by {100 * math.sqrt(wrong / right):.2g} % of the root mean square {math.sqrt(right / count):.2g}{where}"
    )


def _thinned(flat: Array, limit: int = 1 << 16) -> Array:
    return flat[:: -(-flat.size // limit)] if flat.size > limit else flat


def _max_relative(error: Array, magnitude: Array, atol: float) -> float:
    relevant = magnitude > max(atol, 1e-300)
    if not relevant.any():
        return 0.0
    return float(np.max(error[relevant] / magnitude[relevant]))


def _cosine(a: Array, b: Array) -> float:
    a, b = a.ravel(), b.ravel()
    # Sums without BLAS: its threads and those of the runtime keep each other waiting, for milliseconds a call.
    norms = math.sqrt(float(np.sum(np.square(np.abs(a))))) * math.sqrt(float(np.sum(np.square(np.abs(b)))))
    if norms == 0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(min(1.0, max(-1.0, np.sum(np.conj(a) * b).real / norms)))


def _psnr(expected: Array, rms: float) -> float:
    if rms == 0:
        return math.inf
    peak = float(expected.max() - expected.min()) or float(np.abs(expected).max()) or 1.0
    return 20 * math.log10(peak / rms)


def ulp_quantiles(actual: Array, expected: Array) -> dict[str, float] | None:
    """Quantiles of the distance in units in the last place of the arrays' own float type."""
    plain = {2: np.int16, 4: np.int32, 8: np.int64}.get(actual.dtype.itemsize)
    floats = actual.dtype.kind == "f" or str(actual.dtype) == "bfloat16"
    if actual.dtype != expected.dtype or plain is None or not floats or not actual.size:
        return None
    a, b = (_ordered(_thinned(np.ascontiguousarray(x).ravel(), QUANTILE_SIZE).view(plain)) for x in (actual, expected))
    if actual.dtype.itemsize == 8:
        distance = np.abs(a.astype(np.float64) - b.astype(np.float64))
    else:
        distance = np.abs(a - b).astype(np.float64)
    last = distance.size - 1
    places = [last // 2, int(last * 0.99)]
    parted = np.partition(distance, places)
    return {"p50": float(parted[places[0]]), "p99": float(parted[places[1]]), "max": float(distance.max())}


def _ordered(bits: Array) -> Array:
    """Float bits as integers in the order of the floats, so that neighbours differ by one."""
    wide = bits.astype(np.int64)
    lowest = int(np.iinfo(bits.dtype).min)
    return np.where(wide < 0, lowest - wide, wide)


def _measure_text(actual: Array, expected: Array, wrong: str | None, dtype: str) -> Metrics:
    differ = actual.astype(str) != expected.astype(str)
    share = float(differ.mean()) if differ.size else 0.0
    worst = tuple(int(i) for i in np.argwhere(differ)[0]) if differ.any() else None
    return Metrics(
        wrong is None and share == 0, wrong, dtype, actual.shape, share_out=share, worst=worst, tolerance="exact"
    )


def _measure_sequence(actual: Any, expected: Any, policy: Policy, **options: bool) -> Metrics:
    """Sequences element by element: the worst of them; an empty optional agrees with an empty optional."""
    if not (isinstance(actual, list) and isinstance(expected, list)):
        same = actual is None and expected is None
        return Metrics(same, None if same else "a sequence or optional on one side only", "none", ())
    if len(actual) != len(expected):
        return Metrics(False, f"{len(actual)} elements instead of {len(expected)}", "sequence", (len(actual),))
    found = [measure(a, e, policy, **options) for a, e in zip(actual, expected, strict=True)]
    return max(found, key=badness, default=Metrics(True, None, "sequence", (0,)))


def badness(metrics: Metrics) -> tuple[int, float, float]:
    """What to sort by to have the worst last: failures, then the largest error, then the share out of tolerance."""
    error = metrics.max_abs or 0.0
    return (int(not metrics.match) + int(metrics.problem is not None), error, metrics.share_out or 0.0)


@dataclass(frozen=True)
class ErrorPicture:
    """Where an error lies: for the HTML page.

    Attributes:
        histogram: Number of elements whose absolute error is below each power of ten in BINS (the last: above all).
        heat: Largest absolute error by place, the array seen as rows and columns and thinned to 48 each; row by row.
    """

    histogram: tuple[int, ...]
    heat: tuple[tuple[float, ...], ...]


def error_picture(actual: Any, expected: Any) -> ErrorPicture | None:
    """The error of two arrays as a histogram and a heat map; None where they cannot be subtracted."""
    if not isinstance(actual, np.ndarray) or not isinstance(expected, np.ndarray) or actual.shape != expected.shape:
        return None
    if actual.dtype.kind in "OSUT" or not actual.size:
        return None
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(np.abs(actual.astype(np.float64) - expected.astype(np.float64)), posinf=0, neginf=0)
    with np.errstate(divide="ignore"):
        places = np.digitize(np.log10(error).ravel(), BINS)
    counts = np.bincount(places, minlength=len(BINS) + 1)
    return ErrorPicture(tuple(int(c) for c in counts), _heat(error))


def _heat(error: Array) -> tuple[tuple[float, ...], ...]:
    if error.ndim >= 3:
        plane = error.reshape(-1, *error.shape[-2:]).max(axis=0)
    elif error.ndim == 2:
        plane = error
    else:
        side = math.ceil(math.sqrt(max(1, error.size)))
        plane = np.zeros(side * side)
        plane[: error.size] = error.ravel()
        plane = plane.reshape(side, side)
    rows = np.array_split(plane, min(HEAT, plane.shape[0]), axis=0)
    cells = [np.array_split(row, min(HEAT, plane.shape[1]), axis=1) for row in rows]
    return tuple(tuple(float(cell.max()) for cell in row) for row in cells)
