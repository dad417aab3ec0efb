"""How one model differs from another: the function behind ``graphkit diff``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, cast, get_args

from graphkit.inspection.diff.compare import Comparison, Place
from graphkit.inspection.diff.difference import IGNORABLE, LISTS, Aspect, Change, Difference, Found
from graphkit.inspection.diff.steps import with_steps
from graphkit.inspection.diff.whole import functions, model_fields, pair_functions, rest
from graphkit.storage.load import as_model

if TYPE_CHECKING:
    from graphkit.model import Model, ModelLike


def diff(before: ModelLike, after: ModelLike, *, ignore: Iterable[str] = (), steps: bool = True) -> Difference:
    """How a model differs from another.

    Nodes are one where their text is one, or what they compute and what is made of it, or their name and operator, their
    place beside nodes that are one, or their module; so a model whose values were all renamed is renamed, and not another.
    Weights are compared by their bytes, wherever they lie. Where bytes are stored, and the history, are no difference.

    Args:
        before: A path, a ModelProto or a Model.
        after: Another.
        ignore: Kinds of differences that do not count and are not listed: "names", "metadata" (also producer and docs),
            "weights" (values; they are not read then), "shapes" (declared ones, those of the interface included).
        steps: Where the history of ``after`` goes on from ``before``, replay it and say which step made which difference.

    Returns:
        The differences; true where there is none but those to be ignored.

    Raises:
        ModelFileError, FormatError, WeightsError, TensorError: A model cannot be loaded, or bytes of a weight are missing.
        ValueError: ``ignore`` names something else.

    Changes: nothing.
    Scope: main graph, bodies, functions.
    Cost: O(nodes and edges); the weights of both are read once, 4 MiB at a time, and not at all where they are ignored.
        ``steps`` adds the cost of the steps themselves.

    Example:
        >>> import onnx, graphkit as gk
        >>> text = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
        >>> model = onnx.parser.parse_model(text)
        >>> str(gk.diff(model, gk.rename(model, values={"x": "image"})).verdict)
        'equal but for names'
    """
    ignored = _aspects(ignore)
    one, two = as_model(before), as_model(after)
    result = _compared(one, two, ignored)
    if not steps or not any(result.lists.values()):
        return result
    return with_steps(result, one, two, lambda was, now: _compared(was, now, ignored))


def _aspects(ignore: Iterable[str]) -> set[Aspect]:
    wanted = {ignore} if isinstance(ignore, str) else set(ignore)
    if unknown := sorted(wanted - set(IGNORABLE)):
        raise ValueError(f"ignore takes {', '.join(IGNORABLE)}, not {unknown[0]!r}")
    return cast("set[Aspect]", wanted)


def _compared(one: Model, two: Model, ignored: Collection[Aspect]) -> Difference:
    pairs = pair_functions(one.proto, two.proto)
    calls = {key: other for key, other in pairs.items() if key != other}
    work = Comparison(one, two, calls, read="weights" not in ignored)
    model_fields(one.proto, two.proto, work.found)
    places = functions(one.proto, two.proto, pairs, work.found)
    work.run([Place(one.proto.graph, two.proto.graph, "", {}), *places])
    rest(one.proto, two.proto, work.tensors, work.found)
    return _result(_name(one), _name(two), work.found, ignored)


def _result(before: str, after: str, found: Found, ignored: Collection[Aspect]) -> Difference:
    counts: dict[str, int] = {}
    kept: dict[str, tuple[Change, ...]] = {}
    for name in LISTS:
        changes = found.lists[name]
        kept[name] = tuple(change for change in changes if change.aspect not in ignored)
        for change in changes:
            if change.aspect in ignored:
                counts[change.aspect] = counts.get(change.aspect, 0) + 1
    aspects = {change.aspect for changes in kept.values() for change in changes}
    both = aspects | set(counts)
    named = [aspect for aspect in get_args(Aspect) if aspect in both]
    verdict = "different" if "structure" in both else f"equal but for {_and(named)}" if named else "equal"
    lists = [kept[name] for name in LISTS]
    return Difference(before, after, not aspects, verdict, lists[0], lists[1], lists[2], lists[3], lists[4], counts)


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _name(model: Model) -> str:
    return model.path or model.proto.graph.name
