"""Whether the shapes that a model declares are those that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from graphkit.graph.ports import input_ports
from graphkit.graph.symbols import substituted
from graphkit.graph.values import dims
from graphkit.model import Model

if TYPE_CHECKING:
    from graphkit.tensor import Array

Dims: TypeAlias = "list[int | str | None]"


def declared(model: Model) -> dict[str, Dims]:
    """Value of the main graph -> the shape that the file declares for it, where it declares one."""
    graph = model.proto.graph
    found: dict[str, Dims] = {}
    for info in (*graph.output, *graph.value_info):
        shape = dims(info.type)
        if shape is not None:
            found.setdefault(info.name, shape)
    return found


class Untrue(NamedTuple):
    """A declared shape that is not what comes out.

    Attributes:
        said: What is wrong, for people.
        symbols: The symbols that have two sizes in the run, where nothing else is wrong.
    """

    said: str
    symbols: frozenset[str]


def untrue(
    model: Model, feeds: Mapping[str, Array], said: Mapping[str, Dims], made: Mapping[str, tuple[int, ...]]
) -> dict[str, Untrue]:
    """Value -> what is wrong with its declared shape in a run.

    A symbol has one size in a run: that of the inputs that have it, else of the first value that does.

    Args:
        model: The model.
        feeds: Its inputs in the run.
        said: The shapes that it declares.
        made: The shapes that came out.
    """
    sizes: dict[str, int] = {}
    for name, port in input_ports(model.proto).items():
        if name in feeds and port.dims is not None:
            for dim, size in zip(port.dims, getattr(feeds[name], "shape", ()), strict=False):
                if isinstance(dim, str):
                    sizes.setdefault(dim, size)
    wrong: dict[str, Untrue] = {}
    held = {tensor.name: tuple(tensor.dims) for tensor in model.proto.graph.initializer}
    fed = {name: tuple(value.shape) for name, value in feeds.items() if hasattr(value, "shape")}
    known = {**held, **fed, **made}
    for name, shape in said.items():
        if name not in known:
            continue
        real = known[name]
        alike = len(real) == len(shape)
        off = [dim for dim, size in zip(shape, real, strict=True) if not _true(dim, size, sizes)] if alike else []
        if off or not alike:
            text = ",".join("?" if dim is None else str(dim) for dim in shape)
            symbols = frozenset(dim for dim in off if isinstance(dim, str))
            why = f"{name!r} is declared as [{text}] and comes out as {list(real)}"
            wrong[name] = Untrue(why, symbols if len(symbols) == len(set(off)) else frozenset())
    return wrong


def _true(dim: int | str | None, size: int, sizes: dict[str, int]) -> bool:
    if dim is None:
        return True
    if isinstance(dim, int):
        return dim == size
    if dim in sizes:
        return sizes[dim] == size
    if dim.isidentifier():
        sizes[dim] = size
        return True
    computed = substituted(dim, sizes)
    return computed == size if isinstance(computed, int) else True
