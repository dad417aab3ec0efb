"""Which value of a model is which of the several tensors that a submodule returns: told by their numbers.

The order in which a graph makes values is not the order in which a module returns them, and a value that a module
returned may be gone: what transposes it was merged with what transposes it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import SessionError
from graphkit.verify.bisect.onnx_side import OnnxSide

if TYPE_CHECKING:
    from graphkit.tensor import Array
    from graphkit.verify.bisect.module_side import ModuleSide

SAME = 1e-3
"""Difference of two values, as a share of their magnitude, up to which they are one: far above rounding, far below others."""

NEAR = 0.5
"""Difference up to which a value may be an output in spite of a fault."""

FAR = 2
"""How much farther than the nearest the next value has to be, for the nearest to be the one in spite of a fault."""

BATCH_BYTES = 64 << 20
"""Bytes of tensors of the module that are fetched at once."""

Asked = Sequence[tuple[Sequence[str], Sequence[str]]]


def told_apart(asked: Asked, model: OnnxSide, module: ModuleSide) -> dict[str, str]:
    """Output of a submodule -> value.

    A value with the same numbers is the one. Where there are as many values as outputs, what is left over is told by the
    shapes, and among equal shapes by which value is nearest, so that a fault does not part them; numbers in another order
    (the value as it is before a Transpose) are another value.

    Args:
        asked: (the outputs, the values that they may be) for each submodule.
        model: The model, and what it is fed.
        module: The module.

    Returns:
        What could be told; nothing where the model cannot run so far.

    Cost: one run of the model up to the last value; a run of the module for each ``BATCH_BYTES`` of its tensors.
    """
    probe = OnnxSide(model.model, model.feeds, device=model.device, tf32=model.tf32)
    probe.expect([name for _, values in asked for name in values])
    last = {name: at for at, (_, values) in enumerate(asked) for name in values}
    held: dict[str, Any] = {}  # a submodule may return what the one around it returns
    found: dict[str, str] = {}
    try:
        for at, (keys, values, expected) in enumerate(_fetched(asked, module)):
            held.update(probe.fetch([name for name in values if name not in held]))
            made = {name: held[name] for name in values if isinstance(held[name], np.ndarray)}
            found.update(_paired({key: expected[key] for key in keys}, made, all_there=len(keys) == len(values)))
            held = {name: array for name, array in held.items() if last[name] > at}
    except SessionError:
        return {}
    finally:
        model.runs += probe.runs
    return found


def _fetched(asked: Asked, module: ModuleSide) -> Iterable[tuple[Sequence[str], Sequence[str], dict[str, Any]]]:
    """What is asked, with the module's tensors, as many at once as fit."""
    sizes = module.sizes()
    batch: list[tuple[Sequence[str], Sequence[str]]] = []
    held = 0
    for at, (keys, values) in enumerate(asked):
        batch.append((keys, values))
        held += sum(sizes[key] for key in keys)
        if held > BATCH_BYTES or at + 1 == len(asked):
            fetched = module.fetch([key for keys, _ in batch for key in keys])
            yield from ((keys, values, fetched) for keys, values in batch)
            batch, held = [], 0


def _paired(expected: Mapping[str, Array], made: Mapping[str, Array], *, all_there: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, array in expected.items():
        same = (name for name, value in made.items() if name not in found.values() and _distance(value, array) <= SAME)
        if (name := next(same, None)) is not None:
            found[key] = name
    if all_there:
        keys = [key for key in expected if key not in found]
        for shape in {expected[key].shape for key in keys}:
            mine = [key for key in keys if expected[key].shape == shape]
            left = [name for name, value in made.items() if value.shape == shape and name not in found.values()]
            if len(mine) == len(left):
                found.update(_nearest({key: expected[key] for key in mine}, {name: made[name] for name in left}))
    return found


def _nearest(expected: Mapping[str, Array], made: Mapping[str, Array]) -> dict[str, str]:
    """Each output with the value nearest to it, where no other is nearly as near and no value is the nearest to two."""
    found = {}
    for key, array in expected.items():
        order = sorted((_distance(value, array), name) for name, value in made.items())
        near, name = order[0]
        if near > NEAR or _reordered(made[name], array, near) or (len(order) > 1 and order[1][0] < FAR * near):
            return {}
        found[key] = name
    return found if len(set(found.values())) == len(found) else {}


def _distance(actual: Array, expected: Array) -> float:
    """The difference of two arrays as a share of their magnitude; infinite where the shapes differ."""
    if actual.shape != expected.shape:
        return np.inf
    if actual.dtype.kind not in "fc" or expected.dtype.kind not in "fc":
        return 0.0 if np.array_equal(actual, expected) else 1.0
    a, b = (np.nan_to_num(array.astype(np.float64), nan=0.0) for array in (actual, expected))
    whole = float(np.linalg.norm(b)) or 1.0
    return float(np.linalg.norm(a - b)) / whole


def _reordered(actual: Array, expected: Array, distance: float) -> bool:
    """Whether two arrays hold nearly the same numbers in another order: sorted they are much nearer to each other."""
    return _distance(np.sort(actual, axis=None), np.sort(expected, axis=None)) * 2 * FAR < distance
