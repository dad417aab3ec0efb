"""Binding a candidate to another ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError, NameNotFoundError
from graphkit.graph import values
from graphkit.graph.index import GraphIndex
from graphkit.graph.misnamed import node_hint
from graphkit.graph.ports import Port, input_ports
from graphkit.graph.upstream import upstream
from graphkit.hint import Argument, Blank, Hint, call
from graphkit.semantics.kinds import RESIZERS
from graphkit.tensor import numpy_type
from graphkit.verify.reference.binding import Binding, Constant, FedAlone, Inner, ResizedBy, SameInput, Source
from graphkit.verify.reference.resize_inputs import resized

if TYPE_CHECKING:
    from graphkit.model import Model
    from graphkit.tensor import Array
    from graphkit.verify.reference.binding import Ported


def bind_model(
    candidate: Ported,
    reference: Model,
    mapping: Mapping[str, str],
    given: Mapping[str, Any],
    outputs: tuple[str, ...] = (),
    *,
    choice: bool = True,
) -> Binding:
    """Bind a candidate to another model.

    An input of the candidate is bound, by its own name or by the one that ``mapping`` gives, to what has that name in
    the reference: an input (both are fed the same, cast where the types differ), a constant (the candidate is fed
    the constant), or any other value (the candidate is fed what the reference computes). Outputs are bound likewise. An
    input that sets a factor, scales or sizes is fed what the scales or sizes of the reference's Resize mean for it.

    Args:
        candidate: The candidate's inputs and outputs.
        reference: The reference.
        mapping: Input or output of the candidate -> what it is in the reference.
        given: Feeds that the user gave.
        outputs: The outputs to compare; none for all.
        choice: Whether the caller can choose outputs, for hints; who cannot has to cut the models.

    Raises:
        ComparisonError: Inputs or outputs have no counterpart, or outputs come in another order or number.
        NameNotFoundError: ``mapping`` or ``outputs`` name what is not there.
    """
    binder = _Binder(candidate, reference, mapping, given, outputs, choice=choice)
    sources = binder.inputs()
    bound, by_position, notes = binder.outputs(sources)
    determined = {name for name, source in sources.items() if isinstance(source, Constant | Inner | ResizedBy)}
    same = {name: source.name for name, source in sources.items() if isinstance(source, SameInput)}
    return Binding(
        reference=binder.name,
        inputs=sources,
        outputs=bound,
        drawn=tuple(name for name in candidate.inputs if name not in determined),
        like={name: binder.ports[own].dims for name, own in same.items()},
        own=binder.unbound(sources, bound),
        by_position=by_position,
        whole=not outputs,
        notes=notes,
    )


class _Binder:
    """The two sides, and what the user said."""

    def __init__(
        self,
        candidate: Ported,
        reference: Model,
        mapping: Mapping[str, str],
        given: Mapping[str, Any],
        wanted: tuple[str, ...],
        *,
        choice: bool,
    ) -> None:
        self.name = reference.path or reference.proto.graph.name
        self.ports = input_ports(reference.proto)
        self._candidate, self._reference = candidate, reference
        self._mapping, self._given, self._wanted = mapping, given, wanted
        self._choice = choice
        self._index = GraphIndex(reference.proto.graph)

    def inputs(self) -> dict[str, Source]:
        """What each input of the candidate is.

        Raises:
            ComparisonError: One has no counterpart, and is not fed.
            NameNotFoundError: The mapping names what is not there.
        """
        found: dict[str, Source] = {}
        unbound: list[Port] = []
        for name, port in self._candidate.inputs.items():
            target = self._mapping.get(name, name)
            if name in self._mapping and not self._index.has(target):
                raise NameNotFoundError(
                    "value", target, self._index.values(), hint=node_hint(self._index.graph, target)
                )
            source = self._source(port, target)
            if source is not None:
                found[name] = source
            elif port.required:
                unbound.append(port)
        if unbound:
            raise self._no_counterpart(unbound)
        return found

    def _source(self, port: Port, target: str) -> Source | None:
        """What one input is: a rule for each kind of target."""
        if target in self.ports:
            return SameInput(target)
        if port.name in self._given:
            return FedAlone()
        tensor = values.constant(self._index, target)
        found = resized(port, self._candidate.model, self._reference, target)
        if found is not None and (found.needs != (target,) or tensor is None):
            return ResizedBy(target, found)
        if found is not None and tensor is not None:
            return Constant(target, found.value({target: self._reference.array_of(tensor)}))
        if tensor is not None:
            array = self._reference.array_of(tensor)
            return Constant(target, shaped_like(port, array, f"the constant {target!r}"))
        return Inner(target) if self._index.has(target) else None

    def _no_counterpart(self, unbound: list[Port]) -> ComparisonError:
        names = ", ".join(f"{p.name!r} ({p.text})" for p in unbound)
        resizes = [n for n in self._index.nodes if n.op_type in RESIZERS]
        constants = [r for n in resizes for r in n.input[1:] if r and values.constant(self._index, r) is not None]
        example = constants[0] if constants else Blank("VALUE")
        return ComparisonError(
            f"the candidate has inputs that the reference {self.name} does not have: {names}",
            hint=Hint(
                "say what it is there with ",
                Argument("map", {unbound[0].name: example}),
                " (an input, a constant or an inner value of the reference), or feed it to the candidate alone with ",
                Argument("feeds", {unbound[0].name: Blank("VALUE")}),
            ),
        )

    def outputs(self, sources: Mapping[str, Source]) -> tuple[dict[str, str | int], tuple[str, ...], tuple[str, ...]]:
        """(what each output is, those that were bound by their place, what the user should know).

        Raises:
            ComparisonError: One has no counterpart, or they come in another order or number.
            NameNotFoundError: An output or a value that is not there is named.
        """
        known = list(self._index.outputs)
        wanted = list(self._wanted or self._candidate.outputs)
        bound: dict[str, str] = {}
        for name in wanted:
            if name not in self._candidate.outputs:
                raise NameNotFoundError(
                    "output", name, self._candidate.outputs, hint=node_hint(self._candidate.model.proto.graph, name)
                )
            target = self._mapping.get(name, name)
            if self._index.has(target):
                bound[name] = target
            elif name in self._mapping:
                raise NameNotFoundError(
                    "value", target, self._index.values(), hint=node_hint(self._index.graph, target)
                )
        rest = [name for name in wanted if name not in bound]
        free = [name for name in known if name not in bound.values()]
        notes: tuple[str, ...] = ()
        if rest and len(rest) == len(free):
            bound.update(zip(rest, free, strict=True))
            pairs = ", ".join(f"{a!r} with {b!r}" for a, b in zip(rest, free, strict=True))
            notes = (f"outputs of other names are compared by position: {pairs}",)
        elif rest:
            raise ComparisonError(
                f"the candidate's outputs {', '.join(map(repr, rest))} are no values of the reference, whose outputs are "
                f"{', '.join(map(repr, known))}",
                hint=Hint(
                    "say which value it is with ",
                    Argument("map", {rest[0]: Blank("VALUE")}),
                    ", or ",
                    self._choose(Blank("NAME")),
                ),
            )
        bound = {name: bound[name] for name in wanted}
        if not self._wanted:
            self._check_order(bound, known, part=any(isinstance(source, Inner) for source in sources.values()))
        return dict(bound), tuple(rest), notes

    def _check_order(self, bound: Mapping[str, str], known: list[str], *, part: bool) -> None:
        """Without a choice of outputs a candidate that takes the reference's place must have its outputs.

        They come in the same order, unless each that is elsewhere was said to be which.
        """
        compared = list(bound.values())
        if part or any(name not in known for name in compared):
            return
        moved = [name for name, place in zip(bound, known, strict=False) if bound[name] != place]
        missing = [name for name in known if name not in compared]
        if missing:
            raise ComparisonError(
                f"the reference has {len(known)} outputs and the candidate {len(compared)}: "
                f"{', '.join(map(repr, missing))} is missing",
                hint=self._choose(*bound),
            )
        if compared != known and not all(name in self._mapping for name in moved):
            raise ComparisonError(
                f"the outputs come in another order: {', '.join(compared)}; in the reference {', '.join(known)}",
                hint=Hint("say that they are compared by name with ", Argument("map", dict(bound))),
            )

    def _choose(self, *names: str) -> Hint:
        if self._choice:
            return Hint("choose the ones to compare with ", Argument("outputs", list(names)))
        cut = call("extract", outputs=list(names))
        return Hint("cut both models to the outputs that they share with `", cut, "`")

    def unbound(self, sources: Mapping[str, Source], bound: Mapping[str, str | int]) -> tuple[str, ...]:
        """Inputs of the reference that no input of the candidate stands for.

        Raises:
            ComparisonError: A compared value needs one that is not fed.
        """
        same = {source.name for source in sources.values() if isinstance(source, SameInput)}
        own = [n for n, p in self.ports.items() if p.required and n not in same]
        stops = {source.name for source in sources.values() if isinstance(source, Inner | Constant)}
        asked = [name for name in map(str, bound.values()) if name not in stops]
        needed = upstream(self._index, asked, stop=stops.__contains__).values.keys() - stops
        lost = [n for n in own if n in needed and n not in self._given]
        if lost:
            names = ", ".join(f"{n!r} ({self.ports[n].text})" for n in lost)
            raise ComparisonError(
                f"the reference needs inputs that the candidate {self._candidate.name} does not have: {names}",
                hint=Hint(
                    "feed it with ",
                    Argument("feeds", {lost[0]: Blank("VALUE")}),
                    " (what the candidate holds in its place), or say which input of the candidate it is with ",
                    Argument("map", {Blank("INPUT"): lost[0]}),
                ),
            )
        return tuple(own)


def retyped(array: Array, port: Port) -> Array:
    """A feed in the dtype that the other side declares for it.

    Raises:
        ComparisonError: It has texts, and the other side wants numbers.
    """
    dtype = numpy_type(port.data_type)
    if dtype is None or dtype.kind == "O":
        return array
    if array.dtype.kind in "OUST":
        raise ComparisonError(f"input {port.name!r} is {port.text} on the one side, and has texts on the other")
    return array.astype(dtype, copy=False)


def shaped_like(port: Port, array: Array, what: str) -> Array:
    """A constant of the reference in the dtype and shape of the input that took its place.

    A single number must be all of the elements that it stands for.

    Raises:
        ComparisonError: It cannot stand for the constant.
    """
    array = np.asarray(retyped(array, port))
    sizes = array.shape if port.dims is None else port.dims
    if len(sizes) == array.ndim and all(d == s for d, s in zip(sizes, array.shape, strict=True) if isinstance(d, int)):
        return array
    wanted = [d if isinstance(d, int) else 1 for d in sizes]
    if np.prod(wanted) == array.size:
        return array.reshape(wanted)
    if np.prod(wanted) == 1 and array.size and (array == array.flat[0]).all():
        return array.reshape(-1)[:1].reshape(wanted)
    raise ComparisonError(
        f"input {port.name!r} is {port.text} and cannot stand for {what} of shape {list(array.shape)}",
        hint=Hint("feed it with ", Argument("feeds", {port.name: Blank("VALUE")})),
    )
