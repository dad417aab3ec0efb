"""The suites of graphkit's peers, case by case: what each promises, and where graphkit differs by design.

A test says with ``@SUITE.case(...)`` which of a peer's cases it stands for; a table does it row by row. ``README.md`` in this
folder is written from that by ``write_table.py``, and a test holds it to the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import onnx

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort, run_reference

Test = TypeVar("Test")


@dataclass(frozen=True)
class Case:
    """Some of a peer's cases that are about one thing; ``name*9`` stands for nine."""

    peer: tuple[str, ...]
    differs: str = ""

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(int(name.partition("*")[2] or 1) for name in self.peer)


@dataclass
class Suite:
    """A peer's suite.

    Attributes:
        name: The package and its part.
        source: Where its tests lie.
        outside: What of it is not about models, or not graphkit's: (how many cases, why).
        cases: What the tests here stand for.
    """

    name: str
    source: str
    outside: list[tuple[int, str]] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    def case(self, peer: str, *, differs: str = "") -> Callable[[Test], Test]:
        """Say which of the peer's cases a test, or a table, stands for.

        Args:
            peer: Their names, separated by spaces, as short as they can be told apart by.
            differs: Why graphkit does something else; empty where it does what the peer promises.
        """
        self.cases.append(Case(tuple(peer.split()), differs))
        return lambda test: test

    def rows(self, rows: list[Row]) -> list[Row]:
        """The same for the rows of a table."""
        self.cases += [Case(tuple(row.peer.split()), row.differs) for row in rows]
        return rows


@dataclass(frozen=True)
class Row:
    """A model, an edit that keeps its numbers, and the operators that are left.

    Attributes:
        peer: The peer's cases, separated by spaces.
        text: The model, as ``onnx_text.parse`` takes it.
        ops: The operators of the main graph after the edit, in order.
        weights: How many initializers the main graph has then; not looked at where it is None.
        do: The edit.
        differs: Why the answer is not the peer's.
        options: What ``parse`` is told beside the text.
        rtol: What the numbers may be off by, relative.
        reference: Run in onnx's reference evaluator, for what ONNX Runtime does not run.
    """

    peer: str
    text: str
    ops: str
    weights: int | None = None
    do: Callable[[onnx.ModelProto], gk.Model] = gk.simplify
    differs: str = ""
    options: dict[str, object] = field(default_factory=dict)
    rtol: float = 1e-5
    reference: bool = False

    def __str__(self) -> str:
        return self.peer.split()[0]

    def check(self) -> None:
        """Fail unless the edit leaves these operators and the same numbers."""
        before = parse(self.text, **self.options)
        after = self.do(before)
        assert " ".join(node.op_type for node in after.nodes) == self.ops
        if self.weights is not None:
            graph = after.proto.graph
            assert len(graph.initializer) + len(graph.sparse_initializer) == self.weights
        assert_runs_the_same(after, before, rtol=self.rtol, reference=self.reference)


def assert_runs_the_same(
    after: object, before: object, *, rtol: float = 1e-5, atol: float = 1e-6, reference: bool = False
) -> None:
    """Fail unless two models give the same on three random feeds of the first one's inputs."""
    run = run_reference if reference else run_ort
    for seed in range(3):
        feeds = feeds_of(before, seed)
        assert_same(run(after, feeds), run(before, feeds), rtol=rtol, atol=atol)


def feeds_of(model: object, seed: int = 0) -> dict[str, np.ndarray]:
    """Random values for the inputs of a model that no initializer stands behind; a dim without a size has size 3."""
    proto = model if isinstance(model, onnx.ModelProto) else model.proto
    weights = {tensor.name for tensor in proto.graph.initializer}
    rng = np.random.default_rng(seed)
    return {value.name: _draw(value, rng) for value in proto.graph.input if value.name not in weights}


def _draw(value: onnx.ValueInfoProto, rng: np.random.Generator) -> np.ndarray:
    tensor = value.type.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else 3 for dim in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind in "iu":
        return np.asarray(rng.integers(0, 3, shape), dtype)
    return np.asarray(rng.standard_normal(shape), dtype)


def ops(model: gk.Model | onnx.ModelProto) -> str:
    """The operators of the main graph, in order."""
    graph = model.graph if isinstance(model, onnx.ModelProto) else model.proto.graph
    return " ".join(node.op_type for node in graph.node)


def names(values: object) -> list[str]:
    """The names of inputs or outputs."""
    return [value.name for value in values]
