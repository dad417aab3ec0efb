"""The outputs of all modules, torch beside ONNX, for people who want to look and not search."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphkit.reading.sizes import parse_bytes
from graphkit.result import Result
from graphkit.runtime import providers
from graphkit.runtime.custom_ops import Libraries, custom_operators
from graphkit.verify.bisect.module_side import ModuleSide
from graphkit.verify.bisect.onnx_side import OnnxSide
from graphkit.verify.bisect.pair import Chosen, Pair, interface
from graphkit.verify.bisect.search import Search
from graphkit.verify.bisect.torch_pairs import torch_pair
from graphkit.verify.compare.described import described
from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.compare.tolerance import Policy

if TYPE_CHECKING:
    from graphkit.model import ModelLike
    from graphkit.progress import Progress
    from graphkit.verify.bisect.module_side import Call


@dataclass(frozen=True, repr=False)
class Layer(Result):
    """What one call of a module returned, in torch and in the model.

    Attributes:
        module: The module's path, "" for the whole, or the name of a mark.
        kind: Its class, or "mark".
        output: The name of the output: the path, with the number of the call and of the tensor where there are several.
        value: The model's value, or None.
        match: Whether the two agree within the tolerance; None where the model has no such value.
        metrics: How much they differ, or None.
        remark: Why there is no value, or that the module hands on what it was given.
    """

    module: str
    kind: str
    output: str
    value: str | None
    match: bool | None
    metrics: Metrics | None
    remark: str = ""

    def __bool__(self) -> bool:
        return self.match is not False


@dataclass(frozen=True, repr=False)
class Layers(Result):
    """A table of all modules. Made by ``graphkit.layers``.

    Attributes:
        match: Whether every output that the model has agrees.
        rows: The outputs in the order in which torch gives them.
        candidate: The model.
        reference: The module.
        device: Where both ran.
        providers: The providers that loaded for the model.
        feeds: Input -> its type, and its value where that is short.
        notes: What the user should know.
    """

    match: bool
    rows: tuple[Layer, ...]
    candidate: str
    reference: str
    device: str
    providers: tuple[str, ...]
    feeds: dict[str, str]
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.match


def layers(
    candidate: ModelLike,
    *,
    torch: Any,
    device: str = "auto",
    bind: Mapping[str, int] | None = None,
    feeds: Mapping[str, Any] | None = None,
    map: Mapping[str, str] | None = None,  # noqa: A002 (the name of the command's option)
    seed: int = 0,
    sample: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    tf32: bool = False,
    memory: int | str = "2GB",
    custom_ops: Libraries = (),
    progress: Progress | None = None,
) -> Layers:
    """Compare what every submodule of a torch module returns, and every mark, with the model's values.

    Values are found by the module paths that both of torch's exporters write into a file, and by the names of marks
    (``graphkit.mark``). A module without a value of its own is listed with the reason.

    Args:
        candidate: The exported model.
        torch: The module, as ``validate`` takes it.
        device: "cpu", "cuda", "tensorrt" or "auto".
        bind: Symbolic dim of an input -> size.
        feeds: As ``validate`` takes them, one value each.
        map: As ``validate`` takes it.
        seed: Where random feeds start.
        sample: Which of the samples that ``validate`` draws from this seed; None for the first.
        rtol: Relative tolerance for every dtype; without it as ``validate`` has it.
        atol: Absolute tolerance for every dtype.
        tf32: Allow TF32 on a GPU, on both sides.
        memory: As ``bisect`` has it.
        custom_ops: Shared libraries of custom operators, as ``session`` takes them.
        progress: Called as the table grows.

    Returns:
        The table.

    Raises:
        ComparisonError: Inputs have no counterpart, ``forward`` raised, or the file names no modules.
        InvalidGraphError: The model contradicts itself.
        FeedError, FactoryError, SessionError, ProviderError: As ``validate``.
        ValueError: A memory limit that is no size.

    Changes: nothing.
    Scope: values of the main graph.
    Cost: one run of the model; two of the module, and one more for each stretch that the memory limit makes. Where
    modules return several tensors, another run of the model and one of the module for each 64 MiB of them. Where
    everything agrees, the model is loaded as a whole.

    Example:
        >>> import graphkit as gk, torch
        >>> module = torch.nn.Sequential(torch.nn.ReLU())
        >>> model = gk.export(module, (torch.ones(1, 4),))
        >>> bool(gk.layers(model, torch=module))
        True
    """
    own = interface(candidate)
    where, note = providers.resolve(device)
    chosen = Chosen(bind or {}, dict(feeds or {}), dict(map or {}), seed, sample or 0, where, tf32)
    with custom_operators(custom_ops), contextlib.ExitStack() as stack:
        pair = torch_pair(own, torch, chosen, stack, modules=True)
        between = "gpu" if where != "cpu" else "cpu"
        policy = Policy(between, tf32 and where != "cpu", rtol, atol)
        search = Search(
            pair.candidate, pair.reference, pair.twins, policy, parse_bytes(memory), isolate=False, stop=False
        )
        search.run(progress)
        found = {row.value: row.metrics for row in search.rows}
        assert isinstance(pair.candidate, OnnxSide)
        if all(metrics.match for metrics in found.values()):
            pair.candidate.load()
        else:
            pair.notes += pair.unrepeatable()
    assert isinstance(pair.reference, ModuleSide)
    rows = tuple(_layer(call, key, pair, found) for call in pair.reference.calls for key in call.keys)
    return Layers(
        match=all(row.match is not False for row in rows),
        rows=rows,
        candidate=own.name,
        reference=pair.reference.name,
        device=where,
        providers=pair.candidate.providers,
        feeds={name: described(array) for name, array in pair.feeds.items()},
        notes=(*([note] if note else []), *pair.notes),
    )


def _layer(call: Call, key: str, pair: Pair, found: Mapping[str, Metrics]) -> Layer:
    value = pair.outputs.get(key)
    metrics = found.get(value) if value is not None else None
    remark = ""
    if call.same:
        remark = "hands on what it was given"
    elif value is None:
        remark = (
            "folded into the node behind it" if _folded(call, pair) else "no value of the model is known to be this one"
        )
    return Layer(call.path, call.kind, key, value, None if metrics is None else metrics.match, metrics, remark)


def _folded(call: Call, pair: Pair) -> bool:
    """Whether a BatchNorm was given what the call returned, and has a value: both became one node."""
    assert isinstance(pair.reference, ModuleSide)
    behind = [c for c in pair.reference.calls if c.follows in call.keys and "BatchNorm" in c.kind]
    return any(key in pair.outputs for c in behind for key in c.keys)
