"""int8 through ONNX Runtime's quantizer: the model is run on feeds, and gets the ranges that its values had.

The quantizer (onnxruntime.quantization.quantize_static) writes a file. What it changes beside the nodes that it puts in is
put back: the order of nodes, names, attributes, declared types with their symbolic dims, metadata and the producer.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.edit.nodes import set_inputs, set_nodes
from graphkit.errors import EditError
from graphkit.feeds.feeds import complete
from graphkit.graph import walk
from graphkit.graph.opset import opset_of
from graphkit.graph.order import topological_order
from graphkit.graph.ports import input_ports
from graphkit.hint import Hint, call
from graphkit.model import Model
from graphkit.runtime.failures import import_runtime, translated
from graphkit.runtime.host_nodes import shape_nodes
from graphkit.surgery.precision.kept import Kept, call_again, kept_nodes, number_nodes

if TYPE_CHECKING:
    from graphkit.tensor import Array

FIRST_OPSET = 13
"""Since QuantizeLinear-13 a weight may have a scale for each channel, and the quantizer leaves the opset as it is."""

_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""What keeps the quantizer from advice on stderr: metadata that its own preparation of models writes."""


def to_int8(
    model: Model, kept: Kept, feeds: Mapping[str, Any], *, samples: int, seed: int, per_channel: bool
) -> tuple[onnx.ModelProto, list[str]]:
    """A self-contained model with QuantizeLinear and DequantizeLinear nodes, and what the user should know.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        EditError: The model is older than opset 13, larger than 2 GB, has no node that can be quantized, or the quantizer
            gives up.
        FeedError, NameNotFoundError: A feed does not fit.
        SessionError: The runtime refuses the model.

    Scope: the main graph.
    Cost: O(weights), all of which are read into memory, and one run a feed with every inner value kept.
    """
    import_runtime("a change of precision")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if opset_of(model.proto) < FIRST_OPSET:
        raise EditError(
            f"quantization wants opset {FIRST_OPSET} or later, and the model has {opset_of(model.proto)}",
            hint=Hint("raise it first: ", call("opset", to=FIRST_OPSET)),
        )
    runs = calibration(model, feeds, samples=samples, seed=seed)
    whole = model.materialize()
    if whole.ByteSize() >= 2**31:
        raise EditError("ONNX Runtime's quantizer takes models below 2 GB only")
    called = number_nodes(whole.graph)
    numbered = onnx.ModelProto.FromString(whole.SerializeToString())
    staying = kept_nodes(whole.graph, called, kept, computing=shape_nodes(whole.graph))
    whole.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])
    with tempfile.TemporaryDirectory() as folder, translated("calibrating the model"):
        path = os.path.join(folder, "int8.onnx")
        try:
            quantize_static(
                whole,
                path,
                _reader(runs),
                quant_format=QuantFormat.QDQ,
                per_channel=per_channel,
                nodes_to_exclude=sorted(staying),
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                extra_options={"ActivationSymmetric": True},
            )
        except AssertionError as error:  # it asserts that no output is an input, for one
            raise EditError(f"ONNX Runtime's quantizer gives up: {error}", hint="float16 may serve it") from error
        result = onnx.load(path)
    quantized = _quantized(result.graph, called)
    if not quantized:
        raise EditError("the model has no node that ONNX Runtime's quantizer knows", hint="float16 may serve it")
    _put_back(result, numbered)
    call_again(result.graph, called)
    random = sorted(name for name, port in input_ports(model.proto).items() if port.required and name not in feeds)
    drawn = f", random numbers for {', '.join(map(repr, random))}" if random else ""
    return result, [
        f"quantized values are read by {', '.join(quantized)}",
        f"ranges are from {len(runs)} run{'s' if len(runs) > 1 else ''}{drawn}",
    ]


def calibration(model: Model, feeds: Mapping[str, Any], *, samples: int, seed: int) -> list[dict[str, Array]]:
    """The feeds of each run: a list of texts or arrays is fed one by one, what is not given is random.

    Raises:
        ValueError: Lists of different lengths, or ``samples`` below 1.
        FeedError, NameNotFoundError: A feed does not fit.
    """
    if samples < 1:
        raise ValueError(f"samples is 1 or more, not {samples}")
    lists = {name: list(value) for name, value in feeds.items() if _alternatives(value)}
    lengths = {len(values) for values in lists.values()}
    if len(lengths) > 1:
        raise ValueError(f"feeds for one run each: lists of {' and '.join(map(str, sorted(lengths)))} were given")
    ports = input_ports(model.proto)
    random = {name: "random" for name, port in ports.items() if port.required and name not in feeds}
    count = lengths.pop() if lengths else samples if random else 1
    return [
        complete(model, ports, {**random, **feeds, **{n: values[i] for n, values in lists.items()}}, seed=seed + i)
        for i in range(count)
    ]


def _alternatives(value: Any) -> bool:
    """Whether a feed is a list of feeds, and not one that is written as a list of numbers."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, str | np.ndarray) for v in value)


def _reader(runs: Sequence[dict[str, Array]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        """Hands out the runs one by one."""

        def __init__(self) -> None:
            self.left = iter(runs)

        def get_next(self) -> dict[str, Array] | None:
            """The next feeds, None behind the last ones."""
            return next(self.left, None)

    return Reader()


def _quantized(graph: onnx.GraphProto, called: Mapping[str, str]) -> list[str]:
    """How many nodes of which operators read quantized values, such as "3 Conv"."""
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    count: dict[str, int] = {}
    for node in graph.node:
        if node.name in called and not dequantized.isdisjoint(node.input):
            count[node.op_type] = count.get(node.op_type, 0) + 1
    return [f"{number} {op}" for op, number in sorted(count.items())]


def _put_back(result: onnx.ModelProto, before: onnx.ModelProto) -> None:
    """Everything that the quantizer changed without need, as it was. Changes ``result``."""
    graph = result.graph
    originals = {node.name: node for node in before.graph.node}
    nodes = []
    for node in graph.node:
        own = originals.get(node.name)
        if own is not None and own.op_type == node.op_type:
            copy = onnx.NodeProto.FromString(own.SerializeToString())
            set_inputs(copy, node.input[:])
            del copy.output[:]
            copy.output.extend(node.output)
            nodes.append(copy)
        else:
            nodes.append(node)
    place = {name: number for number, name in enumerate(originals)}
    after = len(place)
    nodes.sort(key=lambda node: place.get(node.name, after))
    set_nodes(graph, [nodes[position] for position in topological_order(nodes)])
    defined = walk.defined_names(graph)
    for field in ("input", "output", "value_info"):
        entries = [value for value in getattr(before.graph, field) if field != "value_info" or value.name in defined]
        del getattr(graph, field)[:]
        getattr(graph, field).extend(entries)
    del result.metadata_props[:]
    result.metadata_props.extend(before.metadata_props)
    for name in ("producer_name", "producer_version", "domain", "doc_string", "model_version"):
        if before.HasField(name):
            setattr(result, name, getattr(before, name))
        else:
            result.ClearField(name)
