"""Factors that ONNX Runtime rounds to the sizes that torch makes.

torch computes the size of a result as floor(in * factor) in double precision, ONNX Runtime as trunc(in * scale) in single
precision; for some pairs (15 and 4.2) they differ by one. A unit in the last place of the scale more or less mends that.

With mode nearest the pixel that a result copies is floor(i * float32(1 / factor)) in torch and floor(i / scale) in ONNX
Runtime, both in single precision. Where in * factor is a whole number, one unit in the last place moves that too.
And where floor(in * factor) is in, or twice in, torch copies the rows or doubles them, whatever the factor (ATen,
UpSample.h, nearest_idx): there ONNX Runtime is fed 1 or 2, each axis its own number where they differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.graph.values import attribute_value
from graphkit.shapes import resize_patterns
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

    Example:
        >>> import graphkit as gk
        >>> float(gk.exact_scale(8, 2.5))
        2.5
    """
    if size_in < 1 or not 0 < factor < math.inf:
        raise ValueError(f"a size of at least 1 and a positive factor are needed, not {size_in} and {factor}")
    wanted = math.floor(size_in * factor)
    for steps in ULPS:
        scale = _moved(factor, steps)
        if int(np.float32(size_in) * scale) == wanted:
            return scale
    raise ValueError(f"no float32 near {factor} takes {size_in} to {wanted}")


@dataclass(frozen=True)
class Factors:
    """What each side is fed so that both resize alike.

    Attributes:
        fed: For ONNX Runtime: a float32 array.
        meant: For torch: float64; as given, or the float32's own value where no float32 has what the given one makes.
    """

    fed: Array
    meant: Array

    def fed_like(self, array: Array) -> Array:
        """What ONNX Runtime is fed instead of an array: of its shape, or one number for each axis where it needs several."""
        return self.fed.reshape(array.shape) if self.fed.size == array.size else self.fed

    @property
    def copies(self) -> bool:
        """Whether torch copies or doubles whole rows where the factor given is neither 1 nor 2."""
        meant = self.meant if self.meant.size == self.fed.size else np.repeat(self.meant, self.fed.size)
        return bool((np.abs(self.fed - meant) > 1e-5 * meant).any())


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
        A float32 array with one number for each given (or for each axis, where torch copies the rows of some); each is the nearest with which all nodes that it drives make
        torch's sizes, and copy torch's pixels where one does both (mode nearest); or just the nearest float32 where that
        cannot be known.

    Scope: main graph and bodies, as far as onnx infers static shapes there.
    Cost: O(graph), one run of onnx.shape_inference; weights are not read.
    """
    return agreeing_factors(model, name, factor, shapes).fed


def agreeing_factors(
    model: onnx.ModelProto, name: str, factor: float | Sequence[float], shapes: Mapping[str, Sequence[int]]
) -> Factors:
    """What to feed to ONNX Runtime and what to torch. Arguments, scope and cost as ``exact_factor``.

    No float32 near 4.2 both takes 15 to 63 and copies torch's pixels; both sides agree at 4.2000003.
    """
    given = np.atleast_1d(np.asarray(factor, np.float64))
    sites = [site for site in resize_patterns.resamplers(at_shapes(model, shapes)) if name in site.inputs]
    nodes = [_Driven(site, name) for site in sites]
    factors, exact = _agreeing(nodes, given)
    axes = {len(site.spatial) for site in sites}
    if not exact and len(given) == 1 and len(axes) == 1 and max(axes) > 1 and _takes_several(model, name):
        each, exact = _agreeing(nodes, np.repeat(given, max(axes)))
        if exact and bool((each.meant == given[0]).all()):
            return Factors(each.fed, given)
    return factors


def _takes_several(model: onnx.ModelProto, name: str) -> bool:
    """Whether an input takes one number for all axes, or one for each."""
    info = next(info for info in model.graph.input if info.name == name)
    return [dim.HasField("dim_value") for dim in info.type.tensor_type.shape.dim] == [False]


def _agreeing(nodes: Sequence[_Driven], given: Array) -> tuple[Factors, bool]:
    """What to feed, and whether sizes and pixels are torch's with it."""
    best, meant, exact = given.astype(np.float32), given.copy(), True
    for position in range(len(given)):
        if not 0 < given[position] < math.inf:
            continue  # no size follows from it; the runtime says so
        trials = [_replaced(best, position, _moved(given[position], steps)) for steps in ULPS]
        own = [_replaced(given, position, float(trial[position])) for trial in trials]
        whole = [_replaced(best, position, np.float32(number)) for number in (1, 2)]
        attempts = [
            *((trial, given, True) for trial in (*trials, *whole)),
            *((trial, value, True) for trial, value in zip(trials, own, strict=True)),
            *((trial, given, False) for trial in trials),
        ]
        for trial, value, pixels in attempts:
            if all(node.agrees(trial, value, position, pixels=pixels) for node in nodes):
                best, meant[position] = trial, value[position]
                exact = exact and pixels and value is given
                break
        else:
            exact = False
    return Factors(best, meant), exact


def drives_resize(model: onnx.ModelProto, name: str) -> bool:
    """Whether a graph input goes into the scales or sizes of a Resize. Cost: O(nodes); weights are not read."""
    return any(name in site.inputs for site in resize_patterns.resamplers(model))


class _Driven:
    """One Resize whose scales or sizes depend on the input."""

    def __init__(self, site: resize_patterns.Resampler, name: str) -> None:
        self._name = name
        self._chain = Chain(site.scope, site.source)
        self._opset = site.opset
        self._semantics = site.semantics
        known = site.scope.dims_of(site.data) or []
        self._dims = [known[axis] for axis in site.axes] if site.axes is not None and known else known
        self._copies_pixels = site.semantics == "scales" and _is_torchs_nearest(site)

    def agrees(self, trial: Array, given: Array, position: int, *, pixels: bool) -> bool:
        """Whether sizes (and pixels) along the axes that one number drives are torch's; True where they are not known."""
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
            if (
                pixels
                and self._copies_pixels
                and not _same_pixels(size, wanted, base * float(given[position]) / size, got[axis])
            ):
                return False
        return True

    def _result(self, fed: Array) -> Array | None:
        return self._chain.evaluate(self._opset, given={self._name: fed.astype(np.float32)})


def _is_torchs_nearest(site: resize_patterns.Resampler) -> bool:
    """Whether a node copies pixels as torch's mode nearest does: the one at or before the place."""
    node = site.node
    if attribute_value(node, "mode", "nearest") != "nearest":
        return False
    if node.op_type == "Upsample" or site.opset < 11:
        return True
    place = attribute_value(node, "coordinate_transformation_mode", "half_pixel")
    return bool(place == "asymmetric" and attribute_value(node, "nearest_mode", "round_prefer_floor") == "floor")


def _same_pixels(size_in: int, size: int, factor: float, scale: float) -> bool:
    """Whether ONNX Runtime copies the pixels of an axis that torch copies, which repeats or doubles whole sizes exactly."""
    places = np.arange(size, dtype=np.float32)
    if size in (size_in, 2 * size_in):
        theirs = np.arange(size) * size_in // size
    else:
        theirs = np.floor(places * np.float32(1 / factor))
    ours = np.floor(places / np.float32(scale))
    return bool(np.array_equal(np.minimum(theirs, size_in - 1), np.minimum(ours, size_in - 1)))


def _replaced(array: Array, position: int, number: float | np.float32) -> Array:
    changed = array.copy()
    changed[position] = number
    return changed


def _moved(factor: float, steps: int) -> np.float32:
    """The float32 so many units in the last place beside a number."""
    scale = np.float32(factor)
    for _ in range(abs(steps)):
        scale = np.nextafter(scale, np.float32(math.inf if steps > 0 else 0))
    return scale
