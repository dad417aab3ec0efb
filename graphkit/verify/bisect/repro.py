"""The smallest model that shows what is wrong: a folder with it, its feeds, what it should give, and a script."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import SaveError
from graphkit.feeds.feeds import array_type
from graphkit.graph import values
from graphkit.model import Model
from graphkit.storage.commit import write_file
from graphkit.storage.save import save

if TYPE_CHECKING:
    from graphkit.verify.bisect.bisection import Bisection, Failing

SCRIPT = '''"""{what}

Found by graphkit between {candidate} and {reference}.
"""
from pathlib import Path
import numpy as np
import onnxruntime as ort

here = Path(__file__).parent
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
session = ort.InferenceSession(here / "model.onnx", options, providers={providers})
actual = session.run(None, dict(np.load(here / "feeds.npz")))[0].astype(np.float64)
expected = np.load(here / "expected.npz")["expected"].astype(np.float64)
print("max abs error", np.abs(actual - expected).max() if actual.shape == expected.shape else (actual.shape, expected.shape))
'''


def save_repro(bisection: Bisection, folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Write the smallest failing model that a bisection found.

    The model holds the node that makes the first value that diverges (with the nodes before it that have no counterpart
    in the reference); ``feeds.npz`` what the reference has for its inputs, ``expected.npz`` what the reference has for
    the value; ``repro.py`` runs it and prints the error. Bodies and functions stay in their node.

    Args:
        bisection: What ``bisect`` gave.
        folder: Where to write; it is made if it is not there.

    Returns:
        The files.

    Raises:
        SaveError: Nothing diverges, or a file cannot be written.
    """
    folder = os.fspath(folder)
    failing = bisection.failing
    if failing is None or bisection.first is None or failing.made is None:
        raise SaveError("there is nothing to reproduce: no value diverges, or the node cannot run alone", path=folder)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise SaveError(f"cannot make the folder {folder}: {error.strerror}", path=folder) from error
    names = {"model": "model.onnx", "feeds": "feeds.npz", "expected": "expected.npz", "script": "repro.py"}
    paths = {key: os.path.join(folder, name) for key, name in names.items()}
    save(_declared(failing), paths["model"])
    write_file(paths["feeds"], archive(failing.feeds))
    write_file(paths["expected"], archive({"expected": failing.expected}))
    first = bisection.first
    what = (
        f"{first.op_type} {first.node!r} is wrong by itself."
        if first.introduces
        else f"{first.op_type} {first.node!r}."
    )
    script = SCRIPT.format(
        what=what, candidate=bisection.candidate, reference=bisection.reference, providers=list(bisection.providers)
    )
    write_file(paths["script"], script.encode())
    return tuple(paths.values())


def _declared(failing: Failing) -> Model:
    """The piece with its types declared, so that the checker accepts it as well."""
    proto = failing.model.copy_proto()
    for info in proto.graph.input:
        array = failing.feeds[info.name]
        info.type.CopyFrom(values.tensor_type(array_type(array), list(array.shape)))
    for info in proto.graph.output:
        info.type.CopyFrom(values.tensor_type(array_type(failing.made), list(failing.made.shape)))
    return Model(proto, failing.model.sources)


def archive(arrays: dict[str, Any]) -> bytes:
    """Arrays as the bytes of a .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
