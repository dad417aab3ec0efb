"""What lets a model take an input shape that it refused: each edit is tried in memory before its command is named."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from graphkit.errors import GraphkitError
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import title
from graphkit.graph.upstream import upstream
from graphkit.graph.values import constant, dims, format_type, tensor_type
from graphkit.hint import Argument, Blank, Call, Hint, call
from graphkit.semantics.kinds import PRODUCTS
from graphkit.shapes.resize_patterns import is_resampler
from graphkit.surgery.dims import dims as with_dims
from graphkit.surgery.resize import resize

if TYPE_CHECKING:
    import onnx

    from graphkit.model import Model
    from graphkit.verify.probe.attempt import Attempt, Blame

Shapes = Mapping[str, tuple[int, ...]]

Place = tuple[str, int]
"""(input, axis)."""

MULTIPLES = (2, 4, 8, 16, 32, 64)
"""What models of pooling and strides want their sizes to be multiples of."""

WEIGHTED = (*PRODUCTS, "ConvInteger", "DeformConv", "MatMulInteger")
"""Operators whose second input, where it is constant, is a weight of one size."""


@dataclass
class Remedy:
    """Looks for what mends one refused attempt.

    Attributes:
        model: The model.
        shapes: The shapes that it refused.
        base: Shapes that it accepts, or None where none are known.
        tried: Runs another model at some shapes.
    """

    model: Model
    shapes: Shapes
    base: Shapes | None
    tried: Callable[[Model, Shapes], Attempt]
    _findings: list[str] = field(default_factory=list)

    def find(self, attempt: Attempt) -> str | None:
        """A command that was seen to mend it, or why there is none; None where nothing is known.

        Cost: some sessions, and a run in each.
        """
        if attempt.node is None:
            declared = [blame for blame in attempt.blame if blame.axis is not None]
            return self._freed(_places(declared)) if declared else self._other_rank(attempt.blame)
        places = _places(attempt.blame) or self._differing()
        if not places:
            return "give a shape that runs too: then probe can say which axis it is"
        return (
            self._resized(attempt.node, places)
            or self._freed_again(places)
            or self._multiple(places)
            or self._stuck(attempt)
        )

    @staticmethod
    def _other_rank(blame: Sequence[Blame]) -> str | None:
        return "no command mends it: the model is made for this number of axes" if blame else None

    def _differing(self) -> list[Place]:
        base = self.base or {}
        return [
            (name, axis)
            for name, shape in self.shapes.items()
            for axis, (size, accepted) in enumerate(zip(shape, base.get(name, ()), strict=False))
            if size != accepted
        ]

    def _freed(self, places: list[Place]) -> str:
        """The declared sizes are made free. A size that stays where it is is no mending."""
        axes = {f"{name}:{axis}": _symbol(name, axis) for name, axis in places}
        last: Attempt | None = None
        for repair in (False, True):
            edited, last = self._tried_free(axes, repair=repair)
            left = self._held() if repair else [text for text in self._findings if "fails, or is wrong" in text]
            if last is not None and last.accepted and not left:
                return Hint(call("dims", values=axes, repair_shapes=repair or None))
        if last is None:
            return "no command is known that mends it"
        return self._stuck(last, edited, axes)

    def _tried_free(self, axes: dict[str, str], *, repair: bool) -> tuple[Model, Attempt | None]:
        """The model with free axes, tried; other inputs that refuse then are freed too, and added."""
        edited = self.model
        while True:
            try:
                with warnings.catch_warnings(record=True) as heard:
                    warnings.simplefilter("always")
                    edited = with_dims(self.model, axes, repair_shapes=repair)
            except GraphkitError:
                return edited, None
            self._findings = [str(one.message) for one in heard]
            attempt = self.tried(edited, self.shapes)
            more = {f"{b.input}:{b.axis}": _symbol(b.input, b.axis) for b in attempt.blame if b.axis is not None}
            if attempt.accepted or more.keys() <= axes.keys():
                return edited, attempt
            axes.update(more)

    def _freed_again(self, places: list[Place]) -> str | None:
        """The axes are free already, but something inside spells out a size of before: fixed again and freed, it can be
        computed.
        """
        for fixed, free in self._ways(places):
            if self._runs_when_freed(fixed, free):
                return Hint(
                    _step("dims", "MODEL MIDDLE", values=fixed),
                    ", then ",
                    _step("dims", "MIDDLE OUT", values=free, repair_shapes=True),
                )
        return None

    def _ways(self, places: list[Place]) -> Iterator[tuple[dict[str, int], dict[str, str]]]:
        """What to fix, and free again: the axes to blame, then every free axis of the inputs."""
        for chosen in (places, self._free_axes()):
            fixed, free = self._fixed_and_free(chosen)
            if fixed:
                yield fixed, free

    def _free_axes(self) -> list[Place]:
        """The free axes of inputs for which a size is known that runs."""
        return [
            (name, axis)
            for name, accepted in (self.base or {}).items()
            for axis, dim in enumerate(self._declared(name)[: len(accepted)])
            if not isinstance(dim, int)
        ]

    def _declared(self, name: str) -> list[int | str | None]:
        value = next((value for value in self.model.proto.graph.input if value.name == name), None)
        return (dims(value.type) or []) if value is not None else []

    def _fixed_and_free(self, places: list[Place]) -> tuple[dict[str, int], dict[str, str]]:
        """What fixes axes, and all others of the same symbol, at sizes that run, and what makes them free again."""
        known = self._free_axes()
        symbols = {self._declared(name)[axis] for name, axis in known if (name, axis) in places} - {None}
        chosen = [place for place in known if place in places or self._declared(place[0])[place[1]] in symbols]
        fixed = {f"{name}:{axis}": (self.base or {})[name][axis] for name, axis in chosen}
        free = {f"{name}:{axis}": _named(self._declared(name)[axis], name, axis) for name, axis in chosen}
        return fixed, free

    def _runs_when_freed(self, fixed: Mapping[str, int], free: Mapping[str, str]) -> bool:
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                edited = with_dims(with_dims(self.model, fixed), free, repair_shapes=True)
        except GraphkitError:
            return False
        self._findings = [str(one.message) for one in heard]
        return self.tried(edited, self.shapes).accepted

    def _resized(self, name: str, places: list[Place]) -> str | None:
        """The node that failed, or one above it, has a fixed scale or size; as an input it goes on with what it was. Where
        that is known at one size only, the axes are fixed for the time of the edit.
        """
        for node in self._above(name):
            if is_resampler(node) and node.name and (found := self._resized_at(node.name, places)):
                return found
        return None

    def _resized_at(self, name: str, places: list[Place]) -> str | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._runs(lambda: resize(self.model, nodes=[name], keep_default=True)):
                return Hint(call("resize", nodes=[name], keep_default=True))
            for fixed, free in self._ways(places):
                edit = partial(_resized_when_fixed, self.model, name, fixed, free)
                if self._runs(edit):
                    return Hint(
                        *(_step("dims", "MODEL FIXED", values=fixed), ", then "),
                        *(_step("resize", "FIXED RESIZED", nodes=[name], keep_default=True), ", then "),
                        _step("dims", "RESIZED OUT", values=free),
                    )
        return None

    def _runs(self, edit: Callable[[], Model]) -> bool:
        try:
            return self.tried(edit(), self.shapes).accepted
        except GraphkitError:
            return False

    def _above(self, name: str, most: int = 40) -> list[onnx.NodeProto]:
        """A node and those before it, nearest first."""
        index = GraphIndex(self.model.proto.graph)
        made = [output for place in index.nodes_by_name.get(name, ())[:1] for output in index.nodes[place].output]
        return [index.nodes[position] for position in islice(upstream(index, filter(None, made)).nodes, most)]

    def _multiple(self, places: list[Place]) -> str | None:
        """Sizes above the one that was refused run where they are multiples of a number."""
        for factor in MULTIPLES:
            sizes = [
                [-(-self.shapes[name][axis] // factor) * factor + more for name, axis in places] for more in (0, factor)
            ]
            if all(self._runs_at(places, given) for given in sizes):
                given = ", ".join(
                    f"{first} and {second} for axis {axis} of {name!r}"
                    for (name, axis), first, second in zip(places, *sizes, strict=True)
                )
                if self._runs_at(places, [size + factor // 2 for size in sizes[0]]):
                    return f"no command mends it: the model takes larger sizes ({given} run)"
                return (
                    f"no command mends it: the model takes multiples of {factor} ({given} run); pad or crop the input"
                )
        return None

    def _runs_at(self, places: list[Place], sizes: Sequence[int]) -> bool:
        return self.tried(self.model, self._at(places, sizes)).accepted

    def _at(self, places: list[Place], sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        for (name, axis), size in zip(places, sizes, strict=True):
            shapes[name][axis] = size
        return {name: tuple(shape) for name, shape in shapes.items()}

    def _held(self) -> list[str]:
        """What dims said of sizes that it could not make follow."""
        return [text for text in self._findings if "stays as it is" in text]

    def _stuck(self, attempt: Attempt, model: Model | None = None, axes: Mapping[str, str] | None = None) -> str:
        """Why nothing was found: a target that is spelt out, or a weight of one size."""
        if held := self._held():
            what = held[0].partition(": ")[0]
            dynamic = [f"{axis}={name}" for axis, name in (axes or {}).items()] or [Blank("INPUT:AXIS=NAME")]
            return Hint(f"{what}, which no command can compute: export again with ", Argument("dynamic", dynamic))
        index = GraphIndex((model or self.model).proto.graph)
        position = next(iter(index.nodes_by_name.get(attempt.node or "", ())), None)
        node = index.nodes[position] if position is not None else None
        weight = constant(index, node.input[1]) if node is not None and len(node.input) > 1 else None
        if node is not None and weight is not None and node.op_type in WEIGHTED:
            shape = format_type(tensor_type(weight.data_type, list(weight.dims)))
            return f"no command mends it: the weight {node.input[1]!r} of {title(node)} is {shape}, made for one size"
        return "no command is known that mends it" + (
            f": with these axes free {title(node)} fails" if node and axes else ""
        )


def _resized_when_fixed(model: Model, name: str, fixed: Mapping[str, int], free: Mapping[str, str]) -> Model:
    return with_dims(resize(with_dims(model, fixed), nodes=[name], keep_default=True), free)


def _places(blame: Sequence[Blame]) -> list[Place]:
    return [(one.input, one.axis) for one in blame if one.axis is not None]


def _named(dim: int | str | None, name: str, axis: int) -> str:
    """The name that an axis has, where it can be given again."""
    return dim if isinstance(dim, str) and dim.isidentifier() else _symbol(name, axis)


def _symbol(name: str, axis: int | None) -> str:
    """A name for a dim: ``x_0``."""
    return f"{re.sub(r'[^A-Za-z0-9]', '_', name)}_{axis}" if name[:1].isalpha() else f"dim_{axis}"


def _step(operation: str, files: str, /, **arguments: Any) -> Call:
    """One of several edits; what it reads and writes by the command line's names for the files."""
    return call(operation, **arguments)._replace(subject=(files.split(maxsplit=1)[0].lower(), files))
