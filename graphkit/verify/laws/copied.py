"""Whether a file is a copy of a model: the same skeleton, the same bytes of weights, and the same numbers when both run."""

from __future__ import annotations

from dataclasses import replace

import onnx

from graphkit.graph import walk
from graphkit.model import Model, ModelLike
from graphkit.storage.load import as_model
from graphkit.storage.text import canonical, text_format
from graphkit.verify.laws.binding import Change
from graphkit.verify.laws.judge import Asked, ask
from graphkit.verify.laws.proof import Proof, Replayed, loosest, worst
from graphkit.verify.laws.same import identity
from graphkit.verify.laws.same_bytes import first_byte_difference
from graphkit.verify.validate import versions


def prove_copy(copy: ModelLike, original: ModelLike, *, samples: int | None = None, seed: int = 0) -> Proof:
    """Prove that a model is another one, written in another form or with its weights in another place.

    Where the bytes of weights lie, and the history, are no difference. Of a model that was read from ONNX's own syntax the
    values of weights are compared, as that syntax does not say how they were stored.

    Args:
        copy: What was written.
        original: What it was written from.
        samples: Runs; None: 5, up to 20 where they cost nothing, or fewer where a run is slow.
        seed: Where the random numbers start.

    Returns:
        The proof, of one step "copy" with the law "same".

    Raises:
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.
        ValueError: ``samples`` below 1.

    Changes: nothing.
    Cost: one runtime session a side and their runs; weights that lie in two files are compared in pieces of 16 MiB.

    Example:
        >>> import graphkit as gk
        >>> saved = gk.save("model.onnx", "copy.onnx", external="copy.bin")
        >>> gk.prove_copy("copy.onnx", "model.onnx").verdict
        'proved'
    """
    if samples is not None and samples < 1:
        raise ValueError("samples must be at least 1")
    return copied(as_model(copy), as_model(original), Asked(samples, seed, {}))


def copied(made: Model, first: Model, asked: Asked, *, replay: bool = True) -> Proof:
    """``prove_copy`` of models that were opened; without ``replay`` only the numbers are asked for.

    Two models with one graph and the same bytes of weights compute the same, whether or not anything here can run them.
    """
    why = difference(made, first) if replay else None
    replayed = None if not replay else Replayed("proved") if why is None else Replayed("broken", why)
    held = ask(identity(Change("copy", {}, first, made)), first, made, ["copy"], "same", asked)
    if replayed and held.verdict == "unproved":
        held = replace(
            held, verdict="proved", why="", also=(*held.also, f"by the graph and the bytes alone: {held.why}")
        )
    return Proof(
        worst([*([replayed.verdict] if replayed is not None else []), held.verdict]),
        made.path or made.proto.graph.name,
        first.path or first.proto.graph.name,
        ("copy",),
        replayed,
        (held,),
        loosest([held]),
        asked.seed,
        (),
        versions(),
    )


def difference(made: Model, first: Model) -> str | None:
    """What differs first between two models, for people; None where they are one, wherever and however weights are stored."""
    why = first_byte_difference(made, first, called="the original")
    if why is None:
        return None
    syntax = any(text_format(model.path or "") == "onnxtxt" for model in (made, first))
    plain = _by_values if syntax else _with_raw_numbers
    return first_byte_difference(plain(made), plain(first), called="the original")


def _by_values(model: Model) -> Model:
    """The model as ONNX's own syntax tells it."""
    return Model(canonical(model.materialize()))


def _with_raw_numbers(model: Model) -> Model:
    """The model with the bytes of those weights that are stored as numbers in fields of their type."""
    proto = model.copy_proto()
    for tensor in walk.tensors(proto):
        if any(field.name in NUMBERS for field, _ in tensor.ListFields()):
            array = onnx.numpy_helper.to_array(tensor)
            tensor.raw_data = onnx.numpy_helper.from_array(array).raw_data
            for name in NUMBERS:
                tensor.ClearField(name)
    return Model(proto, model.sources, path=model.path)


NUMBERS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
"""The fields of a tensor that hold numbers."""
