"""The proof of what a recipe did: of its steps, against the model or the models that it was given, and of a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphkit.model import Model
from graphkit.surgery.split import Split
from graphkit.verify.laws.proof import Proof, loosest, worst
from graphkit.verify.laws.prove import prove


def proof_of(
    model: Model, original: Model | None, merged: Mapping[str, Model], split: Split | None = None
) -> Proof | None:
    """Prove a model, and the stages that it was split into; None where no step changed anything.

    Args:
        model: What the steps made, before it was split.
        original: The model that the recipe began with; None where it was made of several.
        merged: The models that it was made of, by name.
        split: The stages, where there are any.

    Raises:
        GraphkitError: As ``prove``.
    """
    changed = original is None or len(model.history) > len(original.history)
    whole = prove(model, merged if original is None else original) if changed else None
    if split is None:
        return whole
    stages = prove(split, model)
    if whole is None:
        return stages
    laws = (*whole.laws, *stages.laws)
    return replace(
        whole,
        verdict=worst([whole.verdict, stages.verdict]),
        edited=stages.edited,
        steps=(*whole.steps, *stages.steps),
        laws=laws,
        tolerance=loosest(laws),
    )
