"""Training mode and eval mode: which modules of a network compute something else in each."""

from __future__ import annotations

from typing import Any

from graphkit.finding import Finding
from graphkit.torch_export.job import TRAINING, Training

NAMED = 4
"""Modules that the finding names."""


def training_mode(exporter: str, given: Any) -> Training:
    """The mode as text; torch's own ``TrainingMode`` is taken too.

    Raises:
        ValueError: It is none, or the exporter has none but eval.
    """
    name = str(getattr(given, "name", given)).lower()
    found = next((mode for mode in TRAINING if mode == {"training": "train"}.get(name, name)), None)
    if found is None:
        raise ValueError(f"training is one of {TRAINING}, not {given!r}")
    if found != "eval" and exporter != "torchscript":
        raise ValueError(
            f"the dynamo exporter has no training mode (training={found!r}): torch ignores it there, and what it writes of a "
            "BatchNorm in training mode computes as in eval; use exporter 'torchscript'"
        )
    return found


def forgotten_eval(module: Any, training: Training) -> list[Finding]:
    """What to say about a module that was given in training mode and exported in eval mode; [] where both are the same.

    A module counts where its own ``forward`` asks for ``self.training``, as Dropout's and BatchNorm's do.
    """
    if training != "eval" or not hasattr(module, "named_modules"):
        return []
    found = [f"{type(one).__name__} {path!r}" for path, one in module.named_modules() if one.training and _asks(one)]
    if not found:
        return []
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    message = (
        f"the module was given in training mode and exported as eval() makes it: {', '.join(found[:NAMED])}{more} "
        "compute something else in training"
    )
    return [
        Finding("training-mode", message, remedy="call module.eval() before you compare with what the module gives")
    ]


def _asks(module: Any) -> bool:
    code = getattr(getattr(type(module), "forward", None), "__code__", None)
    if code is None or "training" not in code.co_names or type(module).__module__ == "torch.nn.modules.transformer":
        return False
    never = (getattr(module, name, None) for name in ("p", "dropout"))
    return not any(isinstance(chance, int | float) and chance == 0 for chance in never)
