"""How fast a model runs and how much memory it takes, at given sizes, optimised and not, beside another model."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import NameNotFoundError
from graphkit.feeds.feeds import RANDOM
from graphkit.feeds.random import RandomFeeds
from graphkit.graph.misnamed import first_node_hint
from graphkit.model import Model, ModelLike
from graphkit.progress import Progress
from graphkit.reading.values import value_for
from graphkit.result import Result
from graphkit.running.memory import Loading, MemoryUse, memory_of
from graphkit.runtime.custom_ops import Libraries, library_paths
from graphkit.runtime.failures import import_runtime
from graphkit.runtime.profiling import NodeTime, node_times
from graphkit.runtime.session import Optimization, Session
from graphkit.storage.load import as_valid_model

if TYPE_CHECKING:
    from graphkit.tensor import Array

WARM_UP = 3
"""Runs of each session before any is timed."""

LEAST = 5
"""Runs that are timed at least, however long they take."""

MOST = 2000
"""Runs that are timed at most, where no number is given."""

PROFILED = 10
"""Runs that a profile is the mean of, or fewer where a number is given."""


@dataclass(frozen=True, repr=False)
class Timing(Result):
    """One model at one size and one optimization. Times are milliseconds of a run, outputs on the host included.

    Attributes:
        model: The model's path or name.
        sizes: What was bound: dim -> size.
        inputs: Input -> dtype and shape that was fed.
        optimization: How far the runtime rewrote the model.
        runs: Runs that were timed.
        load: What loading took, once.
        min: The fastest run.
        mean: The mean.
        median: Half of the runs were faster.
        p90: 90 of 100 runs were faster.
        p99: 99 of 100 runs were faster; of fewer than 100 runs it is near the slowest.
        times: The median over that of the first model at the same size and optimization; None for the first model.
    """

    model: str
    sizes: dict[str, int]
    inputs: dict[str, str]
    optimization: str
    runs: int
    load: float
    min: float
    mean: float
    median: float
    p90: float
    p99: float
    times: float | None


@dataclass(frozen=True, repr=False)
class OperatorTime(Result):
    """What all nodes of one operator take in a run.

    Attributes:
        operator: The operator, of the graph that the runtime made of the model.
        nodes: Number of nodes.
        milliseconds: For each run, on average.
        share: Of the time of all nodes, 0 to 1.
    """

    operator: str
    nodes: int
    milliseconds: float
    share: float


@dataclass(frozen=True, repr=False)
class Profile(Result):
    """Where the time of one model goes, by ONNX Runtime's profiler.

    Attributes:
        model: The model's path or name.
        sizes: What was bound.
        optimization: How far the runtime rewrote the model.
        operators: By operator, the slowest first.
        nodes: By node, the slowest first.
    """

    model: str
    sizes: dict[str, int]
    optimization: str
    operators: tuple[OperatorTime, ...]
    nodes: tuple[NodeTime, ...]


@dataclass(frozen=True, repr=False)
class Benchmark(Result):
    """What ``bench`` gives.

    Attributes:
        models: The models' paths or names.
        device: Where they ran.
        threads: Threads inside an operator; None for as many as the runtime takes.
        timings: A row for each size, optimization and model.
        memory: Model -> memory of a process that loads it and runs it once, at the first size and optimization; without
            the device's own memory. {} where it was not asked for or the system does not say.
        profiles: Where the time goes, at the first size and optimization; () where it was not asked for.
        versions: Package -> version.
        notes: What the user should know.
    """

    models: tuple[str, ...]
    device: str
    threads: int | None
    timings: tuple[Timing, ...]
    memory: dict[str, MemoryUse]
    profiles: tuple[Profile, ...]
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


def bench(
    model: ModelLike,
    other: ModelLike | None = None,
    *,
    bind: Mapping[str, int | Sequence[int]] | None = None,
    feeds: Mapping[str, Any] | None = None,
    device: str = "auto",
    optimizations: Sequence[Optimization] = ("all", "none"),
    runs: int | None = None,
    seconds: float = 2.0,
    threads: int | None = None,
    tf32: bool = False,
    profile: bool = False,
    memory: bool = True,
    seed: int = 0,
    custom_ops: Libraries = (),
    progress: Progress | None = None,
) -> Benchmark:
    """Measure how long a run of a model takes, and how much memory; of two models, beside each other.

    The sessions of one size are all loaded and then run in turn, so that what else the machine does meets each alike.

    Args:
        model: A path, a ModelProto or a Model.
        other: A second one; it is fed the same arrays where its inputs take them.
        bind: Symbolic dim or ``INPUT:AXIS`` -> size or sizes; every combination is a row. Others have random feeds' sizes.
        feeds: Input -> what to feed, as ``graphkit.run`` takes it; the others are random.
        device: "cpu", "cuda", "tensorrt", or "auto": CUDA where it loads, else the CPU. On a GPU the copies from and to
            the host count.
        optimizations: How far the runtime may rewrite the model; a row each.
        runs: Timed runs of each row; None takes as many as fit into ``seconds``, from 5 to 2,000.
        seconds: Time for the runs of each row.
        threads: Threads inside an operator; None for as many as the runtime takes.
        tf32: Let CUDA use TF32 for float32 products.
        profile: Say where the time goes, by operator and by node, with ONNX Runtime's profiler.
        memory: Measure memory too, in a process of its own; on Linux only.
        seed: For random feeds.
        custom_ops: Shared libraries of custom operators, as ``session`` takes them.
        progress: Called with (done, total, what).

    Raises:
        FeedError: A feed does not fit, or ``bind`` names no open dim.
        NameNotFoundError: No model has an input that is fed.
        InvalidGraphError: A model contradicts itself.
        SessionError: The runtime refuses a model or a library, or failed.
        ProviderError: The device did not load.
        MissingExtraError: onnxruntime is not installed.
        ValueError: ``runs``, ``seconds`` or a level is none.

    Changes: nothing.
    Cost: for each row a session and ``seconds`` of runs, and for each model one process.

    Example:
        >>> import graphkit as gk
        >>> timed = gk.bench("model.onnx", runs=3, memory=False)
        >>> [timing.optimization for timing in timed.timings]
        ['all', 'none']
    """
    if (runs is not None and runs < 1) or seconds <= 0 or not optimizations:
        raise ValueError("runs and seconds are more than 0, and there is an optimization at least")
    models = [as_valid_model(one) for one in (model, other) if one is not None]
    names = _names(models)
    libraries = library_paths(custom_ops)
    loading = Loading(device, optimizations[0], threads, tf32, libraries)
    randoms = [RandomFeeds(one, seed=seed) for one in models]
    known = [name for random in randoms for name in random.ports]
    if unknown := next((name for name in feeds or {} if name not in known), None):
        raise NameNotFoundError(
            "input", unknown, known, hint=first_node_hint((one.proto.graph for one in models), unknown)
        )
    timings: list[Timing] = []
    firsts: list[dict[str, Array]] = []
    made: list[Session] = []
    cases = list(_cases(bind or {}))
    for number, sizes in enumerate(cases):
        fed = _feeds(randoms, sizes, feeds or {})
        firsts = firsts or fed
        rows = []
        for level, at in itertools.product(optimizations, range(len(models))):
            begun = time.perf_counter()
            made.append(replace(loading, optimization=level).session(models[at]))
            rows.append(_Row(names[at], level, made[-1], fed[at], 1000 * (time.perf_counter() - begun)))
        _run(rows, runs, seconds)
        timings += _timings(rows, sizes, len(models))
        if progress is not None:
            progress(number + 1, len(cases), "measuring")
        made = made[-1:]
    found = made[-1]
    first = replace(loading, device=found.device)
    used = [memory_of(one, feed, first) for one, feed in zip(models, firsts, strict=True)] if memory else []
    return Benchmark(
        models=tuple(names),
        device=found.device,
        threads=threads,
        timings=tuple(timings),
        memory={name: use for name, use in zip(names, used, strict=False) if use is not None},
        profiles=tuple(_profiles(names, models, firsts, cases[0], first, runs)) if profile else (),
        versions={"onnxruntime": str(import_runtime().__version__)},
        notes=found.notes,
    )


def _names(models: Sequence[Model]) -> list[str]:
    """What to call the models: their paths or graph names; a second one of the same name is told from the first."""
    names = [os.fspath(one.path) if one.path else one.proto.graph.name or "model" for one in models]
    return names if len(set(names)) == len(names) else [f"{name} ({at + 1})" for at, name in enumerate(names)]


def _cases(bind: Mapping[str, int | Sequence[int]]) -> Iterator[dict[str, int]]:
    sizes = [[size] if isinstance(size, int) else list(size) for size in bind.values()]
    for chosen in itertools.product(*sizes):
        yield dict(zip(bind, chosen, strict=True))


def _feeds(
    randoms: Sequence[RandomFeeds], sizes: Mapping[str, int], given: Mapping[str, Any]
) -> list[dict[str, Array]]:
    """What each model is fed: what is given, what the first one is fed where it fits, random numbers for the rest."""
    found: list[dict[str, Array]] = []
    for whole in randoms:
        random = whole.bound(sizes)
        fed: dict[str, Array] = {}
        for name, value in given.items():
            if name in random.ports and not (isinstance(value, str) and value == RANDOM):
                fed[name] = value_for(random.ports[name], value)
                random.learn(random.ports[name], np.shape(fed[name]), sizes)
        for name, port in random.ports.items():
            if name in fed or not port.required:
                continue
            drawn = random.draw(name, 0)
            first = found[0].get(name) if found else None
            alike = first is not None and first.dtype == drawn.dtype and first.shape == drawn.shape
            fed[name] = first if first is not None and alike else drawn
        found.append(fed)
    return found


class _Row:
    """One session and its times."""

    def __init__(self, name: str, level: str, made: Session, feeds: Mapping[str, Array], load: float) -> None:
        self.name = name
        self.level = level
        self.feeds = feeds
        self.load = load
        self.run = made.prepared(feeds)
        self.times: list[float] = []

    def time(self) -> float:
        begun = time.perf_counter()
        self.run()
        self.times.append(1000 * (time.perf_counter() - begun))
        return self.times[-1]


def _run(rows: Sequence[_Row], runs: int | None, seconds: float) -> None:
    for row in rows:
        for _ in range(WARM_UP):
            row.run()
    left = dict.fromkeys(rows, 1000 * seconds)
    while left:
        for row in list(left):
            left[row] -= row.time()
            count = len(row.times)
            over = left[row] <= 0 and count >= LEAST
            if count >= (MOST if runs is None else runs) or (runs is None and over):
                del left[row]


def _timings(rows: Sequence[_Row], sizes: Mapping[str, int], models: int) -> Iterator[Timing]:
    for at, row in enumerate(rows):
        half, nine, most = (float(np.quantile(row.times, part)) for part in (0.5, 0.9, 0.99))
        first = float(np.median(rows[at - at % models].times))
        yield Timing(
            model=row.name,
            sizes=dict(sizes),
            inputs={name: _kind(array) for name, array in row.feeds.items()},
            optimization=row.level,
            runs=len(row.times),
            load=row.load,
            min=min(row.times),
            mean=float(np.mean(row.times)),
            median=half,
            p90=nine,
            p99=most,
            times=half / first if at % models else None,
        )


def _kind(array: Any) -> str:
    dtype = getattr(array, "dtype", None)
    return type(array).__name__ if dtype is None else f"{dtype}[{','.join(map(str, array.shape))}]"


def _profiles(
    names: Sequence[str],
    models: Sequence[Model],
    feeds: Sequence[Mapping[str, Array]],
    sizes: Mapping[str, int],
    loading: Loading,
    runs: int | None,
) -> Iterator[Profile]:
    counted = min(runs or PROFILED, PROFILED)
    for name, model, fed in zip(names, models, feeds, strict=True):
        nodes = node_times(model, fed, runs=counted, **vars(loading))
        whole = sum(node.milliseconds for node in nodes) or 1.0
        groups: dict[str, list[float]] = {}
        for node in nodes:
            groups.setdefault(node.operator, []).append(node.milliseconds)
        rows = [OperatorTime(op, len(times), sum(times), sum(times) / whole) for op, times in groups.items()]
        rows.sort(key=lambda row: -row.milliseconds)
        yield Profile(name, dict(sizes), loading.optimization, tuple(rows), nodes)
