"""suggest: where to cut. Says it; cuts nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx

from graphkit.graph import cut
from graphkit.graph.index import GraphIndex
from graphkit.graph.values import format_type
from graphkit.model import ModelLike
from graphkit.operation import names
from graphkit.result import Result
from graphkit.shapes.types_of import types_of
from graphkit.storage.load import as_model
from graphkit.surgery.extract import boundary, check_options, extract, given_types, named_values
from graphkit.tensor import stored_bytes


@dataclass(frozen=True, repr=False)
class Cut(Result):
    """A closed cut: inputs that determine outputs.

    Attributes:
        inputs: Values to give as inputs.
        outputs: Values to ask for.
        input_types: The type of each input as users write it, "unknown" where nothing says it.
        nodes: How many nodes lie between.
        weight_bytes: Bytes of the initializers that they read.
        of_nodes: How many nodes the whole graph has.
        untyped: Inputs and outputs whose type neither the file nor inference gives: ``extract`` asks for it.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_types: tuple[str, ...]
    nodes: int
    weight_bytes: int
    of_nodes: int
    untyped: tuple[str, ...] = ()


def suggest(
    model: ModelLike,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    module: str | None = None,
    nodes: Sequence[str] | None = None,
    hops: int = 0,
    input_types: Mapping[str, str | onnx.TypeProto] | None = None,
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
        input_types: Types of values that the file does not give, as ``extract`` takes them.

    Raises:
        NameNotFoundError: No such value, module or node.
        CutError: An input or an output is given twice, or the graph has no output.
        InvalidGraphError: A node reads a name that nothing defines, or nodes read from each other in a cycle.
        ValueError: Options exclude each other, or a type is none.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing.
    Scope: The main graph; bodies count with the node that holds them.
    Cost: O(graph), for outputs alone times the number of inputs found; weights are not read.

    Example:
        >>> import graphkit as gk
        >>> gk.suggest("model.onnx", outputs=["logits"]).inputs
        ('d',)
    """
    inputs, outputs, nodes = names(inputs), names(outputs), names(nodes)
    check_options(inputs, outputs, module, nodes, hops)
    source = as_model(model)
    index = GraphIndex(source.proto.graph)
    found: Sequence[str]
    if module is not None or nodes:
        found, chosen = boundary(index, module, nodes, hops)
    else:
        asked, chosen = named_values(index, inputs or (), outputs)
        missing = cut.narrowest(index, chosen) if inputs is None else cut.frontier(index, chosen, asked)
        found = [*asked, *missing]
    given = given_types(index, input_types)
    region, needed, types = _typed(source.proto, index, chosen, found, fixed=set(inputs or ()), given=given)
    untyped = tuple(name for name in dict.fromkeys([*needed, *chosen]) if name not in types)
    if not untyped:
        extract(source, inputs=needed, outputs=chosen, input_types=input_types)  # what is suggested has been tried
    return Cut(
        inputs=tuple(needed),
        outputs=tuple(chosen),
        input_types=tuple(format_type(types.get(name)) for name in needed),
        nodes=len(region.nodes),
        weight_bytes=sum(stored_bytes(index.initializers[n]) for n in region.constants if n in index.initializers),
        of_nodes=len(index.nodes),
        untyped=untyped,
    )


def _typed(
    model: onnx.ModelProto,
    index: GraphIndex,
    outputs: Sequence[str],
    inputs: Sequence[str],
    *,
    fixed: Collection[str],
    given: Mapping[str, onnx.TypeProto],
) -> tuple[cut.Region, list[str], dict[str, onnx.TypeProto]]:
    """(what lies between, the inputs that are needed, the types of inputs and outputs).

    An input whose type nobody knows is no place to cut at, unless it was asked for (``fixed``): the cut moves to what
    its node reads, where that gives a cut with types.
    """
    first = None
    found = list(inputs)
    while True:
        region = cut.trace(index, outputs, found)
        needed = [*(name for name in found if name in region.reached), *region.open_inputs]
        types = types_of(model, index, dict.fromkeys([*needed, *outputs]), given)
        first = first or (region, needed, types)
        loose = [name for name in needed if name not in types]
        if not loose and all(name in types for name in outputs):
            return region, needed, types
        if not loose or any(name in fixed or name in outputs or name not in index.producer for name in loose):
            return first
        before = [read for name in loose for read in index.reads(index.producer[name]) if not index.is_constant(read)]
        found = list(dict.fromkeys([*(name for name in needed if name not in loose), *before]))
