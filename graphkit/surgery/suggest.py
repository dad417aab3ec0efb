"""suggest: where to cut. Says it; cuts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphkit.graph import cut
from graphkit.graph.index import GraphIndex
from graphkit.graph.infer import types_of
from graphkit.graph.values import format_type
from graphkit.model import ModelLike
from graphkit.storage.load import as_model
from graphkit.surgery.extract import module_nodes, named_nodes
from graphkit.tensor import stored_bytes


@dataclass(frozen=True)
class Cut:
    """A closed cut: inputs that determine outputs.

    Attributes:
        inputs: Values to give as inputs.
        outputs: Values to ask for.
        input_types: The type of each input as users write it, "unknown" where nothing says it.
        nodes: How many nodes lie between.
        weight_bytes: Bytes of the initializers that they read.
        of_nodes: How many nodes the whole graph has.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_types: tuple[str, ...]
    nodes: int
    weight_bytes: int
    of_nodes: int


def suggest(
    model: ModelLike,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    module: str | None = None,
    nodes: Sequence[str] | None = None,
    hops: int = 0,
) -> Cut:
    """A smallest closed set of inputs for a cut; ``extract`` with its inputs and outputs makes the cut.

    - Outputs alone: as few inputs as determine them (a minimum vertex cut), and of those the farthest upstream.
    - Inputs and outputs: those of the inputs that are needed, and the values to add where the cut is open.
    - A module or nodes, with ``hops`` steps around them: what comes into them and goes out of them.

    Args:
        model: A path, a ModelProto or a Model.
        inputs: Values that shall be inputs.
        outputs: Values that shall be outputs; by default the graph outputs.
        module: Path of a torch module, "" for the root.
        nodes: Names of nodes.
        hops: With ``nodes``: how many steps around them.

    Raises:
        NameNotFoundError: No such value, module or node.
        InvalidGraphError: A node reads a name that nothing defines, or nodes read from each other in a cycle.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing.
    Scope: The main graph; bodies count with the node that holds them.
    Cost: O(graph), for outputs alone times the number of inputs found; weights are not read.
    """
    source = as_model(model)
    index = GraphIndex(source.proto.graph)
    if module is not None or nodes:
        positions = module_nodes(index, module) if module is not None else named_nodes(index, nodes or (), hops)
        found, chosen = cut.boundary(index, positions)
    else:
        chosen = tuple(outputs) if outputs is not None else tuple(index.outputs)
        for name in (*chosen, *(inputs or ())):
            index.require(name)
        found = cut.narrowest(index, chosen) if inputs is None else (*inputs, *cut.frontier(index, chosen, inputs))
    region = cut.trace(index, chosen, found)
    needed = tuple(name for name in (*found, *region.open_inputs) if name in region.reached or name not in found)
    types = types_of(source.proto, index, needed)
    return Cut(
        inputs=needed,
        outputs=chosen,
        input_types=tuple(format_type(types.get(name)) for name in needed),
        nodes=len(region.nodes),
        weight_bytes=sum(stored_bytes(index.initializers[n]) for n in region.constants if n in index.initializers),
        of_nodes=len(index.nodes),
    )
