"""Which models are meant, and where what is made of them goes: files, folders, globs, lists and addresses."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from graphkit.errors import ModelFileError, NameTakenError, SaveError
from graphkit.optional import optional
from graphkit.storage.source import is_url
from graphkit.storage.system import regular_only

SUFFIXES = (".onnx", ".onnxtxt")


class Named(NamedTuple):
    """A model that was named.

    Attributes:
        path: Its path or address.
        below: Its path below the folder that was named, or its file's name.
    """

    path: str
    below: str


def named_models(texts: Iterable[str]) -> list[Named]:
    """The models that texts name, in order.

    Args:
        texts: Each a file; a folder, for all models in it at any depth; a pattern with ``*``; ``@FILE`` or a ``.txt``
            file, for a list with one of these a line (``#`` begins a comment); or an address that fsspec reads.

    Raises:
        ModelFileError: There is nothing of that name, or nothing in it.
        NameTakenError: A model is named twice.
        MissingExtraError: An address has a pattern, and fsspec is not installed.

    Example:
        >>> import graphkit as gk
        >>> [one.path for one in gk.named_models(["*.onnx"])]
        ['custom.onnx', 'model.onnx']
    """
    found: list[Named] = []
    for text in texts:
        found += _models(text)
    seen: dict[str, str] = {}
    for one in found:
        real = one.path if is_url(one.path) else os.path.realpath(one.path)
        if real in seen:
            raise NameTakenError(
                f"a model is named twice: {seen[real]!r} and {one.path!r}", name=one.path, hint="name each model once"
            )
        seen[real] = one.path
    return found


def _models(text: str) -> list[Named]:
    if is_url(text):
        return _remote(text)
    if text.startswith("@") and not os.path.exists(text):
        return _listed(text[1:])
    if os.path.isdir(text):
        return _within(text)
    if text.endswith(".txt") and os.path.isfile(text):
        return _listed(text)
    if os.path.exists(text) or not glob.has_magic(text):
        return [Named(text, os.path.basename(text))]
    found = [path for path in sorted(glob.glob(text, recursive=True)) if not os.path.isdir(path)]
    if not found:
        raise ModelFileError(f"no file matches {text!r}", path=text)
    return [Named(path, os.path.basename(path)) for path in found]


def _within(folder: str) -> list[Named]:
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        found += [os.path.join(place, name) for name in sorted(files) if name.endswith(SUFFIXES)]
    if not found:
        raise ModelFileError(f"the folder {folder!r} holds no .onnx file", path=folder)
    return [Named(path, os.path.relpath(path, folder)) for path in found]


def list_lines(path: str) -> list[str]:
    r"""The lines of a list file, without comments and blank ones.

    Raises:
        ModelFileError: It cannot be read, or names nothing.

    Example:
        >>> import graphkit as gk
        >>> from pathlib import Path
        >>> _ = Path("models.txt").write_text("# ours\nmodel.onnx\n")
        >>> gk.list_lines("models.txt")
        ['model.onnx']
    """
    try:
        with open(path, encoding="utf-8", opener=regular_only) as file:
            lines = [line.strip() for line in file]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ModelFileError(f"the list {path!r} cannot be read: {why}", path=path) from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ModelFileError(f"the list {path!r} names no model", path=path)
    return found


def _listed(path: str) -> list[Named]:
    found: list[Named] = []
    for line in list_lines(path):
        beside = line if os.path.isabs(line) or is_url(line) or os.path.exists(line) else ""
        found += _models(beside or os.path.join(os.path.dirname(path), line))
    return found


def _remote(url: str) -> list[Named]:
    if not re.search(r"[*\[]", url) and not url.endswith("/"):
        return [Named(url, os.path.basename(url))]
    fsspec = optional("fsspec", f"reading {url}")
    filesystem, path = fsspec.core.url_to_fs(url)
    pattern = f"{path.rstrip('/')}/**/*.onnx" if url.endswith("/") else path
    found = sorted(filesystem.glob(pattern))
    if not found:
        raise ModelFileError(f"nothing matches {url!r}", path=url)
    start = path.rstrip("/") if url.endswith("/") else ""
    return [
        Named(filesystem.unstrip_protocol(one), os.path.relpath(one, start) if start else os.path.basename(one))
        for one in found
    ]


def output_paths(models: Sequence[Named], out: str, *, folder: bool = False) -> list[str]:
    """Where what is made of each model goes.

    Args:
        models: The models.
        out: A folder; or a pattern with ``{stem}``, ``{name}`` or ``{number}`` (from 0).
        folder: Each result is a folder: of a split.

    Raises:
        SaveError: The pattern has another word in braces.
        NameTakenError: Two models would write one file, or one would be written over.

    Example:
        >>> import graphkit as gk
        >>> gk.output_paths([gk.Named("model.onnx", "model.onnx")], "out/", folder=True)
        ['out/model']
    """
    found: dict[str, str] = {}
    mine = {os.path.realpath(model.path) for model in models if not is_url(model.path)}
    for number, model in enumerate(models):
        place = _output(model, out, number, folder=folder)
        real = place if is_url(place) else os.path.realpath(place)
        if real in found:
            raise NameTakenError(
                f"{found[real]!r} and {model.path!r} would both be written to {place!r}",
                name=place,
                hint="use a pattern that tells them apart, such as OUT/{number}-{name}",
            )
        if real in mine:
            raise NameTakenError(
                f"{place!r} is one of the models that are read", name=place, hint="name another folder"
            )
        found[real] = model.path
    return [_output(model, out, number, folder=folder) for number, model in enumerate(models)]


def _output(model: Named, out: str, number: int, *, folder: bool) -> str:
    name = os.path.basename(model.below)
    stem = os.path.splitext(name)[0]
    if "{" not in out:
        below = os.path.splitext(model.below)[0] if folder else model.below
        return f"{out.rstrip('/')}/{below}" if is_url(out) else os.path.join(out, below)
    words = {"stem": stem, "name": name, "number": str(number)}
    for word in re.findall(r"\{(\w*)\}", out):
        if word not in words:
            raise SaveError(f"{{{word}}} in {out!r} is none of {{stem}}, {{name}}, {{number}}", path=out)
    return re.sub(r"\{(\w+)\}", lambda match: words[match[1]], out)
