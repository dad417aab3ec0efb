"""joined: a merged model equals its models run one after the other; and a split one equals its stages in a chain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from graphkit.errors import GraphkitError
from graphkit.graph.ports import input_ports, output_ports
from graphkit.model import Model, ModelLike
from graphkit.step import Original, Step
from graphkit.storage.load import as_model, load
from graphkit.surgery.split import Split
from graphkit.verify.laws.binding import Binding, Broken, Change, Fed, Outcome
from graphkit.verify.laws.chain import Chain, owned
from graphkit.verify.laws.judge import Asked, ask
from graphkit.verify.laws.part import extract
from graphkit.verify.laws.proof import Held


def is_merge(model: Model) -> bool:
    """Whether a model is as ``merge`` made it, and nothing was done to it since."""
    steps = model.history
    return len(steps) == 1 and steps[0].operation == "merge"


def held_joined(merged: Model, models: Mapping[str, ModelLike] | None, asked: Asked) -> Held:
    """Run the merged model and its models on the same feeds, and compare every output and declared shape of the merged one.

    Args:
        merged: What ``merge`` made.
        models: The models by the names that the history has; None for the files of their names beside the merged one.
        asked: On which feeds.

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
    inputs, outputs = (step.arguments["interface"][what] for what in ("inputs", "outputs"))
    if why := _other_interface(parts, wires, inputs, outputs):
        return Held("broken", ("merge",), "joined", why)
    chain = Chain(parts, order, wires, inputs, list(outputs.values()))
    binding = Binding(
        inputs={name: Fed(name) for name in inputs},
        outputs={name: Outcome(said) for name, said in outputs.items()},
        names=chain.names(merged.proto, outputs),
        chain=chain,
    )
    return ask(binding, chain.standing(), merged, ["merge"], "joined", asked)


def _other_interface(
    parts: Mapping[str, Model], wires: Mapping[str, str], inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> str:
    """What is wrong with an interface: it has each input that nothing feeds, and each output that feeds nothing, in order."""
    feeding = set(wires.values())
    wanted = [f"{name}:{value}" for name, part in parts.items() for value in input_ports(part.proto)]
    given = [f"{name}:{value}" for name, part in parts.items() for value in output_ports(part.proto)]
    for what, found, expected in (
        ("inputs", inputs, [text for text in wanted if text not in wires]),
        ("outputs", outputs, [text for text in given if text not in feeding]),
    ):
        if list(found.values()) != expected:
            return f"the {what} stand for {', '.join(found.values())} and should stand for {', '.join(expected)}"
    return ""


def held_chained(parts: Split, model: Model, asked: Asked) -> Held:
    """Ask whether the outputs of each stage are the whole's values, where its inputs are, and whether the stages, run one
    after the other, have and give what the whole takes and gives: then they equal it.
    """
    known = set(input_ports(model.proto))
    first: Held | None = None
    for number, part in enumerate(parts.models):
        reads, makes = list(input_ports(part.proto)), list(output_ports(part.proto))
        where = f"stage {number}"
        if missing := [name for name, port in input_ports(part.proto).items() if port.required and name not in known]:
            return Held(
                "broken", ("split",), "part", f"{where} reads {missing[0]!r}, which no earlier stage makes", missing[0]
            )
        change = Change("extract", {"inputs": reads, "outputs": makes}, model, part)
        feeds = {name: value for name, value in asked.feeds.items() if name in {*reads, *input_ports(model.proto)}}
        try:
            held = ask(extract(change), model, part, ["split"], "part", replace(asked, feeds=feeds))
        except Broken as error:
            held = Held("broken", ("split",), "part", str(error))
        if not held:
            return replace(held, why=f"{where}: {held.why}")
        known.update(makes)
        first = held if first is None else _together(first, held)
    lost = [name for name in output_ports(model.proto) if name not in known or name not in parts.outputs]
    if lost or first is None:
        return Held(
            "broken", ("split",), "part", f"no stage gives the output {lost[0]!r}" if lost else "there is no stage"
        )
    return replace(
        first, also=(*first.also, f"{len(parts.models)} stages in a chain take and give what the whole does")
    )


def _together(one: Held, other: Held) -> Held:
    return replace(
        one,
        runs=min(one.runs, other.runs),
        sizes=tuple(dict.fromkeys([*one.sizes, *other.sizes])),
        also=tuple(dict.fromkeys([*one.also, *other.also])),
        outputs={**one.outputs, **other.outputs},
        evaluator="onnx.reference" if "onnx.reference" in (one.evaluator, other.evaluator) else one.evaluator,
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


def _order(parts: Mapping[str, Model], wires: Mapping[str, str]) -> list[str]:
    before: dict[str, set[str]] = {name: set() for name in parts}
    for target, source in wires.items():
        owner, value = owned(source, parts)
        if any(value == output.name for output in parts[owner].outputs):
            before[owned(target, parts)[0]].add(owner)
    return list(TopologicalSorter(before).static_order())
