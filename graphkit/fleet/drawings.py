"""Drawings of many models, to which their pages link."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from graphkit.errors import GraphkitError, SaveError
from graphkit.fleet.model_page import page_name
from graphkit.fleet.outcomes import Done, Failed, Outcome
from graphkit.inspection.diff.diff import diff
from graphkit.report.view.view import view


def save_drawings(
    folder: str | os.PathLike[str], outcomes: Sequence[Outcome], *, changes: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Draw each model that was written, or that was looked at where nothing was written.

    Args:
        folder: Where the pages go; it is made.
        outcomes: One a model. What was done before has a drawing where it still lies in the folder.
        changes: Colour what was written by how it differs from the model that it was made of. Weights are not compared.

    Returns:
        Model -> its drawing, for ``save_outcomes``; and what was not drawn, and why.

    Raises:
        SaveError: A page cannot be written.

    Example:
        >>> import graphkit as gk
        >>> gk.save_drawings("drawings", [gk.Failed("model.onnx", "EditError", "no node has that name")])
        ({}, [])
    """
    place = os.fspath(folder)
    try:
        os.makedirs(place, exist_ok=True)
    except OSError as error:
        raise SaveError(f"cannot make the folder {place}: {error.strerror}", path=place) from error
    drawn: dict[str, str] = {}
    notes: list[str] = []
    for one in outcomes:
        page = os.path.join(place, page_name(one.model))
        if isinstance(one, Done):
            try:
                made = view(one.out or one.model, highlight=_changes(one) if changes else ())
            except GraphkitError as error:
                notes.append(f"{one.model} was not drawn: {error.message}")
                continue
            made.save(page)
        if not isinstance(one, Failed) and os.path.exists(page):
            drawn[one.model] = page
    return drawn, notes


def _changes(one: Done) -> Sequence[Any]:
    return [] if one.out is None else [diff(one.model, one.out, ignore=["weights"], steps=False)]


def addresses(drawings: Mapping[str, str], folder: str) -> dict[str, str]:
    """Model -> the path of its drawing from a folder."""
    return {model: os.path.relpath(path, folder or ".").replace(os.sep, "/") for model, path in drawings.items()}
