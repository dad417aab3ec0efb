"""How long each node of a model takes, by ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from graphkit.graph.ports import input_ports
from graphkit.result import brief
from graphkit.runtime import providers
from graphkit.runtime.custom_ops import Libraries, custom_operators
from graphkit.runtime.failures import import_runtime, translated
from graphkit.runtime.handover import carry
from graphkit.runtime.ort_values import to_runtime
from graphkit.runtime.session import Optimization, raw_session, session_settings

if TYPE_CHECKING:
    from graphkit.model import Model
    from graphkit.tensor import Array

WARM_UP = 2
"""Runs before those that count: the first ones allocate."""


class NodeTime(NamedTuple):
    """What one node of the optimised graph took.

    Attributes:
        node: Its name, which the runtime makes up for nodes that it fused.
        operator: Its operator.
        provider: The provider that ran it.
        milliseconds: For each run, on average.
    """

    node: str
    operator: str
    provider: str
    milliseconds: float

    def __repr__(self) -> str:
        return brief(self)


def node_times(
    model: Model,
    feeds: Mapping[str, Array],
    *,
    device: str,
    optimization: Optimization,
    runs: int,
    threads: int | None = None,
    tf32: bool = False,
    custom_ops: Libraries = (),
) -> tuple[NodeTime, ...]:
    """The time of each node, the slowest first.

    Args:
        model: The model.
        feeds: Input -> array of the declared dtype.
        device: "cpu", "cuda" or "tensorrt".
        optimization: How far the runtime may rewrite the model.
        runs: Runs to take the mean of.
        threads: Threads inside an operator; None for all cores.
        tf32: As in ``session``.
        custom_ops: As in ``session``.

    Raises:
        SessionError: The runtime refuses the model or a library, or failed.

    Scope: nodes of the main graph and of bodies; a node that holds bodies has their time too.
    Cost: a session and the runs; the profiler itself costs some microseconds a node.
    """
    runtime = import_runtime()
    with custom_operators(custom_ops):
        settings = session_settings(runtime, optimization, threads=threads)
    settings.enable_profiling = True
    with (
        tempfile.TemporaryDirectory(prefix="graphkit-") as folder,
        translated(f"profiling {model.path or 'the model'}"),
    ):
        settings.profile_file_prefix = os.path.join(folder, "profile")
        kept = carry(model)
        raw = raw_session(runtime, model.proto, kept, settings, providers.options(device, tf32=tf32))
        ports = input_ports(model.proto)
        values = {name: to_runtime(array, ports[name]) for name, array in feeds.items()}
        names = [output.name for output in raw.get_outputs()]
        for _ in range(WARM_UP + runs):
            raw.run_with_ort_values(names, values)
        with open(raw.end_profiling(), encoding="utf-8") as file:
            events = json.load(file)
    return _summed(events, runs)


def _summed(events: list[dict[str, Any]], runs: int) -> tuple[NodeTime, ...]:
    found: dict[tuple[str, str, str], list[int]] = {}
    for event in events:
        if event.get("cat") != "Node" or not str(event.get("name", "")).endswith("_kernel_time"):
            continue
        about = event.get("args", {})
        key = (
            event["name"].removesuffix("_kernel_time"),
            str(about.get("op_name", "")),
            str(about.get("provider", "")),
        )
        found.setdefault(key, []).append(int(event["dur"]))
    rows = []
    for (node, operator, provider), times in found.items():
        calls = max(1, len(times) // (WARM_UP + runs))  # a node of a body runs several times in a run
        counted = times[WARM_UP * calls :] or times
        rows.append(NodeTime(node, operator, provider, sum(counted) / 1000 / runs))
    return tuple(sorted(rows, key=lambda row: -row.milliseconds))
