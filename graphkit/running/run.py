"""Run a model once, by name in and by name out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import FeedError
from graphkit.hint import Either, Hint
from graphkit.model import Model, ModelLike
from graphkit.reading.files import loses_colours, picture_note
from graphkit.result import Result
from graphkit.running.chain import is_chain, run_chain
from graphkit.runtime.custom_ops import Libraries
from graphkit.runtime.session import Optimization, Session, session
from graphkit.runtime.tensorrt import TensorRT
from graphkit.shapes.declared import declared, untrue
from graphkit.storage.load import as_model
from graphkit.surgery.tap import tap

if TYPE_CHECKING:
    from graphkit.tensor import Array


def run(
    model: ModelLike,
    feeds: Mapping[str, Any] | Any | None = None,
    *,
    device: str = "auto",
    outputs: Sequence[str] | None = None,
    optimization: Optimization = "all",
    seed: int = 0,
    bind: Mapping[str, int] | None = None,
    tensorrt: TensorRT | None = None,
    custom_ops: Libraries = (),
) -> dict[str, Array]:
    """Run a model in ONNX Runtime.

    Args:
        model: A path, a ModelProto or a Model; or the folder of a split model, whose stages run one after the other.
        feeds: Input name -> what to feed. An array or torch tensor must have the declared dtype. A number or nested
            list takes the declared dtype, and a single number fills the declared shape (``{"factor": 2.5}``). A text
            is a specification: ``"@photo.png"`` (0..1 for float inputs, 0..255 for uint8, NCHW or NHWC as declared;
            ``"@photo.png:bgr:0-255:resize"`` and such say otherwise),
            ``"@x.npy"``, ``"@x.npz"`` (the member called like the input, or the only one), ``"random"``, or a number
            or list as text (``"2,3"``). None, or nothing in it, draws every input as "random" does; what is no mapping is
            for the only input of the model.
        device: "cpu", "cuda", "tensorrt", or "auto": CUDA where it loads, else the CPU.
        optimization: How far the runtime may rewrite the model, as ``session`` takes it.
        outputs: Values to give: graph outputs, or any value of the main graph; None for the graph outputs.
        seed: For inputs that are drawn.
        bind: Symbolic dim or ``INPUT:AXIS`` -> size, for inputs that are drawn.
        tensorrt: With device "tensorrt": profiles of dynamic shapes, fp16, int8.
        custom_ops: Shared libraries of custom operators, as ``session`` takes them.

    Returns:
        Output name -> array on the host, in the order asked for.

    Raises:
        FeedError: An input has no feed, or one of another dtype or shape; ``bind`` names no open dim.
        NameNotFoundError: A feed or output that the model does not have.
        SessionError: The runtime refuses the model or a library, or failed.
        ProviderError: The device was asked for and is not what would run.
        MissingExtraError: onnxruntime, or pillow for a picture, is not installed.

    Changes: nothing.
    Scope: values of the main graph.
    Cost: a session is built for every call; use ``graphkit.session`` for more than one run.

    Example:
        >>> import graphkit as gk
        >>> outputs = gk.run("model.onnx")  # random feeds
        >>> outputs["kept"].shape
        (2,)
    """
    loading = {"device": device, "optimization": optimization, "tensorrt": tensorrt, "custom_ops": custom_ops}
    if is_chain(model):
        return run_chain(os.fspath(model), feeds, outputs=outputs, seed=seed, bind=bind, **loading)[0]  # type: ignore[arg-type]  # a path
    made = session_for(model, outputs, **loading)
    return made.run(_fed(made, feeds), outputs, seed=seed, bind=bind)


@dataclass(frozen=True, repr=False)
class OutputSummary(Result):
    """One output of a run.

    Attributes:
        type: dtype and shape, such as ``float32[1,3,96,96]``.
        min: Smallest number, None where the output holds no numbers.
        max: Largest number.
        mean: Mean of the numbers.
        nan: How many are NaN.
        inf: How many are infinite.
        values: The numbers themselves where there are 16 of them or fewer.
    """

    type: str
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    nan: int = 0
    inf: int = 0
    values: Any = None


@dataclass(frozen=True, repr=False)
class Ran(Result):
    """What a run gave.

    Attributes:
        model: The model's path or name.
        device: Where it ran.
        providers: The providers that loaded.
        outputs: Output name -> summary.
        arrays: Output name -> array.
        notes: What the user should know.
    """

    model: str
    device: str
    providers: tuple[str, ...]
    outputs: dict[str, OutputSummary]
    arrays: dict[str, Array] = field(repr=False, metadata={"json": False})
    notes: tuple[str, ...] = ()


def run_report(
    model: ModelLike,
    feeds: Mapping[str, Any] | Any | None = None,
    *,
    outputs: Sequence[str] | None = None,
    device: str = "auto",
    tf32: bool = False,
    allow_cpu_nodes: bool = False,
    optimization: Optimization = "all",
    seed: int = 0,
    bind: Mapping[str, int] | None = None,
    tensorrt: TensorRT | None = None,
    custom_ops: Libraries = (),
) -> Ran:
    """``run``, and which providers ran it. Arguments and errors as ``run`` and ``session`` have them.

    Example:
        >>> import graphkit as gk
        >>> gk.run_report("model.onnx", outputs=["kept"]).providers
        ('CPUExecutionProvider',)
    """
    loading = {
        "device": device,
        "tf32": tf32,
        "allow_cpu_nodes": allow_cpu_nodes,
        "optimization": optimization,
        "tensorrt": tensorrt,
        "custom_ops": custom_ops,
    }
    fed: Mapping[str, Any] = {}
    if is_chain(model):
        arrays, made = run_chain(os.fspath(model), feeds, outputs=outputs, seed=seed, bind=bind, **loading)  # type: ignore[arg-type]  # a path
    else:
        made = session_for(model, outputs, **loading)
        fed = _fed(made, feeds)
        arrays = made.run(fed, outputs, seed=seed, bind=bind)
    summaries = {name: summary(array) for name, array in arrays.items()}
    read = _pictures(made, fed, arrays)
    drawn = () if feeds or not fed else (f"inputs that were drawn at random (seed {seed}): {', '.join(fed)}",)
    false = () if is_chain(model) else _false_shapes(made.model, fed, arrays)
    name = os.fspath(model) if is_chain(model) else made.name  # type: ignore[arg-type]  # a path
    return Ran(name, made.device, made.providers, summaries, arrays, (*made.notes, *read, *drawn, *false))


def _pictures(made: Session, fed: Mapping[str, Any], arrays: Mapping[str, Any]) -> tuple[str, ...]:
    """What each picture was taken for; where its colours were lost, that too, and what keeps them for a net of one channel."""
    shapes = [[size for size in array.shape if size != 1] for array in arrays.values() if isinstance(array, np.ndarray)]
    one_channel = len(arrays) == 1 and [len(shape) for shape in shapes] == [2]
    notes = []
    for name, value in fed.items():
        note = picture_note(made.inputs[name], value)
        if note is not None and loses_colours(made.inputs[name], value):
            keeps = ("; ", Either("graphkit.run_luma(...)", "--luma"), " keeps them") if one_channel else ()
            note = Hint(note, ": its colours were left out", *keeps)
        notes += [] if note is None else [note]
    return tuple(notes)


def _false_shapes(model: Model, fed: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each output whose declared shape is not the one that came out."""
    arrays = {name: value for name, value in fed.items() if isinstance(value, np.ndarray)}
    shapes = {name: value.shape for name, value in made.items() if isinstance(value, np.ndarray)}
    found = untrue(model, arrays, {name: said for name, said in declared(model).items() if name in made}, shapes)
    return tuple(f"the declared shape is false: {one.said}" for one in found.values())


def _fed(made: Session, feeds: Mapping[str, Any] | Any | None) -> dict[str, Any]:
    """Feeds by name: all that is required drawn where none is given; what is no mapping is for the only input.

    Raises:
        FeedError: It is no mapping, and the model has not exactly one input that needs a feed.
    """
    required = [name for name, port in made.inputs.items() if port.required]
    if isinstance(feeds, Mapping) and feeds:
        return dict(feeds)
    if feeds is None or isinstance(feeds, Mapping):
        return dict.fromkeys(required, "random")
    if len(required) != 1:
        names = ", ".join(map(repr, required)) or "none that needs a feed"
        raise FeedError(
            f"a {type(feeds).__name__} alone can be fed to a model with one input; this one has {len(required)}: {names}",
            hint="give a mapping, input name -> what to feed",
        )
    return {required[0]: feeds}


def summary(array: Any) -> OutputSummary:
    """An output in a few numbers; infinities and NaN are counted and left out of the others."""
    if not isinstance(array, np.ndarray):
        return OutputSummary(type="none" if array is None else f"sequence of {len(array)}")
    kind = f"{array.dtype}[{','.join(map(str, array.shape))}]"
    values = array.tolist() if array.size <= 16 else None
    if array.dtype.kind in "OUSTbc":
        return OutputSummary(type=kind.replace("object", "string"), values=values)
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    nan, inf = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
    if not finite.size:
        return OutputSummary(type=kind, nan=nan, inf=inf, values=values)
    return OutputSummary(kind, float(finite.min()), float(finite.max()), float(finite.mean()), nan, inf, values)


def session_for(model: ModelLike, outputs: Sequence[str] | None = None, **options: Any) -> Session:
    """A session that can give some values: the model's own, or the model with the inner ones tapped."""
    if outputs is not None:
        source = as_model(model)
        known = {value.name for value in source.proto.graph.output}
        inner = [name for name in outputs if name not in known]
        if inner:
            return session(tap(source, inner), **options)
    return session(model, **options)
