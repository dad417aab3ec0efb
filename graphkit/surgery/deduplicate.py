"""deduplicate: equal weights are stored once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import onnx

from graphkit.edit.nodes import delete_nodes
from graphkit.edit.simplification.passes import digest_of, share_weights
from graphkit.graph import walk
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.plural import counted
from graphkit.semantics.valid import require_valid


@operation(law="same", valid=False)
def deduplicate(model: Model) -> Edit:
    """Store equal weights once: their readers read one of them.

    Two initializers are equal where data type, dims and bytes are. Those that a caller may override, that are graph outputs
    or that a quantization annotation names stay as they are.

    In a file that was opened with ``gk.load(path, strict=False)``, nodes and weights go that are there twice word for word,
    under the same names, which ONNX forbids.

    Args:
        model: A path, a ModelProto or a Model.

    Raises:
        InvalidGraphError, TensorError: The model contradicts itself.
        ModelFileError, FormatError, WeightsError: As ``load``.

    Changes: nothing; returns a new model. The notes count the weights that went.
    Scope: initializers of the main graph; those of a body that it has twice, or that the main graph has too.
    Cost: O(graph). Bytes are read, one weight at a time, where another one has the same type, dims and size.
    Law: same. Where a node was written twice nothing can be asked of the model before, and ``prove`` says so.

    Example:
        >>> gk.deduplicate("model.onnx").save("smaller.onnx")
    """
    proto = model.copy_proto()
    notes = _without_repeats(model, proto)
    if notes or not model.checked:
        require_valid(proto)
    count = share_weights(model, proto)
    said = counted(count, "weight that was there twice is there once", "weights that were there twice are there once")
    return Edit(proto, [*notes, said] if count else notes or ["no weight is there twice"])


def _without_repeats(model: Model, proto: onnx.ModelProto) -> list[str]:
    """Take out what a graph or body says twice, word for word: a node that makes the same values, a weight of the same
    name. ONNX forbids both; a second one that says something else stays, and is refused. Changes the model.
    """
    nodes = weights = 0
    for graph in walk.graphs(proto.graph):
        made = [name for node in graph.node for name in node.output if name]
        if len(set(made)) < len(made):
            texts = [node.SerializeToString(deterministic=True) if any(node.output) else None for node in graph.node]
            delete_nodes(graph, _repeats(texts))
            nodes += len(texts) - len(graph.node)
        held = [tensor.name for tensor in graph.initializer]
        if len(set(held)) < len(held):
            digests = [(t.name, t.data_type, tuple(t.dims), digest_of(model, t)) for t in graph.initializer]
            for position in sorted(_repeats(digests), reverse=True):
                del graph.initializer[position]
            weights += len(held) - len(graph.initializer)
    said = [
        counted(nodes, "node that was written twice is there once", "nodes that were written twice are there once"),
        counted(
            weights, "weight that was written twice is there once", "weights that were written twice are there once"
        ),
    ]
    return [note for note, count in zip(said, (nodes, weights), strict=True) if count]


def _repeats(entries: Sequence[Hashable | None]) -> set[int]:
    """Where an entry stands that equals one before it; None equals nothing."""
    first: dict[Hashable, int] = {}
    return {
        position
        for position, entry in enumerate(entries)
        if entry is not None and first.setdefault(entry, position) != position
    }
