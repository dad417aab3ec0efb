"""A folder that takes the place of another one, whole: what a killed process left is removed by the next."""

from __future__ import annotations

import os
import shutil

from graphkit.storage import system
from graphkit.storage.new_file import mark, temporary_name

_NEW, _OLD = "new", "old"


class NewFolder:
    """A folder on its way to its target: inside of a locked one beside the target.

    Attributes:
        path: Where it is until ``put``.
    """

    def __init__(self, target: str, *, mode: int = 0o777) -> None:
        """Make it, and remove what killed processes left for the same target.

        Args:
            target: The folder that it is to be, or be put into the place of.
            mode: As ``os.mkdir`` takes it.

        Raises:
            OSError: It cannot be made.
        """
        self._target = os.path.abspath(target)
        parent = os.path.dirname(self._target)
        _remove_left(parent, self._target)
        self._around = temporary_name(parent, self._target, ".folder")
        os.mkdir(self._around, 0o700)
        self._fd = system.open_folder(self._around)
        if self._fd is not None:
            system.lock(self._fd)
        self.path = os.path.join(self._around, _NEW)
        os.mkdir(self.path, mode)

    def put(self) -> None:
        """Put it at its target. Where a folder is there, the two change places in one step.

        Fallback, where the system cannot do that: for a moment the old one has another name, and is whole under that; the
        next ``NewFolder`` gives it its name back where a process was killed in that moment.

        Raises:
            OSError: It cannot be renamed.
        """
        if not os.path.isdir(self._target):
            os.rename(self.path, self._target)
        elif not system.exchange(self.path, self._target):
            os.rename(self._target, os.path.join(self._around, _OLD))
            os.rename(self.path, self._target)

    def close(self) -> None:
        """Remove what is not at its target, and end the lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        shutil.rmtree(self._around, ignore_errors=True)


def _remove_left(parent: str, target: str) -> None:
    if not os.path.isdir(parent):
        return
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if name.startswith(mark(target)) and name.endswith(".folder") and system.is_unlocked(path):
            old = os.path.join(path, _OLD)
            if os.path.isdir(old) and not os.path.lexists(target):
                os.rename(old, target)
            shutil.rmtree(path, ignore_errors=True)
