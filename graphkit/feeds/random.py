"""Random feeds that a model can run on: sizes from its symbolic dims, ranges from what its graph does with an input."""

from __future__ import annotations

import ast
import copy
import operator
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import FeedError, NameNotFoundError
from graphkit.feeds.input_ranges import input_ranges, normalised
from graphkit.feeds.ranges import Range
from graphkit.feeds.window_sizes import with_room
from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import Port, input_ports
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import Model
from graphkit.reading.names import axis_or_symbol
from graphkit.semantics.windows import has_windows
from graphkit.tensor import check_size

if TYPE_CHECKING:
    from graphkit.tensor import Array

DEFAULT_SIZES = {1: (4,), 2: (2, 16), 3: (2, 16, 16), 4: (2, 3, 32, 32), 5: (2, 3, 8, 32, 32)}
"""Sizes that an unbound dim takes, by rank and axis. The batch is 2, so that a batch of 1 baked into a graph shows.
Pictures whose last axis is the colours, so of fixed size 1, 3 or 4, take the sizes of those whose second axis is. Where a
window of the graph does not fit into them, dims other than the batch are larger (``graphkit.feeds.window_sizes``).
"""

EMPTYING = 3
"""Of so many samples, one (the second) drops a whole row of each mask of which that is known to mean something."""


class RandomFeeds:
    """Draws feeds for the inputs of a model; the same seed, sample and input name give the same numbers.

    Attributes:
        sizes: Symbol -> size: the bound ones, and those chosen for the others.
        settled: Whether the sizes of open dims need no look at the windows that are to fit in, or have had it.
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int = 0,
        bind: Mapping[str, int] | None = None,
        like: Mapping[str, Iterable[int | str | None] | None] | None = None,
    ) -> None:
        """Look at a model.

        Args:
            model: The model.
            seed: Where the numbers start.
            bind: Symbolic dim -> size.
            like: Input name -> dims that something else wants for it (the reference, an example argument); its fixed
                sizes are taken for dims that the model leaves open.

        Raises:
            FeedError: ``bind`` names a symbol that no input has.

        Cost: O(graph).
        """
        self.model = model
        self.seed = seed
        self.ports = input_ports(model.proto)
        self.index = GraphIndex(model.proto.graph)
        self._like = {name: None if dims is None else tuple(dims) for name, dims in (like or {}).items()}
        self._ranges: dict[str, Range] = {}
        self._pictures: dict[str, bool] = {}
        self._windows = has_windows(model.proto.graph)
        self.settled = not self._windows
        self.sizes: dict[str, int] = {**self._learned(bind or {}), **(bind or {})}

    def bound(self, bind: Mapping[str, int]) -> RandomFeeds:
        """The same model with other sizes; what was found out about its inputs is shared.

        Raises:
            FeedError: ``bind`` names a symbol that no input has, or an axis of another fixed size.
            EditError: ``bind`` names an axis that the input does not have.
        """
        sizes = {self._key(name, size): size for name, size in bind.items()}
        twin = copy.copy(self)
        twin.settled = not self._windows
        twin.sizes = {**self._learned(sizes), **sizes}
        return twin

    def _key(self, name: str, size: int) -> str:
        """Under which key ``sizes`` has what a symbol, or ``INPUT:AXIS``, names: an axis without a symbol has its own."""
        try:
            found = axis_or_symbol(name, self.ports, self.symbols)
        except NameNotFoundError as error:
            known = ", ".join([*self.symbols, *(f"{p.name}:{n}" for p in self.ports.values() for n in _unnamed(p))])
            raise FeedError(
                f"no input has a symbolic dim {name!r}; the open dims are: {known or 'none: every dim is fixed'}"
            ) from error
        if isinstance(found, str):
            return found
        dim = (self.ports[found.input].dims or ())[found.axis]
        if isinstance(dim, int) and dim != size:
            raise FeedError(
                f"axis {found.axis} of input {found.input!r} is {dim} and cannot be {size}", name=found.input
            )
        return dim if isinstance(dim, str) else f"{found.input}:{found.axis}"

    def learn(self, port: Port, shape: tuple[int, ...], fixed: Iterable[str] = ()) -> None:
        """Take the sizes of symbols from a feed that was given, but for those that are bound."""
        bound = set(fixed)
        for dim, size in zip(port.dims or (), shape, strict=False):
            if isinstance(dim, str) and dim not in bound:
                self.sizes[dim] = size

    def agrees(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether a shape has the sizes that the symbols of an input have by now."""
        dims = zip(self.ports[name].dims or (), shape, strict=False)
        return all(self.sizes.get(dim, size) == size for dim, size in dims if isinstance(dim, str))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbolic dims of the inputs, in order."""
        return tuple(dict.fromkeys(d for p in self.ports.values() for d in p.dims or () if isinstance(d, str)))

    def _learned(self, bind: Mapping[str, int]) -> dict[str, int]:
        """Sizes of unbound symbols for which something else wants a fixed one."""
        sizes: dict[str, int] = {}
        for name, port in self.ports.items():
            like = self._like.get(name)
            if port.dims is None or like is None or len(like) != len(port.dims):
                continue
            for dim, other in zip(port.dims, like, strict=True):
                if isinstance(dim, str) and isinstance(other, int) and dim not in bind:
                    sizes.setdefault(dim, other)
        return sizes

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that an input is drawn in.

        Raises:
            FeedError: The input is no tensor, or its rank is unknown.
        """
        if not self.settled:
            self._make_room()
        port = self.ports[name]
        like = self._like.get(name)
        if port.data_type and port.dims is None and like is not None:
            return tuple(d if isinstance(d, int) else 1 for d in like)
        if not port.data_type or port.dims is None:
            raise FeedError(
                f"input {name!r} is {port.text}; a random feed needs a tensor of known rank",
                name=name,
                hint=Hint("give it: ", Argument("feeds", {name: Blank("@FILE")})),
            )
        return tuple(self._size(port, axis, dim) for axis, dim in enumerate(port.dims))

    def _make_room(self) -> None:
        """Choose the sizes of open dims, batches left alone, such that convolutions and their like have room."""
        self.settled = True
        given = dict(self.sizes)
        ports = [port for port in self.ports.values() if port.required and port.data_type and port.dims is not None]
        batches = {port.dims[0] for port in ports if port.dims and len(port.dims) > 1}
        drawn = {port.name: self.shape(port.name) for port in ports}
        plain = [name for name in self.sizes if name.isidentifier() and name not in given and name not in batches]
        free = {name: self.sizes[name] for name in plain}

        def shapes(sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
            self.sizes = {**given, **sizes}
            return {name: self.shape(name) for name in drawn}

        self.sizes = given | (with_room(self.model.proto, free, shapes) if free else {})

    def _size(self, port: Port, axis: int, dim: int | str | None) -> int:
        if isinstance(dim, int):
            return dim
        assert port.dims is not None
        like = self._like.get(port.name) or ()
        other = like[axis] if len(like) == len(port.dims) else None
        default = other if isinstance(other, int) else self._default(port, axis)
        if dim is None:
            return self.sizes.get(f"{port.name}:{axis}", default)
        if dim not in self.sizes:
            computed = _computed(dim, self._size_of)
            self.sizes[dim] = default if computed is None else computed
        return self.sizes[dim]

    def _default(self, port: Port, axis: int) -> int:
        assert port.dims is not None
        if (length := self._range(port.name).length) is not None:
            return length
        sizes = DEFAULT_SIZES.get(len(port.dims), ())
        if len(sizes) > 3 and port.dims[-1] in (1, 3, 4) and not isinstance(port.dims[1], int):
            sizes = (sizes[0], *sizes[2:], sizes[1])
        return sizes[axis] if axis < len(sizes) else 2

    def _size_of(self, symbol: str) -> int | None:
        """The size of a symbol of some input, or of one that is computed from such; None for others."""
        for port in self.ports.values():
            if port.dims is not None and symbol in port.dims:
                return self._size(port, port.dims.index(symbol), symbol)
        return self.sizes[symbol] if symbol in self.sizes else _computed(symbol, self._size_of)

    def _range(self, name: str) -> Range:
        if name not in self._ranges:
            wanted = {n for n, port in self.ports.items() if port.required} | {name}
            self._ranges.update(input_ranges(self.model, self.index, wanted))
        return self._ranges[name]

    def draw(self, name: str, sample: int) -> Array:
        """A random array for an input, of its declared dtype.

        Raises:
            FeedError: The input is no tensor, or its rank is unknown.
        """
        port = self.ports[name]
        shape = self.shape(name)
        check_size(name, shape)
        generator = np.random.default_rng([self.seed, sample, zlib.crc32(name.encode())])
        wanted = self._range(name).resolved(lambda symbol: self._size_of(symbol) or 1)
        return draw(generator, port, shape, replace(wanted, empties=self.empties(name, sample)))

    def draw_normalised(self, name: str, sample: int) -> Array:
        """``draw``, but a picture of 0 to 1 is what mean and deviation make of it: standard normal numbers.

        Raises:
            FeedError: The input is no tensor, or its rank is unknown.
        """
        drawn = self.draw(name, sample)
        if name not in self._pictures:
            self._pictures[name] = bool(normalised(self.model, self.index, [name]))
        if not self._pictures[name]:
            return drawn
        generator = np.random.default_rng([self.seed, sample, zlib.crc32(name.encode())])
        return generator.standard_normal(drawn.shape).astype(drawn.dtype)

    def empties(self, name: str, sample: int) -> bool:
        """Whether an input is a mask that drops a whole row in a sample, one of several rows.

        Raises:
            FeedError: The input is no tensor, or its rank is unknown.
        """
        if sample % EMPTYING != 1 or not self._range(name).empties:
            return False
        return sum(size > 1 for size in self.shape(name)) > 1

    def draw_all(self, sample: int, without: Iterable[str] = ()) -> dict[str, Array]:
        """Arrays for every required input but those in ``without``."""
        left_out = set(without)
        return {n: self.draw(n, sample) for n, p in self.ports.items() if p.required and n not in left_out}


_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv}


def _computed(symbol: str, size_of: Callable[[str], int | None]) -> int | None:
    """The size of a symbol such as ``2*h``, ``n + 1`` or ``past + new`` (exporters write them), out of the others'."""

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name) and node.id != symbol and (size := size_of(node.id)) is not None:
            return size
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return int(_ARITHMETIC[type(node.op)](value(node.left), value(node.right)))
        raise ValueError(symbol)

    try:
        return max(value(ast.parse(symbol.strip(), mode="eval").body), 0)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def draw(generator: np.random.Generator, port: Port, shape: tuple[int, ...], wanted: Range) -> Array:
    """A random array of a port's dtype within a range."""
    if port.data_type == onnx.TensorProto.STRING:
        words = np.array(["alpha", "beta", "gamma", "delta"], dtype=object)
        return np.asarray(words[generator.integers(0, len(words), shape)], dtype=object)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(port.data_type)
    if wanted.mask:
        return _mask(generator, shape, wanted).astype(dtype)
    if dtype.kind == "b":
        low, high = (0, 1) if wanted.low is None or wanted.high is None else (int(wanted.low), int(wanted.high))
        return generator.integers(low, high, shape, endpoint=True).astype(dtype)
    array = _integers(generator, shape, wanted, dtype) if dtype.kind in "iu" else wanted.reals(generator, shape)
    if dtype.kind == "c":
        array = np.asarray(array + 1j * wanted.reals(generator, shape))
    if wanted.leading and array.ndim == 1:
        array[: len(wanted.leading)] = wanted.leading[: len(array)]
    return array.astype(dtype)


def _integers(generator: np.random.Generator, shape: tuple[int, ...], wanted: Range, dtype: np.dtype[Any]) -> Array:
    low, high = wanted.integers(dtype)
    numbers = np.asarray(generator.integers(low, high, shape, endpoint=True))
    if wanted.order == "falling" and numbers.size:
        numbers.flat[0] = high
        return np.asarray(-np.sort(-numbers, axis=0))
    if wanted.order == "counting":
        return np.arange(low, low + numbers.size).reshape(shape)
    return numbers


def _mask(generator: np.random.Generator, shape: tuple[int, ...], wanted: Range) -> Array:
    """What is kept, then what is dropped, along the last axis that is longer than 1; at least half of each row is kept.

    Where it is not known which of one and zero is kept, every row has both. Of one row nothing is kept where that is wanted.
    """
    kind = wanted.mask
    axis = max((axis for axis, size in enumerate(shape) if size > 1), default=-1)
    if axis < 0:
        return np.full(shape, 0 if kind == "drops" else 1)
    length = shape[axis]
    most = length - 1 if kind == "either" else length
    kept = generator.integers((length + 1) // 2, most, (*shape[:axis], 1, *shape[axis + 1 :]), endpoint=True)
    if wanted.empties:
        kept.flat[int(generator.integers(kept.size))] = 0
    places = np.arange(length).reshape(-1, *[1] * (len(shape) - axis - 1))
    return np.asarray((places < kept) != (kind == "drops"), np.int64)


def _unnamed(port: Port) -> list[int]:
    """The axes that have neither a size nor a symbol."""
    return [axis for axis, dim in enumerate(port.dims or ()) if dim is None]
