"""What makes a computed value constant: the inputs to freeze, the sizes to fix, or that nothing does."""

from __future__ import annotations

import math

from graphkit.graph.scopes import Scope
from graphkit.graph.walk import bodies
from graphkit.hint import Blank, Hint, Part, call, joined
from graphkit.semantics.kinds import MAY_DRAW, SHAPE_ONLY

FEW = 64
"""Elements of an input that somebody may want to fix: factors, sizes, axes. Larger ones are what a model computes on."""


def making_constant(scope: Scope, name: str) -> Hint:
    """The edits that make a value constant, or that there are none.

    Args:
        scope: Where the value is read.
        name: The value.

    Cost: O(nodes upstream of it).
    """
    values: dict[str, None] = {}
    sizes: dict[str, None] = {}
    if not _collect(scope, name, values, sizes):
        return Hint("no command mends it: write it as a constant in the module, and export again")
    main = scope.main
    every = {f"{source}:{axis}": dim for source in sizes for axis, dim in enumerate(main.dims_of(source) or ())}
    free = {axis: Blank("SIZE") for axis, dim in every.items() if not isinstance(dim, int)}
    steps: list[Part] = []
    if values:
        given = dict.fromkeys(values, Blank("VALUE"))
        steps.append(call("freeze", values=given, fold=None if name in values and not sizes else True))
    if sizes:  # where all of them are fixed, dims sets them again as they are, and folds
        steps.append(call("dims", values=free or every, fold=True))
    return joined(", then ", steps)


def _collect(scope: Scope, name: str, values: dict[str, None], sizes: dict[str, None]) -> bool:
    """Collect the graph inputs whose values, and whose sizes, decide a value; False where folding cannot reach it."""
    waiting = [(name, values)]
    seen = set()
    while waiting:
        current, found = waiting.pop()
        if not current or (current, found is sizes) in seen:
            continue
        seen.add((current, found is sizes))
        home = scope.home(current)
        if home is None or home.outer is not None:
            return False
        position = home.index.producer.get(current)
        if position is None:
            if current in home.index.inputs:
                found[current] = None
            continue
        node = home.index.nodes[position]
        if found is values and (node.domain not in ("", "ai.onnx") or node.op_type in MAY_DRAW or any(bodies(node))):
            return False
        found = sizes if node.op_type in SHAPE_ONLY else found
        waiting.extend((source, found) for source in node.input)
    return all(_is_small(scope.main, source) for source in values)


def _is_small(main: Scope, name: str) -> bool:
    dims = main.dims_of(name)
    return dims is not None and math.prod(dim for dim in dims if isinstance(dim, int)) <= FEW and len(dims) <= 1
