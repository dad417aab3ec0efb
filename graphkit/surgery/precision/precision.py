"""precision: the model in float16 or int8.

It stands in this room and not in surgery because int8 is calibrated: the model is run on feeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from graphkit.errors import EditError
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.surgery.precision.float16 import Kept, to_float16
from graphkit.surgery.precision.int8 import to_int8

if TYPE_CHECKING:
    from collections.abc import Iterable


@operation(law="close")
def precision(
    model: Model,
    *,
    to: Literal["float16", "int8"],
    keep_io: bool = False,
    keep_ops: Sequence[str] = (),
    keep_nodes: Sequence[str] = (),
    feeds: Mapping[str, Any] | None = None,
    samples: int = 8,
    seed: int = 0,
    per_channel: bool = False,
) -> Edit:
    """Write a float32 model in a lower precision: smaller, often faster, and no longer the same numbers.

    ``float16`` goes through ONNX Runtime's converter: weights and values become float16, but for operators that it leaves
    in float32, nodes that compute sizes and scales, operators of other domains, and what is to be kept.

    ``int8`` is offline quantization through ONNX Runtime's quantizer: the model is run on feeds to see which range each
    value has, and gets QuantizeLinear and DequantizeLinear nodes with those ranges (QDQ, signed and symmetric, which
    TensorRT takes too). Inputs and outputs stay float32. Ranges are as good as the feeds: random ones are for trying out.

    How far the result is from the original is a matter for ``validate(..., against=original, any_dtype=True)``.

    Args:
        model: A path, a ModelProto or a Model.
        to: "float16" or "int8".
        keep_io: float16: inputs and outputs stay float32, with a Cast behind and before them.
        keep_ops: Operators that stay in float32.
        keep_nodes: Nodes that stay in float32, by name or output.
        feeds: int8: input -> what to calibrate with, as ``graphkit.run`` takes it, or a list of such; everything else is
            random.
        samples: int8: how many runs where everything is random.
        seed: int8: where the random feeds start.
        per_channel: int8: one scale for each output channel of a weight.

    Raises:
        EditError: The model has functions, training graphs or sparse weights, holds no float32, was converted before, or
            the result would not be valid.
        NameNotFoundError: ``keep_nodes`` or ``feeds`` name something that is not there.
        FeedError: A feed does not fit.
        SessionError: int8: the runtime refuses the model.
        MissingExtraError: onnxruntime is not installed.
        ValueError: ``to`` is something else, or an option goes with the other precision.

    Changes: nothing; returns a new model, which holds its weights. The notes say what stays in float32.
    Scope: main graph and bodies; int8 quantizes the main graph. Functions are refused: inline them first.
    Cost: all weights are read into memory, and held once more in the new precision; int8 runs the model on every feed.
    Source: onnxruntime/python/tools/transformers/float16.py, onnxruntime/python/tools/quantization.
    """
    if to not in ("float16", "int8"):
        raise ValueError(f"precision is lowered to float16 or int8, not to {to!r}")
    if (to == "int8" and keep_io) or (to == "float16" and (feeds or per_channel)):
        raise ValueError("keep_io goes with float16; feeds and per_channel go with int8")
    _refuse(model)
    if to == "float16":
        proto, notes = to_float16(model, Kept(keep_ops, keep_nodes, keep_io))
    else:
        proto, notes = to_int8(
            model,
            Kept(keep_ops, keep_nodes, interface=True),
            feeds or {},
            samples=samples,
            seed=seed,
            per_channel=per_channel,
        )
    return Edit(proto, notes)


def _refuse(source: Model) -> None:
    """Refuse what the converters would drop or break.

    Raises:
        EditError: Functions, training graphs, sparse weights.
    """
    proto = source.proto
    parts: Iterable[tuple[str, Any, str]] = (
        ("functions", proto.functions, "inline them first: onnx.inliner.inline_local_functions"),
        ("training graphs", proto.training_info, "take them out first: del proto.training_info[:]"),
        ("sparse weights", proto.graph.sparse_initializer, "make them dense first"),
    )
    for what, present, hint in parts:
        if present:
            raise EditError(f"the model has {what}, which keep their precision", hint=hint)
    names = Counter(tensor.name for tensor in proto.graph.initializer)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise EditError(f"the model has two weights named {twice!r}", hint="take one of them out")
