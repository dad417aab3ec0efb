"""A region: the nodes between some values and some others, and whether it is closed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.addresses import Site
from graphkit.graph.names import title
from graphkit.graph.upstream import upstream


def region(site: Site, inputs: Sequence[str], outputs: Sequence[str]) -> set[int]:
    """The positions of the nodes that compute some values from some others. Weights may be read along the way.

    Raises:
        EditError: It is not closed: it reads a value that is not among the inputs, or makes one that is read outside and
            is not among the outputs; the message names them. Or an output is no value that a node makes.

    Cost: O(nodes).
    """
    given = set(inputs)
    for name in outputs:
        if name in given or name not in site.producer:
            raise EditError(f"no node makes {site.prefix + name!r} out of the inputs of the region")
    behind = upstream(site, outputs, stop=given.__contains__)
    found = set(behind.nodes)
    missing = {
        name: title(site.nodes[reader])
        for name, reader in behind.values.items()
        if reader is not None and not (name in given or name in site.producer or _is_weight(site, name))
    }
    if missing:
        apart = [name for name in inputs if name not in behind.values and site.has(name)]
        if apart:
            raise EditError(
                f"{', '.join(map(repr, outputs))} {'does' if len(outputs) == 1 else 'do'} not depend on "
                f"{', '.join(map(repr, apart))}, so there is no region between them",
                hint="the inputs of a region are values that its outputs are computed from",
            )
        what = ", ".join(f"{name!r} (read by {reader})" for name, reader in list(missing.items())[:8])
        raise EditError(
            f"the region is not closed: it also reads {what}",
            hint=f"give {'it' if len(missing) == 1 else 'them'} as input of the region too, or values behind",
        )
    require_closed(site, found, outputs)
    return found


def require_closed(site: Site, inside: Collection[int], outputs: Sequence[str]) -> None:
    """Refuse nodes that make values, beside some outputs, that others read.

    Raises:
        EditError: They do; the message names the values and who reads them.
    """
    made = {name for position in inside for name in site.nodes[position].output if name}.difference(outputs)
    leaving = {name: "an output of the graph" for name in site.outputs if name in made}
    for position, node in enumerate(site.nodes):
        if position not in inside:
            leaving.update({name: title(node) for name in walk.reads(node) if name in made})
    if leaving:
        what = ", ".join(f"{name!r} (read by {reader})" for name, reader in list(leaving.items())[:8])
        raise EditError(
            f"the region is not closed: it also makes {what}",
            hint=f"give {'it' if len(leaving) == 1 else 'them'} as output of the region too, or values before",
        )


def _is_weight(site: Site | None, name: str) -> bool:
    while site is not None:
        if site.has(name):
            return name in site.weights and name not in site.inputs
        site = site.outer
    return False
