"""Damaged models: extract, suggest and rename give a model or a GraphkitError, whatever a field says. Seeded, bounded."""

import random
import warnings
from collections.abc import Iterator
from typing import Any

import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor

import graphkit as gk
from backend_cases import node_cases
from graphkit.graph import walk
from rich_model import rich_model

NAMES = ["x", "y", "a", "b", ""]
MUTANTS = 300


def messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from messages(inner)


def damage(message: Any, rng: random.Random) -> None:
    """Clear, remove, repeat or replace one thing somewhere in a model."""
    place = rng.choice(list(messages(message)))
    if not place.ListFields():
        return
    field, value = rng.choice(place.ListFields())
    is_text = field.type == FieldDescriptor.TYPE_STRING
    way = rng.random()
    if way < 0.3:
        place.ClearField(field.name)
    elif field.is_repeated and way < 0.6:
        del value[rng.randrange(len(value))]
    elif field.is_repeated and field.message_type is not None:
        value.add().CopyFrom(value[rng.randrange(len(value))])
    elif field.is_repeated:
        value[rng.randrange(len(value))] = rng.choice([*value, *(["zz", "x", ""] if is_text else [])])
    elif is_text:
        setattr(place, field.name, rng.choice(NAMES))
    elif field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64):
        setattr(place, field.name, rng.choice([0, 1, -1, 2**31 - 1]))


def subjects() -> list[bytes]:
    """The model with every field, and some of onnx's with bodies and with many nodes."""
    models = [
        case.model for case in node_cases() if any(walk.nested(case.model.graph.node)) or len(case.model.graph.node) > 8
    ]
    return [model.SerializeToString() for model in (rich_model(), *models[::20])]


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_model_gives_a_result_or_a_graphkit_error(seed) -> None:
    rng = random.Random(seed)
    models = subjects()
    answers: dict[str, int] = {}
    for _ in range(MUTANTS):
        model = onnx.ModelProto.FromString(rng.choice(models))
        for _ in range(rng.randint(1, 4)):
            damage(model, rng)
        values = (
            [name for node in model.graph.node for name in node.output] + [v.name for v in model.graph.input] + ["zz"]
        )
        nodes = [node.name for node in model.graph.node] + ["zz"]
        two = [rng.choice(values), rng.choice(values)]
        for operation, arguments in (
            (gk.extract, {"outputs": [v.name for v in model.graph.output] or ["y"]}),
            (gk.extract, {"inputs": two, "outputs": [rng.choice(values)]}),
            (gk.extract, {"nodes": [rng.choice(nodes)], "hops": rng.randint(0, 2)}),
            (gk.suggest, {"outputs": two}),
            (gk.suggest, {"inputs": two}),
            (gk.rename, {"values": {rng.choice(values): "new"}, "nodes": {rng.choice(nodes): "new"}}),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", gk.GraphkitWarning)
                try:
                    operation(model, **arguments)
                    answer = "a result"
                except gk.GraphkitError as error:
                    answer = type(error).__name__
            answers[answer] = answers.get(answer, 0) + 1
    assert answers["a result"] > MUTANTS
    assert {"CutError", "InvalidGraphError", "NameNotFoundError"} <= answers.keys()
