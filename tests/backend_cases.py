"""ONNX's own test cases (onnx.backend.test): models with inputs and expected outputs, well over a thousand of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.backend.test
from onnx import numpy_helper

from oracle import Answer, assert_same, run_ort, run_reference

DATA = Path(onnx.backend.test.__file__).parent / "data"


class Case(NamedTuple):
    """One model, what it is fed, and what it should give; ``rtol`` and ``atol`` are the case's own."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, Any]
    expected: Answer
    rtol: float
    atol: float

    def agrees(self, answer: Answer) -> bool:
        """Whether an answer is the expected one."""
        try:
            assert_same(answer, self.expected, rtol=self.rtol, atol=self.atol)
        except AssertionError:
            return False
        return True


@cache
def node_cases() -> tuple[Case, ...]:
    """The cases that onnx generates for its operators, among them their functions expanded into graphs."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx's own casts overflow on purpose
        found = collect_testcases(None)
    return tuple(_case(c.name, c.model, *c.data_sets[0], c.rtol, c.atol) for c in found)


@cache
def file_cases(kind: str) -> tuple[Case, ...]:
    """The cases that come as files: "simple", "pytorch-operator" or "pytorch-converted"."""
    found = []
    for folder in sorted((DATA / kind).iterdir()):
        data = folder / "test_data_set_0"
        if data.is_dir():
            model = onnx.load(folder / "model.onnx")
            inputs = [
                _read(data / f"input_{i}.pb", v.type) for i, v in enumerate(model.graph.input) if _is_fed(data, i)
            ]
            outputs = [_read(data / f"output_{i}.pb", v.type) for i, v in enumerate(model.graph.output)]
            found.append(_case(folder.name, model, inputs, outputs, 1e-3, 1e-5))
    return tuple(found)


def light_models() -> dict[str, Path]:
    """Networks of the years 2012 to 2017 in IR version 3, their weights made by ConstantOfShape."""
    return {path.stem: path for path in sorted((DATA / "light").glob("*.onnx"))}


def light_case(name: str) -> Case:
    """A light model with the input that onnx's runner makes up, and the output that lies beside it."""
    from onnx.backend.test.runner import Runner

    model = onnx.load(light_models()[name])
    weights = {tensor.name for tensor in model.graph.initializer}
    fed = next(value for value in model.graph.input if value.name not in weights)
    output = numpy_helper.to_array(onnx.TensorProto.FromString((DATA / "light" / f"{name}_output_0.pb").read_bytes()))
    feeds = {fed.name: Runner.generate_dummy_data(fed, name=name)}
    return Case(name, model, feeds, {model.graph.output[0].name: output}, 1e-5, 1e-6)


RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}
"""Operators whose answer is another one each time."""


class Judged(NamedTuple):
    """A case with what runs it and what that gives for the model as it is.

    ``expected`` says whether this is the answer that onnx expects. Where it is not, because the evaluator is wrong, an
    edited model can still be held against it.
    """

    case: Case
    run: Callable[[object, Mapping[str, Any]], Answer]
    answer: Answer
    expected: bool


def judged(cases: Iterable[Case]) -> Iterator[Judged]:
    """Each case that ONNX Runtime or the reference evaluator can run, the one that is right first.

    The reference evaluator, which is slow, is asked only where ONNX Runtime is not right.
    """
    for case in cases:
        ran = []
        for run in (run_ort, run_reference):
            answer = attempt(run, case.model, case.feeds)
            if answer and case.agrees(answer):
                yield Judged(case, run, answer, expected=True)
                break
            if answer:
                ran.append((run, answer))
        else:
            if ran:
                yield Judged(case, *ran[0], expected=False)


def attempt(run: Any, model: object, feeds: Mapping[str, Any]) -> Answer | None:
    """The answer, or None where the evaluator cannot run the model: operators, types and opsets that it lacks."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {name: _array(value) for name, value in run(model, feeds).items()}
    except Exception:  # noqa: BLE001 (each evaluator has its own errors for what it does not implement)
        return None


def _case(name: str, model: onnx.ModelProto, inputs: Any, outputs: Any, rtol: float, atol: float) -> Case:
    fed = [v.name for v in model.graph.input if v.name]
    feeds = dict(zip(fed, (_array(a) for a in inputs), strict=False))
    expected = dict(zip([v.name for v in model.graph.output], (_array(a) for a in outputs), strict=True))
    return Case(name, model, feeds, expected, rtol, atol)


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    # One spelling of strings: numpy's fixed width counts as an own dtype.
    return value.astype(object) if isinstance(value, np.ndarray) and value.dtype.kind == "U" else value


def _is_fed(data: Path, position: int) -> bool:
    return (data / f"input_{position}.pb").exists()


def _read(path: Path, type_proto: onnx.TypeProto) -> Any:
    kind = type_proto.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(path.read_bytes()))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(path.read_bytes()))
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
