"""A model beside a torch module, and two torch modules beside each other: what both have, value by value."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from graphkit.errors import ComparisonError
from graphkit.graph.module_paths import fx_node
from graphkit.hint import Argument, Blank, Hint, call
from graphkit.torch_export.source_line import stack_line
from graphkit.verify.bisect.fx_bodies import inside_cond
from graphkit.verify.bisect.fx_side import ExportFailed, FxSide, path_of
from graphkit.verify.bisect.match_torch import match_fx, match_modules, values_first
from graphkit.verify.bisect.module_side import ModuleSide
from graphkit.verify.bisect.onnx_side import OnnxSide
from graphkit.verify.bisect.pair import Pair
from graphkit.verify.reference.bind_torch import as_subject, bind_torch
from graphkit.verify.reference.draw import factors_for_attributes
from graphkit.verify.reference.run_torch import TorchRunner, check_outputs
from graphkit.verify.reference.torch_arguments import placed
from graphkit.verify.reference.torch_run import TorchRun
from graphkit.verify.reference.torch_state import prepared

if TYPE_CHECKING:
    from graphkit.verify.bisect.pair import Chosen, Interface
    from graphkit.verify.reference.binding import Binding


def torch_pair(
    own: Interface, subject: Any, chosen: Chosen, stack: contextlib.ExitStack, *, modules: bool = False
) -> Pair:
    """A model beside a torch module.

    Args:
        own: The model.
        subject: The module, as ``validate`` takes it.
        chosen: On what both run, and where.
        stack: Holds the module in eval mode, on the device and with its attributes set, until it is closed.
        modules: Compare what submodules return, even where the file names fx nodes.

    Raises:
        ComparisonError: Inputs have no counterpart, ``forward`` raised, or no value is found on both sides.
    """
    subject = as_subject(subject)
    binding = bind_torch(own, subject, chosen.map)
    runner = TorchRunner(binding, subject, own.inputs, device=chosen.device, tf32=chosen.tf32)
    stack.enter_context(runner.opened())
    drawn = chosen.drawn(own, runner)
    mine = {name: drawn[name] for name in own.inputs if name in drawn}
    factors = factors_for_attributes(own, binding, drawn)
    drawn = {**drawn, **{name: found.meant for name, found in factors.items()}}
    mine.update(runner.determined(drawn, chosen.sample))
    mine.update({name: found.fed_like(mine[name]) for name, found in factors.items() if name in mine})
    stack.enter_context(runner.attributes_set(drawn))
    args, kwargs = runner.arguments(drawn, chosen.sample)
    run = TorchRun(runner.module, args, kwargs, binding.reference)
    candidate = OnnxSide(own.model, mine, device=chosen.device, tf32=chosen.tf32)
    notes = list(binding.notes)
    asked = functools.partial(runner.unrepeatable, drawn, chosen.sample, own.model)
    if not modules and any(fx_node(node) is not None for node in candidate.index.nodes):
        try:
            side = FxSide(run)
            twins = match_fx(candidate.index, side)
            if twins:
                _bind_outputs(candidate, side.outputs, binding, twins, chosen.map)
                side, twins = _outside(run, side, twins) if runner.branches.lines else (side, twins)
                notes += runner.remarks()
                looked = functools.partial(inside_cond, candidate, side)
                return Pair(candidate, side, twins, mine, notes, unrepeatable=asked, inside=looked)
        except ExportFailed:
            notes.append("torch cannot export the module with these arguments; values are matched by modules")
    side_of_modules = ModuleSide(run)
    notes += side_of_modules.notes + runner.remarks()
    given = side_of_modules.calls[-1].keys
    check_outputs(binding, len(given), CUT)
    _check_shapes(candidate, [side_of_modules.shapes()[key] for key in given], binding.positions)
    paths = {path for path, _ in runner.module.named_modules()}
    outputs = match_modules(side_of_modules, paths, candidate, binding.positions)
    twins = values_first(outputs)
    if not twins:
        raise ComparisonError(
            f"{own.name} and {binding.reference} share no value that can be told: the file names neither fx nodes nor modules",
            hint="export the model with graphkit, and run tools that drop metadata afterwards; or name values with "
            "graphkit.mark",
        )
    return Pair(candidate, side_of_modules, twins, mine, notes, outputs, unrepeatable=asked)


CUT = Hint(
    "cut the model to the outputs that both have with `",
    call("extract", outputs=[Blank("NAME")]),
    "`, or say which they are with ",
    Argument("map", {Blank("NAME"): Blank("POSITION")}),
)


def _outside(run: TorchRun, side: FxSide, twins: dict[str, str]) -> tuple[FxSide, dict[str, str]]:
    """The graph of what the module computes outside of an export, and the twins in it.

    A node of one graph is a node of the other where operator, line and module are the same, in the same order; an output is
    the output of the same place.

    Raises:
        ExportFailed: torch cannot export it.
    """
    plain = FxSide(run, outside=True)
    mine, theirs = ([(n, _signs(n)) for n in one.graph.nodes if n.op == "call_function"] for one in (side, plain))
    blocks = SequenceMatcher(None, [s for _, s in mine], [s for _, s in theirs], autojunk=False).get_matching_blocks()
    pairs = {mine[a + at][0].name: theirs[b + at][0].name for a, b, size in blocks for at in range(size)}
    outputs = dict(zip(side.outputs, plain.outputs, strict=False))
    pairs = {name: twin for name, twin in pairs.items() if twin not in outputs.values()} | outputs
    return plain, {value: pairs[twin] for value, twin in twins.items() if twin in pairs}


def _signs(node: Any) -> tuple[str, str | None, str | None]:
    return str(node.target), stack_line(node.meta.get("stack_trace") or ""), path_of(node)


def _bind_outputs(
    side: OnnxSide, given: list[str], binding: Binding, twins: dict[str, str], mapping: Mapping[str, str]
) -> None:
    """Add the outputs to the twins: those of a whole model are those of the module, one by one.

    Args:
        side: The model.
        given: What the module gives, in order.
        binding: Which output of the module an output of the model is.
        twins: What is known; it is added to.
        mapping: What the user said.

    Raises:
        ComparisonError: There are more or fewer, or they come in another order.
    """
    outputs = list(side.index.outputs)
    if any(twins[name] not in given for name in outputs if name in twins):
        return  # a part of the module
    check_outputs(binding, len(given), CUT)
    wanted = {name: given[at] for name, at in binding.positions.items()}
    wrong = [name for name in wanted if name in twins and twins[name] != wanted[name] and name not in mapping]
    if wrong and sorted(twins[name] for name in wrong) == sorted(wanted[name] for name in wrong):
        raise ComparisonError(
            f"the outputs come in another order: {', '.join(outputs)}; {wrong[0]!r} is output "
            f"{given.index(twins[wrong[0]])} of {binding.reference}",
            hint=Hint("say which is which with ", Argument("map", {n: str(given.index(twins[n])) for n in wrong})),
        )
    for name, twin in wanted.items():
        if name in side.index.producer and name not in twins and twin not in twins.values():
            twins[name] = twin


def _check_shapes(side: OnnxSide, given: Sequence[tuple[int, ...]], positions: Mapping[str, int]) -> None:
    """Refuse outputs whose shapes are those of the module in another order.

    Raises:
        ComparisonError: They are.
    """
    known = side.shapes()
    mine = {name: known[name] for name in positions if name in known}
    wanted = [given[at] for at in positions.values()]
    if len(mine) == len(wanted) > 1 and [*mine.values()] != wanted and sorted(mine.values()) == sorted(wanted):
        raise ComparisonError(
            f"the outputs come in another order: shapes {', '.join(str(list(s)) for s in mine.values())}; in the reference "
            f"{', '.join(str(list(s)) for s in wanted)}",
            hint=Hint("say which is which with ", Argument("map", {Blank("OUTPUT"): Blank("POSITION")})),
        )


def two_modules(candidate: Any, reference: Any, chosen: Chosen, stack: contextlib.ExitStack) -> Pair:
    """Two torch modules beside each other: what submodules of the same path return, on the candidate's example arguments.

    Args:
        candidate: A module with example arguments, as ``validate`` takes it.
        reference: A module.
        chosen: Where both run.
        stack: Holds the modules in eval mode and on the device until it is closed.

    Raises:
        ComparisonError: There are no example arguments, a ``forward`` raised, or no submodule is on both sides.
    """
    subjects = [as_subject(candidate), as_subject(reference)]
    example = next((s for s in subjects if s.args is not None or s.kwargs), None)
    if example is None:
        raise ComparisonError(
            "two torch modules need example arguments",
            hint="let the factory give (module, args) or (module, args, kwargs)",
        )
    sides = []
    for subject in subjects:
        stack.enter_context(prepared(subject.module, chosen.device, tf32=chosen.tf32))
        args, kwargs = (placed(value, chosen.device) for value in (tuple(example.args or ()), dict(example.kwargs)))
        sides.append(
            ModuleSide(TorchRun(subject.module, args, kwargs, subject.reference or type(subject.module).__name__))
        )
    theirs = {place.value for place in sides[1].places()}
    twins = {place.value: place.value for place in sides[0].places() if place.value in theirs}
    if not twins:
        raise ComparisonError(f"{sides[0].name} and {sides[1].name} have no submodule of the same path")
    return Pair(sides[0], sides[1], twins, {}, [note for side in sides for note in side.notes])
