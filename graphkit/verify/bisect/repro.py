"""The smallest model that shows what is wrong: a folder with it, its feeds, what it should give, and a script."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import SaveError
from graphkit.graph import values
from graphkit.model import Model
from graphkit.reading.fits import array_type
from graphkit.runtime.save_arrays import archive
from graphkit.storage.commit import write_file
from graphkit.storage.save import save
from graphkit.verify.bisect.reduction import Reduction

if TYPE_CHECKING:
    from graphkit.verify.bisect.bisection import Bisection, Failing

SCRIPT = '''"""The smallest model that shows a divergence which graphkit found."""
from pathlib import Path
import numpy as np
import onnxruntime as ort

WHAT = {what}
here = Path(__file__).parent
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
{libraries}session = ort.InferenceSession(here / "model.onnx", options, providers={providers})
with np.load(here / "feeds.npz") as archive:
    feeds = {{name: archive[name] for name in archive.files}}
{run}
actual = actual.astype(np.float64)
expected = np.load(here / "expected.npz")["expected"].astype(np.float64)
print("max abs error", np.abs(actual - expected).max() if actual.shape == expected.shape else (actual.shape, expected.shape))
'''

COMMAND_SCRIPT = '''"""The smallest model on which a command fails, as graphkit found it."""
import subprocess
import sys
from pathlib import Path

COMMAND = {command}
model = str(Path(__file__).parent / "model.onnx")
words = [word.replace("{{}}", model) for word in COMMAND]
words += [] if any("{{}}" in word for word in COMMAND) else [model]
sys.exit(subprocess.run(words, check=False).returncode)
'''

_PLAIN = "actual = session.run(None, feeds)[0]"

_CAST = """
import ctypes
from onnx.helper import tensor_dtype_to_np_dtype as dtype_of


def given(array, kind):
    if kind is None:
        return ort.OrtValue.ortvalue_from_numpy(array)
    array = array.astype(dtype_of(kind))  # feeds.npz holds it in a type that numpy has
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(f"u{{array.itemsize}}"), kind)


kinds = {kinds}
made = session.run_with_ort_values(None, {{name: given(array, kinds.get(name)) for name, array in feeds.items()}})[0]
data = ctypes.string_at(made.data_ptr(), made.tensor_size_in_bytes())
actual = np.frombuffer(data, dtype_of(made.element_type())).reshape(made.shape())"""
"""How to run what has types that numpy does not know: bfloat16 and float8."""


def save_repro(bisection: Bisection | Reduction, folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Write the smallest failing model that a bisection or a reduction found.

    The model holds the node that makes the first value that diverges (with the nodes before it that have no counterpart
    in the reference); ``feeds.npz`` what the reference has for its inputs, ``expected.npz`` what the reference has for
    the value; ``repro.py`` runs it and prints the error. Bodies and functions stay in their node.

    Of a reduction: the part, and ``repro.py``, which runs the command on it.

    Args:
        bisection: What ``bisect`` or ``reduce_model`` gave.
        folder: Where to write; it is made if it is not there.

    Returns:
        The files.

    Raises:
        SaveError: Nothing diverges, the command does not fail, or a file cannot be written.

    Example:
        >>> import graphkit as gk
        >>> found = gk.bisect("model.onnx", against="other.onnx")  # doctest: +SKIP
        >>> gk.save_repro(found, "repro")  # doctest: +SKIP
    """
    folder = os.fspath(folder)
    if isinstance(bisection, Reduction):
        return _save_reduction(bisection, folder)
    failing = bisection.failing
    if failing is None or bisection.first is None or failing.made is None:
        raise SaveError("there is nothing to reproduce: no value diverges, or the node cannot run alone", path=folder)
    _make(folder)
    names = {"model": "model.onnx", "feeds": "feeds.npz", "expected": "expected.npz", "script": "repro.py"}
    paths = {key: os.path.join(folder, name) for key, name in names.items()}
    save(_declared(failing), paths["model"])
    write_file(paths["feeds"], archive(failing.feeds, paths["feeds"]))
    write_file(paths["expected"], archive({"expected": failing.expected}, paths["expected"]))
    first = bisection.first
    what = (
        f"{first.op_type} {first.node!r} is wrong by itself."
        if first.introduces
        else f"{first.op_type} {first.node!r}."
    )
    # What a file says (names of nodes, of models) stands in the script as literals only, so that none of it can be code.
    script = SCRIPT.format(
        what=ascii(f"{what} Found between {bisection.candidate} and {bisection.reference}."),
        providers=ascii(list(bisection.providers)),
        libraries="".join(f"options.register_custom_ops_library({path!a})\n" for path in bisection.custom_ops),
        run=_run_lines(failing),
    )
    write_file(paths["script"], script.encode())
    return tuple(paths.values())


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise SaveError(f"cannot make the folder {folder}: {error.strerror}", path=folder) from error


def _save_reduction(reduction: Reduction, folder: str) -> tuple[str, ...]:
    if reduction.model is None:
        raise SaveError("there is nothing to reproduce: the command does not fail", path=folder)
    _make(folder)
    paths = [os.path.join(folder, "model.onnx")]
    save(reduction.model, paths[0])
    if reduction.arguments:
        paths.append(os.path.join(folder, "repro.py"))
        write_file(paths[1], COMMAND_SCRIPT.format(command=ascii(list(reduction.arguments))).encode())
    return tuple(paths)


def _declared(failing: Failing) -> Model:
    """The piece with its types declared, so that the checker accepts it as well."""
    proto = failing.model.copy_proto()
    for info in proto.graph.input:
        array = failing.feeds[info.name]
        info.type.CopyFrom(values.tensor_type(array_type(array), list(array.shape)))
    for info in proto.graph.output:
        info.type.CopyFrom(values.tensor_type(array_type(failing.made), list(failing.made.shape)))
    return Model(proto, failing.model.sources)


def _run_lines(failing: Failing) -> str:
    kinds = {name: array_type(array) for name, array in failing.feeds.items() if _is_foreign(array)}
    if not kinds and not _is_foreign(failing.made):
        return _PLAIN
    return _CAST.format(kinds=ascii(kinds))


def _is_foreign(array: Any) -> bool:
    return np.asarray(array).dtype.isbuiltin != 1 and np.asarray(array).dtype.kind not in "OUST"
