"""simplify: what a graph does not need is left out."""

from __future__ import annotations

from collections import Counter

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.folding import FOLD_LIMIT
from graphkit.edit.simplification.bodies import simplify_bodies
from graphkit.edit.simplification.convolutions import fold_into_convolutions
from graphkit.edit.simplification.functions import resolve_control_flow, simplify_functions
from graphkit.edit.simplification.passes import remove_dead, share_weights, simplify_once
from graphkit.edit.simplification.sequences import split_for_sequences
from graphkit.edit.simplification.unused import remove_unused
from graphkit.graph import walk
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.plural import counted
from graphkit.runtime.written import check_written
from graphkit.tensor import stored_bytes

ROUNDS = 12
"""Rounds after which it is enough. Each round leaves fewer nodes, or shapes that the next one's inference knows more of."""


@operation(law="same")
def simplify(model: Model, *, fold_limit: int = FOLD_LIMIT) -> Edit:
    """Leave out what the graph does not need: the same numbers from fewer nodes.

    Rounds of: constants are computed, and so are sizes that follow from declared shapes; nodes that change nothing go
    (Identity, a Cast to the same type, a Transpose that keeps the order, a Reshape to the same shape, Dropout, + 0, * 1,
    ...); an If whose condition is constant is the branch that runs, and a Loop of a few turns, whose number is constant, is its
    turns; two Transposes, Casts or Reshapes in a row become one; a Conv of float32 or wider does the work of a
    BatchNormalization, and of a Mul, Div, Add or Sub with a constant for each channel, behind it, and of a Pad before it
    (what it gives is then rounded otherwise, in its last digit); nodes that are there twice are there once; equal weights
    are stored once; what nothing reads goes, in bodies and functions too, and so do optional results, functions that nothing
    calls and imports that nothing needs.

    Quantized weights stay quantized, random operators are drawn as often as before, and inputs stay inputs: also those
    that nothing reads, and initializers that callers may override.

    Args:
        model: A path, a ModelProto or a Model.
        fold_limit: Bytes by which computed constants may make the model larger, and that one of them may take beyond what
            it was computed from. 0 computes only what makes the model no larger.

    Raises:
        ValueError: ``fold_limit`` is negative.
        InvalidGraphError, TensorError: The model contradicts itself.
        ModelFileError, FormatError, WeightsError: As ``load``.

    Changes: nothing; returns a new model. The notes count what was done.
    Scope: the main graph, bodies and functions. Of a function's inputs no types are known, and nodes that take attributes
        from the call stay: ``inline`` first where more is to go.
    Cost: O(graph) a round, with one shape inference each; nodes that were written anew are checked, each kind of them once.
        Constants are read where something is computed from them, and weights that have the type and size of another one,
        one at a time.
    Law: same, but for the rounding of weights that were multiplied into others.

    Example:
        >>> gk.simplify("model.onnx").save("smaller.onnx")
    """
    if fold_limit < 0:
        raise ArgumentValueError(f"fold_limit is a number of bytes, not {fold_limit}")
    proto = model.copy_proto()
    before = sum(1 for _ in walk.model_nodes(proto))
    done: Counter[str] = Counter()
    most = _weight_bytes(proto) + fold_limit
    for _ in range(ROUNDS):
        now = simplify_once(model, proto, most - _weight_bytes(proto))
        now += simplify_bodies(model, proto, most - _weight_bytes(proto))
        now += simplify_functions(model, proto, most - _weight_bytes(proto))
        now += resolve_control_flow(proto)
        now += remove_unused(proto)
        now += split_for_sequences(model, proto)
        now += fold_into_convolutions(model, proto, most - _weight_bytes(proto)) if not now else Counter()
        if not now and (shared := share_weights(model, proto)):  # nodes that read them may be equal now
            now["weights that were there twice are there once"] = shared
            remove_dead(proto, {name for body in walk.nested(proto.graph.node) for name in walk.defined_names(body)})
        done += now
        if not now:
            break
    notes = [f"{counted(before, 'node')} became {sum(1 for _ in walk.model_nodes(proto)):,}"]
    notes += [counted(count, ONE[what], what) for what, count in done.items()]
    notes += check_written(model.proto, proto, new_only=True) if done else []
    return Edit(proto, notes if done else ["there was nothing to leave out"])


ONE = {
    "nodes that change nothing are gone": "node that changes nothing is gone",
    "nodes that nothing reads are gone": "node that nothing reads is gone",
    "nodes that were there twice are there once": "node that was there twice is there once",
    "nodes do the work of the node before them": "node does the work of the node before it",
    "nodes were computed beforehand": "node was computed beforehand",
    "Constant nodes became initializers": "Constant node became an initializer",
    "Ifs with a constant condition became the branch that runs": "If with a constant condition became the branch that runs",
    "Loops with a constant count became their turns": "Loop with a constant count became its turns",
    "functions that nothing calls are gone": "function that nothing calls is gone",
    "imports that nothing needs are gone": "import that nothing needs is gone",
    "SplitToSequences became a Split": "SplitToSequence became a Split",
    "CastLikes have a constant type": "CastLike has a constant type",
    "Reshapes have a constant target": "Reshape has a constant target",
    "nodes became part of the Conv beside them": "node became part of the Conv beside it",
    "outputs that were computed twice are copied": "output that was computed twice is copied",
    "optional results that nothing reads are left out": "optional result that nothing reads is left out",
    "weights that were there twice are there once": "weight that was there twice is there once",
}
"""What was done, to many and to one."""


def _weight_bytes(proto: onnx.ModelProto) -> int:
    return sum(stored_bytes(tensor) for tensor in walk.tensors(proto))
