"""What makes a computed value constant: the inputs to freeze, the sizes to fix, or that nothing does."""

from __future__ import annotations

import math
import shlex

from graphkit.graph.scopes import Scope
from graphkit.graph.walk import bodies
from graphkit.semantics.kinds import MAY_DRAW, SHAPE_ONLY

FEW = 64
"""Elements of an input that somebody may want to fix: factors, sizes, axes. Larger ones are what a model computes on."""


def making_constant(scope: Scope, name: str) -> str:
    """The commands that make a value constant, or that there are none.

    Args:
        scope: Where the value is read.
        name: The value.

    Cost: O(nodes upstream of it).
    """
    values: dict[str, None] = {}
    sizes: dict[str, None] = {}
    if not _collect(scope, name, values, sizes):
        return "no command mends it: write it as a constant in the module, and export again"
    main = scope.main
    axes = [
        f"{source}:{axis}=SIZE"
        for source in sizes
        for axis, dim in enumerate(main.dims_of(source) or ())
        if not isinstance(dim, int)
    ]
    commands = []
    if values:
        given = " ".join(f"--set {shlex.quote(source)}=VALUE" for source in values)
        fold = "" if name in values and not sizes else " --fold"
        commands.append(f"graphkit freeze MODEL OUT {given}{fold}")
    if sizes:
        given = " ".join(f"--set {shlex.quote(axis)}" for axis in axes or _every_axis(main, sizes))
        commands.append(f"graphkit dims MODEL OUT {given} --fold")
    return ", then ".join(commands)


def _every_axis(main: Scope, sources: dict[str, None]) -> list[str]:
    """The sizes as they are: dims sets them again, and folds."""
    return [f"{source}:{axis}={dim}" for source in sources for axis, dim in enumerate(main.dims_of(source) or ())]


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
