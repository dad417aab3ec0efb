"""What the rules of this folder share: the walk's state, new nodes with their sizes, and what was found."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import onnx

from graphkit.edit.nodes import NodeWriter
from graphkit.graph import walk
from graphkit.graph.names import Names, title
from graphkit.graph.values import attribute_value, constant_tensor, is_constant_node
from graphkit.result import Result
from graphkit.shapes.at_points import PointInference
from graphkit.shapes.known import Known
from graphkit.shapes.points import Dim, Sizes, fixed, product, whole
from graphkit.tensor import stored_bytes

if TYPE_CHECKING:
    from graphkit.tensor import Array

EXPORT = "export it with that axis dynamic"
"""What to do about a size that does not follow."""

Kind: TypeAlias = Literal["follows", "held", "property", "lost", "choice", "limit"]
"""``follows``: it was made to follow; ``held``: it should and does not; ``property``: the size belongs to the net;
``lost``: sizes cannot be followed past it; ``choice``: it follows, and the file allows another reading; ``limit``: it follows as far as a table goes.
"""

TABLE_LIMIT = 1 << 20
"""Bytes of a constant that is read to see whether it is a mask, a grid or a range."""


@dataclass(frozen=True, repr=False)
class SizeFinding(Result):
    """One node and its answer to the question what it does at another size.

    Attributes:
        kind: The answer.
        node: The node's name, or its first output's.
        op_type: Its operator.
        value: The value that holds or has the size.
        axis: The axis of that value, None where it is none in particular.
        text: What it holds, or does.
        done: What it does now, where that was changed.
        remedy: What to do; "" where nothing is to be done.
        is_weight: Whether the value is a constant of the file.
    """

    kind: Kind
    node: str
    op_type: str
    value: str
    axis: int | None
    text: str
    done: str = ""
    remedy: str = ""
    is_weight: bool = False

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.text, self.done, self.remedy)))


@dataclass
class Place:
    """One graph being walked: the nodes so far, and what was made in it already."""

    graph: onnx.GraphProto
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    sizes: dict[tuple[str, int], str] = field(default_factory=dict)
    grown: dict[tuple[object, ...], str | None] = field(default_factory=dict)
    constants: dict[tuple[object, ...], str] = field(default_factory=dict)
    widest: dict[str, tuple[frozenset[int], str]] = field(default_factory=dict)
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    tensors: dict[str, onnx.TensorProto] = field(default_factory=dict)
    readers: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)


@dataclass(frozen=True)
class Want:
    """A size that an axis must have, and the value and axis that have it, or have it but for a factor or some more places.

    Where no axis has it, ``value`` is empty, and it is the product of its factors.
    """

    sizes: Sizes
    value: str
    axis: int
    more: int = 0
    times: int = 1
    factors: tuple[Sizes, ...] = ()

    @property
    def varies(self) -> bool:
        """Whether it is not one size at every point."""
        return any(size != self.sizes[0] for size in self.sizes)


GrowRule: TypeAlias = Callable[["Following", onnx.NodeProto, Known, dict[int, Want], int], "str | None"]
"""Makes a node again so that axes of its result have the sizes that are wanted; how many nodes were made again already."""


def in_full(numbers: Sequence[int | None]) -> str:
    """A list of whole numbers as text; ``?`` for one that follows a size."""
    return f"[{', '.join('?' if number is None else str(number) for number in numbers)}]"


def in_short(values: Array) -> str:
    """The first numbers of some."""
    numbers = values.reshape(-1).tolist()
    return str(numbers) if len(numbers) < 7 else f"[{', '.join(map(str, numbers[:6]))}, ...]"


class Following:
    """The state of one walk through a model that is being changed.

    Attributes:
        inference: What is known of values.
        rules: Operator -> how a node of it is made again with other sizes.
        cause: What becomes free, for messages: ``x:0``.
        findings: What was found, in graph order.
        places: The graph being walked and those around it, innermost last.
        overridable: Whether an initializer that is an input too is a default value (since IR version 4).
        replaced: Values that a node read and reads no more.
        remade: Names of nodes that were made again, with bounds that follow.
        freed: The sizes of the axes that become free.
        reached: The values that depend on the inputs with these axes.
        apart: The values that depend on other inputs, and not on these.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        inference: PointInference,
        read: Callable[[onnx.TensorProto], Array | None],
        cause: str,
        rules: Mapping[str, GrowRule],
    ) -> None:
        self.inference = inference
        self.rules = rules
        self.cause = cause
        self.findings: list[SizeFinding] = []
        self.places: list[Place] = []
        self.points = inference.points
        self.overridable = model.ir_version >= 4
        self.replaced: set[str] = set()
        self.remade: set[str] = set()
        self.freed: tuple[Sizes, ...] = ()
        self.reached: set[str] = set()
        self.apart: set[str] = set()
        self._moving: list[tuple[int, str]] = []
        self._seen: tuple[int, set[int], set[int]] = (-1, set(), set())
        self._read = read
        self._writer = NodeWriter(Names(model.graph))
        self._named: set[tuple[str, str]] = set()

    @property
    def place(self) -> Place:
        """The graph being walked."""
        return self.places[-1]

    @property
    def opset(self) -> int:
        """The version of ai.onnx."""
        return self.inference.opset

    def get(self, name: str) -> Known:
        """What is known of a value."""
        return self.inference.get(name)

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a value, from the graph being walked outwards."""
        for place in reversed(self.places):
            if name in place.makers:
                return place.makers[name]
        return None

    def behind(self, name: str) -> Iterator[tuple[str, onnx.NodeProto | None]]:
        """A value and all that it is computed from, nearest first, each with the node that makes it.

        Goes out of the graph being walked into those around it, which one index of a graph (``upstream``) cannot.
        """
        waiting, seen = [name], {name, ""}
        for value in waiting:  # which grows meanwhile
            node = self.maker(value)
            yield value, node
            new = [read for read in dict.fromkeys(walk.reads(node) if node is not None else ()) if read not in seen]
            waiting += new
            seen.update(new)

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """The tensor of a value that is a constant itself: an initializer or a Constant node's."""
        for place in reversed(self.places):
            if name in place.makers:
                node = place.makers[name]
                return constant_tensor(node) if is_constant_node(node) else None
            if name in place.tensors:
                return place.tensors[name]
        return None

    def spelt(self, name: str) -> str:
        """How a value that holds numbers is named behind them, where it is a constant."""
        return f" (constant {name!r})" if self.tensor(name) is not None else ""

    def array(self, name: str) -> Array | None:
        """The values of a constant of at most ``TABLE_LIMIT`` bytes, else None."""
        tensor = self.tensor(name)
        if tensor is None or stored_bytes(tensor) > TABLE_LIMIT:
            return None
        return self._read(tensor)

    def baked(self, name: str) -> Array | None:
        """The numbers that a value holds at every size: a constant, or what is computed of constants; else None."""
        data = self.get(name).data
        if data is None or any(a is not data[0] and not np.array_equal(a, data[0]) for a in data):
            return None
        return data[0]

    def numbers(self, name: str) -> list[int | None] | None:
        """The whole numbers of a list: each that is the same at every size, None for one that follows a size already."""
        data = self.get(name).data
        if data is None or data[0].dtype.kind not in "iu" or any(array.shape != data[0].shape for array in data):
            return None
        columns = np.stack([array.reshape(-1) for array in data])
        return [int(column[0]) if (column == column[0]).all() else None for column in columns.T]

    def element(self, name: str, position: int) -> str:
        """One number of a list, as int64[1]."""
        return self.add("Gather", [name, self.constant([position])], "size", axis=0)

    # New nodes.

    def listed(self, name: str, numbers: Sequence[int | None]) -> str:
        """A list of numbers, those that follow a size already taken from the list that is there: int64[n]."""
        return self.concatenated([self.element(name, p) if n is None else n for p, n in enumerate(numbers)])

    def put(self, node: onnx.NodeProto) -> None:
        """Put a node behind those so far, and find out what it makes."""
        self.place.nodes.append(node)
        self.place.makers.update((name, node) for name in node.output if name)
        self.inference.infer(node)

    def add(self, op: str, inputs: Sequence[str], wish: str, **attributes: Any) -> str:
        """A new node with one output; returns the output's name."""
        made: list[onnx.NodeProto] = []
        name = self._writer.add(made, op, inputs, wish, **attributes)
        self.put(made[0])
        return name

    def constant(self, array: Array | Sequence[int], wish: str = "sizes") -> str:
        """A Constant node, or an initializer before Constant-9 had whole numbers; a list is one of int64.

        One that was made for the graph being walked already is taken again.
        """
        values = array if isinstance(array, np.ndarray) else np.array(array, np.int64)
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self.place.constants:
            self.place.constants[key] = self._constant(values, wish)
        return self.place.constants[key]

    def _constant(self, values: Array, wish: str) -> str:
        if self.opset < 9 and values.dtype.kind != "f":
            return self._initializer(values, wish)
        made: list[onnx.NodeProto] = []
        name = self._writer.constant(made, values, wish)
        self.put(made[0])
        return name

    def _initializer(self, values: Array, wish: str) -> str:
        """A new initializer of the main graph; before IR version 4 those are listed as inputs too."""
        tensor = onnx.numpy_helper.from_array(values, self.fresh(wish))
        graph = self.places[0].graph
        graph.initializer.append(tensor)
        if not self.overridable:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(values.shape)))
        self.places[0].tensors[tensor.name] = tensor
        self.inference.known[tensor.name] = self.inference.constant(tensor)
        return tensor.name

    def copied(self, node: onnx.NodeProto, inputs: Sequence[str]) -> onnx.NodeProto:
        """A copy of a node with other inputs, and outputs and a name of its own; it is not put anywhere yet."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(inputs)
        outputs = [self.fresh(f"{name}_sized") if name else "" for name in node.output]
        del copy.output[:]
        copy.output.extend(outputs)
        copy.name = self.fresh(f"{node.name or node.output[0]}_sized")
        return copy

    def fresh(self, wish: str) -> str:
        """A name that nothing has."""
        return self._writer.fresh(wish)

    def size(self, value: str, axis: int) -> str:
        """The size of an axis at run time: int64[1]."""
        for place in reversed(self.places):
            if (value, axis) in place.sizes:
                return place.sizes[value, axis]
        if self.opset >= 15:
            name = self.add("Shape", [value], "size", start=axis, end=axis + 1)
        else:
            shape = self.place.sizes.get((value, -1)) or self.add("Shape", [value], "dims")
            self.place.sizes[value, -1] = shape
            name = self.add("Gather", [shape, self.constant([axis])], "size", axis=0)
        self.place.sizes[value, axis] = name
        return name

    def wanted(self, want: Want) -> str:
        """A wanted size at run time: int64[1]."""
        size = self.size(want.value, want.axis) if want.value else self.product_of(want.factors) or ""
        if want.times > 1:
            size = self.add("Mul", [size, self.constant([want.times])], "size")
        return self.add("Add", [size, self.constant([want.more])], "size") if want.more else size

    def of_size(self, want: Want) -> int | str:
        """A wanted size: the number where it does not vary, else the value that has it at run time."""
        return self.wanted(want) if want.varies else want.sizes[0]

    def product_of(self, factors: Sequence[Sizes], *, make: bool = True) -> str | None:
        """The product of some sizes at run time; None where one of them has no place."""
        number = math.prod(sizes[0] for sizes in factors if all(size == sizes[0] for size in sizes))
        moving = [sizes for sizes in factors if any(size != sizes[0] for size in sizes)]
        places = [self.inference.origins.get(sizes) for sizes in moving]
        if None in places or not make:
            return None if None in places else ""
        parts = [self.size(*place) for place in places if place is not None]
        for part in [*parts[1:], *([self.constant([number])] if number > 1 else [])]:
            parts[0] = self.add("Mul", [parts[0], part], "size")
        return parts[0]

    def counts_samples(self, name: str, samples: Sizes) -> bool:
        """Whether what a value is computed from counts the places of an axis: a Range up to its size."""
        return any(
            node is not None
            and node.op_type in ("Range", "CumSum", "NonZero")
            and any(dim.sizes == samples for dim in self.get(node.output[0]).dims or ())
            for _, node in itertools.islice(self.behind(name), 1000)
        )

    def parts(self, want: Want) -> list[Want]:
        """The sizes that make up a wanted one, where the values that have it were joined along their axis; else none."""
        name, axis = want.value, want.axis
        for _ in range(20):
            node = self.maker(name)
            if node is None or want.more or want.times > 1:
                return []
            dims = self.get(name).dims or ()
            if node.op_type == "Concat" and axis == attribute_value(node, "axis", 0) % max(len(dims), 1):
                made = [(part, (self.get(part).dims or ())[axis : axis + 1]) for part in node.input]
                if any(not dim or not dim[0].sizes for _, dim in made):
                    return []
                return [Want(dim[0].sizes, part, axis, factors=dim[0].factors) for part, dim in made]
            places = ((n, a) for n in node.input for a, d in enumerate(self.get(n).dims or ()) if d.sizes == want.sizes)
            found = next(places, None)
            if found is None:
                return []
            name, axis = found
        return []

    def merged_of(self, want: Want, bases: Sequence[int]) -> list[Want] | None:
        """The sizes that were merged into a wanted one, where they are these at the first point; None where they are not."""
        factors = [sizes for sizes in want.factors if sizes[0] != 1 or any(size != 1 for size in sizes)]
        groups = _grouped(factors, bases)
        if len(factors) < 2 or groups is None:
            return None
        found: list[Want] = []
        for group in groups:
            sizes = product(group, self.points)
            varies = any(size != sizes[0] for size in sizes)
            value, axis = self.inference.origins.get(sizes, ("", 0))
            if varies and not value and (len(group) < 2 or self.product_of(group, make=False) is None):
                return None
            found.append(Want(sizes, value, axis, factors=tuple(group)))
        return found

    def moving_sizes(self) -> list[tuple[int, str]]:
        """The sizes that the axes that become free have in the file, and one less each: (size, how it is said)."""
        if not self._moving:
            bases = {sizes[0] for sizes in self.freed}
            self._moving = [(base, word) for base in sorted(bases) for word in ("that of", "one below")]
        return self._moving

    def sizes_seen(self) -> tuple[set[int], set[int]]:
        """The sizes in the file of axes that vary, and of the axes beside them: heights and widths of a pyramid."""
        if self._seen[0] != len(self.inference.origins):
            moving = {sizes[0] for sizes in self.inference.origins if any(size != sizes[0] for size in sizes)}
            holders = {value for sizes, (value, _) in self.inference.origins.items() if sizes[0] in moving}
            beside = {dim.base for value in holders for dim in self.get(value).dims or () if not dim.varies}
            self._seen = len(self.inference.origins), {n for n in moving if n > 2}, {n for n in beside if n > 1}
        return self._seen[1:]

    def is_product(self, number: int) -> bool:
        """Whether a number is how many places an axis that becomes free and another axis of an input have together."""
        bases = {sizes[0] for sizes in self.freed} - {0, 1}
        others = {dim.base for info in self.places[0].graph.input for dim in self.get(info.name).dims or ()}
        return any(number == base * other for base in bases for other in others if other > 1)

    def depends(self, name: str) -> bool:
        """Whether a value is computed from an input that varies."""
        known = self.get(name)
        return known.varies or not known.constant

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes of the graph being walked that read a value, as the file has them."""
        return self.place.readers.get(name, [])

    def scalar(self, size: str) -> str:
        """An int64[1] as a scalar."""
        return self.add("Squeeze", [size], "count")

    def concatenated(self, parts: Sequence[int | str]) -> str:
        """A list of sizes, of numbers and of values of the form int64[1]: int64[n]."""
        pieces: list[str] = []
        run: list[int] = []
        for part in (*parts, ""):
            if isinstance(part, int):
                run.append(part)
                continue
            if run:
                pieces.append(self.constant(run))
                run = []
            if part:
                pieces.append(part)
        return pieces[0] if len(pieces) == 1 else self.add("Concat", pieces, "shape", axis=0)

    def counted(self, size: str) -> str:
        """0, 1, 2, ... up to a size of the form int64[1], at opset 9 and later: int64[n]."""
        if self.opset >= 11:
            zero, one = (self.constant(np.array(number, np.int64), "number") for number in (0, 1))
            return self.add("Range", [zero, self.scalar(size), one], "count")
        ones = self.add("ConstantOfShape", [size], "ones", value=onnx.numpy_helper.from_array(np.ones(1, np.int64)))
        name = self.add("Squeeze", [self.add("NonZero", [ones], "count")], "count", axes=[0])
        if (counts := self.get(size).data) is not None:  # NonZero hides how many there are
            sizes = tuple(int(count.reshape(-1)[0]) for count in counts)
            dim = whole(sizes) if len(set(sizes)) > 1 else fixed(sizes[0], self.points)
            self.inference.known[name] = Known(onnx.TensorProto.INT64, (dim,), tuple(map(np.arange, sizes)))
        return name

    def unsqueezed(self, name: str, axes: Sequence[int], wish: str) -> str:
        """New axes of size 1."""
        if self.opset >= 13:
            return self.add("Unsqueeze", [name, self.constant(list(axes), "axes")], wish)
        return self.add("Unsqueeze", [name], wish, axes=list(axes))

    def expression(self, sizes: Sizes, near: Iterable[tuple[str, int]] = ()) -> str | None:
        """A value of the form int64[1] that is a size at every point.

        Args:
            sizes: The size.
            near: Values and axes to make it of, the best first; after them come the places where sizes were seen first.
        """
        if all(size == sizes[0] for size in sizes):
            return self.constant([sizes[0]])
        candidates = [(value, axis, self._sizes_of(value, axis)) for value, axis in near]
        for value, axis, own in candidates:
            if own == sizes:
                return self.size(value, axis)
        for value, axis, own in candidates:
            if own and (found := self._scaled(self.size, value, axis, own, sizes)):
                return found
        used = [(value, axis, own) for value, axis, own in candidates if own and any(s != own[0] for s in own)]
        whole = product([own for _, _, own in used], self.points)
        if len(used) > 1 and whole == sizes:
            name = self.size(used[0][0], used[0][1])
            for value, axis, _ in used[1:]:
                name = self.add("Mul", [name, self.size(value, axis)], "size")
            return name
        if sizes in self.inference.origins:
            return self.size(*self.inference.origins[sizes])
        for own, (value, axis) in list(self.inference.origins.items()):
            if found := self._scaled(self.size, value, axis, own, sizes):
                return found
        return None

    def _sizes_of(self, value: str, axis: int) -> Sizes:
        dims = self.get(value).dims
        return dims[axis].sizes if dims is not None else ()

    def _scaled(self, size: Callable[[str, int], str], value: str, axis: int, own: Sizes, sizes: Sizes) -> str | None:
        """A whole multiple or a whole part of a size."""
        if 0 in own or 0 in sizes:
            return None
        if all(a * own[0] == own_p * sizes[0] for a, own_p in zip(sizes, own, strict=True)):
            if sizes[0] % own[0] == 0:
                return self.add("Mul", [size(value, axis), self.constant([sizes[0] // own[0]])], "size")
            if own[0] % sizes[0] == 0:
                return self.add("Div", [size(value, axis), self.constant([own[0] // sizes[0]])], "size")
        return None

    # Findings.

    def find(
        self,
        kind: Kind,
        node: onnx.NodeProto,
        text: str,
        *,
        value: str = "",
        axis: int | None = None,
        done: str = "",
        remedy: str = "",
    ) -> None:
        """Note a finding; one of each kind a node."""
        name = node.name or next(filter(None, node.output), node.op_type)
        if (name, kind) in self._named and kind != "follows":
            return
        self._named.add((name, kind))
        where = " in a body" if len(self.places) > 1 else ""
        sentence = f"{title(node)}{where} {text}"
        self.findings.append(
            SizeFinding(kind, name, node.op_type, value, axis, sentence, done, remedy, self.tensor(value) is not None)
        )

    def was_found(self, node: onnx.NodeProto) -> bool:
        """Whether something was said of a node that is not that it follows."""
        name = node.name or next(filter(None, node.output), node.op_type)
        return any((name, kind) in self._named for kind in ("held", "property", "lost", "choice"))


def _grouped(factors: Sequence[Sizes], bases: Sequence[int]) -> list[list[Sizes]] | None:
    """Neighbouring factors whose products are some sizes at the first point; None where they are not."""
    groups: list[list[Sizes]] = []
    waiting = list(factors)
    for base in bases:
        group: list[Sizes] = []
        while waiting and (not group or math.prod(sizes[0] for sizes in group) < base):
            group.append(waiting.pop(0))
        groups.append(group)
        if math.prod(sizes[0] for sizes in group) != base:
            return None
    return None if waiting else groups


def dims_of(known: Known) -> tuple[Dim, ...]:
    """The dims of a value; none where the rank is not known."""
    return known.dims or ()


def attributes_of(node: onnx.NodeProto) -> Mapping[str, onnx.AttributeProto]:
    """A node's attributes by name."""
    return {attribute.name: attribute for attribute in node.attribute}
