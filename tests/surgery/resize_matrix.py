"""Every way torch exports ``interpolate``, its factor made an input by gk.resize, against torch at other factors.

``python -m tests.surgery.resize_matrix`` runs all of it (about five minutes on one core) and prints the worst error and what
is left out, by rule and count; so does ``python -m pytest -m matrix tests/surgery``, without printing. The tests that always
run take a seeded part.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import random
import warnings
from dataclasses import dataclass

import numpy as np
import onnx

import graphkit as gk

FACTORS = ((2.0,), (3.0,), (4.0,), (2.5,), (3.3,), (1.7,), (0.6,), (2.5, 1.7))
"""Fed at run time: one for all axes, or one for each of the last two."""

EXPORTS = (
    *(("torchscript", opset) for opset in (9, 11, 13, 17, 20)),
    *(("dynamo", opset) for opset in (18, 20, 23)),
)

MODES = {"nearest": 2, "linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
"""mode -> number of spatial axes."""

SIZES = (7, 5, 6)
"""Of the last axes of the input; those of a 1-D input are the first of these."""

BAKED = 2.0
"""The factor with which the modules are exported."""


@dataclass(frozen=True)
class Case:
    """One export.

    Attributes:
        mode: Of ``interpolate``.
        corners: Its align_corners; None for nearest.
        how: "scale_factor", "size" (of another factor, as numbers), "shape" (computed from the input's), "recompute"
            (recompute_scale_factor=True) or "antialias".
        exporter: "torchscript" or "dynamo".
        opset: The opset asked for.
        dynamic: Whether batch and spatial axes are dynamic.
    """

    mode: str
    corners: bool | None
    how: str
    exporter: str
    opset: int
    dynamic: bool

    @property
    def axes(self) -> int:
        return MODES[self.mode]

    def __str__(self) -> str:
        corners = "" if self.corners is None else f"-{'corners' if self.corners else 'centres'}"
        return f"{self.exporter}{self.opset}-{self.mode}{corners}-{self.how}-{'dynamic' if self.dynamic else 'static'}"


def all_cases():
    """The whole matrix, in order."""
    for mode, (exporter, opset), dynamic in itertools.product(MODES, EXPORTS, (False, True)):
        for corners in (None,) if mode == "nearest" else (False, True):
            hows = ["scale_factor", "size", "recompute", *(["shape"] if dynamic else [])]
            for how in hows + (["antialias"] if mode in ("bilinear", "bicubic") else []):
                yield Case(mode, corners, how, exporter, opset, dynamic)


def some_cases(seed=0, torchscript=120, dynamo=12):
    """A part of the matrix: the same for the same seed."""
    known = list(all_cases())
    draw = random.Random(seed)
    fast = [case for case in known if case.exporter == "torchscript" and no_export(case) is None]
    slow = [case for case in known if case.exporter == "dynamo" and no_export(case) is None]
    return sorted(draw.sample(fast, torchscript) + draw.sample(slow, dynamo), key=str)


# Rules. Each says why a case, or a case at a factor, is no fault of gk.resize.


def no_export(case):
    """Why torch cannot export this, or exports no Resize."""
    legacy = case.exporter == "torchscript"
    if legacy and case.how == "antialias":
        return "the TorchScript exporter has no antialias"
    if legacy and case.opset < 11 and case.mode == "bicubic":
        return "ONNX has no cubic Resize before opset 11"
    if legacy and case.opset < 11 and case.corners:
        return "ONNX has no align_corners before opset 11"
    if legacy and case.opset < 11 and case.dynamic and case.how in ("size", "shape"):
        return "the TorchScript exporter computes no size before opset 11"
    if not legacy and case.mode == "linear":
        return "the dynamo exporter writes 1-D linear as a computation of indices, without a Resize"
    return None


def wrong_export(case):
    """Why the exported model differs from torch at the very factor it was exported with."""
    if case.exporter == "torchscript" and case.opset < 11 and case.mode != "nearest":
        return "before opset 11 Resize samples asymmetric, torch half_pixel (torch warns at the export)"
    if case.how == "antialias" and case.corners:
        return "ONNX Runtime's antialias with align_corners is not torch's"
    return None


def no_answer(case, size, factor, semantics):
    """Why torch or ONNX has no answer at a factor, or torch samples otherwise than by the factor it is given."""
    out = int(np.floor(size * factor))
    if out == 0:
        return "torch makes no empty image"
    if case.opset < 10 and factor < 1:
        return "ONNX's Upsample (opset 9) only enlarges"
    if semantics == "sizes":
        return None
    if case.mode == "nearest" and out in (size, 2 * size) and out != size * factor:
        return "torch's nearest ignores the scale where the size stays or doubles"
    if case.mode == "bicubic" and out == size and factor != 1:
        return "torch's bicubic copies where the size stays"
    if case.mode.endswith("linear") and out == size > 1 and factor != 1:
        return "torch's linear modes copy along an axis whose size stays"
    return None


# Exports.


def module(case, size_factor=BAKED):
    """The torch module of a case."""
    import torch
    import torch.nn.functional as F  # noqa: N812 (torch's own name for it)

    class Interpolation(torch.nn.Module):
        def forward(self, x):
            options = {"mode": case.mode}
            if case.corners is not None:
                options["align_corners"] = case.corners
            if case.how == "size":
                options["size"] = [int(s * size_factor) for s in sizes(case)]
            elif case.how == "shape":
                options["size"] = [int(size_factor) * s for s in x.shape[2:]]
            else:
                options["scale_factor"] = size_factor
            if case.how == "recompute":
                options["recompute_scale_factor"] = True
            if case.how == "antialias":
                options["antialias"] = True
            return F.interpolate(x, **options)

    return Interpolation().eval()


def sizes(case):
    return SIZES[: case.axes]


def sample_input(case, seed=0):
    return np.random.default_rng(seed).random((2, 3, *sizes(case)), dtype=np.float32)


def exported(case):
    """The ModelProto that torch makes of a case."""
    import torch

    x = torch.from_numpy(sample_input(case))
    axes = {0: "batch", **{2 + i: f"d{i}" for i in range(case.axes)}}
    buffer = io.BytesIO()
    with quiet():
        if case.exporter == "dynamo":
            dynamic = {"dynamic_shapes": (axes,)} if case.dynamic else {}
            program = torch.onnx.export(
                module(case), (x,), dynamo=True, opset_version=case.opset, input_names=["x"], output_names=["y"],
                verbose=False, **dynamic,
            )  # fmt: skip
            return program.model_proto
        dynamic = {"dynamic_axes": {"x": axes}} if case.dynamic else {}
        torch.onnx.export(
            module(case), (x,), buffer, dynamo=False, opset_version=case.opset, input_names=["x"], output_names=["y"],
            **dynamic,
        )  # fmt: skip
    return onnx.load_from_string(buffer.getvalue())


@contextlib.contextmanager
def quiet():
    """Without what the exporters say on stdout, in logs and as warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


# Checks.


@dataclass
class Tally:
    """What a run of the matrix found."""

    checked: int = 0
    worst: float = 0.0
    at: str = ""
    skipped: dict[str, int] | None = None

    def skip(self, reason: str) -> None:
        self.skipped = self.skipped or {}
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def take(self, error: float, where: str) -> None:
        self.checked += 1
        if error > self.worst:
            self.worst, self.at = error, where

    def text(self) -> str:
        rules = "".join(f"\n  {count:5} left out: {reason}" for reason, count in sorted((self.skipped or {}).items()))
        return f"{self.checked} comparisons, worst relative error {self.worst:.2e} ({self.at}){rules}"


def forms(case):
    """(options of gk.resize, what torch must be asked for): every meaning a case can be given."""
    keeps = "scales" if case.how in ("scale_factor", "antialias") or case.opset < 11 else "sizes"
    if case.how == "antialias":
        return [({}, "scales"), ({"form": "scales"}, "scales"), ({"semantics": "sizes"}, "sizes")]
    return [
        ({}, keeps),
        ({"form": "scales"}, "scales"),
        ({"form": "sizes"}, "sizes"),
        ({"semantics": "sizes" if keeps == "scales" else "scales"}, "sizes" if keeps == "scales" else "scales"),
    ]


def feed(options, x, factors):
    """What goes into the input ``factor``."""
    spatial = x.shape[2:]
    exact = [float(gk.exact_scale(size, f)) for size, f in zip(spatial, factors, strict=True)]
    match options.get("form", "factor"):
        case "factor":
            return np.array(exact, np.float32)
        case "scales":
            return np.array([1, 1, *exact], np.float32)
        case _:
            return np.array([np.floor(s * f) for s, f in zip(spatial, factors, strict=True)], np.int64)


def reference(case, x, factors, semantics):
    """torch's answer."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    options = {"mode": case.mode, "antialias": case.how == "antialias"}
    if case.corners is not None:
        options["align_corners"] = case.corners
    if semantics == "scales":
        options["scale_factor"] = list(factors)
    else:
        options["size"] = [int(np.floor(s * f)) for s, f in zip(x.shape[2:], factors, strict=True)]
    return F.interpolate(torch.from_numpy(x), **options).numpy()


def check(case, tally, which=slice(None)):
    """One case: export once, resize in each form, run at each factor, compare with torch.

    Raises:
        AssertionError: Where the answers differ by more than 1e-5, relative to the largest value.
    """
    if (reason := no_export(case) or wrong_export(case)) is not None:
        tally.skip(reason)
        return
    model = exported(case)
    inputs = [sample_input(case)]
    if case.dynamic:
        draw = np.random.default_rng(1)
        inputs.append(draw.random((1, 3, *(s + 3 for s in sizes(case))), dtype=np.float32))
        inputs.append(draw.random((1, 3, *(1, 2, 3)[: case.axes]), dtype=np.float32))
    for options, semantics in forms(case)[which]:
        session = _session(gk.resize(model, **options))
        for x, factors in itertools.product(inputs, FACTORS):
            each = (factors[0],) * case.axes if len(factors) == 1 else (factors[0],) * (case.axes - 1) + factors[-1:]
            reasons = [no_answer(case, s, f, semantics) for s, f in zip(x.shape[2:], each, strict=True)]
            if (reason := next(filter(None, reasons), None)) is not None:
                tally.skip(reason)
                continue
            want = reference(case, x, each, semantics)
            [got] = session.run(None, {"x": x, "factor": feed(options, x, each)})
            where = f"{case} {options} at {each} of {x.shape[2:]}"
            assert got.shape == want.shape, f"{where}: shape {got.shape}, torch {want.shape}"
            error = float(np.abs(got - want).max() / np.abs(want).max())
            assert error <= 1e-5, f"{where}: relative error {error:.2e}"
            tally.take(error, where)


def _session(model):
    import onnxruntime as ort

    onnx.checker.check_model(model.proto, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.materialize().SerializeToString(), options, providers=["CPUExecutionProvider"])


def main():
    """Run everything; go on after a failure and list them all."""
    tally, failures = Tally(), []
    for case in all_cases():
        try:
            check(case, tally)
        except (AssertionError, gk.GraphkitError) as error:
            failures.append(f"{case}: {error}")
    return tally, failures


if __name__ == "__main__":
    found, wrong = main()
    print(found.text())  # noqa: T201 (a command)
    print(*wrong, sep="\n")  # noqa: T201
    raise SystemExit(bool(wrong))
