"""An ONNX model as the reference: what each input and output of a candidate is in it."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError, NameNotFoundError
from graphkit.feeds.feeds import check
from graphkit.feeds.random import RandomFeeds
from graphkit.graph import values, walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import Port, input_ports
from graphkit.hint import Argument, Blank, Hint, call
from graphkit.running.run import session_for
from graphkit.storage.load import as_model
from graphkit.tensor import numpy_type
from graphkit.verify.reference.protocol import Exchange
from graphkit.verify.reference.resize_inputs import Resized, resized

if TYPE_CHECKING:
    from graphkit.model import Model, ModelLike
    from graphkit.runtime.session import Session
    from graphkit.tensor import Array
    from graphkit.verify.reference.protocol import Ported


class OnnxReference:
    """Another ONNX model.

    An input of the candidate is bound, by its own name or by the one that ``mapping`` gives, to what has that name in
    the reference: an input (both are fed the same, cast where the types differ), a constant (the candidate is fed
    the constant), or any other value (the candidate is fed what the reference computes). Outputs are bound likewise. An
    input that sets a factor, scales or sizes is fed what the scales or sizes of the reference's Resize mean for it.
    """

    def __init__(
        self,
        candidate: Ported,
        against: ModelLike,
        mapping: Mapping[str, str],
        given: Mapping[str, Any],
        outputs: tuple[str, ...],
        options: Mapping[str, Any],
        seed: int = 0,
        *,
        choice: bool = True,
    ) -> None:
        """Bind a candidate to a reference.

        Args:
            candidate: The candidate's inputs and outputs.
            against: The reference.
            mapping: Input or output of the candidate -> what it is in the reference.
            given: Feeds that the user gave.
            outputs: The outputs to compare; none for all.
            options: For the reference's session.
            seed: Where random feeds of inputs that only the reference has start.
            choice: Whether the caller can choose outputs, for hints; who cannot has to cut the models.

        Raises:
            ComparisonError: Inputs or outputs have no counterpart, or outputs come in another order or number.
            NameNotFoundError: ``mapping`` or ``outputs`` name what is not there.
        """
        self._choice = choice
        model = as_model(against)
        self.name = model.path or model.proto.graph.name
        self.notes: list[str] = []
        self.doubts: list[str] = []
        self.by_position: tuple[str, ...] = ()
        self.bindings: dict[str, str] = {}
        self._index = GraphIndex(model.proto.graph)
        self._ports = input_ports(model.proto)
        self._constants: dict[str, Array] = {}
        self._inner: dict[str, str] = {}
        self._resized: dict[str, Resized] = {}
        self._same: dict[str, str] = {}
        self.compared: dict[str, str] = {}
        self._bind_inputs(candidate, model, mapping, given)
        self._bind_outputs(candidate, mapping, outputs)
        self._own = self._unbound_inputs(candidate, given)
        computed = [n for found in self._resized.values() for n in found.needs if n not in self._ports]
        wanted = list(dict.fromkeys([*self.compared.values(), *self._inner.values(), *computed]))
        inner = any(name not in self._index.outputs for name in wanted)
        self._load = functools.partial(session_for, model if inner else against, wanted if inner else None, **options)
        self._wanted = wanted
        self._random = RandomFeeds(model, seed=seed) if self._own else None
        determined = {*self._constants, *self._inner, *self._resized}
        self.drawn = tuple(n for n in candidate.inputs if n not in determined)
        self.like = {name: self._ports[own].dims for name, own in self._same.items()}

    def _bind_inputs(
        self, candidate: Ported, model: Model, mapping: Mapping[str, str], given: Mapping[str, Any]
    ) -> None:
        unbound: list[Port] = []
        for name, port in candidate.inputs.items():
            target = mapping.get(name, name)
            if name in mapping and not self._index.has(target):
                raise NameNotFoundError("value", target, self._index.values())
            if target in self._ports:
                self._same[name] = target
            elif name in given:
                self.bindings[name] = "fed to the candidate only"
                continue
            elif (found := resized(port, candidate.model, model, target)) is not None:
                tensor = values.constant(self._index, target) if found.needs == (target,) else None
                if tensor is None:
                    self._resized[name] = found
                else:
                    self._constants[name] = found.value({target: model.array_of(tensor)})
            elif (tensor := values.constant(self._index, target)) is not None:
                self._constants[name] = shaped_like(port, model.array_of(tensor), f"the constant {target!r}")
            elif self._index.has(target):
                self._inner[name] = target
            elif port.required:
                unbound.append(port)
                continue
            else:
                continue
            self.bindings[name] = target
        if unbound:
            raise self._no_counterpart(unbound)

    def _no_counterpart(self, unbound: list[Port]) -> ComparisonError:
        names = ", ".join(f"{p.name!r} ({p.text})" for p in unbound)
        resizes = [n for n in self._index.nodes if n.op_type in ("Resize", "Upsample")]
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

    def _bind_outputs(self, candidate: Ported, mapping: Mapping[str, str], outputs: tuple[str, ...]) -> None:
        known = list(self._index.outputs)
        wanted = list(outputs or candidate.outputs)
        for name in wanted:
            if name not in candidate.outputs:
                raise NameNotFoundError("output", name, candidate.outputs)
            target = mapping.get(name, name)
            if self._index.has(target):
                self.compared[name] = target
            elif name in mapping:
                raise NameNotFoundError("value", target, self._index.values())
        rest = [name for name in wanted if name not in self.compared]
        free = [name for name in known if name not in self.compared.values()]
        if rest and len(rest) == len(free):
            self.compared.update(zip(rest, free, strict=True))
            self.by_position = tuple(rest)
            pairs = ", ".join(f"{a!r} with {b!r}" for a, b in zip(rest, free, strict=True))
            self.notes.append(f"outputs of other names are compared by position: {pairs}")
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
        self.compared = {name: self.compared[name] for name in wanted}
        if not outputs:
            moved = [name for name, place in zip(wanted, known, strict=False) if self.compared[name] != place]
            self._check_outputs(known, named=all(name in mapping for name in moved))
        self.bindings.update(self.compared)

    def _check_outputs(self, known: list[str], *, named: bool) -> None:
        """Without a choice of outputs a candidate that takes the reference's place must have its outputs.

        They come in the same order, unless ``named``: each that is elsewhere was said to be which.
        """
        part = bool(self._inner) or any(name not in known for name in self.compared.values())
        compared = list(self.compared.values())
        missing = [name for name in known if name not in compared]
        if missing and not part:
            raise ComparisonError(
                f"the reference has {len(known)} outputs and the candidate {len(compared)}: "
                f"{', '.join(map(repr, missing))} is missing",
                hint=self._choose(*self.compared),
            )
        if not part and not named and compared != known:
            raise ComparisonError(
                f"the outputs come in another order: {', '.join(compared)}; in the reference {', '.join(known)}",
                hint=Hint("say that they are compared by name with ", Argument("map", dict(self.compared))),
            )

    def _choose(self, *names: str) -> Hint:
        if self._choice:
            return Hint("choose the ones to compare with ", Argument("outputs", list(names)))
        cut = call("extract", outputs=list(names))
        return Hint("cut both models to the outputs that they share with `", cut, "`")

    def _unbound_inputs(self, candidate: Ported, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Inputs of the reference that no input of the candidate stands for; refused where a compared value needs one."""
        bound = set(self._same.values())
        own = [n for n, p in self._ports.items() if p.required and n not in bound]
        stops = {*self._inner.values(), *(self.bindings[n] for n in self._constants)}
        needed = reached(self._index, self.compared.values(), stops)
        lost = [n for n in own if n in needed and n not in given]
        if lost:
            names = ", ".join(f"{n!r} ({self._ports[n].text})" for n in lost)
            raise ComparisonError(
                f"the reference needs inputs that the candidate {candidate.name} does not have: {names}",
                hint=Hint(
                    "feed it with ",
                    Argument("feeds", {lost[0]: Blank("VALUE")}),
                    " (what the candidate holds in its place), or say which input of the candidate it is with ",
                    Argument("map", {Blank("INPUT"): lost[0]}),
                ),
            )
        return tuple(own)

    def own_port(self, name: str) -> Port:
        """An input that only the reference has.

        Raises:
            NameNotFoundError: It has none of this name.
        """
        if name not in self._ports:
            raise NameNotFoundError("input", name, [*self.drawn, *self._ports])
        return self._ports[name]

    def example(self, sample: int) -> dict[str, Any]:  # noqa: ARG002 (the protocol's signature)
        """Nothing: a model file proposes no feeds."""
        return {}

    def opened(self) -> contextlib.AbstractContextManager[None]:
        """Nothing has to be in force."""
        return contextlib.nullcontext()

    def run(self, feeds: Mapping[str, Any], sample: int) -> Exchange:
        """Run the reference; ``feeds`` may also name its own inputs.

        Raises:
            FeedError: A feed does not fit the reference's input.
            SessionError: The runtime failed.
        """
        own = self.own_feeds(feeds, sample)
        made = run_session(self.session, own, self._wanted)
        exchange = Exchange(dict(self._constants))
        exchange.feeds.update({name: made[target] for name, target in self._inner.items()})
        exchange.feeds.update({name: found.value({**own, **made}) for name, found in self._resized.items()})
        exchange.outputs = {name: made[target] for name, target in self.compared.items()}
        return exchange

    @functools.cached_property
    def session(self) -> Session:
        """The reference, loaded when it is first run."""
        return self._load()

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs the reference."""
        return self.session.providers

    def own_feeds(self, feeds: Mapping[str, Any], sample: int) -> dict[str, Any]:
        """Feeds of the candidate as feeds of the reference; inputs that only the reference has are drawn.

        Raises:
            FeedError: A feed does not fit the reference's input.
        """
        own: dict[str, Any] = {}
        for name in self._own:
            assert self._random is not None
            own[name] = feeds[name] if name in feeds else self._random.draw(name, sample)
        for name, target in self._same.items():
            if name in feeds:
                own[target] = retyped(feeds[name], self._ports[target])
                check(self._ports[target], own[target])
        return own

    def determined(self, feeds: Mapping[str, Any], sample: int) -> dict[str, Any]:
        """What the reference determines of the candidate's feeds; the reference runs only if inner values are among it."""
        return self.run(feeds, sample).feeds if self._inner or self._resized else dict(self._constants)


def run_session(session: Session, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a session on arrays or tensors. On a GPU, where torch is there, tensors go in and come out on the device."""
    if session.device == "cpu" or importlib.util.find_spec("torch") is None:
        return session.run_arrays(feeds, outputs)
    from graphkit.torch_tensors import to_tensor

    return dict(session.run_tensors({name: to_tensor(value, "cuda") for name, value in feeds.items()}, outputs))


def reached(index: GraphIndex, names: Any, stops: set[str]) -> set[str]:
    """The values that some values are computed from, themselves included, not looking behind ``stops``."""
    found: set[str] = set()
    waiting = [name for name in names if name not in stops]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if (position := index.producer.get(name)) is not None:
            waiting.extend(read for read in walk.reads(index.nodes[position]) if read not in stops)
    return found


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
