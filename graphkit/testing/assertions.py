"""Assertions about models. Each raises an AssertionError that says what differs."""

from __future__ import annotations

import os
from typing import Any

import onnx

from graphkit.errors import MismatchError
from graphkit.inspection.check import check
from graphkit.model import Model, ModelLike
from graphkit.report.text.text import text
from graphkit.verify.laws.prove import prove
from graphkit.verify.validate import validate


def assert_same(candidate: ModelLike, reference: Any, **options: Any) -> None:
    """A model computes what a reference computes.

    Args:
        candidate: A path, a ModelProto or a Model.
        reference: A model too; or what ``validate`` takes as ``torch``: a module, (module, args), a factory's name.
        options: As ``graphkit.validate`` takes them: ``rtol``, ``atol``, ``samples``, ``bind``, ``feeds``, ``map``, ...

    Raises:
        MismatchError: They differ; it is an AssertionError, and says where most.
        GraphkitError: They cannot be compared, as ``validate``.

    Changes: nothing.
    Cost: two sessions, or one and the module, and ``samples`` runs of both.

    Example:
        >>> gk.testing.assert_same("model.onnx", "model.onnx")
    """
    against = isinstance(reference, Model | onnx.ModelProto | os.PathLike) or (
        isinstance(reference, str) and (os.path.exists(reference) or "://" in reference or reference.endswith(".onnx"))
    )
    report = validate(candidate, **{"against" if against else "torch": reference}, **options)
    report.raise_for_mismatch()


def assert_valid(model: ModelLike, *, runtime: bool = True) -> None:
    """A model is valid ONNX, and loads.

    Args:
        model: A path, a ModelProto or a Model.
        runtime: Load it into ONNX Runtime too.

    Raises:
        AssertionError: It is not valid; what is wrong is listed.
        GraphkitError: It cannot be read.

    Changes: nothing.
    Cost: as ``check``.

    Example:
        >>> gk.testing.assert_valid("model.onnx")
    """
    result = check(model, runtime=runtime)
    if not result:
        raise AssertionError(text(result))


def assert_proved(edited: ModelLike, original: ModelLike | None = None, **options: Any) -> None:
    """A model is what its history says, and the laws of the steps hold.

    Args:
        edited: A model with a history.
        original: The model that it begins with; None: the file beside ``edited`` that the history names.
        options: As ``graphkit.prove`` takes them.

    Raises:
        MismatchError: A law is broken, or could not be asked; it is an AssertionError.
        GraphkitError: There is no history, or no original.

    Changes: nothing.
    Cost: as ``prove``.

    Example:
        >>> gk.testing.assert_proved(gk.rename("model.onnx", values={"x": "image"}), "model.onnx")
    """
    proof = prove(edited, original, **options)
    if not proof:
        raise MismatchError(text(proof))
