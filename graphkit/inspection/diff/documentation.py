"""What people wrote beside a thing: doc_string and metadata_props."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def documentation(one: Any, two: Any, ignored: Iterable[str] = ()) -> list[str]:
    """What differs in the doc_string and metadata_props of two messages, a phrase each.

    Args:
        one: A message with both fields.
        two: Another of its kind.
        ignored: Keys of metadata that do not count.
    """
    said = []
    if one.doc_string != two.doc_string:
        said.append(f"doc: {one.doc_string!r} -> {two.doc_string!r}")
    mine, others = metadata(one, ignored), metadata(two, ignored)
    keys = [key for key in dict.fromkeys((*mine, *others)) if mine.get(key) != others.get(key)]
    return said + [f"metadata {key}: {_said(mine.get(key))} -> {_said(others.get(key))}" for key in keys]


def metadata(message: Any, ignored: Iterable[str] = ()) -> Mapping[str, str]:
    """The metadata_props of a message."""
    return {entry.key: entry.value for entry in message.metadata_props if entry.key not in ignored}


def _said(value: str | None) -> str:
    return "none" if value is None else repr(value)
