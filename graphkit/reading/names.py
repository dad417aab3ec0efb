"""NAME=VALUE and INPUT:AXIS=VALUE: split such that they fit the names that are there; a name may be a JSON string."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

from graphkit.errors import EditError, NameNotFoundError, TextError
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.graph.ports import Port
from graphkit.graph.symbols import names_in
from graphkit.hint import Argument, Hint
from graphkit.model import Model, ModelLike
from graphkit.storage.load import as_model

Of: TypeAlias = Literal["input", "value", "node", "constant", "dim", "part", "text"]
"""What the names of some texts are names of; a part of a node is ``NODE:NAME``, and a text is no name that a model has."""

_AXIS = re.compile(r"-?[0-9]{1,9}")


class Axis(NamedTuple):
    """One axis of an input; it may count from the end."""

    input: str
    axis: int


def read_pairs(
    texts: Iterable[str],
    *models: ModelLike,
    of: Of = "input",
    form: str = "NAME=VALUE",
    alone: bool = False,
    empty: bool = False,
) -> list[tuple[str, str]]:
    """Texts ``NAME=VALUE`` as pairs, in order, split where a name ends that one of the models has.

    ``a=b=1`` is ``a=b`` and ``1`` where the model has an ``a=b`` and no ``a``. A name may be written as a JSON string
    everywhere: ``"a=b"=1``; so may a new name: ``old="new=name"``. A model that has a name with quotes in it, and not the
    one between them, means that.

    Args:
        texts: The texts.
        models: Where the names are; they are looked at only where a text can be read in several ways.
        of: What the names are names of: inputs, values, nodes, constants (with ``NODE:ATTRIBUTE``), or dims (symbols and
            ``INPUT:AXIS``; these keep their quotes, which ``axis_or_symbol`` reads), parts of nodes (``NODE:NAME``), or
            texts that are nothing of the model.
        form: How the text is to be written, for the message.
        alone: A text may be a name alone; its value is "" then.
        empty: A value may be empty.

    Raises:
        TextError: A text is not of that form, or fits the names of the model in several ways: both are named.

    Cost: O(length); O(graph) where a text can be read in several ways.

    Example:
        >>> import graphkit as gk
        >>> gk.read_pairs(["input.1=1,3", "x=2"], "model.onnx")
        [('input.1', '1,3'), ('x', '2')]
    """
    fits = cache(lambda: _fitting(models, of))
    return [_split(text, fits, of, form, alone=alone, empty=empty) for text in texts]


def read_pair(text: str, known: Collection[str] = (), *, of: Of = "input", form: str = "NAME=VALUE") -> tuple[str, str]:
    """One text ``NAME=VALUE``, as ``read_pairs`` reads it, where the names that are there are known.

    Raises:
        TextError: As ``read_pairs``.
    """
    return _split(text, lambda: _fits(known, of), of, form)


def _split(
    text: str, fits: Callable[[], Callable[[str], bool]], of: Of, form: str, *, alone: bool = False, empty: bool = False
) -> tuple[str, str]:
    last = len(text) - (0 if empty else 1)
    readings = [(text[:at], text[at + 1 :]) for at in range(1, last) if text[at] == "="]
    if alone and (not text.endswith("=") or fits()(text)):
        readings.append((text, ""))
    if (quoted := _quoted_reading(text, of, alone=alone, empty=empty)) is not None:
        name, key, value = quoted
        known = fits()
        if known(name) or not any(known(reading[0]) for reading in readings):
            return key, value
    if not readings:
        raise TextError(f"{form} is wanted, not {text!r}")
    if len(readings) > 1:
        known = fits()
        fitting = [reading for reading in readings if known(reading[0])]
        if len(fitting) > 1:
            said = " or ".join(f"{name!r} with {value!r}" if value else f"{name!r} alone" for name, value in fitting)
            quotes = " or ".join(
                f"{_in_quotes(name, of, known)}{'=' if value else ''}{value}" for name, value in fitting
            )
            raise TextError(f"{text!r} can be read as {said}", hint=f"quote the name: {quotes}")
        readings = fitting or readings
    return readings[0]


def _in_quotes(key: str, of: Of, known: Callable[[str], bool]) -> str:
    """A key whose name is written as a JSON string."""
    name, colon, place = key.rpartition(":")
    if colon and of in ("dim", "constant", "part") and known(name):
        return f"{json.dumps(name)}:{place}"
    return json.dumps(key)


def _quoted_reading(text: str, of: Of, *, alone: bool, empty: bool) -> tuple[str, str, str] | None:
    """What a text that begins with a JSON string says: the name, the key as it is given back, and the value."""
    if (begun := _quoted(text)) is None:
        return None
    name, rest = begun
    place, equals, value = rest.partition("=")
    parted = place[:1] == ":" and (_AXIS.fullmatch(place[1:]) if of == "dim" else of in ("constant", "part"))
    if (place and not parted) or not ((equals and (value or empty)) or (alone and not equals)):
        return None
    written = text[: len(text) - len(equals) - len(value)]
    return name + place, written if of == "dim" else name + place, value


def read_names(texts: Iterable[str], *models: ModelLike, of: Of = "value") -> list[str]:
    """Texts that are a name alone, in order; each may be written as a JSON string, also ``"NODE":NAME``.

    A text in quotes is the name between them, unless a model has that very text as a name and not the one between them.

    Args:
        texts: The texts.
        models: Where the names are; they are looked at only where a text is in quotes.
        of: What the names are names of.

    Cost: O(length); O(graph) where a text is in quotes.

    Example:
        >>> import graphkit as gk
        >>> gk.read_names(["relu_3", '"a=b"'])
        ['relu_3', 'a=b']
    """
    fits = cache(lambda: _fitting(models, of))
    found = []
    for text in texts:
        quoted = _quoted_reading(text, of, alone=True, empty=False)
        literal = quoted is None or quoted[2] or (fits()(text) and not fits()(quoted[0]))
        found.append(text if literal or quoted is None else quoted[0])
    return found


def unquoted(text: str) -> str:
    """A name that is written as a JSON string, without its quotes; any other text as it is.

    Example:
        >>> import graphkit as gk
        >>> gk.unquoted('"a=b"'), gk.unquoted('plain')
        ('a=b', 'plain')
    """
    begun = _quoted(text)
    return begun[0] if begun is not None and not begun[1] else text


def _quoted(text: str) -> tuple[str, str] | None:
    """The JSON string that a text begins with, and what follows."""
    if not text.startswith('"'):
        return None
    try:
        name, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return name, text[end:]


def _fitting(models: Iterable[ModelLike], of: Of) -> Callable[[str], bool]:
    """Whether the models have a name."""
    known: set[str] = set()
    for model in map(as_model, models):
        known |= _known(model, of)
    return _fits(known, of)


def _fits(known: Collection[str], of: Of) -> Callable[[str], bool]:
    if of in ("constant", "part"):
        return lambda name: name in known or (":" in name and name.rpartition(":")[0] in known)
    if of == "dim":
        return lambda key: key in known or _axis_in(key, known) is not None
    return lambda name: name in known


def _known(model: Model, of: Of) -> set[str]:
    if of == "text":
        return set()
    graph = model.proto.graph
    inputs = {value.name for value in graph.input}
    if of == "input":
        return inputs
    if of == "dim":
        return inputs | symbols_of(model)
    names = Names(graph)
    return names.values if of == "value" else names.nodes if of == "node" else names.taken


def symbols_of(model: Model) -> set[str]:
    """The symbolic dims of a model, and the names that expressions among them are made of."""
    infos = [
        info for graph in walk.graphs(model.proto.graph) for info in (*graph.input, *graph.output, *graph.value_info)
    ]
    spelt = {dim.dim_param for info in infos for dim in info.type.tensor_type.shape.dim if dim.dim_param}
    return spelt | {name for symbol in spelt for name in names_in(symbol)}


def _axis_in(key: str, inputs: Collection[str]) -> Axis | None:
    name, colon, axis = key.rpartition(":")
    return Axis(name, int(axis)) if colon and _AXIS.fullmatch(axis) and name in inputs else None


def axis_or_symbol(key: str, ports: Mapping[str, Port], symbols: Collection[str], value: Any = None) -> Axis | str:
    """What ``INPUT:AXIS`` or a symbolic dim names.

    Args:
        key: The text; the name in it may be a JSON string: ``"x:0":1``, ``"n"``.
        ports: The inputs.
        symbols: The symbolic dims.
        value: What the dim is to be, for the hint.

    Raises:
        TextError: It can be read as both.
        NameNotFoundError: It is neither. Where it is an input without an axis, the hint has its axes.
        EditError: The input has no such axis, or its shape is not declared.
    """
    if (begun := _quoted(key)) is not None and key not in symbols and _axis_in(key, ports) is None:
        name, rest = begun
        symbol = name if not rest and name in symbols else None
        axis = Axis(name, int(rest[1:])) if name in ports and rest[:1] == ":" and _AXIS.fullmatch(rest[1:]) else None
    else:
        symbol, axis = (key if key in symbols else None), _axis_in(key, ports)
    if symbol is not None and axis is not None:
        raise TextError(
            f"{key!r} can be read as the symbolic dim {symbol!r} or as axis {axis.axis} of input {axis.input!r}",
            hint=f"quote the name: {json.dumps(symbol)} or {json.dumps(axis.input)}:{axis.axis}",
        )
    if symbol is not None:
        return symbol
    if axis is None:
        name, colon, place = key.rpartition(":")
        wanted = unquoted(name if colon and _AXIS.fullmatch(place) and key not in ports else key)
        raise NameNotFoundError(
            "input or symbolic dim", wanted, [*ports, *sorted(symbols)], hint=_axes(wanted, ports, value)
        )
    rank = _rank(ports[axis.input], axis.axis)
    return Axis(axis.input, axis.axis % rank)


def _rank(port: Port, axis: int) -> int:
    if port.dims is None:
        raise EditError(f"the shape of input {port.name!r} is not declared, so it has no axis {axis}")
    if not -len(port.dims) <= axis < len(port.dims):
        raise EditError(
            f"input {port.name!r} has {len(port.dims)} axes, so there is no axis {axis}",
            hint=f"count from 0 to {len(port.dims) - 1}, or from behind from -1" if port.dims else "it is one number",
        )
    return len(port.dims)


def _axes(name: str, ports: Mapping[str, Port], value: Any) -> Hint | None:
    """How to name an axis of an input that was named without one."""
    dims = ports[name].dims if name in ports else None
    if not dims:
        return None
    keys = [f"{name}:{axis}" for axis in range(len(dims))]
    more = f" (or {', '.join(keys[1:])})" if keys[1:] else ""
    return Hint(f"{name!r} is an input: say which axis, such as ", Argument("values", {keys[0]: value}), more)
