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

    Example:
        >>> import graphkit as gk
        >>> found = gk.bisect("model.onnx", against="other.onnx")  # doctest: +SKIP
        >>> gk.save_repro(found, "repro")  # doctest: +SKIP
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
