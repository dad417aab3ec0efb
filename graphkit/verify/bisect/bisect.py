"""Where does a candidate go wrong? The first value that diverges, and the nodes that are wrong by themselves."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphkit.errors import ComparisonError
from graphkit.hint import Argument, Blank, Call, Hint
from graphkit.progress import Progress
from graphkit.reading.sizes import parse_bytes
from graphkit.runtime import providers
from graphkit.runtime.custom_ops import Libraries, custom_operators, library_paths
from graphkit.semantics.kinds import CONTROL_FLOW
from graphkit.verify.bisect.bisection import Bisection, Row, first_of
from graphkit.verify.bisect.bodies import inside
from graphkit.verify.bisect.match_onnx import match_values
from graphkit.verify.bisect.onnx_side import OnnxSide
from graphkit.verify.bisect.pair import Chosen, Interface, Pair, interface, is_torch
from graphkit.verify.bisect.search import Search, goes_wrong, introduced
from graphkit.verify.bisect.side import Side
from graphkit.verify.bisect.whole import Comparison, compared_as_a_whole
from graphkit.verify.compare.described import described
from graphkit.verify.compare.tolerance import Policy
from graphkit.verify.reference.bind_model import bind_model
from graphkit.verify.reference.binding import Constant, Inner, ResizedBy, SameInput
from graphkit.verify.reference.run_model import ModelRunner
from graphkit.verify.reference.runner import Loading

if TYPE_CHECKING:
    from graphkit.model import Model, ModelLike


def bisect(
    candidate: Any,
    *,
    against: ModelLike | None = None,
    torch: Any = None,
    device: str = "auto",
    reference_device: str | None = None,
    bind: Mapping[str, int] | None = None,
    feeds: Mapping[str, Any] | None = None,
    map: Mapping[str, str] | None = None,  # noqa: A002 (the name of the command's option)
    seed: int = 0,
    sample: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    tf32: bool = False,
    any_dtype: bool = False,
    isolate: bool = False,
    memory: int | str = "2GB",
    custom_ops: Libraries = (),
    progress: Progress | None = None,
) -> Bisection:
    """Run candidate and reference on the same feeds and find the first inner value that differs.

    Both sides run from front to back, a stretch of nodes at a time, every node as it stands (nothing is fused). A stretch
    holds as many values as ``memory`` allows, 500 at most; a model is cut there into pieces, and hands the values that
    later nodes need from one piece to the next, so that each node runs once. A torch module is run as a whole for each
    stretch. The search ends with the stretch that holds the first difference. Values are matched by name, and where names
    were given anew by structure (``graphkit.verify.bisect.match_onnx``). Against a torch module they are matched by the torch.fx
    nodes that the dynamo exporter wrote into the file, else by the paths of the modules they come out of.

    Where the first value that diverges is made by If, Loop or a model's function, the search goes on inside of it.

    Numbers so small that ``atol`` would let any error of theirs pass are measured by their own magnitude, unless the
    difference is rounding. The node is run alone on the reference's values, and again with these, and all that is made on
    the way, wrong by the relative tolerance at random: if that moves its result as far as it is from the reference's, large
    numbers cancel each other there, and it is rounding. Small weights are no such thing. What Sigmoid, Softplus, Gelu, LSTM
    and others make of numbers near 1 is no more exact where it is small (a millionth at the tolerance for float32): there,
    and in operators of other domains, between two torch modules, and where memory does not suffice, it is not known; a note
    names such a value, and it is the first that diverges if an output does and every node is right. Where dtypes differ,
    small numbers are compared by ``atol`` only.

    Args:
        candidate: A path, a ModelProto or a Model; or a torch module, as ``validate`` takes it.
        against: The reference, a model (the same one with ``reference_device``, or in another precision); or
        torch: the reference, as ``validate`` takes it.
        device: "cpu", "cuda", "tensorrt" or "auto".
        reference_device: Where the reference runs, if not on ``device``. Only for a model.
        bind: Symbolic dim of an input -> size.
        feeds: As ``validate`` takes them, one value each.
        map: As ``validate`` takes it.
        seed: Where random feeds start.
        sample: Which of the samples that ``validate`` draws from this seed. None takes the first, and where every value
            agrees there, the first of three whose outputs differ.
        rtol: Relative tolerance for every dtype; without it as ``validate`` has it.
        atol: Absolute tolerance for every dtype; without it the table's, in units of each value's own magnitude.
        tf32: Allow TF32 on a GPU, on both sides.
        any_dtype: Outputs of another dtype are no difference by themselves, as ``validate`` has it.
        isolate: Compare every value and try every node alone, fed with the reference's values: a node that is wrong then
            introduces error, the others pass it on.
        memory: Bytes that the process may hold at once: what it holds when the search begins, the values of both sides
            that are compared together or read later, 12 MB to compare them, and the weights of the nodes that run; also
            as "500MB" or "2GB". At least it takes the process itself (100 MB, with torch 350 to 450 MB), twice the values that
            live at one place of the graph, and those 12 MB. A value for which that is more than the limit is compared
            all the same, and a note says so; where the process alone is beyond the limit, it holds for the values. What
            kernels need beside their results, and pages of mapped files, which the system takes back when it wants to,
            are not counted.
        custom_ops: Shared libraries of custom operators for both sides, as ``session`` takes them.
        progress: Called after every stretch.

    Returns:
        The result; ``result.first`` is the first value that diverges, or None.

    Raises:
        ComparisonError: Inputs have no counterpart, outputs come in another order or number, or the two sides share no
            value.
        InvalidGraphError: A model contradicts itself.
        FeedError: A feed does not fit.
        SessionError: The runtime refused a model or a library, or failed; also where every value agrees and the candidate as a whole, with what
            no value needs and the branches that are not taken, is refused.
        ProviderError: A device was asked for and did not load.
        ValueError: Neither or both of ``against`` and ``torch``; a memory limit that is no size.

    Changes: nothing.
    Scope: the main graph, and bodies and functions behind the first value that diverges.
    Cost: each node of a model once, in one piece a side for every 500 values; one more piece where sizes cannot be
    inferred; of the nodes whose values differ eight at a time alone, until one is wrong by itself, which most often the
    first is; with ``isolate`` every node of the candidate once more. Time grows with nodes + bytes of all values. Where
    nothing differs, both sides are run as a whole too, on three samples, if the memory limit allows that: the runtime's
    optimizer may change what every node has right.

    Example:
        >>> import graphkit as gk
        >>> gk.bisect("model.onnx", against="model.onnx").diverges
        False
    """
    if (against is None) == (torch is None):
        raise ValueError("bisect needs either against= or torch=")
    limit = parse_bytes(memory)
    where, note = providers.resolve(device)
    other_where = providers.resolve(reference_device)[0] if reference_device else where
    chosen = Chosen(bind or {}, dict(feeds or {}), dict(map or {}), seed, sample or 0, where, tf32)
    swapped = is_torch(candidate) and torch is None
    subject = candidate if swapped else torch
    if subject is not None:
        from graphkit.verify.reference.bind_torch import as_subject

        subject = as_subject(subject)  # a factory is called once
    between = "gpu" if {where, other_where} != {"cpu"} else "same" if subject is None else "cpu"
    work = _Work(
        model=against if swapped else candidate,
        against=None if subject is not None else against,
        subject=subject,
        swapped=swapped,
        chosen=chosen,
        other_device=other_where,
        policy=Policy(between, tf32 and between == "gpu", rtol, atol),
        any_dtype=any_dtype,
        isolate=isolate,
        limit=limit,
        notes=(note,) if note else (),
        progress=progress,
    )
    libraries = library_paths(custom_ops)
    with custom_operators(libraries):
        result = replace(work.run(sample), custom_ops=libraries)
    return _turned(result) if swapped else result


WHOLE = 4
"""How much smaller than the memory limit all values together must be for the model to be run as a whole too."""


@dataclass(frozen=True)
class _Work:
    """One bisection.

    Attributes:
        model: The side that is a model; both may be torch modules.
        against: The other model, or None.
        subject: The torch module, or None.
        swapped: Whether the torch module is the candidate.
        chosen: On what both sides run.
        other_device: Where the other model runs.
        policy: The tolerances.
        any_dtype: Outputs of another dtype are no difference by themselves.
        isolate: Every value is compared, and every node tried alone.
        limit: Bytes that the process may hold.
        notes: What the user should know.
        progress: Called after every stretch.
    """

    model: Any
    against: ModelLike | None
    subject: Any
    swapped: bool
    chosen: Chosen
    other_device: str
    policy: Policy
    any_dtype: bool
    isolate: bool
    limit: int
    notes: tuple[str, ...]
    progress: Progress | None

    def run(self, sample: int | None) -> Bisection:
        """The bisection of a sample; where every node is right and memory allows it, the whole is compared too.

        Args:
            sample: The sample, or None where any may be taken.
        """
        result, whole = self._bisected(self.chosen.sample)
        if not whole:
            return result
        comparison = Comparison(self.against, self.subject, self.chosen, self.policy, self.any_dtype)
        return compared_as_a_whole(result, self.model, comparison, sample, lambda number: self._bisected(number)[0])

    def _bisected(self, number: int) -> tuple[Bisection, bool]:
        """The bisection of one sample, and whether the model may be run as a whole too."""
        with contextlib.ExitStack() as stack:
            pair = self._pair(replace(self.chosen, sample=number), stack)
            search = Search(
                pair.candidate,
                pair.reference,
                pair.twins,
                self.policy,
                self.limit,
                isolate=self.isolate,
                swapped=self.swapped,
                alike=self.policy.between == "same",
                outputs=_outputs(pair.candidate),
                any_dtype=self.any_dtype,
            )
            search.run(self.progress)
            result = _result(pair, search, self.chosen.device, self.notes)
            return result, not result.diverges and self._fits_as_a_whole(pair.candidate)

    def _pair(self, chosen: Chosen, stack: contextlib.ExitStack) -> Pair:
        if self.subject is not None:
            return _torch_pair(self.model, self.subject, chosen, stack)
        assert self.against is not None
        return _onnx_pair(interface(self.model), interface(self.against).model, chosen, self.other_device)

    def _fits_as_a_whole(self, side: Side) -> bool:
        if not isinstance(side, OnnxSide):
            return False
        side.load()
        return self.chosen.device == self.other_device and WHOLE * sum(side.sizes().values()) <= self.limit


def _outputs(side: Side) -> frozenset[str]:
    return frozenset(v.name for v in side.model.proto.graph.output) if isinstance(side, OnnxSide) else frozenset()


def _torch_pair(model: Any, subject: Any, chosen: Chosen, stack: contextlib.ExitStack) -> Pair:
    from graphkit.verify.bisect.torch_pairs import torch_pair, two_modules

    if is_torch(model):
        return two_modules(model, subject, chosen, stack)
    return torch_pair(interface(model), subject, chosen, stack)


def _turned(result: Bisection) -> Bisection:
    """A result whose candidate is the torch module; the rows stay in the model's order, because a model has nodes."""
    runs = {**result.runs, "candidate": result.runs["reference"], "reference": result.runs["candidate"]}
    return replace(
        result,
        candidate=result.reference,
        reference=result.candidate,
        providers=result.reference_providers,
        reference_providers=result.providers,
        runs=runs,
        notes=(*result.notes, "values and nodes are those of the model, which is the reference here"),
    )


def _onnx_pair(own: Interface, against: Model, chosen: Chosen, other_where: str) -> Pair:
    binding = bind_model(own, against, chosen.map, chosen.feeds, choice=False)
    runner = ModelRunner(binding, against, Loading(other_where, chosen.tf32, allow_cpu_nodes=True), chosen.seed)
    drawn = chosen.drawn(own, runner)
    mine = {name: drawn[name] for name in own.inputs if name in drawn}
    mine.update(runner.determined(drawn, chosen.sample))
    candidate = OnnxSide(own.model, mine, device=chosen.device, tf32=chosen.tf32)
    feeds = runner.own_feeds(drawn, chosen.sample)
    reference = OnnxSide(against, feeds, device=other_where, tf32=chosen.tf32)
    named = {
        name: s.name for name, s in binding.inputs.items() if isinstance(s, SameInput | Inner | Constant | ResizedBy)
    }
    seeds = {name: target for name, target in named.items() if target in reference.index.inputs}
    seeds.update({name: str(target) for name, target in binding.outputs.items()})
    twins = match_values(candidate.model, candidate.index, reference.model, reference.index, seeds)
    twins = _without_constants(candidate, twins)
    if not twins:
        raise ComparisonError(
            f"{own.name} and {binding.reference} share no value: neither names nor structure match",
            hint=Hint(
                "bind inputs and outputs with ",
                Argument("map", {Blank("NAME"): Blank("VALUE")}),
                ", or compare the outputs only: ",
                Call("validate", (), ("candidate", "CANDIDATE")),
            ),
        )
    looked = functools.partial(inside, candidate, reference)
    asked = functools.partial(runner.unrepeatable, drawn, chosen.sample, own.model)
    return Pair(candidate, reference, twins, mine, list(binding.notes), unrepeatable=asked, inside=looked)


def _without_constants(side: OnnxSide, twins: dict[str, str]) -> dict[str, str]:
    known = {place.value for place in side.places()}
    return {value: twin for value, twin in twins.items() if value in known}


def _result(pair: Pair, search: Search, where: str, notes: Sequence[str]) -> Bisection:
    rows = tuple(search.rows)
    worst = first_wrong(rows, pair)
    found = list(notes) + pair.notes
    first, failing = None, None
    if worst is not None:
        first, failing = first_of(worst), search.failing
        first, failing = pair.inside(search, worst) or (first, failing)
        if worst.op_type in CONTROL_FLOW and not first.inside:
            found.append(f"where inside of {worst.op_type} {worst.node!r} the error begins could not be told")
    if worst is not None and (reasons := pair.unrepeatable()):
        found += reasons
        rows = tuple(replace(row, introduces=None) for row in rows)
        first = None if first is None else replace(first, introduces=None)
    found += _remarks(pair, rows, worst)
    found += search.notes
    if search.stopped is not None:
        found.append(f"the candidate cannot run any further: {search.stopped}")
    runs = {"candidate": pair.candidate.runs, "reference": pair.reference.runs, "alone": search.tried}
    return Bisection(
        diverges=worst is not None,
        first=first,
        introduced_by=introduced(rows),
        rows=rows,
        candidate=pair.candidate.name,
        reference=pair.reference.name,
        device=where,
        providers=pair.candidate.providers,
        reference_providers=pair.reference.providers,
        values=len(pair.candidate.places()),
        matched=len(pair.twins),
        complete=search.complete,
        runs=runs,
        stretches=search.stretches,
        memory=search.memory,
        feeds={name: described(array) for name, array in pair.feeds.items()},
        notes=tuple(found),
        failing=failing,
    )


def first_wrong(rows: Sequence[Row], pair: Pair) -> Row | None:
    """The first value that differs and whose node is not known to be right.

    Where every node that was tried is right and an output differs all the same, it is the first value that differs, or may.
    """
    found = next((row for row in rows if goes_wrong(row)), None)
    if found is None and isinstance(pair.candidate, OnnxSide):
        outputs = pair.candidate.index.outputs
        if any(row.value in outputs and not row.match for row in rows):
            return next(row for row in rows if not row.match or row.doubt)
    return found


def _remarks(pair: Pair, rows: Sequence[Row], worst: Row | None) -> list[str]:
    notes = []
    drifted = [row for row in rows if not row.match and row.introduces is False]
    if drifted and (worst is None or not goes_wrong(worst)):
        notes.append(
            f"{len(drifted)} values, first {drifted[0].value!r}, differ by more than the tolerance although their nodes are "
            "right on the reference's values: rounding that has added up"
        )
    doubtful = [row for row in rows if row.doubt]
    if doubtful and worst is None:
        notes.append(
            f"{len(doubtful)} values, first {doubtful[0].value!r} ({doubtful[0].doubt}), are smaller than any tolerance, and "
            "whether they differ by more than rounding is not known"
        )
    if worst is not None and isinstance(pair.candidate, OnnxSide):
        outputs = [row for row in rows if row.value in pair.candidate.index.outputs]
        if len(outputs) == len(pair.candidate.index.outputs) and all(row.match for row in outputs):
            notes.append("the outputs agree all the same")
    return notes
