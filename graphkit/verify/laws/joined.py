"""joined: a merged model equals its models run one after the other; and a split one equals its stages in a chain."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from graphkit.errors import GraphkitError
from graphkit.graph.ports import input_ports, output_ports
from graphkit.hint import Call, Hint
from graphkit.model import Model, ModelLike
from graphkit.step import Original, Step
from graphkit.storage.load import as_model, load
from graphkit.surgery.merge import merge
from graphkit.surgery.split import Split
from graphkit.verify.laws.binding import Binding, Broken, Change, Fed, Outcome
from graphkit.verify.laws.chain import Chain, owned
from graphkit.verify.laws.judge import Asked, ask
from graphkit.verify.laws.part import extract
from graphkit.verify.laws.proof import Held, Verdict

MODELS = Hint(
    "give every model that was merged: ",
    Call("prove", (), ("merged, {'A': 'a.onnx', 'B': 'b.onnx'}", "EDITED A.onnx B.onnx")),
)


def begins_with_merge(model: Model) -> bool:
    """Whether the first thing that a model's history says is a merge."""
    return bool(model.history) and model.history[0].operation == "merge"


@dataclass(frozen=True)
class Merged:
    """The first step of a merged model's history, done again.

    Attributes:
        parts: Name -> the model that was merged.
        change: From what stands for the models in a chain to the merged model.
        binding: What must hold between the two; None where it cannot be asked, or does not hold without a run.
        why: The verdict and its reason, where there is no binding.
    """

    parts: Mapping[str, Model]
    change: Change
    binding: Binding | None
    why: tuple[Verdict, str] | None = None


def merged_again(merged: Model, models: Mapping[str, ModelLike] | Sequence[ModelLike] | None) -> Merged:
    """Merge the models again that a model's history begins with, and bind the result to them, run one after the other.

    Args:
        merged: A model whose history begins with a merge.
        models: The models by the names that the history has, or in any order; None for the files of their names beside it.

    Raises:
        GraphkitError: A model is not found, or is another one than was merged.
    """
    step = merged.history[0]
    parts = _parts(merged, step, models)
    told = step._replace(obstacle="").decoded()
    again = merge(parts, connect=told.get("connect"), prefix=told.get("prefix", False)).without_record()
    wires = {target: source for source, targets in told.get("connect", {}).items() for target in targets}
    inputs, outputs = (told["interface"][what] for what in ("inputs", "outputs"))
    try:
        order = _order(parts, wires)
    except CycleError:
        why = "the models feed each other both ways: none of them can run first"
        return Merged(parts, Change("merge", told, again, again), None, ("unproved", why))
    if wrong := _other_interface(parts, wires, inputs, outputs):
        return Merged(parts, Change("merge", told, again, again), None, ("broken", wrong))
    chain = Chain(parts, order, wires, inputs, list(outputs.values()))
    binding = Binding(
        inputs={name: Fed(name) for name in inputs},
        outputs={name: Outcome(said) for name, said in outputs.items()},
        names=chain.names(again.proto, outputs),
        chain=chain,
    )
    return Merged(parts, Change("merge", told, chain.standing(), again), binding)


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


def _parts(merged: Model, step: Step, models: Mapping[str, ModelLike] | Sequence[ModelLike] | None) -> dict[str, Model]:
    said = step.arguments["models"]
    if models is None:
        given = {name: load(path) for name, entry in said.items() if (path := _beside(merged, entry["file"]))}
    elif isinstance(models, Mapping):
        given = {name: as_model(models[name]) for name in said if name in models}
    else:
        given = _told_apart(said, [as_model(model) for model in models])
    for name, entry in said.items():
        if name not in given:
            raise GraphkitError(f"the model {name!r} ({entry['file']}) that was merged is not at hand", hint=MODELS)
        part = given[name]
        if _digest(part) != entry["sha256"]:
            raise GraphkitError(f"{part.path or name} is another model than the one that was merged as {name!r}")
    return {name: given[name] for name in said}


def _beside(merged: Model, file: str | None) -> str | None:
    """The file of a name that lies beside the merged model, where there is one."""
    path = os.path.join(os.path.dirname(merged.path or ""), file or "")
    return path if file and os.path.isfile(path) else None


def _told_apart(said: Mapping[str, Any], models: Sequence[Model]) -> dict[str, Model]:
    """Models that were given in any order, by the names that the history has for their digests."""
    found = {name: model for name, entry in said.items() for model in models if _digest(model) == entry["sha256"]}
    for model in models:
        if not any(model is one for one in found.values()) and _digest(model) not in map(_digest, found.values()):
            raise GraphkitError(
                f"{model.path or model.proto.graph.name} is none of the models that were merged: "
                f"{', '.join(repr(entry['file'] or name) for name, entry in said.items())}"
            )
    return found


def _digest(model: Model) -> str:
    return (model.identity or Original.of(model.proto)).digest


def _order(parts: Mapping[str, Model], wires: Mapping[str, str]) -> list[str]:
    before: dict[str, set[str]] = {name: set() for name in parts}
    for target, source in wires.items():
        owner, value = owned(source, parts)
        if any(value == output.name for output in parts[owner].outputs):
            before[owned(target, parts)[0]].add(owner)
    return list(TopologicalSorter(before).static_order())
