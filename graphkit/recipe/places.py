"""Places: names in a step that hold on a re-export too, by position, operator type and torch module.

==============================  ==================================================================================
``@input[0]``, ``@output[-1]``  an input or output of the model, by position
``@node(Conv)[2]``              the third Conv of the main graph, in the file's order
``@node(Conv, layer1.0)[0]``    the first Conv of the torch module ``layer1.0``
``@value(Conv)[2]``             its first output; ``@value(Conv)[2:1]`` its second one
``@operand(Conv)[2:1]``         what it reads at place 1: the weights of a Conv
``@node(Conv, layer1.bn)[0]``   the convolution that a BatchNorm was folded into has both modules' names
==============================  ==================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import onnx

from graphkit.errors import NameNotFoundError
from graphkit.graph.module_paths import folded_modules, module_path
from graphkit.graph.names import label
from graphkit.model import Model

T = TypeVar("T")

_PLACE = re.compile(
    r"@(?P<kind>input|output|node|value|operand)(?:\((?P<op>[^(),\[\]]+)(?:,\s*(?P<module>[^(),\[\]]*))?\))?"
    r"\[(?P<index>-?\d{1,9})(?::(?P<place>\d{1,4}))?\](?P<rest>:.+)?"
)

NAMING = frozenset(
    "values nodes inputs outputs tensors at readers names keep_nodes only attributes operands input_types modules clear".split()
)
"""Arguments whose texts, or keys, name values and nodes."""


def resolved(model: Model, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with every place as the name that stands there in the model.

    Raises:
        NameNotFoundError: There is no such place.
    """
    finder = _Finder(model)
    return {name: _resolve(value, finder) if name in NAMING else value for name, value in arguments.items()}


def _resolve(value: Any, finder: _Finder) -> Any:
    if isinstance(value, str):
        return finder.name(value)
    if isinstance(value, list):
        return [_resolve(item, finder) for item in value]
    if isinstance(value, Mapping):
        return {finder.name(key): item for key, item in value.items()}
    return value


class _Finder:
    """What is where in a model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._by_kind: dict[tuple[str, str | None], list[onnx.NodeProto]] = {}

    @cached_property
    def _names(self) -> set[str]:
        """The names that are there: one that looks like a place is a name all the same."""
        graph = self._model.proto.graph
        inputs = {value.name for value in graph.input}
        return inputs.union(*({node.name, *node.input, *node.output} for node in graph.node))

    def name(self, text: str) -> str:
        """The name that a place stands for; any other text as it is."""
        match = _PLACE.fullmatch(text)
        if match is None or (match["kind"] in ("input", "output")) == bool(match["op"]) or text in self._names:
            return text
        index, kind, rest = int(match["index"]), match["kind"], match["rest"] or ""
        if kind in ("input", "output"):
            names = [v.name for v in (self._model.inputs if kind == "input" else self._model.outputs)]
            return _at(names, index, text) + rest
        node = _at(self._nodes(match["op"], match["module"]), index, text)
        if kind == "node":
            return label(node) + rest
        names = list(node.output if kind == "value" else node.input)
        return _at(names, int(match["place"] or 0), text) + rest

    def _nodes(self, op: str, module: str | None) -> list[onnx.NodeProto]:
        key = (op.strip(), None if module is None else module.strip())
        if key not in self._by_kind:
            domain, _, kind = key[0].rpartition("::")
            self._by_kind[key] = [
                node
                for node in self._model.proto.graph.node
                if node.op_type == kind
                and (not domain or (node.domain or "ai.onnx") == domain)
                and (key[1] is None or key[1] in (module_path(node), *folded_modules(node)))
            ]
        return self._by_kind[key]


def _at(found: Sequence[T], index: int, text: str) -> T:
    if not -len(found) <= index < len(found):
        error = NameNotFoundError("place", text, hint=f"it has {len(found)} of that kind, counted from 0")
        error.message = f"the model has no {text}"
        raise error
    return found[index]


def portable(model: Model, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with names as places, where the model says where they stand. JSON as a Step has it."""
    places = _Places(model)
    return {name: _place(value, places) if name in NAMING else value for name, value in arguments.items()}


def _place(value: Any, places: _Places) -> Any:
    if isinstance(value, str):
        return places.of(value)
    if isinstance(value, list):
        return [_place(item, places) for item in value]
    if isinstance(value, Mapping) and not any(str(key).startswith("$") for key in value):
        return {places.of(key): item for key, item in value.items()}
    return value


class _Places:
    """Name -> place, for a model."""

    def __init__(self, model: Model) -> None:
        self._found: dict[str, str] = {}
        counts: dict[tuple[str, str | None], int] = {}
        for node in model.proto.graph.node:
            op = f"{node.domain}::{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
            path = module_path(node)
            index = counts[op, path] = counts.get((op, path), -1) + 1
            what = f"({op})" if path is None or re.search(r"[(),\[\]]", path) else f"({op}, {path})"
            if path is not None and what == f"({op})":
                continue
            for at, name in enumerate(node.input):
                self._found.setdefault(name, f"@operand{what}[{index}:{at}]")
            for at, name in enumerate(node.output):
                self._found[name] = f"@value{what}[{index}]" if not at else f"@value{what}[{index}:{at}]"
            if node.name:
                self._found[node.name] = f"@node{what}[{index}]"
        for kind, values in (("input", model.inputs), ("output", model.outputs)):
            self._found.update({value.name: f"@{kind}[{at}]" for at, value in enumerate(values)})

    def of(self, text: str) -> str:
        """The place of a name, or of the name before the last colon; any other text as it is."""
        if text in self._found:
            return self._found[text]
        name, colon, rest = text.rpartition(":")
        return f"{self._found[name]}{colon}{rest}" if colon and name in self._found else text
