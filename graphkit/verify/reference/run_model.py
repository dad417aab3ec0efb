"""Running a model as the reference, on the feeds of a candidate that is bound to it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphkit.errors import NameNotFoundError
from graphkit.feeds.random import RandomFeeds
from graphkit.graph.misnamed import node_hint
from graphkit.graph.ports import Port, input_ports
from graphkit.optional import is_there
from graphkit.reading.fits import check
from graphkit.running.run import session_for
from graphkit.storage.load import as_model
from graphkit.verify.reference.bind_model import retyped
from graphkit.verify.reference.binding import Binding, Constant, Inner, ResizedBy, SameInput
from graphkit.verify.reference.repeatable import unrepeatable_model
from graphkit.verify.reference.runner import Exchange

if TYPE_CHECKING:
    from graphkit.model import Model, ModelLike
    from graphkit.runtime.session import Session
    from graphkit.verify.reference.runner import Loading


class ModelRunner:
    """A model that a candidate is bound to, and the session that runs it, which is loaded when it is first run."""

    def __init__(self, binding: Binding, against: ModelLike, loading: Loading, seed: int = 0) -> None:
        self.binding = binding
        self._against = against
        self._loading = loading
        model = as_model(against)
        self._graph = model.proto.graph
        self._ports = input_ports(model.proto)
        self._outputs = {value.name for value in model.proto.graph.output}
        self._constants = {name: source.array for name, source in binding.of(Constant).items()}
        self._inner = {name: source.name for name, source in binding.of(Inner).items()}
        self._resized = {name: source.resized for name, source in binding.of(ResizedBy).items()}
        self._same = {name: source.name for name, source in binding.of(SameInput).items()}
        self._compared = {name: str(target) for name, target in binding.outputs.items()}
        computed = [n for found in self._resized.values() for n in found.needs if n not in self._ports]
        self._wanted = list(dict.fromkeys([*self._compared.values(), *self._inner.values(), *computed]))
        self._random = RandomFeeds(model, seed=seed) if binding.own else None

    def own_port(self, name: str) -> Port:
        """An input that only the reference has.

        Raises:
            NameNotFoundError: It has none of this name.
        """
        if name not in self._ports:
            raise NameNotFoundError(
                "input", name, [*self.binding.drawn, *self._ports], hint=node_hint(self._graph, name)
            )
        return self._ports[name]

    def example(self, sample: int) -> dict[str, Any]:  # noqa: ARG002 (the runner's signature)
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
        exchange.outputs = {name: made[target] for name, target in self._compared.items()}
        return exchange

    def remarks(self) -> list[str]:
        """Nothing: a model has no branches on being exported."""
        return []

    def unrepeatable(self, feeds: Mapping[str, Any], sample: int, candidate: Model) -> list[str]:  # noqa: ARG002 (the runner's signature)
        """What draws random numbers on either side."""
        return unrepeatable_model(candidate) + unrepeatable_model(as_model(self._against))

    @functools.cached_property
    def session(self) -> Session:
        """The reference, loaded when it is first run."""
        inner = any(name not in self._outputs for name in self._wanted)
        model = as_model(self._against) if inner else self._against
        return session_for(model, self._wanted if inner else None, **self._loading.options())

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
        for name in map(str, self.binding.own):
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
    if session.device == "cpu" or not is_there("torch"):
        return session.run_arrays(feeds, outputs)
    from graphkit.torch_tensors import to_tensor

    return dict(session.run_tensors({name: to_tensor(value, "cuda") for name, value in feeds.items()}, outputs))
