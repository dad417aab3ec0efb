"""How different two arrays are, in numbers: computed once, in float64, where the arrays are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.result import Result
from graphkit.verify.compare.blocks import Block, Blocks, as_integers, on_device, on_host, thinned, wide
from graphkit.verify.compare.magnitude import mask_level, scale_of
from graphkit.verify.compare.tolerance import FEW, Policy, Tolerance, coarser

if TYPE_CHECKING:
    from graphkit.tensor import Array

QUANTILE_SAMPLE = 1 << 18
"""Elements from which quantiles are taken at most; larger arrays are thinned out evenly."""


@dataclass(frozen=True, repr=False)
class Metrics(Result):
    """One output of the candidate beside the same output of the reference.

    Where an element does not agree because it is NaN or infinite, no number looks good: the errors are infinite, ``cosine``
    and ``psnr`` are 0, and ``worst`` is the first such element. JSON has infinite numbers as the text ``"inf"``. Where
    shapes differ, and for texts, there are no errors: None.

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

    def __bool__(self) -> bool:
        return self.match


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
        actual: The candidate's array, or a torch tensor; a list of arrays for a sequence.
        expected: The reference's.
        policy: The tolerances.
        any_dtype: Compare the numbers also where the dtypes differ, with the tolerance of the coarser one.
        equal_nan: NaN agrees with NaN; otherwise any NaN is a failure.
        small: Measure small numbers by their own magnitude (``small_numbers_differ``). Inner values may be nothing but rounding noise.

    Cost: O(elements), in float64, block by block: ``WORKING_BYTES`` at most, whatever the size. Tensors on a device are
    compared there.
    """
    if isinstance(actual, list) or isinstance(expected, list) or actual is None or expected is None:
        return _measure_sequence(actual, expected, policy, any_dtype=any_dtype, equal_nan=equal_nan, small=small)
    if on_device(actual) or on_device(expected):
        from graphkit.torch_tensors import to_tensor

        where = str((actual if on_device(actual) else expected).device)
        actual, expected = to_tensor(actual, where), to_tensor(expected, where)
    else:
        actual, expected = np.asarray(actual), np.asarray(expected)
    dtype, other = dtype_name(actual), dtype_name(expected)
    shape = tuple(actual.shape)
    if shape != tuple(expected.shape):
        return Metrics(False, f"shape {list(shape)} instead of {list(expected.shape)}", dtype, shape)
    wrong = None if dtype == other else f"dtype {dtype} instead of {other}"
    if "string" in (dtype, other):
        return _measure_text(actual, expected, wrong, dtype)
    tolerance = policy.tolerance(coarser(dtype, other))
    found = _numbers(actual, expected, tolerance, equal_nan=equal_nan, small=small)
    if wrong and found.match:
        wrong += ", the numbers agree; any_dtype compares them only"
    problem = found.problem if any_dtype else wrong or found.problem
    return replace(found, problem=problem, match=found.match and problem is None, dtype=dtype)


def dtype_name(array: Any) -> str:
    """The name of the dtype of an array or tensor as ONNX users write it."""
    text = isinstance(array, np.ndarray) and array.dtype.kind in "OSUT"
    return "string" if text else str(array.dtype).removeprefix("torch.")


@dataclass
class _Sums:
    """What is added up over the blocks of two arrays."""

    error: float = 0.0
    squares: float = 0.0
    own: float = 0.0
    right: float = 0.0
    product: float = 0.0
    outside: int = 0
    relative: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    magnitude: float = 0.0
    largest: float = -1.0
    worst: tuple[int, ...] = ()
    actual: float = 0.0
    expected: float = 0.0

    def add(self, blocks: Blocks, block: Block, rtol: float, atol: float, *, exact: bool) -> None:
        """Take in a block."""
        a, b, error, magnitude = block.a, block.b, block.error, block.magnitude
        self.error += float(error.sum())
        self.squares += float((error * error).sum())
        # Sums without BLAS: its threads and those of the runtime keep each other waiting, for milliseconds a call.
        self.own += float((a * a.conj()).real.sum())
        self.right += float((magnitude * magnitude).sum())
        self.product += float((a * b.conj()).real.sum())
        # float64 does not tell neighbours above 2**53 apart.
        native = blocks.actual[block.box], blocks.expected[block.box]
        outside = native[0] != native[1] if exact else error > atol + rtol * magnitude
        self.outside += int(outside.sum())
        relevant = magnitude > max(atol, 1e-300)
        if bool(relevant.any()):
            self.relative = max(self.relative, float((error[relevant] / magnitude[relevant]).max()))
        self.low, self.high = min(self.low, float(b.real.min())), max(self.high, float(b.real.max()))
        self.magnitude = max(self.magnitude, float(magnitude.max()))
        at = int(error.argmax())
        largest = float(error.reshape(-1)[at])
        if largest > self.largest:
            self.largest = largest
            self.worst = blocks.place(block.box, at)
            self.actual, self.expected = float(a.reshape(-1)[at].real), float(b.reshape(-1)[at].real)

    @property
    def cosine(self) -> float:
        norms = math.sqrt(self.own) * math.sqrt(self.right)
        if norms == 0:
            return 1.0 if self.own == self.right else 0.0
        return min(1.0, max(-1.0, self.product / norms))

    def psnr(self, rms: float) -> float:
        return 20 * math.log10((self.high - self.low or self.magnitude or 1.0) / rms) if rms else math.inf


def _numbers(actual: Any, expected: Any, tolerance: Tolerance, *, equal_nan: bool, small: bool) -> Metrics:
    atol = tolerance.atol * (scale_of(expected) if tolerance.scaled else 1.0)
    dtype, blocks = dtype_name(actual), Blocks(actual, expected, equal_nan=equal_nan)
    base = Metrics(True, None, dtype, blocks.shape, rtol=tolerance.rtol, atol=atol, tolerance=tolerance.source)
    if not blocks.count:
        return replace(base, max_abs=0.0, max_rel=0.0, mean_abs=0.0, rms=0.0, cosine=1.0, psnr=math.inf, share_out=0.0)
    sums = _Sums()
    exact = dtype.startswith(("int", "uint", "bool")) and not tolerance.rtol and not atol
    for block in blocks:
        sums.add(blocks, block, tolerance.rtol, atol, exact=exact)
    problem = blocks.special.problem()
    if problem is None and small and not sums.outside and sums.largest > 0:
        problem = small_numbers_differ(blocks, tolerance)
    if blocks.special.wrong:
        return _not_finite(replace(base, problem=problem, match=False), blocks, sums.outside)
    rms = math.sqrt(sums.squares / blocks.count)
    return replace(
        base,
        problem=problem,
        match=problem is None and not sums.outside,
        max_abs=sums.largest,
        max_rel=sums.relative,
        mean_abs=sums.error / blocks.count,
        rms=rms,
        cosine=sums.cosine,
        psnr=sums.psnr(rms),
        ulp=ulp_quantiles(actual, expected),
        share_out=sums.outside / blocks.count,
        worst=sums.worst,
        actual=sums.actual,
        expected=sums.expected,
    )


def _not_finite(base: Metrics, blocks: Blocks, outside: int) -> Metrics:
    """The metrics of arrays that do not agree because of NaN or infinity."""
    worst = blocks.special.first or ()
    return replace(
        base,
        max_abs=math.inf,
        max_rel=math.inf,
        mean_abs=math.inf,
        rms=math.inf,
        cosine=0.0,
        psnr=0.0,
        ulp=dict.fromkeys(("p50", "p99", "max"), math.inf) if base.dtype in _FLOATS else None,
        share_out=(outside + blocks.special.wrong) / blocks.count,
        worst=worst,
        actual=complex(blocks.actual[worst]).real,
        expected=complex(blocks.expected[worst]).real,
    )


def small_numbers_differ(blocks: Blocks, tolerance: Tolerance, rounding: Array | None = None) -> str | None:
    """What is wrong with numbers so small that ``atol`` would let any error of theirs pass.

    The whole output may be smaller than the smallest scale (probabilities of a large vocabulary); or a part of it, as
    the scores of a detector beside coordinates in pixels. So the errors of the output, and of each slice of FEW
    elements or more along each axis, are measured by the numbers of that slice; without what is masked.

    Args:
        blocks: The candidate's array and the reference's.
        tolerance: Whose ``share`` is allowed.
        rounding: What every element may be wrong by all the same.

    Returns:
        What to tell the user; None where nothing is wrong or the user gave ``atol``.
    """
    if not tolerance.scaled:
        return None
    shape = blocks.shape
    axes = [axis for axis, size in enumerate(shape) if size > 1 and blocks.count // size >= FEW]
    slices = {axis: np.zeros((4, shape[axis])) for axis in axes}
    whole = np.zeros(4)
    step, level = _smallest(dtype_name(blocks.actual)), mask_level(blocks.expected)
    for block in blocks:
        spare = None if rounding is None else wide(rounding[block.box]) + step
        seen = block.magnitude < level
        for row, numbers in enumerate((block.error, block.magnitude, spare, seen)):
            if numbers is None:
                continue
            squares = numbers * numbers * seen
            whole[row] += float(squares.sum())
            for axis in axes:
                others = tuple(other for other in range(len(shape)) if other != axis)
                part = block.box[axis] if axis < len(block.box) - 1 else slice(None)
                slices[axis][row, part] += on_host(squares.sum(others))
    if _beyond(whole, tolerance):
        return _share_text("", whole)
    for axis, sums in slices.items():
        bad = _beyond(sums, tolerance) & (sums[3] >= FEW)
        if bad.any():
            at = int(bad.argmax())
            return _share_text(f" at {at} on axis {axis}", sums[:, at])
    return None


def _beyond(sums: Array, tolerance: Tolerance) -> Any:
    """Whether errors are too large for what they are errors of: sums of the squares of errors, numbers, and rounding."""
    wrong, right, spare, _ = sums
    return (right > 0) & (wrong > tolerance.share**2 * right + spare)


def _smallest(dtype: str) -> float:
    """Below this numbers of a dtype lose digits, or get lost; for 16 bits, where runtimes compute in float32, the last digit."""
    return {"float16": 2.0**-24, "float64": 2.0**-1022}.get(dtype, 2.0**-126)


def _share_text(where: str, sums: Array) -> str:
    wrong, right, _, count = map(float, sums)
    return (
        f"off by {100 * math.sqrt(wrong / right):.2g} % of the root mean square {math.sqrt(right / count):.2g}{where}"
    )


def ulp_quantiles(actual: Any, expected: Any) -> dict[str, float] | None:
    """Quantiles of the distance in units in the last place of the arrays' own float type; the largest is that of all."""
    dtype = dtype_name(actual)
    if dtype != dtype_name(expected) or dtype not in _FLOATS:
        return None
    pair = Blocks(actual, expected)
    if not pair.count:
        return None
    distance = _distance(thinned(actual, QUANTILE_SAMPLE), thinned(expected, QUANTILE_SAMPLE))
    last = distance.size - 1
    places = [last // 2, int(last * 0.99)]
    distance.partition([*places, last])
    largest = float(distance[last])
    if pair.count > QUANTILE_SAMPLE:
        largest = max(float(_distance(actual[box], expected[box]).max()) for box in pair.boxes())
    return {"p50": float(distance[places[0]]), "p99": float(distance[places[1]]), "max": largest}


_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _distance(a: Any, b: Any) -> Any:
    """By how many floats of their type two arrays are apart, element by element."""
    return abs(_ordered(a) - _ordered(b))


def _ordered(array: Any) -> Any:
    """Floats as integers in their order, so that neighbours differ by one; in float64, which holds those of 32 bits.

    A float's bits are its sign and its magnitude; those of negative ones become minus the magnitude.
    """
    bits, width = as_integers(array)
    sign = bits >> width - 1  # 0 or -1
    return wide((bits ^ sign & (1 << width - 1) - 1) - sign)


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
