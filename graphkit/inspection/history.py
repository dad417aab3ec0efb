"""history: what was done to a model, as a result that can be read, written and shown."""

from __future__ import annotations

from dataclasses import dataclass

from graphkit.model import ModelLike
from graphkit.result import Result
from graphkit.step import Original, Step
from graphkit.storage.load import as_model


@dataclass(frozen=True, repr=False)
class ModelHistory(Result):
    """What ``history`` gives.

    Attributes:
        model: The model's path, or the name of its graph.
        original: The model that the history begins with; None where there is no history, or it began with a torch module.
        steps: What was done, oldest first.
    """

    model: str
    original: Original | None
    steps: tuple[Step, ...]


def history(model: ModelLike) -> ModelHistory:
    """What graphkit did to a model, as its file or the model in memory says.

    Args:
        model: A path, a ModelProto or a Model.

    Returns:
        The steps, and the model that they begin with. ``Model.history`` has the same steps.

    Raises:
        ModelFileError, FormatError: The model cannot be loaded, or the history that it holds is damaged.

    Changes: nothing.
    Scope: the model's metadata.
    Cost: O(graph).

    Example:
        >>> import graphkit as gk
        >>> [step.operation for step in gk.history(gk.rename("model.onnx", values={"image": "picture"})).steps]
        ['rename']
    """
    loaded = as_model(model)
    return ModelHistory(loaded.path or loaded.proto.graph.name or "model", loaded.original, loaded.history)
