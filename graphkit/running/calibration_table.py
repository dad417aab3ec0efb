"""calibrate: how large the values of a model become on feeds, and the table of it that TensorRT takes for int8."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from graphkit.errors import EditError
from graphkit.graph.index import GraphIndex
from graphkit.model import ModelLike
from graphkit.result import Result
from graphkit.runtime.custom_ops import Libraries, custom_operators
from graphkit.runtime.failures import import_runtime
from graphkit.shapes.types_of import types_of
from graphkit.storage.commit import write_file
from graphkit.storage.load import as_model
from graphkit.surgery.precision.calibration import Calibration, ranges


@dataclass(frozen=True, repr=False)
class CalibrationTable(Result):
    """The largest size of each value on some feeds. Made by ``graphkit.calibrate``.

    Attributes:
        model: The model's path or name.
        largest: Value -> the largest size of its numbers, over all runs, in graph order.
        runs: Runs that were made.
        notes: What the user should know: what was drawn at random, which values were left out.
    """

    model: str
    largest: dict[str, float]
    runs: int
    notes: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the table as the TensorRT provider reads it, for ``TensorRT(calibration_table=...)``.

        The format is that of ONNX Runtime's ``write_calibration_table``, flatbuffers: for each value its name and, as text,
        the largest size of its numbers.

        Args:
            path: The file, such as ``NAME.flatbuffers``.

        Returns:
            The path.

        Raises:
            SaveError: It cannot be written.
            MissingExtraError: onnxruntime, whose schema of the format is used, is not installed.
        """
        target = os.fspath(path)
        write_file(target, _flatbuffers(self.largest))
        return target


def calibrate(
    model: ModelLike,
    feeds: Mapping[str, Any] | None = None,
    *,
    samples: int = 8,
    seed: int = 0,
    custom_ops: Libraries = (),
) -> CalibrationTable:
    """Run a model on calibration feeds and note how large each of its float32 values becomes.

    The model itself stays as it is: TensorRT quantizes it by the table while it builds its engine. Other runtimes take a
    quantized model instead, which ``precision`` makes.

    Args:
        model: A path, a ModelProto or a Model.
        feeds: Input -> what to feed, as ``graphkit.run`` takes it, or a list of such, one a run; all else is random.
        samples: Runs where no input has a list and something is random.
        seed: Where random feeds start.
        custom_ops: Shared libraries of custom operators, as ``session`` takes them.

    Returns:
        The table; ``table.save(path)`` writes it.

    Raises:
        FeedError, NameNotFoundError: A feed does not fit.
        EditError: No value of the main graph is float32.
        SessionError: The runtime refuses the model or a library, or fails.
        MissingExtraError: onnxruntime is not installed.
        ValueError: Lists of different lengths, or ``samples`` below 1.

    Changes: nothing.
    Scope: inputs and values of the main graph that are known to be float32; what is inside of bodies and functions is not.
    Cost: a session, and a run for each feed; no value is held.

    Example:
        >>> gk.calibrate("model.onnx", {"x": ["@a.png", "@b.png"]}).save("model.flatbuffers")  # doctest: +SKIP
    """
    import_runtime("calibration")
    source = as_model(model)
    index = GraphIndex(source.proto.graph)
    weights = {tensor.name for tensor in source.proto.graph.initializer}
    every = [value.name for value in source.proto.graph.input if value.name not in weights]
    every += [name for node in source.proto.graph.node for name in node.output if name]
    types = types_of(source.proto, index, every)
    floats = [name for name in every if name in types and types[name].tensor_type.elem_type == onnx.TensorProto.FLOAT]
    if not floats:
        raise EditError("no value of the main graph is known to be float32: there is nothing to calibrate")
    calibration = Calibration(source, feeds or {}, samples=samples, seed=seed)
    with custom_operators(custom_ops):
        found = ranges(source.proto, floats, calibration.runs(every=True), source.sources)
    largest = {name: r.largest for name, r in found.items() if r.count and np.isfinite(r.largest)}
    notes = []
    if calibration.random:
        notes.append(f"inputs that were drawn at random (seed {seed}): {', '.join(calibration.random)}")
    if left := [name for name in floats if name not in largest]:
        notes.append(f"left out, since they are empty or not finite: {', '.join(map(repr, left[:8]))}")
    if unknown := [name for name in every if name not in types]:
        notes.append(f"left out, since no type is known for them: {', '.join(map(repr, unknown[:8]))}")
    return CalibrationTable(source.path or source.proto.graph.name, largest, calibration.every, tuple(notes))


def _flatbuffers(largest: Mapping[str, float]) -> bytes:
    """The table in flatbuffers, by the classes that ONNX Runtime generated from its schema."""
    import_runtime("writing a calibration table")
    import flatbuffers
    from onnxruntime.quantization.CalTableFlatBuffers import KeyValue, TrtTable

    builder = flatbuffers.Builder(1024)
    pairs = []
    for name, value in sorted(largest.items()):
        key, text = builder.CreateString(name), builder.CreateString(repr(float(value)))
        KeyValue.KeyValueStart(builder)
        KeyValue.KeyValueAddKey(builder, key)
        KeyValue.KeyValueAddValue(builder, text)
        pairs.append(KeyValue.KeyValueEnd(builder))
    TrtTable.TrtTableStartDictVector(builder, len(pairs))
    for pair in pairs:  # backwards, as ONNX Runtime's own writer has them: the provider reads them all, in any order
        builder.PrependUOffsetTRelative(pair)
    table = builder.EndVector()
    TrtTable.TrtTableStart(builder)
    TrtTable.TrtTableAddDict(builder, table)
    builder.Finish(TrtTable.TrtTableEnd(builder))
    return bytes(builder.Output())
