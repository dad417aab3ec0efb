"""The runs of a proof: which sizes, which feeds, and what each side is fed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from graphkit.errors import FeedError
from graphkit.feeds.random import RandomFeeds
from graphkit.graph.ports import Port, input_ports, output_ports
from graphkit.model import Model
from graphkit.reading.values import value_for
from graphkit.tensor import numpy_type
from graphkit.verify.laws.binding import Alone, Binding, Computed, Constant, Fed, Freed, Inner, Link
from graphkit.verify.laws.side import is_never_fed

if TYPE_CHECKING:
    from graphkit.tensor import Array

STACKED = (3, 2)
"""How many samples are run in one batch, and each alone."""

TIMES = (2, 3, 4, 8)
"""What a free size is multiplied by, to have other sizes; two of them must run."""

MOST_OPTIONAL = 1 << 20
"""Elements up to which an input that has a default value is fed in every second run."""


@dataclass(frozen=True)
class Trial:
    """One run of after, and the runs of before that say what must come out.

    Attributes:
        kind: "base": at sizes that both have. "stacked": after is fed the samples of several runs in one batch. "other":
            at another size of a freed axis, where before may not run.
        what: The sizes, for people.
        feeds: What after is fed, without what before's run determines.
        before: What before is fed, a run each.
        left_out: Inputs of after that are not fed though a link says with what: their default value must be it.
        spare: Whether it is like another run, but for the numbers.
    """

    kind: Literal["base", "stacked", "other"]
    what: str
    feeds: dict[str, Any]
    before: tuple[dict[str, Any], ...]
    left_out: frozenset[str] = field(default_factory=frozenset)
    spare: bool = False


class Plan:
    """Draws the feeds of a pair of models that a binding binds."""

    def __init__(
        self,
        binding: Binding,
        before: Model,
        after: Model,
        *,
        seed: int,
        given: Mapping[str, Any],
    ) -> None:
        """Look at both models.

        Args:
            binding: How they are bound.
            before: What runs as the model before.
            after: The model after.
            seed: Where the random numbers start.
            given: Input of after, or of before where only it has it -> what to feed.

        Raises:
            FeedError: A feed does not fit.
        """
        self._binding = binding
        self._after = after
        self.mixed = False
        self._mine, self._theirs = input_ports(after.proto), input_ports(before.proto)
        self._outputs = output_ports(after.proto)
        self._fed = {
            name: link for name, link in binding.inputs.items() if isinstance(link, Fed) and name in self._mine
        }
        self._alone = [name for name, link in binding.inputs.items() if isinstance(link, Alone) and name in self._mine]
        bound = {link.name for link in self._fed.values()}
        self._own = [
            n for n, port in self._theirs.items() if port.required and n not in bound and n not in binding.given
        ]
        sizes = {(one.before, one.axis): one.size for one in binding.freed}
        held = _held(binding.given, self._theirs)
        for name, port in self._theirs.items():
            for axis, dim in enumerate(port.dims or ()):
                if isinstance(dim, str) and dim in held:
                    sizes[name, axis] = held[dim]
        self._sizes = sizes
        like = {name: _sized(self._theirs.get(link.name), link, sizes) for name, link in self._fed.items()}
        self._check_sizes(like)
        self._random = RandomFeeds(after, seed=seed, like=like)
        self._other = RandomFeeds(before, seed=seed, like=_like_after(self._fed, self._mine, sizes))
        self._given = {
            self._now(name): value_for(self._mine.get(name) or self._theirs[name], value)
            for name, value in given.items()
            if name in self._mine or name in self._theirs
        }

    def _now(self, name: str) -> str:
        """What an input of before is called in after, where after has no other input of that name.

        Raises:
            FeedError: After takes something else in its place.
        """
        now = next((mine for mine, link in self._fed.items() if link.name == name), name)
        if name in self._mine or now == name:
            return name
        if self._fed[now].convert is not None:
            raise FeedError(f"{name!r} is {now!r} now, and takes {self._mine[now].text}: feed that", name=name)
        return now

    def _check_sizes(self, like: Mapping[str, tuple[int | str | None, ...] | None]) -> None:
        """One name is one size: two axes that have one name now had one size.

        Raises:
            FeedError: They had two, so that no feed fits both models.
        """
        first: dict[str, tuple[str, int, int]] = {}
        for name, sizes in like.items():
            for axis, (dim, size) in enumerate(zip(self._mine[name].dims or (), sizes or (), strict=False)):
                if not isinstance(dim, str) or not isinstance(size, int):
                    continue
                other, place, known = first.setdefault(dim, (name, axis, size))
                if known != size:
                    raise FeedError(
                        f"{other}:{place} has the size {known} in the model before and {name}:{axis} the size {size}, and "
                        f"{dim!r} is the size of both now",
                        name=name,
                    )

    def base(self, samples: int) -> Iterator[Trial]:
        """Runs at sizes that both sides have: the usual ones, and others of dims that are free in both."""
        for sample in range(samples):
            yield replace(self._trial("base", sample, {}), spare=sample > 1)
        symbols = {s: size for s, size in self._random.sizes.items() if s.isidentifier()}
        fixed = self._fixed()
        free = {s: size for s, size in symbols.items() if s not in fixed and s in self._random.symbols}
        if free:
            yield self._trial("base", samples, {s: size * 2 for s, size in free.items()})
            batches = {p.dims[0] for p in self._mine.values() if p.dims and len(p.dims) > 1}
            alone = {s: 1 for s in free if s in batches}
            if alone:
                yield self._trial("base", samples + 1, alone)
        for number, sizes in enumerate(self._binding.sizes):
            named = ((self._symbol(name, axis), size) for (name, axis), size in sizes.items())
            bind = {symbol: size for symbol, size in named if symbol is not None}
            yield self._trial("base", samples + 2 + number, bind, stark={name for name, _ in sizes})

    def _fixed(self) -> set[str]:
        """Symbols of after that have one size before."""
        found = {s for one in self._binding.freed if (s := self._symbol(one.name, one.axis)) is not None}
        for name, link in self._fed.items():
            mine, theirs = self._mine[name].dims, self._theirs[link.name].dims if link.name in self._theirs else None
            if mine is not None and link.dims is not None:
                found.update(
                    a for a, b in zip(mine, link.dims, strict=False) if isinstance(a, str) and isinstance(b, int)
                )
            if mine is not None and theirs is not None and link.convert is None:
                known = [self._sizes.get((link.name, axis), dim) for axis, dim in enumerate(theirs)]
                found.update(a for a, b in zip(mine, known, strict=False) if isinstance(a, str) and isinstance(b, int))
        for name, other in self._binding.inputs.items():
            if isinstance(other, Constant | Inner | Computed) and name in self._mine:
                found.update(d for d in self._mine[name].dims or () if isinstance(d, str))
        return found

    def _symbol(self, name: str, axis: int) -> str | None:
        port = self._mine.get(name)
        dim = port.dims[axis] if port is not None and port.dims is not None and axis < len(port.dims) else None
        return dim if isinstance(dim, str) else None

    @property
    def batch(self) -> str | None:
        """The symbol of a freed batch, whose samples know nothing of one another."""
        return None if self.mixed else self._leading

    @property
    def mixes(self) -> tuple[list[dict[str, Any]], int]:
        """What tells a batch from another first axis, and the old size: feeds of before, all samples of one kind; the same
        with the first sample of another kind; and with the last. None where the old size is 1, which tells nothing.
        """
        axis = self._leading
        freed = [
            one
            for one in self._binding.freed
            if axis is not None and self._symbol(one.name, one.axis) == axis and not one.axis
        ]
        if not freed or freed[0].size < 2:
            return [], 0
        one, two = (self._trial("base", sample, {}).before[0] for sample in (300, 302))
        mixed = [dict(one), dict(one)]
        for each in freed:
            if each.before in one and np.shape(one[each.before]) == np.shape(two[each.before]):
                for feeds, kept in zip(mixed, (0, -1), strict=True):
                    feeds[each.before] = np.array(two[each.before])
                    feeds[each.before][kept] = one[each.before][kept]
        return [one, *mixed], freed[0].size

    @property
    def _leading(self) -> str | None:
        """The symbol of a first axis that is free now, of inputs of two axes or more, and of an output.

        Where no output says what its first axis is, it is a batch too for inputs of three axes or more, and where it is
        called one.
        """
        for one in self._binding.freed:
            symbol = self._symbol(one.name, one.axis)
            port = self._mine.get(one.name)
            if symbol is None or one.axis or port is None or len(port.dims or ()) < 2:
                continue
            if any((each.dims or ()).count(symbol) > 1 for each in self._mine.values()):
                continue  # the size of another axis too
            leading = [(out.dims or (None,))[0] for out in self._outputs.values()]
            called = "batch" in symbol.lower()
            if symbol in leading or ((called or len(port.dims or ()) > 2) and None in leading):
                return symbol
        return None

    @property
    def others(self) -> list[Freed]:
        """Freed axes other than the batch that may have other sizes."""
        batch = self.batch
        return [
            one for one in self._binding.freed if (s := self._symbol(one.name, one.axis)) is not None and s != batch
        ]

    def stacked(self, count: int) -> Trial | None:
        """Several samples in one batch, and each of them alone."""
        batch = self.batch
        if batch is None:
            return None
        parts = [self._trial("base", 100 + 2 * sample, {}) for sample in range(count)]
        carrying = {n for n in self._fed if (self._mine[n].dims or (None,))[0] == batch}
        shared = {n: a for n, a in parts[0].feeds.items() if n not in carrying}
        feeds: dict[str, Any] = dict(shared)
        for name in carrying:
            feeds[name] = np.concatenate([part.feeds[name] for part in parts])
        before = []
        for part in parts:
            own = dict(part.before[0])
            own.update({n: a for n, a in parts[0].before[0].items() if n not in {self._fed[m].name for m in carrying}})
            before.append(own)
        return Trial("stacked", f"{count} samples in one batch ({self._said(feeds)})", feeds, tuple(before))

    def other(self, times: int, sample: int) -> Trial:
        """A run at another size of every freed axis but the batch."""
        sizes = {}
        for one in self.others:
            symbol = self._symbol(one.name, one.axis)
            assert symbol is not None
            sizes[symbol] = max(one.size, 1) * times
        return self._trial("other", sample, sizes)

    def _trial(
        self,
        kind: Literal["base", "stacked", "other"],
        sample: int,
        bind: Mapping[str, int],
        stark: Collection[str] = (),
    ) -> Trial:
        random = self._random.bound(bind) if bind else self._random
        other = self._other.bound({s: n for s, n in bind.items() if s in self._other.symbols}) if bind else self._other
        feeds: dict[str, Any] = {}
        for name in (*self._fed, *self._alone):
            port = self._mine[name]
            if name in self._given:
                feeds[name] = self._given[name]
                random.learn(port, feeds[name].shape, bind)
        mine_first = not self._own
        for name, link in self._fed.items():
            port, theirs = self._mine[name], self._theirs.get(link.name)
            if name in feeds or not self._wanted(port, theirs, random, name, sample):
                continue
            alike = theirs is not None and link.convert is None and theirs.data_type == port.data_type
            if not port.data_type:
                feeds[name] = self._loose(name, random, sample)
                continue
            feeds[name] = (
                self._drawn(random, name, sample) if mine_first or not alike else self._drawn(other, link.name, sample)
            )
            feeds[name] = _stark(feeds[name]) if name in stark else feeds[name]
            random.learn(port, feeds[name].shape, bind)
        for name in self._alone:
            if name not in feeds and self._mine[name].required:
                feeds[name] = random.draw(name, sample)
        before = self._before(feeds, other, sample)
        return Trial(kind, self._said(feeds), feeds, (before,), self._left_out(sample))

    def _drawn(self, source: RandomFeeds, name: str, sample: int) -> Any:
        """A feed; a picture in every second sample as mean and deviation make it; what calibration saw, or between two."""
        link = self._fed.get(name) if source.model is self._after else None
        arrays = self._binding.seen.get(link.name if link is not None else name, ())
        if arrays and (link is None or link.convert is None):
            share = np.float64(sample % 4) / 4
            one, other = (np.asarray(arrays[(sample + step) % len(arrays)]) for step in (0, 1))
            mixed = one * (1 - share) + other * share if one.dtype.kind == "f" else one
            return np.asarray(mixed, one.dtype)
        return source.draw_normalised(name, sample) if sample % 2 else source.draw(name, sample)

    def _loose(self, name: str, random: RandomFeeds, sample: int) -> Any:
        """A feed for an input that is no tensor: a sequence of two tensors, or what an optional holds."""
        kind = next(value.type for value in self._after.proto.graph.input if value.name == name)
        if kind.HasField("optional_type"):
            kind = kind.optional_type.elem_type
        count = 2 if kind.HasField("sequence_type") else 1
        element = kind.sequence_type.elem_type if count == 2 else kind
        if not element.HasField("tensor_type"):
            raise FeedError(f"input {name!r} is {self._mine[name].text}; no feed is made for it", name=name)
        proto = onnx.ModelProto()
        proto.graph.input.add(name=name, type=element)
        alone = RandomFeeds(Model(proto), seed=random.seed, bind=None)
        drawn = [alone.draw(name, 10 * sample + at) for at in range(count)]
        return drawn if count == 2 else drawn[0]

    def _wanted(self, port: Port, theirs: Port | None, random: RandomFeeds, name: str, sample: int) -> bool:
        """Whether an input is fed: if it must be on either side; one with a default value in every second run."""
        if port.required or (theirs is not None and theirs.required):
            return True
        if not sample % 2 or not port.data_type or port.dims is None or name in self._binding.given:
            return False
        return int(np.prod(random.shape(name), dtype=np.int64)) <= MOST_OPTIONAL

    def _before(self, feeds: Mapping[str, Any], other: RandomFeeds, sample: int) -> dict[str, Any]:
        own: dict[str, Any] = dict(self._binding.given)
        for name, link in self._fed.items():
            if name in feeds and link.name in self._theirs:
                array = feeds[name] if link.convert is None else link.convert(feeds[name])
                own[link.name] = _cast(array, self._theirs[link.name])
                if link.convert is None and not isinstance(own[link.name], list):
                    other.learn(self._theirs[link.name], np.shape(own[link.name]))
        for name in self._own:
            own[name] = self._given[name] if name in self._given else self._drawn(other, name, sample)
        return own

    def _left_out(self, sample: int) -> frozenset[str]:
        return self._never_fed() if sample % 2 else self._optional()

    def _optional(self) -> frozenset[str]:
        held = [n for n, link in self._binding.inputs.items() if isinstance(link, Constant | Computed | Inner)]
        return frozenset(n for n in held if n in self._mine and not self._mine[n].required)

    def _never_fed(self) -> frozenset[str]:
        return frozenset(name for name in self._optional() if is_never_fed(self._mine[name]))

    def fed(self, trial: Trial) -> Trial:
        """The same run, with every input fed that can be: what another value is given to has to be."""
        return replace(trial, left_out=self._never_fed())

    def _said(self, feeds: Mapping[str, Any]) -> str:
        return ", ".join(f"{name}={_size_text(array)}" for name, array in feeds.items())

    def complete(self, trial: Trial, link_of: Mapping[str, Link], values: Mapping[str, Any]) -> dict[str, Any]:
        """What after is fed in a trial, once before has run.

        Args:
            trial: The trial.
            link_of: Input of after -> its link; the binding's, or those of another pair.
            values: What before computed.

        Raises:
            FeedError: A value was given for an input that stands for something of before, and is not that.
        """
        feeds = dict(trial.feeds)
        for name, link in link_of.items():
            port = self._mine.get(name)
            if port is None or (name in trial.left_out and name not in self._given):
                continue
            if isinstance(link, Constant):
                feeds[name] = _cast(link.array, port)
            elif isinstance(link, Inner):
                feeds[name] = _cast(values[link.name], port)
            elif isinstance(link, Computed):
                feeds[name] = _cast(link.value(values), port)
            else:
                continue
            own = link is self._binding.inputs.get(name)  # not another value that is tried
            if own and name in self._given and not np.array_equal(self._given[name], feeds[name]):
                raise FeedError(
                    f"input {name!r} is fed what it stands for in the model before; another value has nothing to be "
                    "compared with",
                    name=name,
                    hint="leave it out of the feeds",
                )
        return {name: value for name, value in feeds.items() if name in self._mine}


def _stark(array: Array) -> Array:
    """With twice the contrast, so that much of it is at the ends of its range."""
    low, high = float(array.min()), float(array.max())
    return np.clip(array.astype(np.float64) * 2 - (low + high) / 2, low, high).astype(array.dtype)


def _size_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_size_text, value))}]"
    return "x".join(map(str, np.shape(value))) or "scalar"


def needs(links: Mapping[str, Link]) -> list[str]:
    """The values of before that feeds of after are made of."""
    found: list[str] = []
    for link in links.values():
        if isinstance(link, Inner):
            found.append(link.name)
        elif isinstance(link, Computed):
            found.extend(link.needs)
    return list(dict.fromkeys(found))


def _held(given: Mapping[str, Any], ports: Mapping[str, Port]) -> dict[str, int]:
    """Symbols of before whose size is that of a value which after holds: a symbol has one size in a run."""
    return {
        dim: size
        for name, array in given.items()
        for dim, size in zip(ports[name].dims or (), np.shape(array), strict=False)
        if isinstance(dim, str)
    }


def _sized(theirs: Port | None, link: Fed, sizes: Mapping[tuple[str, int], int]) -> tuple[int | str | None, ...] | None:
    """The dims that before wants for an input, the old sizes of freed axes among them."""
    if link.convert is not None:
        return link.dims
    if theirs is None or theirs.dims is None:
        return None
    return tuple(sizes.get((link.name, axis), dim) for axis, dim in enumerate(theirs.dims))


def _like_after(
    fed: Mapping[str, Fed], mine: Mapping[str, Port], sizes: Mapping[tuple[str, int], int]
) -> dict[str, tuple[int | str | None, ...] | None]:
    like: dict[str, tuple[int | str | None, ...] | None] = {}
    for name, link in fed.items():
        dims = mine[name].dims
        if dims is not None and link.convert is None:
            like[link.name] = tuple(sizes.get((link.name, axis), dim) for axis, dim in enumerate(dims))
    return like


def _cast(value: Any, port: Port) -> Any:
    dtype = numpy_type(port.data_type)
    if dtype is None or dtype.kind == "O" or not hasattr(value, "astype"):
        return value
    return np.asarray(value).astype(dtype, copy=False)
