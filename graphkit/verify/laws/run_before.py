"""The side of a proof that runs what was there before: one model, or several in a chain."""

from __future__ import annotations

from collections.abc import Iterable

from graphkit.model import Model
from graphkit.verify.laws.binding import Binding
from graphkit.verify.laws.chain import ChainSide
from graphkit.verify.laws.side import Side, load


def load_before(
    binding: Binding, before: Model, wanted: Iterable[str], probed: Iterable[str], *, reference: bool
) -> Side | ChainSide:
    """Load the model before, or the models that run in its place.

    Raises:
        SessionError, NoKernelError, MissingExtraError, InvalidGraphError: As ``load``.
    """
    if binding.chain is not None:
        return ChainSide(binding.chain, wanted, probed, reference=reference)
    return load(before, wanted, probed, reference=reference)
