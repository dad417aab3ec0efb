"""The stages of a split model, run one after the other."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphkit.errors import FeedError, FormatError, NameNotFoundError
from graphkit.feeds.feeds import RANDOM, complete
from graphkit.runtime.session import session
from graphkit.storage.system import regular_only
from graphkit.surgery.split import PLAN

if TYPE_CHECKING:
    from graphkit.runtime.session import Session
    from graphkit.tensor import Array


def is_chain(model: object) -> bool:
    """Whether a model is named by the folder of a split one."""
    return isinstance(model, str | os.PathLike) and os.path.isfile(os.path.join(os.fspath(model), PLAN))


def read_plan(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``stages.json`` says.

    Raises:
        FormatError: It is no plan that this graphkit reads.
    """
    path = os.path.join(os.fspath(folder), PLAN)
    try:
        with open(path, encoding="utf-8", opener=regular_only) as file:
            plan = json.load(file)
        stages = plan["stages"]
        good = plan["format"] == 1 and all(isinstance(name, str) for name in (*plan["inputs"], *plan["outputs"]))
        for stage in stages:
            file_name, inputs = stage["file"], stage["inputs"]
            good = (
                good and os.path.basename(file_name) == file_name and all(isinstance(v, str) for v in inputs.values())
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{path} is no plan of stages", path=path) from error
    if not good or not stages:
        raise FormatError(f"{path} is no plan of stages that this graphkit reads", path=path)
    found: dict[str, Any] = plan
    return found


def run_chain(
    folder: str | os.PathLike[str],
    feeds: Mapping[str, Any] | Any | None,
    *,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
    bind: Mapping[str, int] | None = None,
    **loading: Any,
) -> tuple[dict[str, Array], Session]:
    """Run the stages of a folder; values go from one to the next on the host, and are let go behind their last reader.

    Args:
        folder: What ``Split.save`` wrote.
        feeds: As ``gk.run`` takes them, for the inputs of the whole model.
        outputs: Outputs of the whole, or values that cross; None for the outputs.
        seed: For inputs that are drawn.
        bind: Symbolic dim or ``INPUT:AXIS`` -> size, for inputs that are drawn.
        loading: As ``session`` takes them.

    Returns:
        Output -> array, and the last stage's session.

    Raises:
        FormatError: The plan is damaged.
        NameNotFoundError: A feed or an output that the chain does not have.
        FeedError, SessionError, ProviderError, MissingExtraError, ModelFileError: As ``gk.run``.
    """
    plan = read_plan(folder)
    if feeds is not None and not isinstance(feeds, Mapping):
        if len(plan["inputs"]) != 1:
            raise FeedError(f"the stages have {len(plan['inputs'])} inputs: feed them by name", hint=None)
        feeds = {plan["inputs"][0]: feeds}
    given = dict(feeds or {})
    crossing = {name for stage in plan["stages"] for name in stage["outputs"]}
    for name in outputs or ():
        if name not in crossing:
            raise NameNotFoundError("output", name, crossing)
    wanted = list(outputs) if outputs is not None else plan["outputs"]
    known: dict[str, Any] = {}
    used: set[str] = set()
    bound: set[str] = set()
    for number, stage in enumerate(plan["stages"]):
        made = session(os.path.join(os.fspath(folder), stage["file"]), **loading)
        fed: dict[str, Any] = {}
        for name, port in made.inputs.items():
            if stage["inputs"].get(name, "input") != "input":
                fed[name] = known[name]
            elif name in given or name in known:
                fed[name] = known.get(name, given.get(name))
            elif port.required and not given:
                fed[name] = RANDOM
            used.add(name)
        sizes = _drawn_sizes(made, fed, bind or {})
        bound.update(sizes)
        arrays = complete(made.model, made.inputs, fed, seed=seed, bind=sizes)
        known.update(arrays)
        known.update(made.run_arrays(arrays))
        later = {name for rest in plan["stages"][number + 1 :] for name in rest["inputs"]} | set(wanted)
        known = {name: value for name, value in known.items() if name in later}
    if unknown := [name for name in given if name not in used]:
        raise NameNotFoundError("input", unknown[0], plan["inputs"])
    if idle := [dim for dim in bind or () if dim not in bound]:
        raise FeedError(f"no input that is drawn has the dim {idle[0]!r}", name=idle[0])
    return {name: known[name] for name in wanted}, made


def _drawn_sizes(made: Session, fed: Mapping[str, Any], bind: Mapping[str, int]) -> dict[str, int]:
    """What of ``bind`` is for the inputs that a stage draws."""
    drawn = [made.inputs[name] for name, value in fed.items() if isinstance(value, str) and value == RANDOM]
    symbols = {dim for port in drawn for dim in port.dims or () if isinstance(dim, str)}
    names = {port.name for port in drawn}
    return {dim: size for dim, size in bind.items() if dim in symbols or dim.rpartition(":")[0] in names}
