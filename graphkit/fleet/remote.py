"""Writing to addresses: a file is uploaded under another name and then put in its place, or put whole by the store."""

from __future__ import annotations

import os
import uuid
from typing import Any

from graphkit.errors import SaveError
from graphkit.optional import optional

WHOLE = ("s3", "gs", "gcs", "az", "abfs", "memory")
"""Stores that show an object only when all of it is there: they need no second name."""


def upload(local: str, url: str) -> None:
    """Put a file, or the files of a folder, at an address, so that nobody sees half of a file.

    Raises:
        SaveError: The store refuses it.
        MissingExtraError: fsspec, or the package of its scheme, is not installed.
    """
    fsspec = optional("fsspec", f"writing {url}")
    try:
        filesystem, target = fsspec.core.url_to_fs(url)
        if os.path.isdir(local):
            for name in sorted(os.listdir(local), key=lambda name: (name == "stages.json", name)):
                _put(filesystem, os.path.join(local, name), f"{target.rstrip('/')}/{name}")
        else:
            for name in sorted(os.listdir(os.path.dirname(local)), key=lambda name: name == os.path.basename(local)):
                _put(filesystem, os.path.join(os.path.dirname(local), name), f"{os.path.dirname(target)}/{name}")
    except (OSError, ValueError, ImportError) as error:
        raise SaveError(f"cannot write {url}: {error}", path=url) from error


def _put(filesystem: Any, local: str, target: str) -> None:
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    filesystem.makedirs(os.path.dirname(target), exist_ok=True)
    if protocol in WHOLE:
        filesystem.put_file(local, target)
        return
    part = f"{target}.{uuid.uuid4().hex}.part"
    try:
        filesystem.put_file(local, part)
        filesystem.mv(part, target)
    except BaseException:
        if filesystem.exists(part):
            filesystem.rm(part)
        raise
