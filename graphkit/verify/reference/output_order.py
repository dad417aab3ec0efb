"""Outputs that were bound in the wrong order, which is no difference in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError
from graphkit.hint import Argument, Blank, Hint

if TYPE_CHECKING:
    from graphkit.verify.compare.metrics import Metrics


def refuse_other_shapes(outputs: Mapping[str, Metrics], expected: Mapping[str, Any]) -> None:
    """Refuse outputs whose shapes and dtypes fit in another order only.

    Raises:
        ComparisonError: They were.
    """
    if any(isinstance(value, list) for value in expected.values()):
        return  # a sequence has no one shape
    got = [(m.dtype, m.shape) for m in outputs.values()]
    wanted = [(str(getattr(e, "dtype", "")).removeprefix("torch."), tuple(np.shape(e))) for e in expected.values()]
    if got != wanted and len(got) > 1 and sorted(map(str, got)) == sorted(map(str, wanted)):
        raise ComparisonError(
            f"the outputs come in another order: shapes {', '.join(str(list(s)) for _, s in got)}; in the reference "
            f"{', '.join(str(list(s)) for _, s in wanted)}",
            hint=Hint(
                "say which is which with ",
                Argument("map", {Blank("OUTPUT"): Blank("POSITION")}),
                " (torch) or ",
                Argument("map", {Blank("OUTPUT"): Blank("NAME")}),
            ),
        )


def agreeing_order(names: Sequence[str], agree: Callable[[str, str], bool]) -> dict[str, str] | None:
    """The order in which outputs agree that do not agree in their own.

    Args:
        names: Outputs none of which agrees with what it is compared with.
        agree: Whether the first agrees with what the second is compared with.

    Returns:
        Output -> the output whose counterpart it agrees with, each once; None where there is no such order.

    Cost: O(names squared) comparisons at most, and none for a single name.
    """
    if len(names) < 2:
        return None
    able = {mine: [other for other in names if other != mine and agree(mine, other)] for mine in names}
    taken: dict[str, str] = {}

    def place(mine: str, tried: set[str]) -> bool:
        for other in able[mine]:
            if other in tried:
                continue
            tried.add(other)
            if other not in taken or place(taken[other], tried):
                taken[other] = mine
                return True
        return False

    if not all(able.values()) or not all(place(mine, set()) for mine in names):
        return None
    return {mine: other for other, mine in sorted(taken.items(), key=lambda pair: names.index(pair[1]))}
