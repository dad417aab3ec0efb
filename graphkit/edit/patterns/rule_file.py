"""Rule files: several keywords, and ONNX's text for patterns and replacements.

A file has one rule::

    # x * Sigmoid(x) is Swish.
    opset 24
    pattern (x) => (y) { s = Sigmoid(x)  y = Mul(x, s) }
    replacement (x) => (y) { y = Swish(x) }

``pattern``, ``replacement`` and ``either`` hold functions in ONNX's text; everything else is one line. Several patterns in a
row share what follows them, up to their ``replacement``; after that the next ones begin. ``either NAME (x) => (y) { ... }``,
given more than once, is an operator of one's own that stands for any of its bodies. A node ``[label] y = Conv(...)`` that
the replacement has too is the same node: attributes that the text leaves out stay as they are. Elsewhere they have to have
the operator's default. ``<alpha: float = @alpha>`` binds an attribute. What a replacement makes of constants alone is
computed; ``written d`` keeps the node that makes ``d``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import onnx

from graphkit.edit.patterns.expressions import calls_in, evaluate, names_in, parsed
from graphkit.edit.patterns.facts import KNOWN
from graphkit.edit.patterns.rule import Alternative, Condition, Pattern, Rule, pattern_of
from graphkit.errors import FormatError
from graphkit.storage.text import parser_said

MOST_ALTERNATIVES = 64
"""How many patterns ``either`` may come to."""

_KEYWORD = re.compile(
    r"^[ \t]*(rule|law|opset|parameter|either|pattern|where|let|optional|default|shared|written|told|replacement)\b[ \t]*",
    re.MULTILINE,
)
_BLOCKS = ("either", "pattern", "replacement")
_HEADER = '<domain: "rule", opset_import: ["" : 1]>'


def read_rule(text: str, name: str) -> Rule:
    """The rule that a file's text says.

    Args:
        text: The text.
        name: What it is called where the text does not say so.

    Raises:
        FormatError: It is no rule; what is wrong is said.
    """
    summary = " ".join(_summary(text))
    reader = _Reader(name, summary, text)
    try:
        for keyword, content in _statements(text):
            reader.read(keyword, content)
        return reader.rule()
    except FormatError as error:
        raise FormatError(
            f"the rule {reader.name!r} is not as it should be: {error.message}", hint=error.hint
        ) from error


def _summary(text: str) -> Iterator[str]:
    """The comment that a file begins with, up to an empty line."""
    for line in text.strip().splitlines():
        if not line.startswith("#") or not line.strip("# "):
            return
        yield line.strip("# ")


def _statements(text: str) -> Iterator[tuple[str, str]]:
    """(keyword, what follows it), in order."""
    text = re.sub(r"^[ \t]*#.*$", "", text, flags=re.MULTILINE)
    place = 0
    while text[place:].strip():
        found = _KEYWORD.search(text, place)
        if found is None or text[place : found.start()].strip():
            shown = text[place:].strip().splitlines()[0]
            raise FormatError(f"{shown!r} begins with none of the keywords of rule files")
        if found[1] in _BLOCKS:
            place = _end_of_block(text, found.end())
        else:
            place = text.find("\n", found.end()) if "\n" in text[found.end() :] else len(text)
        yield found[1], text[found.end() : place].strip()


def _end_of_block(text: str, start: int) -> int:
    depth = 0
    opened = text.find("=>", start)
    quoted = False
    for place in range(max(opened, start), len(text)):
        quoted ^= text[place] == '"'
        if quoted:
            continue
        depth += (text[place] == "{") - (text[place] == "}")
        if text[place] == "}" and not depth:
            return place + 1
    raise FormatError(f"{text[start : start + 40].strip()!r} has no closing brace")


def _function(text: str) -> onnx.FunctionProto:
    """A function in ONNX's text, whose name may be left out."""
    if not re.match(r"\s*[A-Za-z_]\w*\s*[<(]", text):
        text = f"body {text}"
    try:
        return onnx.parser.parse_function(_HEADER + text)
    except onnx.parser.ParseError as error:
        reason = parser_said(error)
        raise FormatError(
            f"{text.strip()[:60]!r} is no function in ONNX's text: {reason}",
            hint="write (x) => (y) { y = Relu(x) }",
        ) from error


@dataclass
class _Group:
    """Patterns, and what is said about them up to their replacement."""

    patterns: list[onnx.FunctionProto] = field(default_factory=list)
    conditions: list[tuple[str, Condition]] = field(default_factory=list)
    lets: dict[str, Condition] = field(default_factory=dict)
    optional: set[str] = field(default_factory=set)
    defaults: dict[str, Condition] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)


class _Reader:
    def __init__(self, name: str, summary: str, text: str) -> None:
        self.name = name
        self._summary = summary
        self._text = text
        self._law: Literal["replaced", "close"] = "replaced"
        self._tolerance: float | None = None
        self._opset: tuple[int, int | None] = (1, None)
        self._parameters: dict[str, Any] = {}
        self._either: dict[str, list[onnx.FunctionProto]] = {}
        self._group = _Group()
        self._told = ""
        self._alternatives: list[Alternative] = []

    def read(self, keyword: str, content: str) -> None:
        """One statement."""
        group = self._group
        match keyword:
            case "rule":
                self.name = content
            case "law":
                self._read_law(content)
            case "opset":
                self._opset = _opsets(content)
            case "parameter":
                name, value = _assigned(content)
                self._parameters[name] = evaluate(parsed(value), {}, {})
            case "either":
                made = _function(content)
                self._either.setdefault(made.name, []).append(made)
            case "pattern":
                group.patterns.append(_function(content))
            case "where":
                group.conditions.append((content, parsed(content)))
            case "let" | "default":
                name, value = _assigned(content)
                (group.lets if keyword == "let" else group.defaults)[name] = parsed(value)
                group.optional.update([name] if keyword == "default" else [])
            case "optional" | "shared" | "written":
                chosen: set[str] = getattr(group, keyword)
                chosen.update(re.split(r"[,\s]+", content))
            case "told":
                self._told = content
            case "replacement":
                self._close(_function(content))

    def _read_law(self, content: str) -> None:
        word, _, bound = content.partition(" ")
        if word not in ("replaced", "close"):
            raise FormatError(f"the law is replaced or close, not {word!r}")
        self._law = "close" if word == "close" else "replaced"
        if (word == "close") != bool(bound.strip()):
            raise FormatError("the law close has a bound, and replaced has none", hint="law close 1e-3")
        try:
            self._tolerance = float(bound) if bound else None
        except ValueError as error:
            raise FormatError(f"{bound!r} is no number") from error

    def _close(self, replacement: onnx.FunctionProto) -> None:
        group, self._group = self._group, _Group()
        if not group.patterns:
            raise FormatError("a replacement has no pattern before it")
        for first in group.patterns:
            for function in expanded(first, self._either):
                self._alternatives.append(
                    alternative(function, replacement, group_of(group, self._parameters), self._opset)
                )
        if len(self._alternatives) > MOST_ALTERNATIVES:
            raise FormatError(f"it comes to more than {MOST_ALTERNATIVES} patterns")

    def with_functions(
        self, where: list[tuple[str, Condition]], let: Mapping[str, Condition], replacement: onnx.FunctionProto
    ) -> Rule:
        """What was read, with functions of Python among the conditions and computed values."""
        self._group.conditions += where
        self._group.lets.update(let)
        self._close(replacement)
        return self.rule()

    def rule(self) -> Rule:
        """What was read."""
        if self._group.patterns or not self._alternatives:
            raise FormatError("a pattern has no replacement" if self._group.patterns else "it has no pattern")
        return Rule(
            self.name, self._summary, self._law, self._tolerance, self._parameters, tuple(self._alternatives), self._told,
            self._text,
        )  # fmt: skip


def group_of(group: _Group, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is said about patterns, as ``alternative`` takes it."""
    return {**vars(group), "parameters": set(parameters)}


def _assigned(content: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in content.partition("="))
    if not equals or not name.isidentifier():
        raise FormatError(f"{content!r} is not NAME = EXPRESSION")
    return name, value


def _opsets(content: str) -> tuple[int, int | None]:
    found = re.fullmatch(r"(\d+)(?:\s*(\.\.)\s*(\d+)?)?", content)
    if found is None:
        raise FormatError(f"{content!r} names no opsets", hint="write opset 13, or opset 13 .. 17")
    return int(found[1]), int(found[3]) if found[3] else None


def expanded(
    function: onnx.FunctionProto, either: Mapping[str, list[onnx.FunctionProto]]
) -> Iterator[onnx.FunctionProto]:
    """A pattern with each operator of the rule's own replaced by each of its bodies."""
    for place, node in enumerate(function.node):
        if node.op_type not in either or node.domain:
            continue
        for number, body in enumerate(either[node.op_type]):
            if len(node.input) > len(body.input) or len(node.output) > len(body.output):
                raise FormatError(f"{node.op_type} has more operands or results than its bodies")
            given = dict(zip(body.input, node.input, strict=False)) | dict(zip(body.output, node.output, strict=False))
            copy = onnx.FunctionProto()
            copy.CopyFrom(function)
            del copy.node[:]
            copy.node.extend(function.node[:place])
            for inner in body.node:
                one = copy.node.add()
                one.CopyFrom(inner)
                prefix = f"{node.output[0]}_{number}_"
                one.input[:] = [given.get(name, prefix + name) if name else "" for name in inner.input]
                one.output[:] = [given.get(name, prefix + name) if name else "" for name in inner.output]
            copy.node.extend(function.node[place + 1 :])
            yield from expanded(copy, either)
        return
    yield function


def alternative(
    function: onnx.FunctionProto,
    replacement: onnx.FunctionProto,
    said: Mapping[str, Any],
    opset: tuple[int, int | None],
) -> Alternative:
    """A pattern and its replacement, checked against each other.

    Raises:
        FormatError: They do not fit.
    """
    pattern = pattern_of(function, {node.name for node in replacement.node if node.name})
    known = _check_names(pattern, replacement, said)
    constants: set[str] = set()
    for text, condition in said["conditions"]:
        if not callable(condition):
            _check_expression(text, condition, known)
            constants |= _required_constants(condition)
    for table in (said["lets"], said["defaults"]):
        for name, value in table.items():
            if not callable(value):
                _check_expression(f"{name} = ...", value, known)
    return Alternative(
        pattern,
        replacement,
        tuple(said["conditions"]),
        dict(said["lets"]),
        frozenset(said["optional"]),
        dict(said["defaults"]),
        frozenset(said["shared"]),
        frozenset(constants & set(pattern.variables)),
        frozenset(said["parameters"]),
        frozenset(said["written"]),
        *opset,
    )


def _check_names(pattern: Pattern, replacement: onnx.FunctionProto, said: Mapping[str, Any]) -> set[str]:
    """Refuse names that nothing gives; returns those that expressions may use."""
    made = {name for one in pattern.nodes for name in one.outputs}
    if not pattern.outputs or not set(pattern.outputs) <= made:
        raise FormatError("each output of a pattern is what one of its operators makes")
    if len(replacement.output) != len(pattern.outputs):
        raise FormatError(
            f"the pattern gives {len(pattern.outputs)} values and the replacement {len(replacement.output)}"
        )
    read = {name for one in pattern.nodes for name in one.inputs if name}
    loose = read - made - set(pattern.variables) - set(pattern.constants)
    if loose:
        raise FormatError(f"the pattern reads {min(loose)!r}, which is none of its variables and nothing makes")
    bound = {a.ref_attr_name for one in pattern.nodes for a in one.attributes if a.ref_attr_name}
    computed = set(said["lets"]) | said["parameters"]
    known: set[str] = set(pattern.variables) | made | set(pattern.constants) | bound | computed | {"opset"}
    given = set(pattern.variables) | set(pattern.constants) | said["shared"] | computed
    available = given | {name for node in replacement.node for name in node.output}
    wanted = [*(n for node in replacement.node for n in node.input), *replacement.output]
    for name in wanted:
        if name and name not in available:
            raise FormatError(f"the replacement reads {name!r}, which is no variable and nothing makes")
    for node in replacement.node:
        for attribute in node.attribute:
            if attribute.ref_attr_name and attribute.ref_attr_name not in bound | computed:
                raise FormatError(f"the replacement uses @{attribute.ref_attr_name}, which the pattern does not bind")
    _check_connected(pattern)
    for name in said["written"] - {name for node in replacement.node for name in node.output}:
        raise FormatError(f"{name!r} is to be written, and the replacement does not make it")
    labels = [one.label for one in pattern.nodes if one.label]
    if len(set(labels)) < len(labels):
        raise FormatError("two nodes of the pattern have the same label")
    return known


def _check_connected(pattern: Pattern) -> None:
    """Refuse a pattern of two parts: each operator has to be found from the others."""
    parts: list[set[str]] = []
    for one in pattern.nodes:
        names = {*one.inputs, *one.outputs} - {""} - set(pattern.constants)
        joined = [part for part in parts if not part.isdisjoint(names)]
        parts = [part for part in parts if part not in joined] + [names.union(*joined)]
    if len(parts) > 1:
        raise FormatError("the pattern falls into parts that have nothing to do with each other")


def _check_expression(text: str, tree: Condition, known: Iterable[str]) -> None:
    assert not callable(tree)
    unknown = sorted(names_in(tree) - set(known))
    if unknown:
        raise FormatError(f"{text!r} uses {unknown[0]!r}, which the rule does not have")
    unknown = sorted(calls_in(tree) - set(KNOWN))
    if unknown:
        raise FormatError(f"{text!r} calls {unknown[0]!r}", hint=f"rules may call {', '.join(sorted(KNOWN))}")


def _required_constants(tree: Condition) -> set[str]:
    """The variables of a condition ``constant(a, b)``, alone or joined by ``and``."""
    import ast

    assert not callable(tree)
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    calls = [p for p in parts if isinstance(p, ast.Call) and isinstance(p.func, ast.Name) and p.func.id == "constant"]
    return {argument.id for call in calls for argument in call.args if isinstance(argument, ast.Name)}


def with_parameters(rule: Rule, given: Mapping[str, Any]) -> Rule:
    """A rule with other values for its parameters.

    Raises:
        FormatError: It has no such parameter.
    """
    for name in given:
        if name not in rule.parameters:
            has = ", ".join(rule.parameters) or "none"
            raise FormatError(f"the rule {rule.name!r} has no parameter {name!r}", hint=f"it has {has}")
    return replace(rule, parameters={**rule.parameters, **given})


def rule_of(
    pattern: str,
    replacement: str,
    name: str,
    where: str | Callable[[Any], object] | Iterable[str | Callable[[Any], object]],
    let: Mapping[str, str | Callable[[Any], object]],
    optional: str | Iterable[str],
    shared: str | Iterable[str],
    tolerance: float | None,
) -> Rule:
    """A rule of texts and functions; one of texts alone has its text as a file would.

    Raises:
        FormatError: As ``read_rule``.
    """
    where = [where] if isinstance(where, str) or callable(where) else list(where)
    optional, shared = ([each] if isinstance(each, str) else list(each) for each in (optional, shared))
    lines = [f"rule {name}", *([f"law close {tolerance!r}"] if tolerance is not None else [])]
    lines.append(f"pattern {pattern}")
    lines += [f"where {text}" for text in where if not callable(text)]
    lines += [f"let {key} = {value}" for key, value in let.items() if not callable(value)]
    lines += [f"optional {key}" for key in optional] + [f"shared {key}" for key in shared]
    if not any(map(callable, [*where, *let.values()])):
        return read_rule("\n".join([*lines, f"replacement {replacement}"]), name)
    reader = _Reader(name, "", "")
    for keyword, content in _statements("\n".join(lines)):
        reader.read(keyword, content)
    return reader.with_functions(
        [(getattr(c, "__name__", "a condition"), c) for c in where if callable(c)],
        {key: value for key, value in let.items() if callable(value)},
        _function(replacement),
    )
