"""precision: the model in float16, bfloat16 or int8, or with weights in int8 or int4.

It stands in this room and not in surgery because int8 is calibrated: the model is run on feeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.called_values import inline_around, node_in_function
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.runtime.written import check_written
from graphkit.surgery.inline import inline
from graphkit.surgery.precision.auto import to_float16_auto
from graphkit.surgery.precision.calibration import Calibration
from graphkit.surgery.precision.dynamic import to_dynamic
from graphkit.surgery.precision.half import to_half
from graphkit.surgery.precision.int8 import to_int8
from graphkit.surgery.precision.kept import Kept
from graphkit.surgery.precision.weights import to_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

To: TypeAlias = Literal["float16", "bfloat16", "int8", "int8-dynamic", "int8-weights", "int4-weights"]

_HALF = {"float16": onnx.TensorProto.FLOAT16, "bfloat16": onnx.TensorProto.BFLOAT16}

MOST_COMPARED = 4
"""On how many runs ``keep_auto`` compares."""

_QUANTIZERS = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantize",
    "QLinear",
    "MatMulInteger",
    "ConvInteger",
    "MatMulNBits",
    "QGemm",
    "QAttention",
    "GatherBlockQuantized",
)
"""How the operators begin that only quantized models have."""


@operation(law="close")
def precision(
    model: Model,
    *,
    to: To,
    keep_io: bool = False,
    keep_ops: Sequence[str] = (),
    keep_nodes: Sequence[str] = (),
    only_ops: Sequence[str] = (),
    keep_auto: bool = False,
    feeds: Mapping[str, Any] | None = None,
    samples: int = 8,
    seed: int = 0,
    per_channel: bool = False,
) -> Edit:
    """Write a float32 model in a lower precision: smaller, often faster, and no longer the same numbers.

    ``float16`` and ``bfloat16``: weights and values get 16 bits, but for operators that ONNX Runtime's converter leaves
    in float32, places that an operator's schema fixes, nodes that compute sizes and scales, operators of other domains,
    and what is to be kept, whose weights keep every bit. Few runtimes have kernels for bfloat16; a note says so.

    ``int8`` is offline quantization through ONNX Runtime's quantizer: the model is run on feeds to see which range each
    value has, and gets QuantizeLinear and DequantizeLinear nodes with those ranges (QDQ, signed and symmetric, which
    TensorRT takes too). Inputs and outputs stay float32. Ranges are as good as the feeds: random ones are for trying out.

    ``int8-dynamic`` quantizes the weights of MatMul, Gemm, Conv and LSTM, and their other inputs as they come
    (DynamicQuantizeLinear, MatMulInteger, ConvInteger): no calibration, for the runtime's CPU.

    ``int8-weights`` stores weights in int8 with a scale for each channel, and computes in float32 (DequantizeLinear);
    ``int4-weights`` those of MatMul and Gemm in int4 with a scale and zero point for each block of 32 (or 16) numbers of a
    column (com.microsoft.MatMulNBits). The file is a quarter or an eighth as large.

    The int8 and int4 models are run beside the float32 model on feeds that calibration did not see, and a note says the
    relative L2 error. int8 leaves nodes in float32 whose values have a range that leaves it no levels (a mask's -1e9), and
    all but Conv, ConvTranspose, MatMul and Gemm where the error is above 0.06 with them; a note says so.

    How far the result is from the original is a matter for ``validate(..., against=original, any_dtype=True)``.

    Args:
        model: A path, a ModelProto or a Model.
        to: "float16", "bfloat16", "int8", "int8-dynamic", "int8-weights" or "int4-weights".
        keep_io: float16 and bfloat16: inputs and outputs stay float32, with a Cast behind and before them.
        keep_ops: Operators that stay in float32.
        keep_nodes: Nodes that stay in float32, by name or output; ``NODE.ATTRIBUTE/NAME`` in a body,
            ``function:DOMAIN::NAME/NODE`` in a function, in each call of it.
        only_ops: Where it is given, all other operators stay in float32.
        keep_auto: float16: find the nodes that have to stay in float32, so that on the feeds no output's relative L2 error
            is above 0.01.
        feeds: input -> what to calibrate with or to compare on, as ``graphkit.run`` takes it, or a list of such, one a run
            (of four or more the last is not for calibration, but to measure the error); everything else is random.
            Not for float16 without ``keep_auto``, and not for bfloat16.
        samples: How many runs where everything is random.
        seed: Where the random feeds start.
        per_channel: int8 and int8-dynamic: one scale for each output channel of a weight.

    Raises:
        EditError: The model has training graphs, nothing in it can be converted, or the result would not be
            valid.
        NameNotFoundError: ``keep_ops``, ``keep_nodes``, ``only_ops`` or ``feeds`` name something that is not there.
        FeedError: A feed does not fit.
        SessionError: Where the model is run: the runtime refuses it.
        MissingExtraError: onnxruntime is not installed.
        ValueError: ``to`` is something else, or an option goes with the other precision.

    Changes: nothing; returns a new model, which holds its weights. The notes say what stays in float32. A model that a
        quantizer has written before is kept as it is.
    Scope: main graph and bodies; int8 and int8-dynamic quantize the main graph. Functions are inlined first.
    Cost: all weights are read into memory, and held once more in the new precision; int8 runs the model on every feed, with
        five reductions for each value beside it and no value held, and both models once more to compare.
    Law: close.
    Source: the type constraints of the ONNX operator schemas; onnxruntime/python/tools/transformers/float16.py (which
        operators stay), onnxruntime/python/tools/quantization.

    Example:
        >>> gk.precision("model.onnx", to="float16", keep_io=True).save("half.onnx")  # doctest: +SKIP
    """
    if to not in get_args(To):
        raise ArgumentValueError(f"precision is lowered to {', '.join(get_args(To))}, not to {to!r}")
    if keep_io and to not in _HALF:
        raise ArgumentValueError("keep_io goes with float16 and bfloat16")
    if keep_auto and to != "float16":
        raise ArgumentValueError("keep_auto goes with float16")
    if (feeds and to in _HALF and not keep_auto) or (per_channel and to not in ("int8", "int8-dynamic")):
        raise ArgumentValueError("feeds go with int8, int4 and keep_auto; per_channel goes with int8 and int8-dynamic")
    found = _quantized(model.proto)
    if found:
        return Edit(model.copy_proto(), [f"the model is quantized already ({found}): it is kept as it is"])
    source, keep_nodes, inlined = _flat(model, keep_nodes)
    _refuse(source)
    kept = Kept(keep_ops, _outputs_of(source.proto, keep_nodes), only_ops, keep_io)
    given, runs = feeds or {}, {"samples": samples, "seed": seed}
    if keep_auto:
        proto, notes = to_float16_auto(
            source, kept, list(islice(Calibration(source, given, **runs).runs(), MOST_COMPARED))
        )
    elif to in _HALF:
        proto, notes = to_half(source, kept, _HALF[to])
    elif to == "int8":
        proto, notes = to_int8(source, kept, given, per_channel=per_channel, **runs)
    elif to == "int8-dynamic":
        proto, notes = to_dynamic(source, kept, given, per_channel=per_channel, **runs)
    else:
        proto, notes = to_weights(source, kept, given, bits=8 if to == "int8-weights" else 4, **runs)
    if to not in _HALF:  # the half types mend what does not fit, and check the rest themselves
        notes += check_written(source.proto, proto, new_only=True)
    return Edit(proto, [*inlined, *notes])


def _flat(model: Model, nodes: Sequence[str]) -> tuple[Model, Sequence[str], list[str]]:
    """The model with its functions inlined, what some nodes are called there, and what to say about it."""
    if not model.proto.functions:
        return model, nodes, []
    notes: list[str] = []
    if any(name.startswith("function:") for name in nodes):
        proto = model.copy_proto()
        addresses = Addresses(proto)
        inside = {
            name: value
            for name in nodes
            if name.startswith("function:") and (value := node_in_function(addresses.node(name))) is not None
        }
        calls = inline_around(proto, inside.values())
        nodes = [new for name in nodes for new in (calls.values[inside[name].address] if name in inside else [name])]
        model, notes = Model(proto, model.sources, path=model.path), calls.notes
        if not proto.functions:
            return model, nodes, notes
    flat = inline(model)
    return flat, nodes, notes + list(flat.history[-1].notes)


def _outputs_of(proto: onnx.ModelProto, nodes: Sequence[str]) -> list[str]:
    """Names of nodes; for one by its address in a body, an output of it, which no other node makes."""
    found = []
    for name in nodes:
        plain = "/" not in name or any(name in (node.name, *node.output) for node in walk.nodes(proto.graph))
        found.append(name if plain else Addresses(proto).node(name).node.output[0])
    return found


def _quantized(proto: onnx.ModelProto) -> str:
    """What a quantizer has put into a model, such as "2 QLinearConv, 4 QuantizeLinear"; "" for nothing."""
    count = Counter(node.op_type for node in walk.model_nodes(proto) if node.op_type.startswith(_QUANTIZERS))
    return ", ".join(f"{number} {op}" for op, number in sorted(count.items()))


def _refuse(source: Model) -> None:
    """Refuse what cannot be converted, all of it at once.

    Raises:
        EditError: Training graphs, two weights of one name.
    """
    proto = source.proto
    parts: Iterable[tuple[str, Any, str]] = (
        ("training graphs", proto.training_info, "take them out first: del proto.training_info[:]"),
    )
    present = [(f"it has {what}", hint) for what, there, hint in parts if there]
    names = Counter(tensor.name for tensor in proto.graph.initializer)
    present += [(f"two weights are named {n!r}", "take one of them out") for n, count in names.items() if count > 1]
    if present:
        raise EditError(
            f"the precision of the model cannot be changed: {', and '.join(what for what, _ in present)}",
            hint="; ".join(hint for _, hint in present),
        )
