"""int8 through ONNX Runtime's quantizer: the model is run on feeds, and gets the ranges that its values had.

The quantizer (onnxruntime.quantization's QDQQuantizer) gets a plain copy (``plain``), ranges of our own (``calibration``),
and the nodes that int8 serves: not those at values whose range is a mask's. The result is run beside the float32 model on
feeds that calibration did not see; where it is too far off, less is quantized, and the rest of the error is said.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from graphkit.errors import EditError, NothingFoundError, SessionError
from graphkit.graph.names import label, title
from graphkit.graph.opset import opset_of
from graphkit.hint import Argument, Hint, call
from graphkit.model import Model
from graphkit.progress import told
from graphkit.runtime.failures import import_runtime
from graphkit.runtime.handover import require_runnable
from graphkit.runtime.placement import shape_nodes
from graphkit.semantics.kinds import PRODUCTS
from graphkit.surgery.precision.accuracy import BOUND, CLOSE, Accuracy
from graphkit.surgery.precision.calibration import DRAWN, GIVEN, Calibration, Range, absurd, absurd_weights, ranges
from graphkit.surgery.precision.indexed import indexed
from graphkit.surgery.precision.kept import Kept, half_may_serve, kept_nodes, number_nodes
from graphkit.surgery.precision.plain import Plain

FIRST_OPSET = 13
"""Since QuantizeLinear-13 a weight may have a scale for each channel, and the quantizer leaves the opset as it is."""

FLOAT = onnx.TensorProto.FLOAT


def to_int8(
    model: Model, kept: Kept, feeds: Mapping[str, Any], *, samples: int, seed: int, per_channel: bool
) -> tuple[onnx.ModelProto, list[str]]:
    """A self-contained model with QuantizeLinear and DequantizeLinear nodes, and what the user should know.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        EditError: The model is older than opset 13, larger than 2 GB, or has no node that can be quantized.
        FeedError, NameNotFoundError: A feed does not fit; a node or operator that is to be kept is not there.
        SessionError: The runtime refuses the model.

    Scope: the main graph.
    Cost: O(weights), all of which are read into memory, two runs a feed at most, and one or two of the result; no inner
        value is held but those with a large range, one at a time.
    """
    import_runtime("a change of precision")
    calibration = Calibration(model, feeds, samples=samples, seed=seed)
    plain, staying = plain_copy(model, kept, feeds)
    static = _Static(plain, staying, calibration)
    nodes, notes = static.nodes()
    return static.best(nodes, notes, model, per_channel=per_channel, choose=not kept.only)


def plain_copy(model: Model, kept: Kept, fed: Collection[str] = ()) -> tuple[Plain, set[str]]:
    """The model for a quantizer, and which of its nodes, by their names there, stay in float32.

    Raises:
        EditError: The model is older than opset 13, or larger than 2 GB.
        WeightsError: Its weights were stripped.
        NameNotFoundError: A node or operator that is to be kept is not there.
    """
    if opset_of(model.proto) < FIRST_OPSET:
        raise EditError(
            f"quantization wants opset {FIRST_OPSET} or later, and the model has {opset_of(model.proto)}",
            hint=Hint("raise it first: ", call("opset", to=FIRST_OPSET)),
        )
    require_runnable(model.proto)
    whole = model.materialize()
    if whole.ByteSize() >= 2**31:
        raise EditError("ONNX Runtime's quantizer takes models below 2 GB only")
    skeleton = model.copy_proto()
    called = number_nodes(skeleton.graph)
    numbered = [node.name for node in skeleton.graph.node]
    found = kept_nodes(skeleton.graph, called, kept, computing=shape_nodes(skeleton.graph))
    plain = Plain(whole, model.proto, fed)
    return plain, {name for name, number in zip(plain.nodes, numbered, strict=True) if number in found}


class _Static:
    """One model on its way to int8."""

    def __init__(self, plain: Plain, staying: Collection[str], calibration: Calibration) -> None:
        self.plain, self.staying, self.calibration = plain, staying, calibration
        graph = plain.model.graph
        self.types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output, *graph.input)}
        self.weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
        self.types.update(self.weights)
        self.ranges: dict[str, Range] = {}

    def nodes(self) -> tuple[list[onnx.NodeProto], list[str]]:
        """The nodes to quantize, and notes about values whose range forbids it.

        Raises:
            EditError: There is none.
        """
        nodes = [node for node in self.plain.model.graph.node if self._can(node)]
        if not nodes:
            self._refuse()
        touched = {name for node in nodes for name in (*node.input, *node.output) if self.types.get(name) == FLOAT}
        inner = sorted(touched - self.weights.keys())
        self.ranges = ranges(self.plain.model, inner, self._runs())
        bad = absurd(self.ranges, self.plain.model, self._runs()) | absurd_weights(self.plain.model, touched)
        notes = []
        for name, largest in list(bad.items())[:12]:
            left = [node for node in nodes if name in (*node.input, *node.output)]
            notes.append(
                f"{self.plain.own(name)!r} reaches {_size(largest)}, which leaves int8 no levels: float32 at "
                f"{', '.join(title(self.plain.nodes[node.name]) for node in left)}"
            )
        nodes = [node for node in nodes if bad.keys().isdisjoint((*node.input, *node.output))]
        if not nodes:
            raise EditError(f"no node is left to quantize: {'; '.join(notes)}", hint="give feeds with ordinary numbers")
        return nodes, notes

    def _refuse(self) -> None:
        where = "the main graph has no node that ONNX Runtime's quantizer knows"
        left = [
            *(["but those that are to stay in float32"] if self.staying else []),
            *self.plain.notes_on_bodies(PRODUCTS),
        ]
        raise NothingFoundError("; ".join([where, *left]), hint=half_may_serve(self.plain.model))

    def _can(self, node: onnx.NodeProto) -> bool:
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        known = node.op_type in QDQRegistry or node.op_type in QLinearOpsRegistry
        kinds = {self.types.get(name, 0) for name in (*node.input, *node.output) if name}
        other = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
        return known and node.name not in self.staying and FLOAT in kinds and kinds.isdisjoint(other)

    def _runs(self) -> Any:
        own = {old: new for new, old in self.plain.values.items()}
        return ({own[name]: array for name, array in run.items()} for run in self.calibration.runs())

    def best(
        self, nodes: list[onnx.NodeProto], notes: list[str], model: Model, *, per_channel: bool, choose: bool
    ) -> tuple[onnx.ModelProto, list[str]]:
        """The first of a few ways to quantize that is close enough, else the closest, and what to say about it."""
        unseen, what = self.calibration.unseen()
        try:
            accuracy = Accuracy(model, unseen)
        except SessionError:  # feeds of our own that the model does not take
            accuracy, what = Accuracy(model, [next(self.calibration.runs())]), "a feed that calibration saw"
        products = [node for node in nodes if node.op_type in PRODUCTS]
        ways = [(nodes, per_channel)]
        if choose and products:
            ways += [(products, per_channel)] if len(products) < len(nodes) else []
            ways += [(products, True)] if not per_channel else []
        tried: list[tuple[float, int, onnx.ModelProto, list[str]]] = []
        for chosen, channels in told(ways, len(ways), "quantizing"):
            proto, more = self.quantized(chosen, per_channel=channels)
            tried.append((accuracy.error(proto), len(tried), proto, more))
            if tried[-1][0] <= CLOSE:
                break
        error, way, proto, more = min(tried, key=lambda entry: entry[:2])
        chosen, channels = ways[way]
        counts = self._count(chosen, proto)
        if not counts:
            self._refuse()
        said = [f"quantized: {', '.join(f'{number} {op}' for op, number in sorted(counts.items()))}"]
        if way:
            left = sorted({node.op_type for node in nodes} - {node.op_type for node in chosen})
            each = [f"{', '.join(left)} left in float32"] if left else []
            each += ["a scale for each channel of a weight"] if channels and not per_channel else []
            said.append(f"{' and '.join(each)}: with all as asked the relative L2 error is {tried[0][0]:.2g}")
        count = self.calibration.count
        said += self.plain.notes_on_bodies(PRODUCTS)
        said.append(f"ranges are from {count} run{'s' if count > 1 else ''}{self.calibration.drawn}")
        said.append(f"relative L2 error {error:.2g} on {what}" + (", which is large" if error > BOUND else ""))
        return proto, [*notes, *more, *said]

    def _count(self, chosen: list[onnx.NodeProto], proto: onnx.ModelProto) -> Counter[str]:
        """How many nodes of which operators stand between quantized values; the quantizer leaves out some that it knows.

        A Transpose and its like that only pass a dequantized value on to a node in float32 are none of them.
        """
        outputs = {self.plain.own(name) for node in chosen for name in node.output if name}
        made = {node.output[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
        sources = {node.output[0]: node.input[0] for node in proto.graph.node if node.op_type == "QuantizeLinear"}
        taken = set(sources.values())
        outputs |= {sources[name] for name in sources if sources[name].removesuffix("_QuantizeLinear_Input") in outputs}
        return Counter(
            node.op_type
            for node in proto.graph.node
            if not made.isdisjoint(node.input)
            and not outputs.isdisjoint(node.output)
            and (node.op_type == "ArgMax" or not taken.isdisjoint(node.output))
        )

    def quantized(self, nodes: list[onnx.NodeProto], *, per_channel: bool) -> tuple[onnx.ModelProto, list[str]]:
        """The model with some nodes quantized, and the notes that go with that.

        Raises:
            EditError: The quantizer fails, with the nodes that it fails on.
        """
        try:
            result = self._quantize({node.name for node in nodes}, per_channel=per_channel)
        except FAILURES as error:
            culprits = [node for node in nodes if self._fails(node, per_channel=per_channel)]
            where = ", ".join(title(self.plain.nodes[node.name]) for node in culprits) or "the model as a whole"
            raise EditError(
                f"ONNX Runtime's quantizer fails on {where}: {str(error) or type(error).__name__}",
                hint=Hint(
                    "keep it in float32: ", Argument("keep_nodes", [label(self.plain.nodes[n.name]) for n in culprits])
                )
                if culprits
                else half_may_serve(self.plain.model),
            ) from error
        proto, gone = self.plain.back(result)
        return proto, [f"{name!r} is no input any more: its default is quantized" for name in gone]

    def _fails(self, node: onnx.NodeProto, *, per_channel: bool) -> bool:
        try:
            self._quantize({node.name}, per_channel=per_channel)
        except FAILURES:
            return True
        return False

    def _quantize(self, nodes: set[str], *, per_channel: bool) -> onnx.ModelProto:
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        model = onnx.ModelProto.FromString(self.plain.model.SerializeToString())
        margin = DRAWN if self.calibration.random else GIVEN
        found = {n: tuple(np.array(edge, np.float32) for edge in r.widened(margin)) for n, r in self.ranges.items()}
        finite = {name: edges for name, edges in found.items() if np.isfinite(edges).all()}
        operators = sorted({node.op_type for node in model.graph.node if node.name in nodes})
        with quiet(), indexed():
            quantizer = QDQQuantizer(
                model,
                per_channel,
                False,
                QuantType.QInt8,
                QuantType.QInt8,
                TensorsData(CalibrationMethod.MinMax, finite),
                sorted(nodes),
                [],
                operators,
                {"ActivationSymmetric": True},
            )
            return quantizer.quantize_model()  # type: ignore[no-any-return]  # the package has no types


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the quantizer's advice, which is about names of ours, from the log: it goes to the root logger."""
    root, handler = logging.getLogger(), logging.NullHandler()

    def ours(record: logging.LogRecord) -> bool:
        return "quantization" not in record.pathname

    root.addHandler(handler)  # logging.warning sets up a handler for all where there is none
    root.addFilter(ours)
    try:
        yield
    finally:
        root.removeFilter(ours)
        root.removeHandler(handler)


FAILURES = (AssertionError, ValueError, TypeError, LookupError, RuntimeError, AttributeError)
"""What the quantizer raises for a node that it cannot follow."""


def _size(number: float) -> str:
    return "infinity" if np.isinf(number) else f"{number:.3g}"
