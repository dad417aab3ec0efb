"""What an axis means to a model: what depends on its size, what should and does not, what belongs to the net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphkit.edit.dim_places import dim_at, sorted_out, substitute
from graphkit.edit.following.context import SizeFinding
from graphkit.edit.following.walk import follow
from graphkit.errors import EditError
from graphkit.model import ModelLike
from graphkit.result import Result
from graphkit.storage.load import as_valid_model


@dataclass(frozen=True, repr=False)
class DimsReport(Result):
    """What ``dims_report`` found.

    Attributes:
        axes: The axes that were asked about, as ``INPUT:AXIS``.
        varying: How many values between the nodes vary with them.
        outputs: Output -> its axes that vary.
        follows: Nodes that hold a size and can be made to follow it (``repair_shapes``).
        held: Nodes that should follow and cannot be made to, and nodes past which sizes cannot be followed.
        properties: Nodes at which the size is a property of the net: a position table, a window, a divisor.
    """

    axes: tuple[str, ...]
    varying: int
    outputs: dict[str, tuple[int, ...]]
    follows: tuple[SizeFinding, ...]
    held: tuple[SizeFinding, ...]
    properties: tuple[SizeFinding, ...]

    def __bool__(self) -> bool:
        return self.ok

    @property
    def ok(self) -> bool:
        """Whether every size follows, or can be made to."""
        return not self.held and all(finding.kind == "limit" for finding in self.properties)


def dims_report(model: ModelLike, values: Mapping[str, int | str]) -> DimsReport:
    """Say what would happen to a model if axes of its inputs became free; nothing is edited.

    Args:
        model: A path, a ModelProto or a Model.
        values: As ``graphkit.dims`` takes them: ``"INPUT:AXIS"`` -> name.

    Raises:
        NameNotFoundError: No input and no symbol has the name.
        EditError: The axis does not exist, or none of the dims has a size that could become free.
        InvalidGraphError: The model contradicts itself.

    Changes: nothing.
    Scope: main graph and bodies; functions are followed.
    Cost: O(graph): each node is inferred three times, and once more for each further axis; weights are not read, but for
        constants below 1 MiB that may be tables.

    ::

        >>> gk.dims_report("model.onnx", {"x:0": "n"})     # doctest: +SKIP

    Example:
        >>> import graphkit as gk
        >>> report = gk.dims_report("model.onnx", {"image:0": "batch"})
    """
    source = as_valid_model(model)
    proto = source.copy_proto()
    asked = sorted_out(proto, values)
    substitute(proto, asked.symbols)
    names = {
        place: value if isinstance(value, str) else f"{place[0]}_{place[1]}"
        for place, value in asked.places.items()
        if isinstance(dim_at(proto, place), int)
    }
    if not names:
        raise EditError("none of these dims has a fixed size", hint="name axes of inputs that have one")
    outputs = [value.name for value in proto.graph.output]
    made = {name for node in proto.graph.node for name in node.output if name}
    followed = follow(proto, names, source.array_of)
    get = followed.inference.get
    return DimsReport(
        axes=tuple(f"{name}:{axis}" for name, axis in names),
        varying=sum(get(name).varies for name in made),
        outputs={n: tuple(axis for axis, dim in enumerate(get(n).dims or ()) if dim.varies) for n in outputs},
        follows=tuple(f for f in followed.findings if f.kind in ("follows", "choice")),
        held=tuple(f for f in followed.findings if f.kind in ("held", "lost")),
        properties=tuple(f for f in followed.findings if f.kind in ("property", "limit")),
    )
