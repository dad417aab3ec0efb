"""The two sides of a comparison value by value: an ONNX model run piece by piece, one interface for torch as well."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.edit.subgraph import piece
from graphkit.errors import SessionError
from graphkit.graph import values
from graphkit.graph.index import GraphIndex
from graphkit.graph.liveness import living
from graphkit.graph.module_paths import module_path, stack_trace
from graphkit.graph.order import topological_order
from graphkit.graph.ports import Port, input_ports
from graphkit.graph.upstream import upstream
from graphkit.graph.values import is_constant_node
from graphkit.model import Model
from graphkit.reading.fits import array_type
from graphkit.runtime.ort_values import declared_type, shared, to_runtime
from graphkit.runtime.session import PieceSession
from graphkit.shapes.inference import inferred
from graphkit.storage.source import LocalFile
from graphkit.tensor import bits
from graphkit.torch_export.source_line import stack_line

if TYPE_CHECKING:
    from graphkit.tensor import Array
from graphkit.verify.bisect.side import Place


class OnnxSide:
    """An ONNX model that runs from the front to the back, a stretch of nodes at a time.

    Between two stretches it holds the values that later nodes still read, and those that were asked for and not fetched
    yet. So the whole costs one pass through the model, however many stretches there are, and never more memory than
    that.

    Attributes:
        model: The model.
        index: Its main graph, nodes in topological order.
    """

    def __init__(self, model: Model, feeds: Mapping[str, Array], *, device: str = "cpu", tf32: bool = False) -> None:
        self.model = _sorted(model)
        self.index = GraphIndex(self.model.proto.graph)
        self.name = model.path or model.proto.graph.name
        self.device = device
        self.tf32 = tf32
        self.providers: tuple[str, ...] = ()
        self.runs = 0
        self.feeds = dict(feeds)
        self._ports = input_ports(self.model.proto)
        self._at = 0
        self._sizes: dict[str, int] | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._others: set[str] = set()
        self._state: dict[str, Any] = {name: to_runtime(a, self._port(name)) for name, a in self.feeds.items()}
        self._kept: dict[str, Any] = {}
        self._wanted: set[str] = set()
        self._last_use = {name: places[-1] for name, places in self.index.consumers.items()}

    def _port(self, name: str) -> Port:
        return self._ports[name]

    def places(self) -> list[Place]:
        """Every output of every node of the main graph but of Constant nodes, and of ZipMap, which makes maps: the runtime
        hands none of these out.
        """
        return [
            place_of(node, name)
            for node in self.index.nodes
            if not is_constant_node(node) and node.op_type != "ZipMap"
            for name in node.output
            if name
        ]

    def sizes(self) -> dict[str, int]:
        """Value -> bytes: from shape inference at the sizes of the feeds; where it fails, from one run that gives shapes."""
        if self._sizes is None:
            self._sizes, typed = self._static_sizes()
            if typed:
                self._sizes.update(self._measured(typed))
        return self._sizes

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Value -> shape, as far as shape inference knows it at the sizes of the feeds."""
        self.sizes()
        return self._shapes

    def not_tensors(self) -> set[str]:
        """Values that are sequences, maps or optional, as far as inference knows: no piece is fed them."""
        self.sizes()
        return self._others

    def _static_sizes(self) -> tuple[dict[str, int], dict[str, int]]:
        """(value -> bytes, value -> data type of those whose shape is not known)."""
        proto = self.model.copy_proto()
        for info in proto.graph.input:
            array = self.feeds.get(info.name)
            if info.type.WhichOneof("value") == "tensor_type" and array is not None:
                info.type.CopyFrom(values.tensor_type(info.type.tensor_type.elem_type, [int(d) for d in array.shape]))
        del proto.graph.value_info[:]  # what is declared may hold symbols, or be stale after an edit
        for info in proto.graph.output:
            if info.type.WhichOneof("value") == "tensor_type":
                info.type.tensor_type.ClearField("shape")
        found = GraphIndex(inferred(proto).graph)
        known: dict[str, int] = {}
        unknown: dict[str, int] = {}
        for name in found.producer:
            type_proto = values.value_type(found, name)
            if type_proto is None or type_proto.WhichOneof("value") != "tensor_type":
                if type_proto is not None and type_proto.WhichOneof("value") is not None:
                    self._others.add(name)
                continue
            dims, kind = values.dims(type_proto), type_proto.tensor_type.elem_type
            if dims is not None and all(isinstance(d, int) for d in dims):
                self._shapes[name] = tuple(int(d) for d in dims if d is not None)
                known[name] = math.prod(self._shapes[name]) * bits(kind) // 8
            else:
                unknown[name] = kind
        return known, unknown

    def _measured(self, typed: Mapping[str, int]) -> dict[str, int]:
        """Bytes of values that only a run can tell: the model is run once with a Size node behind each of them."""
        proto = self.model.copy_proto()
        del proto.graph.output[:]
        asked = {}
        for name in typed:
            if is_constant_node(self.index.nodes[self.index.producer[name]]):
                continue
            asked[name] = f"size of {name}"
            proto.graph.node.add(op_type="Size", input=[name], output=[asked[name]])
            proto.graph.output.add(name=asked[name])
        try:
            session = PieceSession(Model(proto, self.model.sources), self.name, device=self.device, tf32=self.tf32)
            self.runs += 1
            made = session.run(self._state, list(asked.values()))
        except SessionError:
            return {}  # a model that cannot run to its end: the search says where
        return {name: int(made[size].numpy()) * bits(typed[name]) // 8 for name, size in asked.items()}

    def held(self) -> dict[str, tuple[int, int]]:
        """Value -> bytes that are held when it is made; feeds and constants are not counted."""
        nodes = enumerate(self.index.nodes)
        steps = [(node.output[:], self.index.reads(at)) for at, node in nodes if not is_constant_node(node)]
        return living(steps, self.sizes(), self._wanted)

    def expect(self, names: Iterable[str]) -> None:
        """Say which values will be fetched, before the first fetch."""
        self._wanted = set(names)

    def fetch(self, names: Sequence[str]) -> dict[str, Any]:
        """Some values as arrays; the model runs on as far as they need.

        Raises:
            SessionError: The runtime refused a stretch, failed, or ran out of memory.
        """
        end = max((self.index.producer[n] + 1 for n in names if n in self.index.producer), default=0)
        if end > self._at:
            self._advance(end)
        made = {name: shared(self._kept[name]) for name in names}
        for name in names:
            self._kept.pop(name, None)
        return made

    def _advance(self, end: int) -> None:
        stretch = range(self._at, end)
        made = {name for p in stretch for name in self.index.nodes[p].output if name}
        live = {n for n in made if self._last_use.get(n, -1) >= end}
        outputs = [n for p in stretch for n in self.index.nodes[p].output if n in live or (n and n in self._wanted)]
        positions = self._needed(stretch, outputs)
        constants = {p for p in positions if is_constant_node(self.index.nodes[p])}
        outputs = [n for n in outputs if self.index.producer[n] not in constants or n in self._wanted]
        read = {name for p in positions for name in self.index.reads(p)} - made
        inputs = {name: declared_type(self._state[name]) for name in sorted(read) if name in self._state}
        if outputs:
            part = piece(self.model, self.index, positions, inputs, outputs)
            session = PieceSession(part, self.name, device=self.device, tf32=self.tf32)
            self.providers = session.providers
            self.runs += 1
            result = session.run(self._state, outputs)
            self._kept.update({name: value for name, value in result.items() if name in self._wanted})
            self._state.update({name: value for name, value in result.items() if name in live})
        self._state = {name: value for name, value in self._state.items() if self._last_use.get(name, -1) >= end}
        release(self.model)
        self._at = end

    def load(self) -> None:
        """Load the model as a whole, and let it go again.

        Pieces are loaded without the shapes of what they are fed, and without the nodes that nothing needs: the runtime
        may take all of them and refuse the model, for instance because of a branch that is not taken.

        Raises:
            SessionError: The runtime refuses it.
        """
        try:
            PieceSession(self.model, self.name, device=self.device, tf32=self.tf32, whole=True)
        except SessionError as error:
            raise SessionError(
                f"the nodes that ran agree with the reference, and the runtime refuses the model: {error.message}",
                hint=error.hint,
            ) from error
        finally:
            release(self.model)

    def _needed(self, stretch: range, outputs: Iterable[str]) -> list[int]:
        """The nodes of a stretch that lead to some outputs."""
        return sorted(upstream(self.index, outputs, enter=stretch.__contains__).nodes)


def as_fed(name: str, array: Array) -> Any:
    """An array as a piece takes it, in the array's own type: what ``declared_type`` declares the input as."""
    return to_runtime(array, Port(name, array_type(np.asarray(array)), None, str(array.dtype)))


def release(model: Model) -> None:
    """Give back the memory of weights that were read from mapped files."""
    for source in model.sources.values():
        if isinstance(source, LocalFile):
            source.release()


def place_of(node: onnx.NodeProto, value: str) -> Place:
    """What makes a value: the node by its name, or by its first output where it has none."""
    line = stack_line(stack_trace(node)) if node.metadata_props or node.doc_string else None
    first = next((name for name in node.output if name), "")
    return Place(value, node.name or first, node.op_type, module_path(node), line)


def _sorted(model: Model) -> Model:
    """The model with its nodes in topological order."""
    nodes = list(model.proto.graph.node)
    order = topological_order(nodes)
    if order == list(range(len(order))):
        return model
    proto = model.copy_proto()
    del proto.graph.node[:]
    proto.graph.node.extend(nodes[position] for position in order)
    return Model(proto, model.sources, path=model.path)


def constants_of(index: GraphIndex) -> set[str]:
    """Values that are the same in every run: initializers and what Constant nodes give."""
    made = {name for node in index.nodes if is_constant_node(node) for name in node.output}
    return {*index.initializers, *index.sparse_initializers, *made} - set(index.inputs)
