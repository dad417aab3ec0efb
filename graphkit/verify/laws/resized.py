"""bound, for resize: the new input is fed the factor, the scales or the sizes that were baked in, and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.edit.wiring import Place, fix_scales, places
from graphkit.graph.ports import input_ports
from graphkit.model import Model
from graphkit.shapes.inference import inferred
from graphkit.shapes.resize_patterns import Resampler, resamplers
from graphkit.verify.laws.binding import Binding, Change, Computed, Constant, Link, Other, Unproved
from graphkit.verify.laws.loose import loosened
from graphkit.verify.laws.same import identity

if TYPE_CHECKING:
    from graphkit.tensor import Array

FACTORS = (2.0, 3.0)
"""Factors beside the baked one: whole numbers, at which scales and sizes mean the same, so that before can be given scales."""

Sites = dict[Place, Resampler]


def resize(change: Change) -> Binding:
    """The new inputs are fed what was baked in; and whole factors, where before can be given the same scales."""
    wish = _Wish(change)
    gone = {name for site in wish.sites.values() for name in site.inputs} - set(input_ports(change.after.proto))
    plain = identity(change)
    kept: dict[str, Link] = {name: link for name, link in plain.inputs.items() if name not in gone}
    inputs = dict(kept)
    levelled: dict[Place, Array] = {}
    for name, group in wish.groups.items():
        link = wish.baked(list(group.values()))
        if link is None:  # one factor for nodes that had different ones
            first = next(iter(group.values()))
            link = wish.level(group, first, levelled)
        inputs[name] = link
    before = wish.with_scales(levelled) if levelled else None
    return replace(plain, inputs=inputs, before=before, others=tuple(wish.others(kept)), ordered=False)


def _first_factor(site: Resampler) -> float:
    if site.scales is None:
        raise Unproved(f"the scales of {site.where} are not known before the model runs, and other nodes have others")
    return float(max(site.scales[list(site.spatial)], default=1.0))


class _Wish:
    """What a call of resize asked for, and the nodes it was about.

    Attributes:
        sites: The nodes that were to change.
        groups: Input of after -> the nodes that it drives.
    """

    def __init__(self, change: Change) -> None:
        given = change.arguments
        self._before = change.before
        self._form = given.get("form", "factor")
        self._relative = bool(given.get("relative"))
        every = dict(
            zip(places(change.before.proto), resamplers(inferred(change.before.proto)), strict=True),
        )
        self.sites = _chosen(every, given.get("nodes"))
        name = str(given.get("input_name", "factor"))
        if given.get("separate"):
            self.groups: dict[str, Sites] = {
                f"{name}_{number}": {place: site} for number, (place, site) in enumerate(self.sites.items(), 1)
            }
        else:
            self.groups = {name: self.sites}

    def baked(self, sites: Sequence[Resampler]) -> Link | None:
        """What an input stands for; None where its nodes had different factors."""
        if self._relative:
            length = 1 if self._form == "factor" else sites[0].length or 1
            return Constant(np.ones(length, np.float32))
        own = [self._own(site) for site in sites]
        if all(array is not None for array in own):
            first = own[0]
            assert first is not None
            return Constant(first) if all(np.array_equal(first, array) for array in own if array is not None) else None
        known = [site.scales[list(site.spatial)] for site in sites if site.scales is not None]
        if self._form != "sizes" and len(known) == len(sites) and any(not np.array_equal(known[0], k) for k in known):
            return None
        if any(site.scope.owner is not None for site in sites):
            raise Unproved(f"the shapes around {sites[0].where} are not known: it stands in a body")
        needs = tuple(dict.fromkeys(name for site in sites for name in (site.data, site.node.output[0])))
        return Computed(needs, self._from_shapes(sites))

    def _own(self, site: Resampler) -> Array | None:
        if self._form == "sizes":
            return None if site.sizes is None else site.sizes[list(site.spatial)].astype(np.int64)
        if site.scales is None or site.semantics == "sizes":  # sizes say more than their ratio, rounded, does
            return None
        return site.scales if self._form == "scales" else site.scales[list(site.spatial)]

    def _from_shapes(self, sites: Sequence[Resampler]) -> Callable[[Mapping[str, Any]], Array]:
        def value(found: Mapping[str, Any]) -> Array:
            made = [self._between(site, found) for site in sites]
            if any(not np.array_equal(made[0], other) for other in made[1:]):
                raise Unproved(f"{', '.join(site.where for site in sites)} had different {self._form}s")
            return made[0]

        return value

    def _between(self, site: Resampler, found: Mapping[str, Any]) -> Array:
        shapes = [np.array(np.shape(found[name])) for name in (site.data, site.node.output[0])]
        axes = list(site.axes or range(len(shapes[0])))
        before, after = shapes[0][axes], shapes[1][axes]
        spatial = list(site.spatial or range(2, len(axes)))
        if self._form == "sizes":
            return after[spatial].astype(np.int64)
        scales = (after / before).astype(np.float32)
        short = (before.astype(np.float32) * scales).astype(np.int64) < after
        scales = np.where(short, np.nextafter(scales, np.float32(np.inf)), scales)
        return np.asarray(scales if self._form == "scales" else scales[spatial])

    def level(self, group: Sites, first: Resampler, levelled: dict[Place, Array]) -> Link:
        """What an input is fed that nodes with different factors or sizes share; adds what each of them has then.

        Raises:
            Unproved: A size or the scales are not known before the model runs.
        """
        if self._form == "sizes":
            if first.sizes is None or any(site.sizes is None for site in group.values()):
                raise Unproved(
                    f"the sizes of {first.where} are not known before the model runs, and other nodes have others"
                )
            wanted = first.sizes[list(first.spatial)].astype(np.int64)
            for place, site in group.items():
                assert site.sizes is not None
                levelled[place] = site.sizes.astype(np.int64)
                levelled[place][list(site.spatial)] = wanted
            return Constant(wanted)
        whole = any(site.semantics == "sizes" for site in group.values())
        factor = FACTORS[0] if whole else _first_factor(first)
        levelled.update(self.scaled(group, factor))
        return Constant(self.fed(first, factor))

    def scaled(self, group: Sites, factor: float) -> dict[Place, Array]:
        """The scales that nodes should have at a factor; a node of which the sizes were multiplied has these."""
        made = {}
        for place, site in group.items():
            if self._relative and site.sizes is not None and site.semantics == "sizes":
                sizes = site.sizes.astype(np.int64)
                sizes[list(site.spatial)] = np.floor(sizes[list(site.spatial)] * np.float32(factor))
                made[place] = sizes
                continue
            if site.scales is None:
                raise Unproved(f"the scales of {site.where} are not known before the model runs")
            scales = site.scales.copy() if self._relative else np.ones_like(site.scales)
            scales[list(site.spatial)] *= np.float32(factor)
            made[place] = scales
        return made

    def fed(self, site: Resampler, factor: float) -> Array:
        """What the input of a node is fed for a factor."""
        if self._form == "factor":
            return np.full(1, factor, np.float32)
        scales = np.ones(site.length or 1, np.float32)
        scales[list(site.spatial)] = factor
        return scales

    def with_scales(self, scales: Mapping[Place, Array]) -> Model:
        """Before, with these scales."""
        loose = loosened(self._before, ())
        fix_scales(loose.proto, scales)
        return loose

    def others(self, kept: Mapping[str, Link]) -> list[Other]:
        """Pairs at other factors: another one for each input."""
        if self._form == "sizes" or any(site.scales is None for site in self.sites.values()):
            return []
        made = []
        for turn in range(len(FACTORS)):
            scales: dict[Place, Array] = {}
            links: dict[str, Link] = dict(kept)
            for number, (name, group) in enumerate(self.groups.items()):
                factor = FACTORS[(turn + number) % len(FACTORS)]
                scales.update(self.scaled(group, factor))
                links[name] = Constant(self.fed(next(iter(group.values())), factor))
            said = ", ".join(f"{name} = {_said(links[name])}" for name in self.groups)
            made.append(Other(said, _later(self, scales), links))
        return made


def _later(wish: _Wish, scales: Mapping[Place, Array]) -> Callable[[], Model]:
    return lambda: wish.with_scales(scales)


def _said(link: Link) -> str:
    assert isinstance(link, Constant)
    return str(link.array.tolist())


def _chosen(sites: Sites, nodes: Sequence[str] | None) -> Sites:
    if nodes:
        return {place: s for place, s in sites.items() if {s.node.name, s.node.output[0]}.intersection(nodes)}
    leading = {place: site for place, site in sites.items() if not site.follows}
    return leading or sites
