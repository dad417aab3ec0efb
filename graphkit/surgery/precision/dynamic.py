"""int8-dynamic through ONNX Runtime's quantizer: weights in int8, values in int8 as they come, with no calibration.

The quantizer (onnxruntime.quantization's ONNXQuantizer) gets a plain copy (``plain``) in which each Gemm that it is to take
is a MatMul and an Add over a weight of its own: it would transpose a weight under the eyes of its other readers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import onnx

from graphkit.edit.nodes import set_nodes
from graphkit.errors import EditError, NothingFoundError
from graphkit.graph.names import label, title
from graphkit.hint import Argument, Hint
from graphkit.model import Model
from graphkit.runtime.failures import import_runtime
from graphkit.surgery.precision.accuracy import BOUND, Accuracy
from graphkit.surgery.precision.calibration import Calibration
from graphkit.surgery.precision.int8 import FAILURES, plain_copy, quiet
from graphkit.surgery.precision.kept import Kept, half_may_serve
from graphkit.surgery.precision.plain import Plain

OPERATORS = {"MatMul": 1, "Gemm": 1, "Conv": 1, "LSTM": 1}
"""Operator -> the input that has to be a weight. What else the quantizer lists goes by names that ONNX gives to others."""

_HIDDEN = "kept by graphkit: "
"""What the operator of a node that stays begins with, as long as the quantizer has it."""


def to_dynamic(
    model: Model, kept: Kept, feeds: Mapping[str, Any], *, samples: int, seed: int, per_channel: bool
) -> tuple[onnx.ModelProto, list[str]]:
    """A self-contained model that quantizes values as they come, and what the user should know.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        EditError: The model is older than opset 13, larger than 2 GB, has no node for it, or the quantizer fails.
        FeedError, NameNotFoundError: A feed does not fit; a node or operator that is to be kept is not there.
        SessionError: The runtime refuses the model.

    Scope: the main graph.
    Cost: O(weights), all of which are read into memory, and one or two runs of both models.
    """
    import_runtime("a change of precision")
    plain, staying = plain_copy(model, kept)
    weights = {tensor.name for tensor in plain.model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    nodes = [node for node in plain.model.graph.node if node.name not in staying and _can(node, weights)]
    if not nodes:
        raise NothingFoundError("the model has no product with a weight", hint=half_may_serve(plain.model))
    counts = Counter(node.op_type for node in nodes)
    chosen = {node.name for node in nodes}
    try:
        result = _quantize(plain, chosen, per_channel=per_channel)
    except FAILURES as error:
        culprits = [plain.nodes[name] for name in chosen if _fails(plain, name, per_channel=per_channel)]
        where = ", ".join(map(title, culprits)) or "the model as a whole"
        raise EditError(
            f"ONNX Runtime's quantizer fails on {where}: {str(error) or type(error).__name__}",
            hint=Hint("keep it in float32: ", Argument("keep_nodes", [label(node) for node in culprits])),
        ) from error
    proto, gone = plain.back(result)
    unseen, what = Calibration(model, feeds, samples=samples, seed=seed).unseen()
    error_ = Accuracy(model, unseen).error(proto)
    return proto, [
        *(f"{name!r} is no input any more: its default is quantized" for name in gone),
        f"quantized as values come: {', '.join(f'{number} {op}' for op, number in sorted(counts.items()))}",
        *plain.notes_on_bodies(OPERATORS),
        f"relative L2 error {error_:.2g} on {what}{', which is large' if error_ > BOUND else ''}",
    ]


def _can(node: onnx.NodeProto, weights: set[str]) -> bool:
    place = OPERATORS.get(node.op_type)
    if place is None or len(node.input) <= place or node.input[place] not in weights:
        return False
    if node.op_type != "Gemm":
        return True
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return given.get("alpha", 1) == given.get("beta", 1) == 1 and not given.get("transA", 0)


def _fails(plain: Plain, name: str, *, per_channel: bool) -> bool:
    try:
        _quantize(plain, {name}, per_channel=per_channel)
    except FAILURES:
        return True
    return False


def _quantize(plain: Plain, chosen: set[str], *, per_channel: bool) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    model = onnx.ModelProto.FromString(plain.model.SerializeToString())
    _split_products(model.graph, chosen)
    with quiet():
        quantizer = ONNXQuantizer(
            model,
            per_channel,
            False,
            QuantizationMode.IntegerOps,
            False,
            QuantType.QUInt8,
            QuantType.QUInt8,
            None,
            sorted(chosen),
            [],
            sorted(OPERATORS),
            # a product with a float32 weight reads float32, also behind an operator whose types inference does not know
            {"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        quantizer.quantize_model()
    result: onnx.ModelProto = quantizer.model.model
    for node in result.graph.node:
        node.op_type = node.op_type.removeprefix(_HIDDEN)
    return result


def _split_products(graph: onnx.GraphProto, chosen: set[str]) -> None:
    """Write each chosen Gemm as MatMul and Add, and hide the others. Changes the graph."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "Gemm":
            continue
        if node.name not in chosen:
            node.op_type = _HIDDEN + "Gemm"
            continue
        weight, bias, output = node.input[1], node.input[2] if len(node.input) > 2 else "", node.output[0]
        if any(a.name == "transB" and a.i for a in node.attribute):
            array = onnx.numpy_helper.to_array(held[weight]).T
            weight = f"{weight}_transposed"
            if weight not in held:
                held[weight] = onnx.numpy_helper.from_array(array, weight)
                graph.initializer.append(held[weight])
        product = f"{output}_product" if bias else output
        del node.attribute[:], node.input[2:]
        node.op_type, node.input[1], node.output[0] = "MatMul", weight, product
        if bias:
            nodes.append(onnx.helper.make_node("Add", [product, bias], [output], name=f"{node.name}_bias"))
    set_nodes(graph, nodes)
