"""Whether a file is a copy of a model: the same skeleton, the same bytes of weights, and the same numbers when both run."""

from __future__ import annotations

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
    made, first = as_model(copy), as_model(original)
    why = _difference(made, first)
    replayed = Replayed("proved") if why is None else Replayed("broken", why)
    held = ask(identity(Change("copy", {}, first, made)), first, made, ["copy"], "same", Asked(samples, seed, {}))
    return Proof(
        worst([replayed.verdict, held.verdict]),
        made.path or made.proto.graph.name,
        first.path or first.proto.graph.name,
        ("copy",),
        replayed,
        (held,),
        loosest([held]),
        seed,
        (),
        versions(),
    )


def _difference(made: Model, first: Model) -> str | None:
    """What differs first; None where nothing does."""
    why = first_byte_difference(made, first)
    syntax = any(text_format(model.path or "") == "onnxtxt" for model in (made, first))
    if why is None or not syntax:
        return why
    return first_byte_difference(*(Model(canonical(model.materialize())) for model in (made, first)))
