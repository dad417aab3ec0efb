"""Writing to addresses: files are uploaded under other names and then put in their place, or put whole by the store."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Sequence
from typing import Any

from graphkit.errors import SaveError
from graphkit.optional import optional
from graphkit.storage.source import missing_package

WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "memory")
"""Stores that show an object only when all of it is there: one file needs no second name."""

FOLDERLESS = ("s3", "s3a", "gs", "gcs", "az", "abfs")
"""Stores without folders, in which making one would make a bucket."""


PLACES = "name an address of a store, such as s3://bucket/model.onnx, or a local file"


def upload(folder: str, names: Sequence[str], url: str) -> bool:
    """Put files of a local folder at an address, so that nobody sees half of a file.

    Where there are several, each is uploaded under another name before any is put in its place, in the order of ``names``:
    a connection that breaks meanwhile leaves what was there. Only between the last of these steps are some new and some old.

    Args:
        folder: The local folder.
        names: The files in it, as they are called at the address; the last one is that which refers to the others.
        url: The address of the folder.

    Returns:
        Whether something was there under the last of the names.

    Raises:
        SaveError: The store refuses it.
        MissingExtraError: fsspec is not installed.
    """
    filesystem, target = _opened(url)
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    if protocol.startswith("http"):
        raise SaveError(f"cannot write {url}: servers of the web are only read from", path=url, hint=PLACES)
    places = [f"{target.rstrip('/')}/{name}" for name in names]
    parts: dict[str, str] = {}
    try:
        replaced = bool(filesystem.exists(places[-1]))
        if protocol not in FOLDERLESS:
            for parent in dict.fromkeys(os.path.dirname(place) for place in places):
                filesystem.makedirs(parent, exist_ok=True)
        if protocol in WHOLE and len(names) == 1:
            filesystem.put_file(os.path.join(folder, names[0]), places[0])
            return replaced
        for name, place in zip(names, places, strict=True):
            parts[place] = f"{place}.{uuid.uuid4().hex}.part"
            filesystem.put_file(os.path.join(folder, name), parts[place])
        for place in places:
            filesystem.mv(parts[place], place)
            del parts[place]
    except Exception as error:  # fsspec's file systems raise what their clients raise
        raise SaveError(f"cannot write {url}: {error.__cause__ or error}", path=url) from error
    finally:
        for part in parts.values():
            with contextlib.suppress(Exception):
                filesystem.rm_file(part)
    return replaced


def names_at(url: str) -> list[str]:
    """The names of what lies in the folder at an address; none where there is nothing.

    Raises:
        SaveError: The store cannot be asked.
        MissingExtraError: fsspec is not installed.
    """
    filesystem, target = _opened(url)
    try:
        found = filesystem.ls(target, detail=False, refresh=True)
    except FileNotFoundError:
        return []
    except Exception as error:
        raise SaveError(f"cannot write {url}: {error.__cause__ or error}", path=url) from error
    return [str(one).rstrip("/").rpartition("/")[2] for one in found]


def remove_at(url: str, names: Sequence[str]) -> None:
    """Remove files from the folder at an address.

    Raises:
        SaveError: The store refuses it.
        MissingExtraError: fsspec is not installed.
    """
    filesystem, target = _opened(url)
    try:
        for name in names:
            filesystem.rm_file(f"{target.rstrip('/')}/{name}")
    except Exception as error:
        raise SaveError(f"cannot remove from {url}: {error.__cause__ or error}", path=url) from error


def _opened(url: str) -> tuple[Any, str]:
    fsspec = optional("fsspec", f"writing {url}")
    try:
        filesystem, target = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise missing_package(error, url, "writing") from error
    except ValueError as error:
        raise SaveError(f"cannot write {url}: {error}", path=url) from error
    return filesystem, str(target)
