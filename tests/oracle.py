"""What a model computes, and whether two answers are the same: the tests' judge of every edit.

``assert_same`` has its own mutant tests in ``tests/test_oracle.py``: what it lets pass, every other test lets pass.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import onnx

Answer = dict[str, object]
"""Output name -> array; a list of arrays for a sequence, None for an empty optional."""


def run_reference(model: object, feeds: Mapping[str, object]) -> Answer:
    """Run in onnx's own reference evaluator: slow, and independent of ONNX Runtime.

    Args:
        model: A ModelProto, a path, or a graphkit Model.
        feeds: Input name -> array.
    """
    from onnx.reference import ReferenceEvaluator

    proto = self_contained(model)
    names = [value.name for value in proto.graph.output]
    return dict(zip(names, ReferenceEvaluator(proto).run(None, dict(feeds)), strict=True))


def run_ort(model: object, feeds: Mapping[str, object], *, optimize: bool = False) -> Answer:
    """Run in ONNX Runtime on the CPU.

    Args:
        model: A ModelProto, a path (with its external data beside it), or a graphkit Model.
        feeds: Input name -> array.
        optimize: Let ONNX Runtime rewrite the graph first; off, so that the graph that was edited is the one that runs.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = os.fspath(model) if isinstance(model, str | os.PathLike) else self_contained(model).SerializeToString()
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(feeds)), strict=True))


def self_contained(model: object) -> onnx.ModelProto:
    """The ModelProto with every weight in it, whatever a test holds."""
    if isinstance(model, onnx.ModelProto):
        return model
    if isinstance(model, str | os.PathLike):
        return onnx.load(os.fspath(model))
    return model.materialize()  # type: ignore[attr-defined,no-any-return]


def assert_same(actual: object, expected: object, *, rtol: float = 1e-5, atol: float = 1e-6, where: str = "") -> None:
    """Fail unless two answers agree in names and their order, in shape, in dtype and in every number.

    NaN agrees with NaN only, an infinity with the same infinity only; integers, booleans and strings agree exactly.

    Args:
        actual: An array, a number, a list of arrays, None, or a mapping of names to those.
        expected: The same.
        rtol: Allowed error relative to the expected number.
        atol: Allowed absolute error.
        where: Said in the message.
    """
    if isinstance(expected, Mapping) or isinstance(actual, Mapping):
        assert isinstance(actual, Mapping), f"{where}: names were expected, got {type(actual).__name__}"
        assert isinstance(expected, Mapping), f"{where}: got names, {type(expected).__name__} was expected"
        assert list(actual) == list(expected), f"{where}: outputs {list(actual)}, expected {list(expected)}"
        for name, value in expected.items():
            assert_same(actual[name], value, rtol=rtol, atol=atol, where=f"{where}{name}")
    elif isinstance(expected, list | tuple) or isinstance(actual, list | tuple):
        assert isinstance(actual, list | tuple), f"{where}: a sequence was expected, got {type(actual).__name__}"
        assert isinstance(expected, list | tuple), f"{where}: got a sequence, {type(expected).__name__} was expected"
        assert len(actual) == len(expected), f"{where}: {len(actual)} elements, expected {len(expected)}"
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert_same(a, e, rtol=rtol, atol=atol, where=f"{where}[{i}]")
    elif expected is None or actual is None:
        assert actual is expected, f"{where}: {actual!r}, expected {expected!r}"
    else:
        _assert_same_array(np.asarray(actual), np.asarray(expected), rtol, atol, where)


def _assert_same_array(actual: np.ndarray, expected: np.ndarray, rtol: float, atol: float, where: str) -> None:
    assert actual.shape == expected.shape, f"{where}: shape {actual.shape}, expected {expected.shape}"
    assert actual.dtype == expected.dtype, f"{where}: dtype {actual.dtype}, expected {expected.dtype}"
    if actual.dtype.kind in "OSUbiu":
        assert np.array_equal(actual, expected), f"{where}: {actual}, expected {expected}"
        return
    wide = np.complex128 if actual.dtype.kind == "c" else np.float64
    close = np.isclose(actual.astype(wide), expected.astype(wide), rtol=rtol, atol=atol, equal_nan=True)
    if not close.all():
        at = tuple(int(i) for i in np.argwhere(~close)[0])
        raise AssertionError(
            f"{where}: {np.count_nonzero(~close)} of {close.size} numbers differ, first at {at}: "
            f"{actual[at]}, expected {expected[at]} (rtol {rtol}, atol {atol})"
        )
