"""One side of a proof: a model that runs as it stands, and tells inner values and the shapes that it really makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import MissingExtraError, SessionError
from graphkit.graph.names import Names
from graphkit.graph.opset import imported
from graphkit.graph.ports import Port, input_ports
from graphkit.model import Model
from graphkit.runtime.failures import SMALLER, is_out_of_memory, out_of_memory
from graphkit.runtime.ort_values import from_run, lent_outputs, to_runtime
from graphkit.runtime.session import PieceSession
from graphkit.semantics.reference_evaluator import reference_evaluator
from graphkit.storage.source import LocalFile
from graphkit.tensor import bits

if TYPE_CHECKING:
    from graphkit.tensor import Array

MOST_PROBED = 4096
"""Values whose shapes are looked at in a run; of more, every second, third, ... is."""

NO_KERNEL = ("NOT_IMPLEMENTED", "Could not find an implementation", "is not supported in this build", "Type Error")
"""What ONNX Runtime says where it has no kernel for an operator with some types, and the reference evaluator may."""


class NoKernelError(SessionError):
    """Nothing that is installed can run a model: the runtime has no kernel, and onnx.reference no implementation."""


@dataclass(frozen=True)
class Ran:
    """One run.

    Attributes:
        values: Value -> what it is: an array, a list for a sequence, None for an empty optional.
        shapes: Value of the main graph -> its shape.
    """

    values: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]


class Side:
    """A model, loaded.

    Attributes:
        evaluator: "onnxruntime" or "onnx.reference".
    """

    def __init__(self, model: Model, wanted: Iterable[str], probed: Iterable[str], *, reference: bool = False) -> None:
        """Load a model.

        Args:
            model: The model.
            wanted: Values of the main graph that ``run`` gives: outputs, inner values, inputs, initializers.
            probed: Values whose shapes ``run`` gives.
            reference: Run in onnx.reference.

        Raises:
            SessionError: The runtime refuses the model.
            MissingExtraError: onnxruntime is not installed.
            InvalidGraphError: A Resize is given no size.
        """
        self._model = model
        self._ports = input_ports(model.proto)
        proto = model.copy_proto()
        made = {name for node in proto.graph.node for name in node.output if name}
        known = {value.name for value in proto.graph.output}
        self._wanted = list(dict.fromkeys(wanted))
        self._run = [name for name in self._wanted if name in made or name in known]
        for name in self._run:
            if name not in known:
                proto.graph.output.add(name=name)
        self._probes = _probe(proto, [name for name in dict.fromkeys(probed) if name in made])
        self.evaluator = "onnx.reference" if reference else "onnxruntime"
        name = model.path or proto.graph.name
        if reference:
            self._evaluate = _reference(Model(proto, model.sources, path=model.path))
        else:
            self._evaluate = _runtime(Model(proto, model.sources, path=model.path), name, self._ports)

    def run(self, feeds: Mapping[str, Any]) -> Ran:
        """Run once.

        Raises:
            SessionError, FeedError: It failed.
        """
        made = self._evaluate(feeds, [*self._run, *self._probes])
        values = {name: self._value(name, feeds, made) for name in self._wanted}
        shapes = {name: value.shape for name, value in values.items() if isinstance(value, np.ndarray)}
        return Ran(values, shapes | {value: tuple(map(int, made[probe])) for probe, value in self._probes.items()})

    def close(self) -> None:
        """The memory of the weights may go: another side is next."""
        _let_go(self._model)

    def _value(self, name: str, feeds: Mapping[str, Any], made: Mapping[str, Any]) -> Any:
        if name in made:
            return made[name]
        if name in feeds:
            return feeds[name]
        return np.asarray(self._model.array(name))


def _probe(proto: onnx.ModelProto, values: list[str]) -> dict[str, str]:
    """A Shape node behind each value. Changes the model; gives output -> value."""
    if "" not in imported(proto.opset_import):
        return {}
    names = Names(proto.graph)
    found = {}
    for name in values[:: 1 + len(values) // (MOST_PROBED + 1)]:
        output = names.fresh("graphkit_shape")
        proto.graph.node.append(onnx.helper.make_node("Shape", [name], [output]))
        proto.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.INT64, [None]))
        found[output] = name
    return found


def _runtime(model: Model, name: str, ports: Mapping[str, Port]) -> Any:
    session = PieceSession(model, name, device="cpu", whole=True)
    _let_go(model)
    lent = lent_outputs(model.proto.graph)

    def run(feeds: Mapping[str, Array], outputs: list[str]) -> dict[str, Any]:
        values = {key: to_runtime(value, ports[key]) for key, value in feeds.items()}
        return {key: from_run(value, lent=key in lent) for key, value in session.run(values, outputs).items()}

    return run


def _let_go(model: Model) -> None:
    """Give back the memory of mapped weights; what is read again is mapped again."""
    for source in model.sources.values():
        if isinstance(source, LocalFile):
            source.release()


def _reference(model: Model) -> Any:
    try:
        evaluator = reference_evaluator(model.materialize())
    except Exception as error:
        raise SessionError(f"onnx.reference cannot load it: {error}"[:300]) from error

    def run(feeds: Mapping[str, Array], outputs: list[str]) -> dict[str, Any]:
        try:
            with np.errstate(all="ignore"):
                made: list[Any] = evaluator.run(outputs, dict(feeds))  # type: ignore[assignment]  # it says list[Any] | None
        except Exception as error:
            if is_out_of_memory(error):
                raise SessionError(out_of_memory("onnx.reference", error=error), hint=SMALLER) from error
            raise SessionError(f"onnx.reference cannot run it: {error}"[:300]) from error
        return dict(zip(outputs, made, strict=True))

    return run


def _fits(model: Model) -> bool:
    """Whether the types of a model fit together: onnx.reference runs it all the same."""
    try:
        onnx.shape_inference.infer_shapes(model.proto, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError:
        return False
    return True


def is_never_fed(port: Port) -> bool:
    """Whether the runtime takes nothing for an input but its default value: it takes no feeds of less than a byte."""
    return 0 < bits(port.data_type) < 8


def load(model: Model, wanted: Iterable[str], probed: Iterable[str], *, reference: bool = False) -> Side:
    """A side in ONNX Runtime, or in onnx.reference where the runtime has no kernel, or takes no feed for an input.

    Raises:
        SessionError: The runtime refuses it.
        NoKernelError: Neither can run it.
    """
    never = [name for name, port in input_ports(model.proto).items() if port.required and is_never_fed(port)]
    why = f"4-bit inputs such as {never[0]!r} cannot be fed" if never else ""
    if not reference and not never:
        try:
            return Side(model, wanted, probed)
        except MissingExtraError as error:
            why = str(error)
        except SessionError as error:
            why = str(error)
            if not any(sign in f"{error} {error.__cause__}" for sign in NO_KERNEL) or not _fits(model):
                raise
    try:
        return Side(model, wanted, probed, reference=True)
    except SessionError as error:
        raise NoKernelError(f"{why}; {error}") from error
