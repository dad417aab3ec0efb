"""Does a candidate compute what a reference computes? On random or given feeds, over shapes and samples."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import NameNotFoundError
from graphkit.feeds.random import RandomFeeds
from graphkit.graph.misnamed import node_hint
from graphkit.hint import Argument, Blank, Hint
from graphkit.progress import Progress
from graphkit.reading.fits import check
from graphkit.reading.values import value_for
from graphkit.runtime.custom_ops import Libraries, custom_operators
from graphkit.runtime.session import Session, session
from graphkit.runtime.tensorrt import TensorRT
from graphkit.storage.load import as_model
from graphkit.verify.compare.tolerance import Policy
from graphkit.verify.reference.bind_model import bind_model
from graphkit.verify.reference.draw import draw_feeds, factor_notes, factors_for_attributes, is_random
from graphkit.verify.reference.run_model import ModelRunner, run_session
from graphkit.verify.reference.runner import Loading, Runner
from graphkit.verify.reference.torch_run import ForwardError
from graphkit.verify.report import Report, Sample, explained
from graphkit.verify.saved import Results
from graphkit.verify.tally import Case, Tally
from graphkit.verify.ties import ties

if TYPE_CHECKING:
    from graphkit.model import ModelLike
    from graphkit.runtime.session import Optimization


def validate(
    candidate: ModelLike,
    *,
    against: ModelLike | None = None,
    torch: Any = None,
    device: str = "auto",
    bind: Mapping[str, int | Sequence[int]] | None = None,
    feeds: Mapping[str, Any] | None = None,
    map: Mapping[str, str] | None = None,  # noqa: A002 (the name of the command's option)
    outputs: Sequence[str] = (),
    samples: int = 3,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    tf32: bool = False,
    any_dtype: bool = False,
    equal_nan: bool = False,
    allow_cpu_nodes: bool = False,
    optimization: Optimization = "all",
    progress: Progress | None = None,
    tensorrt: TensorRT | None = None,
    custom_ops: Libraries = (),
    save: str | os.PathLike[str] | None = None,
) -> Report:
    """Run a candidate and a reference on the same feeds and compare every output.

    Inputs and outputs are bound by name. ``map`` says it where names differ, for ``NAME`` of the candidate:

    - against a model: an input of the reference (renamed, or of another dtype: it is cast), a constant of it (the
      candidate is fed the constant), or an inner value (the candidate, an extracted part, is fed what the reference
      computes there). Outputs may be inner values of the reference too.
    - against a torch module: an argument of ``forward``, ``self.PATH`` for an attribute (it is set to what the candidate
      is fed, and set back afterwards), or the path of a submodule (the candidate is fed what it returns). Inputs
      without a name of their own there are bound by position, outputs always are; ``NAME=2`` (the third) or a
      submodule's path (``self.1`` where it is a number) binds an output otherwise. Inputs that have the names of the
      module's parameters and buffers are fed with these. Every feed is cast to what the argument takes.

    An input that the reference has no counterpart for can be fed with ``feeds``; it then goes to the candidate alone.

    Args:
        candidate: A path, a ModelProto or a Model.
        against: The reference, a model; or
        torch: the reference, an nn.Module, ``"package.module:factory"``, (module, args), (module, args, kwargs) or a
            TorchSubject. Example arguments are the feeds of sample 0 unless dims are bound.
        device: "cpu", "cuda", "tensorrt" or "auto", for both sides.
        tensorrt: With device "tensorrt", for the candidate: profiles of dynamic shapes, fp16, int8. Lower precision
            wants tolerances of its own, ``rtol`` and ``atol``.
        bind: Symbolic dim of an input -> size or sizes; every combination is run.
        feeds: Input -> what to feed, as ``graphkit.run`` takes it, or a list of such texts, each of which is run.
            Everything else is random: from the declared types, in ranges that the graph suggests.
        map: See above.
        outputs: Outputs of the candidate to compare; all of them, in the reference's order, where it is empty.
        samples: Runs for each combination of bound dims and given feeds, each with other random numbers.
        seed: Where the random numbers start.
        rtol: Relative tolerance for every dtype; without it torch.testing's by dtype, widened by what is compared
            (``graphkit.verify.compare.tolerance``). The tolerance used is in the report.
        atol: Absolute tolerance for every dtype.
        tf32: Allow TF32 for float32 products on a GPU, on both sides.
        any_dtype: Compare also where an output has another dtype, with the coarser one's tolerance.
        equal_nan: NaN agrees with NaN.
        allow_cpu_nodes: On a GPU, accept nodes that fell to the CPU, and list them in the notes.
        optimization: Which of its rewrites the runtime applies to models, on both sides: as ``session`` takes it.
        progress: Called after every run.
        custom_ops: Shared libraries of custom operators for both sides, as ``session`` takes them.
        save: Keep the outputs of both sides in this ``.npz`` file; ``validate_saved`` judges them by other tolerances.

    Returns:
        The report; ``report.match`` is the verdict and ``report.raise_for_mismatch()`` makes it an exception.

    Raises:
        ComparisonError: Inputs or outputs have no counterpart, outputs that were bound by position agree in another order,
            or the reference failed.
        FeedError: A feed does not fit, or a bound dim does not exist.
        NameNotFoundError: ``map``, ``feeds`` or ``outputs`` name something that is not there.
        FactoryError: The factory gives no torch module.
        SessionError: The runtime refuses a model or a library, failed, or ran out of memory.
        ProviderError: The device was asked for and is not what ran.
        SaveError: ``save`` cannot be written.
        ValueError: Neither or both of ``against`` and ``torch``; ``samples`` below 1.

    Changes: nothing; a torch module has its mode, device and attributes back afterwards.
    Scope: graph inputs and outputs.
    Cost: one session a model, whatever the number of runs; every output is compared in float64.

    Example:
        >>> import graphkit as gk
        >>> report = gk.validate("model.onnx", against=gk.simplify("model.onnx"), samples=2)
        >>> bool(report)
        True
    """
    if (against is None) == (torch is None):
        raise ValueError("validate needs either against= or torch=")
    if samples < 1:
        raise ValueError("samples must be at least 1")
    made = session(
        candidate,
        device=device,
        tf32=tf32,
        allow_cpu_nodes=allow_cpu_nodes,
        optimization=optimization,
        tensorrt=tensorrt,
        custom_ops=custom_ops,
    )
    given, mapping = dict(feeds or {}), dict(map or {})
    _check_names(made, given, mapping, has_other_inputs=against is not None)
    reference: Runner
    if against is not None:
        loading = Loading(made.device, tf32, allow_cpu_nodes, optimization)
        reference = ModelRunner(
            bind_model(made, as_model(against), mapping, given, tuple(outputs)), against, loading, seed
        )
    else:
        from graphkit.verify.reference.bind_torch import as_subject, bind_torch
        from graphkit.verify.reference.run_torch import TorchRunner

        subject = as_subject(torch)
        bound = bind_torch(made, subject, mapping, tuple(outputs))
        reference = TorchRunner(bound, subject, made.inputs, device=made.device, tf32=tf32)
    between = "gpu" if made.device != "cpu" else "same" if against is not None else "cpu"
    policy = Policy(between, tf32 and made.device != "cpu", rtol, atol)
    plan = _Plan(made, reference, bind or {}, given, samples, seed)
    kept = Results() if save is not None else None
    tally = Tally(made.inputs, reference, policy, any_dtype=any_dtype, equal_nan=equal_nan, kept=kept)
    with custom_operators(custom_ops), reference.opened():
        for case in plan.cases():
            try:
                _run_case(made, reference, case, tally)
            except ForwardError as error:
                tally.refuse(case, error)
            if progress is not None:
                progress(len(tally.samples), plan.total, "comparing")
        tally.check_refused()
        if tally.wrong is not None:
            tally.doubt_emptied()
            tally.doubts += ties(made.model, *tally.differing)
            tally.doubts += reference.unrepeatable(tally.wrong.feeds, tally.wrong.sample, made.model)
        tally.notes += reference.remarks()
    report = _report(made, reference, tally, tf32=tf32, seed=seed)
    if kept is not None and save is not None:
        kept.write(save, report, policy)
    return report


def _report(made: Session, reference: Runner, tally: Tally, *, tf32: bool, seed: int) -> Report:
    match = all(sample.match for sample in tally.samples)
    left = _one_size_only(tally.sizes)
    return Report(
        match=match,
        candidate=made.name,
        reference=reference.binding.reference,
        device=made.device,
        providers=made.providers,
        reference_providers=reference.providers,
        tf32=tf32,
        seed=seed,
        outputs=tally.worst,
        worst_sample=tally.worst_sample,
        samples=tuple(tally.samples),
        bindings=explained(reference.binding),
        notes=(*made.notes, *reference.binding.notes, *tally.notes, *left, *_nothing_compared(tally.samples)),
        doubts=() if match else (*tally.doubts, *reference.binding.doubts),
        versions=versions(),
        pictures=tally.pictures,
    )


def _one_size_only(sizes: Mapping[str, set[int]]) -> list[str]:
    """A note on dims that may vary and had one size in every run."""
    left = {name: next(iter(seen)) for name, seen in sizes.items() if len(seen) == 1}
    if not left:
        return []
    said = ", ".join(f"{name}={size}" for name, size in left.items())
    proposed = Argument("bind", dict.fromkeys(left, Blank("SIZES")))
    return [Hint(f"dims that may vary had one size in every run ({said}); compare others with ", proposed)]


def _nothing_compared(samples: Sequence[Sample]) -> list[str]:
    """Notes on outputs without elements: they agree whatever the candidate computes."""
    runs = len(samples)
    empty = {name: sum(0 in sample.outputs[name].shape for sample in samples) for name in samples[0].outputs}
    return [
        f"output {name!r} has no elements in {count} of {runs} runs: nothing was compared there"
        for name, count in empty.items()
        if count
    ]


def _check_names(
    made: Session, given: Mapping[str, Any], mapping: Mapping[str, str], *, has_other_inputs: bool
) -> None:
    known = [*made.inputs, *made.outputs]
    for name in mapping:
        if name not in known:
            raise NameNotFoundError("input or output", name, known, hint=node_hint(made.model.proto.graph, name))
    for name in given:
        if name not in made.inputs and not has_other_inputs:
            raise NameNotFoundError("input", name, made.inputs, hint=node_hint(made.model.proto.graph, name))


class _Plan:
    """Which feeds are run: every combination of bound sizes and given feeds, several samples each."""

    def __init__(
        self,
        made: Session,
        reference: Runner,
        bind: Mapping[str, int | Sequence[int]],
        given: Mapping[str, Any],
        samples: int,
        seed: int,
    ) -> None:
        self._made = made
        self._reference = reference
        self._samples = samples
        self._random = RandomFeeds(made.model, seed=seed, like=reference.binding.like)
        self._bind = {name: [size] if isinstance(size, int) else list(size) for name, size in bind.items()}
        self._given = {name: value if _alternatives(value) else [value] for name, value in given.items()}
        self._random.bound({name: sizes[0] for name, sizes in self._bind.items()})
        every = [*self._bind.values(), *self._given.values()]
        self.total = samples * int(np.prod([len(values) for values in every], dtype=np.int64))

    def cases(self) -> Iterator[Case]:
        """Every run's feeds, drawn when it is their turn."""
        names = [*self._bind, *self._given]
        varied = {name for name, values in self._given.items() if len(values) > 1}
        for values in itertools.product(*self._bind.values(), *self._given.values()):
            chosen = dict(zip(names, values, strict=True))
            sizes = {name: chosen[name] for name in self._bind}
            random = self._random.bound(sizes)
            given = self._read({name: chosen[name] for name in self._given})
            shown = {name: value for name, value in chosen.items() if name in self._bind or name in varied}
            for sample in range(self._samples):
                feeds = draw_feeds(self._made, self._reference, random, given, sample, bound=self._bind)
                drawn = [n for n in self._reference.binding.drawn if n in feeds and is_random(given.get(n, "random"))]
                yield Case(sample, shown, feeds, tuple(name for name in drawn if random.empties(name, sample)))

    def _read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Files and texts as arrays, once for all samples."""
        read = {}
        for name, value in given.items():
            port = self._made.inputs.get(name) or self._reference.own_port(name)
            read[name] = value if is_random(value) else value_for(port, value)
        return read


def _alternatives(value: Any) -> bool:
    """Whether a feed is a list of texts, each to be run; a list of numbers is one feed."""
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, str) for item in value)


def _run_case(made: Session, reference: Runner, case: Case, tally: Tally) -> None:
    factors = factors_for_attributes(made, reference.binding, case.feeds)
    exchange = reference.run({**case.feeds, **{name: found.meant for name, found in factors.items()}}, case.sample)
    feeds = {name: case.feeds[name] for name in made.inputs if name in case.feeds}
    for name, value in exchange.feeds.items():
        if not hasattr(value, "is_cuda"):
            check(made.inputs[name], value)
        feeds[name] = value
    feeds.update({name: found.fed_like(feeds[name]) for name, found in factors.items() if name in feeds})
    tally.say(factor_notes(factors, case.feeds))
    actual = run_session(made, feeds, list(exchange.outputs))
    tally.add(case, feeds, actual, exchange.outputs)


def versions() -> dict[str, str]:
    """The versions of what computed the numbers."""
    import importlib.metadata
    import sys

    names = ["onnx", "numpy", "onnxruntime", "onnxruntime-gpu"] + (["torch"] if "torch" in sys.modules else [])
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
