"""Results of a comparison kept in a file, and judged again by other tolerances without running anything."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphkit.errors import ComparisonError, FormatError, ModelFileError
from graphkit.graph.values import data_type_named
from graphkit.hint import Argument, Hint
from graphkit.runtime.save_arrays import save_arrays
from graphkit.storage.system import regular_only
from graphkit.tensor import restored
from graphkit.verify.compare.error_picture import ErrorPicture, error_picture
from graphkit.verify.compare.metrics import Metrics, badness, dtype_name, measure
from graphkit.verify.compare.tolerance import Policy
from graphkit.verify.report import Report, Sample

ABOUT = "graphkit.validate"
"""The member of the archive that says what the others are, as JSON."""

FORMAT = 1


@dataclass
class Results:
    """The arrays of a comparison, as it goes on.

    Attributes:
        arrays: Member of the archive -> array.
        samples: For each sample, what it was, and for each output its name and the two dtypes.
    """

    arrays: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, sample: Sample, actual: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        """Keep the outputs of a sample on both sides.

        Raises:
            ComparisonError: An output is no tensor.
        """
        outputs = []
        for at, name in enumerate(expected):
            dtypes = []
            for side, value in (("actual", actual[name]), ("expected", expected[name])):
                if value is None or isinstance(value, (list, dict)):
                    raise ComparisonError(f"output {name!r} is no tensor: such results cannot be saved")
                dtypes.append(dtype_name(value))
                self.arrays[f"{sample.number}/{at}/{side}"] = _array(value)
            outputs.append({"name": name, "dtypes": dtypes})
        bind = {name: _plain(value) for name, value in sample.bind.items()}
        about = {"number": sample.number, "bind": bind, "feeds": sample.feeds, "emptied": sample.emptied}
        self.samples.append({**about, "outputs": outputs})

    def write(self, path: str | os.PathLike[str], report: Report, policy: Policy) -> None:
        """Write them, whole or not at all.

        Raises:
            SaveError: The file cannot be written, or is no ``.npz``.
        """
        kept = ("candidate", "reference", "device", "providers", "reference_providers", "tf32", "seed", "bindings")
        about = {
            "format": FORMAT,
            "between": policy.between,
            "rounded": policy.tf32,
            "samples": self.samples,
            "notes": [str(note) for note in report.notes],
            "versions": report.versions,
            **{name: getattr(report, name) for name in kept},
        }
        save_arrays({ABOUT: np.array(json.dumps(about)), **self.arrays}, path)


def _array(value: Any) -> Any:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    host = value.detach().cpu()
    return (host.float() if str(host.dtype) == "torch.bfloat16" else host).numpy()


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else str(value)


def validate_saved(
    saved: str | os.PathLike[str],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    any_dtype: bool = False,
    equal_nan: bool = False,
) -> Report:
    """Judge the results that ``validate(..., save=FILE)`` kept by other tolerances; nothing is run.

    Args:
        saved: The file.
        rtol: Relative tolerance for every dtype; without it the one by dtype, as ``validate`` has it.
        atol: Absolute tolerance for every dtype.
        any_dtype: Compare also where an output has another dtype, with the coarser one's tolerance.
        equal_nan: NaN agrees with NaN.

    Returns:
        The report, as ``validate`` gives it, without doubts about the cause.

    Raises:
        ModelFileError: The file cannot be opened.
        FormatError: It holds no results of validate, or is damaged.

    Changes: nothing.
    Cost: O(elements of all outputs).

    Example:
        >>> import tempfile, onnx, graphkit as gk
        >>> text = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
        >>> model = onnx.parser.parse_model(text)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = gk.validate(model, against=model, save=f"{folder}/results.npz")
        ...     gk.validate_saved(f"{folder}/results.npz", rtol=0, atol=0).match
        True
    """
    path = os.fspath(saved)
    try:
        with open(path, "rb", opener=regular_only) as file, np.load(file, allow_pickle=False) as archive:
            about = _about(str(archive[ABOUT]))
            return _judged(about, archive, Policy(about["between"], about["rounded"], rtol, atol), any_dtype, equal_nan)
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}", path=path) from error
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        EOFError,
        RecursionError,
        zipfile.BadZipFile,
    ) as error:
        raise FormatError(
            f"{path} holds no results of validate, or is damaged",
            hint=Hint("validate writes them with ", Argument("save", path)),
        ) from error


def _about(text: str) -> dict[str, Any]:
    about = json.loads(text)
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']!r:.40}")
    assert isinstance(about, dict)
    return about


def _judged(about: Mapping[str, Any], archive: Any, policy: Policy, any_dtype: bool, equal_nan: bool) -> Report:  # noqa: FBT001 (private)
    worst: dict[str, Metrics] = {}
    where: dict[str, int] = {}
    pictures: dict[str, ErrorPicture] = {}
    samples = []
    for number, sample in enumerate(about["samples"]):
        outputs = {}
        emptied = tuple(map(str, sample.get("emptied", ())))
        for at, output in enumerate(sample["outputs"]):
            name = output["name"]
            pair = [
                _typed(archive[f"{sample['number']}/{at}/{side}"], dtype)
                for side, dtype in zip(("actual", "expected"), output["dtypes"], strict=True)
            ]
            found = measure(pair[0], pair[1], policy, any_dtype=any_dtype, equal_nan=equal_nan or bool(emptied))
            outputs[name] = found
            if name not in worst or badness(found) > badness(worst[name]):
                worst[name], where[name] = found, number
                picture = error_picture(pair[0], pair[1])
                if picture is not None:
                    pictures[name] = picture
        matches = all(found.match for found in outputs.values())
        samples.append(Sample(number, sample["bind"], sample["feeds"], matches, outputs, emptied))
    if not samples:
        raise ValueError("no sample")
    return Report(
        match=all(sample.match for sample in samples),
        candidate=str(about["candidate"]),
        reference=str(about["reference"]),
        device=str(about["device"]),
        providers=tuple(about["providers"]),
        reference_providers=tuple(about["reference_providers"]),
        tf32=bool(about["tf32"]),
        seed=int(about["seed"]),
        outputs=worst,
        worst_sample=where,
        samples=tuple(samples),
        bindings=dict(about["bindings"]),
        notes=("these are saved results: nothing was run", *map(str, about["notes"])),
        versions=dict(about["versions"]),
        pictures=pictures,
    )


def _typed(array: Any, dtype: str) -> Any:
    """An array in the dtype that it had before it was written."""
    if dtype == "string":
        return array.astype(object)
    made = restored(array, data_type_named(dtype))
    if dtype_name(made) != dtype:
        raise ValueError(f"{dtype} was saved as {dtype_name(array)}")
    return made
