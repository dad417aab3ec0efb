"""What an input that sets how a candidate resizes stands for, given the scales or sizes of the reference's Resize."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import ComparisonError
from graphkit.hint import Argument, Blank, Hint
from graphkit.shapes.inference import Chain, inferred
from graphkit.shapes.resize_patterns import Resampler, resamplers
from graphkit.verify.compare.blocks import on_host

if TYPE_CHECKING:
    from graphkit.graph.ports import Port
    from graphkit.model import Model
    from graphkit.tensor import Array


@dataclass(frozen=True)
class Resized:
    """An input of the candidate that took the place of the scales or sizes of a Resize, as ``graphkit.resize`` makes them.

    It holds factors (of the spatial axes, or one for all of them), scales (of all axes) or sizes (of the spatial axes, or of
    all). Scales are taken from the reference's scales and sizes from its sizes, as they are; one from the other by the
    shapes before and after its Resize, which its run gives.

    Attributes:
        needs: Values of the reference that it is made of.
    """

    needs: tuple[str, ...]
    _port: Port
    _target: str
    _sites: tuple[Resampler, ...]
    _whole: bool
    _neutral: bool

    def value(self, found: Mapping[str, Any]) -> Array:
        """What the candidate is fed.

        Args:
            found: The values of the reference that are needed.

        Raises:
            ComparisonError: The input cannot stand for it.
        """
        made = [self._of(site, found) for site in self._sites]
        if any(not np.array_equal(made[0], other) for other in made[1:]):
            names = ", ".join(site.where for site in self._sites)
            raise self.refused(f"{names} make different {_kind(self._port)} of it")
        return made[0]

    def _of(self, site: Resampler, found: Mapping[str, Any]) -> Array:
        """What it is by one node."""
        numbers = self._numbers(site, found).astype(onnx.helper.tensor_dtype_to_np_dtype(self._port.data_type))
        if self._neutral:
            return np.ones_like(numbers[:1])
        size = (self._port.dims or (None,))[0]
        if self._whole or size == len(numbers):
            return numbers
        chosen = numbers[list(site.spatial or range(2, len(numbers)))]
        if size == 1 and len(set(chosen.tolist())) == 1:
            return chosen[:1]
        if isinstance(size, int) and size != len(chosen):
            raise self.refused(f"{site.where} resizes {len(chosen)} axes, by {_kind(self._port)} {chosen.tolist()}")
        return chosen

    def _numbers(self, site: Resampler, found: Mapping[str, Any]) -> Array:
        """The scales or sizes of a node, as ONNX has them."""
        if self.needs == (self._target,):
            given: Array = on_host(found[self._target])
            return given.reshape(-1)
        axes = list(site.axes or range(len(found[site.data].shape)))
        before, after = (np.array(found[name].shape)[axes] for name in (site.data, site.node.output[0]))
        return _scales(before, after) if site.semantics == "sizes" else after

    def refused(self, why: str) -> ComparisonError:
        """The error that says why the input cannot stand for the target."""
        return ComparisonError(
            f"input {self._port.name!r} is {self._port.text} and cannot stand for {self._target!r}: {why}",
            hint=Hint("feed it with ", Argument("feeds", {self._port.name: Blank("VALUE")})),
        )


def _kind(port: Port) -> str:
    return "sizes" if port.data_type == onnx.TensorProto.INT64 else "scales"


def _scales(before: Array, after: Array) -> Array:
    """The float32 scales that make sizes out of sizes: the nearest from which on in * scale is not cut down to less."""
    scales = (after / before).astype(np.float32)
    short = (before.astype(np.float32) * scales).astype(np.int64) < after
    return np.where(short, np.nextafter(scales, np.float32(np.inf)), scales)


def resized(port: Port, candidate: Model, reference: Model, target: str) -> Resized | None:
    """How an input of the candidate that was mapped to the scales or sizes of the reference's Resize is to be fed.

    Args:
        port: The input.
        candidate: The candidate.
        reference: The reference.
        target: A value of the reference.

    Returns:
        None where the target is no such thing, or the input is not about resizing.

    Raises:
        ComparisonError: The input cannot stand for it.

    Cost: O(graph); runs of onnx.shape_inference where the target is such a thing.
    """
    if (
        port.dims is None
        or len(port.dims) != 1
        or port.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64)
    ):
        return None
    if not any(site.source == target for site in resamplers(reference.proto)):
        return None
    sites = tuple(site for site in resamplers(inferred(reference.proto)) if site.source == target)
    driven = [site for site in resamplers(inferred(candidate.proto)) if port.name in site.inputs]
    if not driven:
        return None
    whole = any(site.source == port.name for site in driven)
    same = sites[0].semantics == _kind(port)
    needs = [target] if same else [name for site in sites for name in (site.data, site.node.output[0])]
    found = Resized(tuple(dict.fromkeys(needs)), port, target, sites, whole, _relative(port, driven, sites))
    for site in sites:
        if site.scope.owner is not None and not same:
            raise found.refused(f"the shapes around {site.where} are not known")
    return found


def _relative(port: Port, driven: list[Resampler], sites: tuple[Resampler, ...]) -> bool:
    """Whether the input multiplies scales that the candidate still has, so that 1 stands for the reference's."""
    one = {port.name: np.ones(1, np.float32)}
    if port.data_type != onnx.TensorProto.FLOAT:
        return False
    made = [Chain(site.scope, site.source).evaluate(site.opset, given=one) for site in driven if site.source]
    return any(
        found is not None and site.own is not None and np.array_equal(found, site.own) and set(site.own.tolist()) != {1}
        for found in made
        for site in sites
    )
