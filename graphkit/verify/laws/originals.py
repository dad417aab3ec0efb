"""The original of a proof: the model that a history begins with, as it is found or was given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from graphkit.errors import GraphkitError
from graphkit.hint import Call, Hint
from graphkit.model import Model, ModelLike
from graphkit.step import Original
from graphkit.storage.load import as_model, load
from graphkit.verify.laws.joined import Merged, begins_with_merge, merged_again
from graphkit.verify.laws.refilled import lacks_weights

NAMED = Hint("name it: ", Call("prove", (), ("edited, original", "EDITED ORIGINAL")))


def is_one(original: ModelLike | Mapping[str, ModelLike] | Sequence[ModelLike]) -> TypeGuard[ModelLike]:
    """Whether one model was given, not several."""
    return isinstance(original, str) or not isinstance(original, Mapping | Sequence)


def has_its_history(edited: Model, given: Model) -> bool:
    """Whether an original has had every step of the edited model, and no other."""
    return len(given.history) == len(edited.history) and _begins(edited, given)


def original_of(
    last: Model, original: ModelLike | Mapping[str, ModelLike] | Sequence[ModelLike] | None
) -> Model | Merged:
    """The model that a proof begins with, or the merge of several that it does again."""
    merges = begins_with_merge(last)
    if original is None:
        return merged_again(last, None) if merges and _place(last) is None else _found(last)
    if isinstance(original, Mapping) or (isinstance(original, Sequence) and not isinstance(original, str)):
        if merges:
            return merged_again(last, original)
        raise GraphkitError("several models were given, and the history does not begin with a merge", hint=NAMED)
    given = opened(original, last)
    if lacks_weights(given) and (whole := _with_weights(given)) is not None:
        return whole
    if merges and not (given.history and _begins(last, given)):
        return merged_again(last, [given])
    return given


def _with_weights(given: Model) -> Model | None:
    """The model that the history of one without weights begins with, where it lies beside that."""
    path = _place(given) if given.history else None
    whole = load(path, strict=False) if path is not None else None
    if whole is None or whole.identity is None or given.original is None:
        return None
    return whole if whole.identity.digest == given.original.digest and not lacks_weights(whole) else None


def _begins(last: Model, given: Model) -> bool:
    """Whether a model's history is where another's begins."""
    return [step[:2] for step in given.history] == [step[:2] for step in last.history[: len(given.history)]]


def _place(edited: Model) -> str | None:
    """The file beside the edited one that its history names, where there is one."""
    said = edited.original
    if said is None or said.file is None or edited.path is None:
        return None
    path = os.path.join(os.path.dirname(edited.path), said.file)
    if not os.path.exists(path):
        return None
    return path if os.path.realpath(path) != os.path.realpath(edited.path) or _is_the_original(path, edited) else None


def _is_the_original(path: str, edited: Model) -> bool:
    """Whether the file that an edited model was opened from still is what its history begins with."""
    there = load(path, strict=False).identity
    return there is not None and edited.original is not None and there.digest == edited.original.digest


def _found(edited: Model) -> Model:
    """That file, opened."""
    if (path := _place(edited)) is not None:
        return opened(path, edited)
    file = edited.original.file if edited.original is not None else None
    if file is None or edited.path is None:
        raise GraphkitError("the history does not say in which file the model was that it begins with", hint=NAMED)
    if os.path.basename(edited.path) == file and os.path.exists(edited.path):
        raise GraphkitError(f"the original {file!r} is gone: an edited model was written over it", hint=NAMED)
    raise GraphkitError(f"the original {file!r} is not beside {edited.path}", hint=NAMED)


def opened(original: ModelLike, edited: Model) -> Model:
    """The original; with what is wrong in its file where it is the one that was edited, which may have repaired it."""
    try:
        return as_model(original)
    except GraphkitError:
        if not isinstance(original, str | os.PathLike) or edited.original is None:
            raise
        opened = load(original, strict=False)
        if opened.identity is None or opened.identity.digest != edited.original.digest:
            raise
        return opened


def tell_apart(edited: Model, given: Model) -> None:
    """Refuse an original that is another model than the one that the history begins with."""
    said = edited.original
    if said is None or given.history:
        return
    if said.digest in {one.digest for one in (given.identity, Original.of(given.proto)) if one is not None}:
        return
    named = f" ({said.file!r})" if said.file else ""
    raise GraphkitError(
        f"{given.path or given.proto.graph.name} is not the model that the history begins with{named}: its digest is another",
        hint="name the file that was edited",
    )
