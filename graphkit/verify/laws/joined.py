"""joined: a merged model equals its models run one after the other; and a split one equals its stages in a chain."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

from graphkit.errors import FeedError, GraphkitError, SessionError
from graphkit.feeds.feeds import complete
from graphkit.graph.ports import input_ports
from graphkit.model import Model, ModelLike
from graphkit.step import Original, Step
from graphkit.storage.load import as_model, load
from graphkit.surgery.split import Split
from graphkit.verify.compare.metrics import Metrics, badness, measure
from graphkit.verify.compare.tolerance import Policy
from graphkit.verify.laws.binding import Broken, Unproved
from graphkit.verify.laws.judge import Asked
from graphkit.verify.laws.proof import Held
from graphkit.verify.laws.side import NoKernelError, Side
from graphkit.verify.laws.side import load as side_of

Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Feeds -> outputs."""

Load = Callable[[Model, Iterable[str], Iterable[str]], Side]
"""Gives a side, in the runtime or in onnx.reference."""

RUNS = 3
"""Feeds on which values are compared where nobody says how many."""


def is_merge(model: Model) -> bool:
    """Whether a model is as ``merge`` made it, and nothing was done to it since."""
    steps = model.history
    return len(steps) == 1 and steps[0].operation == "merge"


def held_joined(
    merged: Model, models: Mapping[str, ModelLike] | None, *, feeds: Mapping[str, Any], samples: int | None, seed: int
) -> Held:
    """Run the merged model and its models on the same feeds, and compare every output of the merged one.

    Args:
        merged: What ``merge`` made.
        models: The models by the names that the history has; None for the files of their names beside the merged one.
        feeds: What to feed inputs of the merged model; the others are random.
        samples: How many feeds.
        seed: Where the random numbers start.

    Raises:
        GraphkitError: A model is not found, or is another one than was merged.
    """
    step = merged.history[0]
    parts = _parts(merged, step, models)
    wires = {
        target: source for source, targets in step.arguments.get("connect", {}).items() for target in targets
    }  # input -> value
    try:
        order = _order(parts, wires)
    except CycleError:
        return Held(
            "unproved", ("merge",), "joined", "the models feed each other both ways: none of them can run first"
        )
    outputs = step.arguments["interface"]["outputs"]

    def sides(load_side: Load) -> tuple[Run, Run]:
        before = {name: _original(part, "a model that was merged", load_side) for name, part in parts.items()}
        after = _edited(merged, "the merged model", load_side)

        def one_after_the_other(fed: Mapping[str, Any]) -> Mapping[str, Any]:
            made = _one_after_the_other(step, order, parts, before, wires, fed)
            return {name: made[said] for name, said in outputs.items()}

        return one_after_the_other, lambda fed: after.run(fed).values

    return _compared("merge", "joined", merged, sides, Asked(samples, seed, feeds))


def held_chained(parts: Split, model: Model, *, feeds: Mapping[str, Any], samples: int | None, seed: int) -> Held:
    """Run the stages of a split model one after the other, and the whole, on the same feeds; compare every output."""

    def sides(load_side: Load) -> tuple[Run, Run]:
        whole = _original(model, "the model that was split", load_side)
        stages = [(_edited(part, "a stage", load_side), list(input_ports(part.proto))) for part in parts.models]

        def in_a_chain(fed: Mapping[str, Any]) -> Mapping[str, Any]:
            known = dict(fed)
            for stage, inputs in stages:
                known.update(stage.run({name: known[name] for name in inputs if name in known}).values)
            return {name: known[name] for name in parts.outputs}

        return lambda fed: whole.run(fed).values, in_a_chain

    return _compared("split", "part", model, sides, Asked(samples, seed, feeds))


def _original(model: Model, called: str, load_side: Load) -> Side:
    """A model that gives all of its outputs; sequences and optional values go in and out too.

    Raises:
        Unproved: It cannot be run.
    """
    try:
        return load_side(model, [value.name for value in model.outputs], ())
    except SessionError as error:
        raise Unproved(f"{called} cannot be run: {error}") from error


def _edited(model: Model, called: str, load_side: Load) -> Side:
    """The same of what an operation made.

    Raises:
        Unproved: Nothing that is installed can run it.
        Broken: It does not load.
    """
    try:
        return load_side(model, [value.name for value in model.outputs], ())
    except NoKernelError as error:
        raise Unproved(f"{called} cannot be run: {error}") from error
    except SessionError as error:
        raise Broken(f"{called} does not load: {error}") from error


def _compared(operation: str, law: str, model: Model, sides: Callable[[Load], tuple[Run, Run]], asked: Asked) -> Held:
    """What two ways of computing the outputs of a model give, on the same feeds: in ONNX Runtime, and in onnx.reference
    where the runtime cannot run the model before.

    Args:
        operation: The step.
        law: Its law.
        model: Whose inputs are fed.
        sides: Gives the model before and the one after, as what loads a side makes them.
        asked: How many feeds, and which.
    """
    try:
        return _on_feeds(operation, law, model, sides, asked, reference=False)
    except Broken as error:
        return Held("broken", (operation,), law, str(error))
    except Unproved as error:
        why = str(error)
    try:
        return _on_feeds(operation, law, model, sides, asked, reference=True)
    except (Broken, Unproved):
        return Held("unproved", (operation,), law, why)


def _on_feeds(
    operation: str,
    law: str,
    model: Model,
    sides: Callable[[Load], tuple[Run, Run]],
    asked: Asked,
    *,
    reference: bool,
) -> Held:
    before, after = sides(partial(side_of, reference=reference))
    worst: dict[str, Metrics] = {}
    sizes: list[str] = []
    count = asked.samples or RUNS
    for number in range(count):
        try:
            fed = _feeds(model, asked.feeds, asked.seed + number)
        except FeedError as error:
            raise Unproved(f"no feed can be made: {error}") from error
        sizes.append(" ".join(f"{name}={'x'.join(map(str, array.shape))}" for name, array in fed.items()))
        try:
            expected = before(fed)
        except (SessionError, FeedError) as error:
            raise Unproved(f"the model before does not run: {error}") from error
        try:
            actual = after(fed)
        except (SessionError, FeedError) as error:
            raise Broken(f"it does not run where the model before does ({sizes[-1]}): {error}") from error
        for name in expected:
            metrics = measure(actual[name], expected[name], Policy())
            if name not in worst or badness(metrics) > badness(worst[name]):
                worst[name] = metrics
    wrong = next((name for name, metrics in worst.items() if not metrics.match), None)
    return Held(
        "proved" if wrong is None else "broken",
        (operation,),
        law,
        "" if wrong is None else f"the output {wrong!r} differs: {worst[wrong].problem}",
        wrong,
        count,
        tuple(dict.fromkeys(sizes)),
        (),
        worst,
        "onnx.reference" if reference else "onnxruntime",
    )


def _parts(merged: Model, step: Step, models: Mapping[str, ModelLike] | None) -> dict[str, Model]:
    found: dict[str, Model] = {}
    for name, said in step.arguments["models"].items():
        if models is not None and name in models:
            part = as_model(models[name])
        else:
            folder = os.path.dirname(merged.path or "")
            path = os.path.join(folder, said["file"] or "")
            if models is not None or not said["file"] or not os.path.isfile(path):
                raise GraphkitError(
                    f"the model {name!r} ({said['file']}) that was merged is not at hand",
                    hint="give the models by name: gk.prove(merged, {'A': 'a.onnx', ...})",
                )
            part = load(path)
        known = part.identity or Original.of(part.proto)
        if known.digest != said["sha256"]:
            raise GraphkitError(f"{part.path or name} is another model than the one that was merged as {name!r}")
        found[name] = part
    return found


def _owner(text: str, parts: Mapping[str, Model]) -> tuple[str, str]:
    """The model and the value of ``MODEL:NAME``, where both may hold colons."""
    for name in sorted(parts, key=len, reverse=True):
        if text.startswith(f"{name}:"):
            return name, text[len(name) + 1 :]
    raise GraphkitError(f"the history connects {text!r}, and no model is called so")


def _order(parts: Mapping[str, Model], wires: Mapping[str, str]) -> list[str]:
    before: dict[str, set[str]] = {name: set() for name in parts}
    for target, source in wires.items():
        owner, value = _owner(source, parts)
        if any(value == output.name for output in parts[owner].outputs):
            before[_owner(target, parts)[0]].add(owner)
    return list(TopologicalSorter(before).static_order())


def _feeds(merged: Model, feeds: Mapping[str, Any], seed: int) -> dict[str, Any]:
    ports = input_ports(merged.proto)
    wanted = {name: feeds.get(name, "random") for name, port in ports.items() if port.required or name in feeds}
    return dict(complete(merged, ports, wanted, seed=seed))


def _one_after_the_other(
    step: Step,
    order: list[str],
    parts: Mapping[str, Model],
    sides: Mapping[str, Side],
    wires: Mapping[str, str],
    fed: Mapping[str, Any],
) -> dict[str, Any]:
    """``MODEL:OUTPUT`` -> value, with every model fed what it is connected to."""
    known: dict[str, Any] = {
        said: fed[name] for name, said in step.arguments["interface"]["inputs"].items() if name in fed
    }
    for name in order:
        given: dict[str, Any] = {}
        for entry in input_ports(parts[name].proto):
            source = f"{name}:{entry}"
            seen = set()
            while source in wires and source not in seen:
                seen.add(source)
                source = wires[source]
            if source in known:
                given[entry] = known[source]
        known.update({f"{name}:{output}": value for output, value in sides[name].run(given).values.items()})
    return known
