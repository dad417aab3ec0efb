"""How much memory a process takes that loads a model and runs it once: measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphkit.errors import GraphkitError
from graphkit.result import Result
from graphkit.runtime.failures import import_runtime
from graphkit.runtime.save_arrays import save_arrays
from graphkit.runtime.session import Optimization, Session, session
from graphkit.storage.save import save

if TYPE_CHECKING:
    from graphkit.model import Model, ModelLike
    from graphkit.tensor import Array

STATUS = Path("/proc/self/status")
"""Where Linux says what a process holds; other systems are not asked."""


@dataclass(frozen=True, repr=False)
class MemoryUse(Result):
    """Memory of a process on the host, above what it holds before the model is loaded.

    Attributes:
        loaded: Bytes held once the model is loaded.
        peak: Most bytes held at once, through loading and one run.
    """

    loaded: int
    peak: int


@dataclass(frozen=True)
class Loading:
    """How ``bench`` loads a model, wherever that runs.

    Attributes:
        device: As ``session`` takes it, and what follows too.
        optimization: The runtime's rewrites.
        threads: Threads, or None.
        tf32: Whether TF32 is allowed.
        custom_ops: Shared libraries of operators.
    """

    device: str
    optimization: Optimization
    threads: int | None
    tf32: bool
    custom_ops: tuple[str, ...]

    def session(self, model: ModelLike) -> Session:
        """A session of the model; on a GPU nodes may fall to the CPU."""
        return session(model, allow_cpu_nodes=True, **vars(self))


def memory_of(model: Model, feeds: Mapping[str, Array], loading: Loading) -> MemoryUse | None:
    """What loading and running a model once takes; None where the system does not say.

    Args:
        model: The model; one that is no longer the file that it was loaded from is written to a temporary one.
        feeds: Input -> array of the declared dtype.
        loading: How it is loaded.

    Raises:
        GraphkitError: The process ended without an answer.

    Cost: a process, and for a model that is no file as it stands, a copy of it.
    """
    if not STATUS.exists():
        return None
    with tempfile.TemporaryDirectory(prefix="graphkit-") as folder:
        path = model.path if model.path and not model.edited and os.path.exists(model.path) else None
        if path is None:
            path = os.path.join(folder, "model.onnx")
            save(model, path)
        if feeds:
            save_arrays(dict(feeds), os.path.join(folder, "feeds.npz"))
        file = os.path.join(folder, "feeds.npz")
        asked = json.dumps({"model": path, "feeds": file, "inputs": list(feeds), "loading": vars(loading)})
        code = f"from {__name__} import answer; answer()"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(  # noqa: S603 (this Python, our own code)
            [sys.executable, "-c", code], input=asked, capture_output=True, text=True, env=environment, check=False
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise GraphkitError(f"the process that was to measure memory ended with {done.returncode}: {last[:300]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return MemoryUse(said["loaded"], said["peak"])


def answer() -> None:
    """Load and run what standard input says, and write what that took to standard output."""
    import_runtime()  # what it holds itself is no part of the model
    asked = json.load(sys.stdin)
    before = _held("VmRSS")
    made = Loading(**asked["loading"]).session(asked["model"])
    loaded = _held("VmRSS")
    made.run(dict.fromkeys(asked["inputs"], f"@{asked['feeds']}"))
    found = {"loaded": max(0, loaded - before), "peak": max(0, _held("VmHWM") - before)}
    sys.stdout.write(f"\n{json.dumps(found)}\n")


def _held(field: str) -> int:
    """Bytes that a field of the system's account of this process says."""
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
