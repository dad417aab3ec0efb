"""Factors that ONNX Runtime rounds to the sizes that torch makes.

torch computes the size of a result as floor(in * factor) in double precision, ONNX Runtime as trunc(in * scale) in single
precision; for some pairs (15 and 4.2) they differ by one. A unit in the last place of the scale more or less mends that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.shapes import resamplers
from graphkit.shapes.inference import Chain, at_shapes

if TYPE_CHECKING:
    from graphkit.tensor import Array

ULPS = (0, 1, -1, 2, -2, 3, -3)
"""Units in the last place by which a scale is moved, nearest first."""


def exact_scale(size_in: int, factor: float) -> np.float32:
    """The float32 scale nearest to a factor with which ONNX Runtime makes torch's output size.

    Args:
        size_in: The size of the axis before, 1 or more.
        factor: The factor as torch is given it, above 0.

    Returns:
        A float32 that is at most three units in the last place away from the factor.

    Raises:
        ValueError: The size or the factor is not positive, or no such scale exists (above 2**24 elements an axis).
    """
    if size_in < 1 or not 0 < factor < math.inf:
        raise ValueError(f"a size of at least 1 and a positive factor are needed, not {size_in} and {factor}")
    wanted = math.floor(size_in * factor)
    for steps in ULPS:
        scale = _moved(factor, steps)
        if int(np.float32(size_in) * scale) == wanted:
            return scale
    raise ValueError(f"no float32 near {factor} takes {size_in} to {wanted}")


def exact_factor(
    model: onnx.ModelProto, name: str, factor: float | Sequence[float], shapes: Mapping[str, Sequence[int]]
) -> Array:
    """What to feed into a factor input that ``gk.resize`` made, so that every Resize makes torch's size.

    Args:
        model: The skeleton.
        name: The input: one of the form "factor" or "scales".
        factor: The factor or factors as torch is given them.
        shapes: The shapes that the other inputs are fed with; they decide the sizes that are multiplied.

    Returns:
        A float32 array with one number for each given; each is the nearest that is exact for all nodes which it drives,
        or just the nearest float32 where that cannot be known.

    Scope: main graph and bodies, as far as onnx infers static shapes there.
    Cost: O(graph), one run of onnx.shape_inference; weights are not read.
    """
    given = np.atleast_1d(np.asarray(factor, np.float64))
    best = given.astype(np.float32)
    nodes = [_Driven(site, name) for site in resamplers.resamplers(at_shapes(model, shapes)) if name in site.inputs]
    for position in range(len(given)):
        if not 0 < given[position] < math.inf:
            continue  # no size follows from it; the runtime says so
        for steps in ULPS:
            trial = best.copy()
            trial[position] = _moved(given[position], steps)
            if all(node.agrees(trial, given, position) for node in nodes):
                best = trial
                break
    return best


def drives_resize(model: onnx.ModelProto, name: str) -> bool:
    """Whether a graph input goes into the scales or sizes of a Resize. Cost: O(nodes); weights are not read."""
    return any(name in site.inputs for site in resamplers.resamplers(model))


class _Driven:
    """One Resize whose scales or sizes depend on the input."""

    def __init__(self, site: resamplers.Resampler, name: str) -> None:
        self._name = name
        self._chain = Chain(site.scope, site.source)
        self._opset = site.opset
        self._semantics = site.semantics
        known = site.scope.dims_of(site.data) or []
        self._dims = [known[axis] for axis in site.axes] if site.axes is not None and known else known

    def agrees(self, trial: Array, given: Array, position: int) -> bool:
        """Whether the sizes along the axes that one number drives are torch's; True where they are not known."""
        scale_one = self._result(np.ones_like(trial))
        got = self._result(trial)
        moved = self._result(np.where(np.arange(len(trial)) == position, np.float32(2), np.float32(1)))
        if scale_one is None or got is None or moved is None or len(got) != len(self._dims):
            return True
        for axis, size in enumerate(self._dims):
            if not isinstance(size, int) or moved[axis] == scale_one[axis]:
                continue
            base = float(scale_one[axis]) * (size if self._semantics == "scales" else 1)
            wanted = math.floor(base * float(given[position]))
            made = int(np.float32(size) * np.float32(got[axis])) if self._semantics == "scales" else int(got[axis])
            if made != wanted:
                return False
        return True

    def _result(self, fed: Array) -> Array | None:
        return self._chain.evaluate(self._opset, given={self._name: fed.astype(np.float32)})


def _moved(factor: float, steps: int) -> np.float32:
    """The float32 so many units in the last place beside a number."""
    scale = np.float32(factor)
    for _ in range(abs(steps)):
        scale = np.nextafter(scale, np.float32(math.inf if steps > 0 else 0))
    return scale
