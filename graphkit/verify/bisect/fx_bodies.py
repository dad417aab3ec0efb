"""Inside of an If that torch.cond became: the search goes on in the branch that ran, beside torch's branch."""

from __future__ import annotations

from graphkit.errors import GraphkitError
from graphkit.verify.bisect.bisection import Failing, First, Row
from graphkit.verify.bisect.bodies import Opened, goes_on, graph_of
from graphkit.verify.bisect.fx_side import FxSide
from graphkit.verify.bisect.match_torch import match_fx
from graphkit.verify.bisect.onnx_side import OnnxSide
from graphkit.verify.bisect.search import Search


def inside_cond(
    candidate: OnnxSide, reference: FxSide, search: Search, row: Row
) -> tuple[First, Failing | None] | None:
    """The first value that diverges inside of the If that makes a value; None where nothing can be seen in there.

    Both branches are given what the reference has for their inputs.
    """
    node = candidate.index.nodes[candidate.index.producer[row.value]]
    found = reference.branch(row.twin) if node.op_type == "If" else None
    if found is None or search.failing is None:
        return None
    first, other = found
    opened = Opened(candidate, node, search.failing.feeds)
    name = "then_branch" if first else "else_branch"
    try:
        own = opened.body(graph_of(opened, name), {}).side
        twins = match_fx(own.index, other)
        for value, twin in zip(own.index.outputs, other.outputs, strict=False):
            if twin not in twins.values():
                twins.setdefault(value, twin)
        told = goes_on(own, other, twins, search, lambda inner, at: inside_cond(own, other, inner, at))
    except GraphkitError:
        return None  # a branch that cannot run on its own: the node around it is the answer
    return None if told is None else (told[0].within(f"{row.node}, {name}"), told[1])
