"""Which torch argument becomes which ONNX input or attribute: a translation's source, read as it would be run.

Nothing is run. Each name of the source stands for the torch arguments that its value is made from; where a condition is
known (the opset, a mode that the rule was made for), only its branch is read, otherwise both are.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx

from graphkit.comparisons import COMPARISONS
from graphkit.result import Result
from graphkit.torch_export.rule_source import DEPTH, called, tree

BUDGET = 4000
"""Expressions that are read of one translation; a longer one is told in part."""


@dataclass(frozen=True, repr=False)
class ArgumentUse(Result):
    """What an input or attribute of an ONNX operator is made from.

    Attributes:
        operator: The ONNX operator.
        place: "input" or "attribute".
        name: Its name in the operator's definition.
        arguments: The torch arguments; () for what the translation sets itself.
        value: The constant, where it is one.
    """

    operator: str
    place: str
    name: str
    arguments: tuple[str, ...]
    value: str | None = None


_UNKNOWN = object()


@dataclass(frozen=True)
class _Held:
    """What a name stands for.

    Attributes:
        arguments: The torch arguments that it is made from.
        constant: Its value where that is known.
        items: Its parts where it is a tuple or list of known length.
        made_by: The calls that emit the node whose result it is.
        fields: Key -> value of a dict, as far as its keys are known.
    """

    arguments: frozenset[str] = frozenset()
    constant: Any = _UNKNOWN
    items: tuple[_Held, ...] | None = None
    made_by: frozenset[int] = frozenset()
    fields: tuple[tuple[str, _Held], ...] = ()


_NOTHING = _Held()


class _Graph:
    """The ``g`` of a symbolic function: it knows the opset."""

    def __init__(self, opset: int) -> None:
        self.opset = opset


@dataclass
class _Emission:
    operator: str
    inputs: list[_Held]
    attributes: dict[str, _Held]


def argument_uses(function: Callable[..., Any], names: Sequence[str], opset: int) -> tuple[ArgumentUse, ...]:
    """What the inputs and attributes of a translation's operators are made from.

    Args:
        function: The translation, as a person wrote it.
        names: torch's arguments, in order.
        opset: The opset that it translates to.

    Returns:
        All places of the operators whose result it gives; of the others the attributes that come from arguments; nothing of
        Constants. Of a dict that is made in pieces, the pieces that are assigned by their names.
    """
    reader = _Reader(opset)
    definition = tree(function)
    if definition is None:
        return ()
    given = list(names)
    env: dict[str, _Held] = {}
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name in ("g", "ctx"):
        env[parameters.pop(0).name] = _Held(constant=_Graph(opset))
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            env[parameter.name] = _Held(items=tuple(_Held(frozenset([name])) for name in given))
            given = []
        else:
            env[parameter.name] = _Held(frozenset([given.pop(0) if given else parameter.name]))
    result = reader.body(function, definition, env, 0)
    return tuple(_uses(reader.emissions, result.made_by, names))


def _uses(emissions: list[_Emission], final: frozenset[int], names: Sequence[str]) -> Iterable[ArgumentUse]:
    found: dict[tuple[str, str, str], list[_Held]] = {}
    for number, emission in enumerate(emissions):
        if emission.operator == "Constant":
            continue
        for place, name, held in _places(emission):
            if number in final or (place == "attribute" and held.arguments):
                found.setdefault((emission.operator, place, name), []).append(held)
    order = {name: at for at, name in enumerate(names)}
    for (op, place, name), uses in found.items():
        arguments = sorted(_union(uses).arguments, key=lambda n: (order.get(n, len(order)), n))
        values = list(dict.fromkeys(repr(one.constant) for one in uses if _plain(one.constant)))
        if arguments or (place == "attribute" and values):
            yield ArgumentUse(op, place, name, tuple(arguments), " or ".join(values) if values else None)


def _plain(constant: Any) -> bool:
    return isinstance(constant, str | int | float) or (
        isinstance(constant, tuple | list) and all(isinstance(item, int | float) for item in constant)
    )


def _places(emission: _Emission) -> Iterable[tuple[str, str, _Held]]:
    schema = onnx.defs.get_schema(emission.operator) if onnx.defs.has(emission.operator) else None
    formal = [value.name for value in schema.inputs] if schema is not None else []
    for at, held in enumerate(emission.inputs):
        yield "input", formal[min(at, len(formal) - 1)] if formal else str(at), held
    for name, held in emission.attributes.items():
        plain = name[:-2] if schema is not None and name not in schema.attributes and name[-2:-1] == "_" else name
        yield ("input" if plain in formal else "attribute"), plain, held


class _Reader:
    """Reads functions; keeps what they emit."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.emissions: list[_Emission] = []
        self._left = BUDGET

    def body(self, function: Any, definition: ast.AST, env: dict[str, _Held], depth: int) -> _Held:
        """What a function gives for what its parameters hold."""
        node = next((n for n in ast.walk(definition) if isinstance(n, ast.FunctionDef)), None)
        if node is None:
            return _NOTHING
        return _Frame(self, function, env, depth).run(node.body)

    def spend(self) -> bool:
        """Whether another expression may be read."""
        self._left -= 1
        return self._left > 0


class _Frame:
    """One call of one function."""

    def __init__(self, reader: _Reader, function: Any, env: dict[str, _Held], depth: int) -> None:
        self._reader = reader
        self._function = function
        self._depth = depth
        self.env = env
        self.returned: list[_Held] = []
        known = {**getattr(function, "__globals__", {}), **inspect.getclosurevars(function).nonlocals}
        self._known = {name: value for name, value in known.items() if _plain(value) or value is None}

    def run(self, statements: Sequence[ast.stmt]) -> _Held:
        self._block(statements)
        return _union(self.returned) if self.returned else _NOTHING

    def _block(self, statements: Sequence[ast.stmt]) -> bool:
        """Read statements; whether they end the function."""
        return any(self._statement(statement) for statement in statements)

    def _statement(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.Return):
            self.returned.append(self.value(node.value) if node.value is not None else _Held(constant=None))
            return True
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.If):
            return self._if(node)
        if isinstance(node, ast.Assign):
            held = self.value(node.value)
            for target in node.targets:
                self._assign(target, held)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            if node.value is not None:
                held = self.value(node.value)
                both = isinstance(node, ast.AugAssign)
                self._assign(node.target, _union([self.value(node.target), held]) if both else held)
        elif isinstance(node, ast.For):
            self._assign(node.target, _element(self.value(node.iter)))
            self._block(node.body)
        elif isinstance(node, ast.While | ast.With | ast.Try):
            return self._block(node.body) and isinstance(node, ast.With)
        elif isinstance(node, ast.Expr):
            self.value(node.value)
        return False

    def _if(self, node: ast.If) -> bool:
        test = self.value(node.test)
        if test.constant is not _UNKNOWN:
            return self._block(node.body if test.constant else node.orelse)
        before = dict(self.env)
        ended = self._block(node.body)
        one, self.env = self.env, dict(before)
        other_ended = self._block(node.orelse)
        if ended and other_ended:
            return True
        if ended or other_ended:
            self.env = self.env if ended else one
            return False
        for name, held in one.items():
            other = self.env.get(name, held)
            self.env[name] = held if held == other else _either(held, other, test)
        return False

    def _assign(self, target: ast.expr, held: _Held) -> None:
        if isinstance(target, ast.Name):
            self.env[target.id] = held
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            whole, key = self.env.get(target.value.id, _NOTHING), self.value(target.slice).constant
            fields = {**dict(whole.fields), **({key: held} if isinstance(key, str) else {})}
            self.env[target.value.id] = _Held(whole.arguments | held.arguments, fields=tuple(fields.items()))
        elif isinstance(target, ast.Tuple | ast.List):
            parts = held.items if held.items is not None and len(held.items) == len(target.elts) else None
            for at, element in enumerate(target.elts):
                self._assign(element, parts[at] if parts is not None else _Held(held.arguments, made_by=held.made_by))

    def value(self, node: ast.expr) -> _Held:
        """What an expression stands for."""
        if not self._reader.spend():
            return _NOTHING
        reader = self._READERS.get(type(node))
        return reader(self, node) if reader is not None else self._combined(node)

    def _name(self, node: ast.Name) -> _Held:
        return self.env.get(node.id) or _Held(constant=self._known.get(node.id, _UNKNOWN))

    def _choice(self, node: ast.IfExp) -> _Held:
        test = self.value(node.test)
        if test.constant is not _UNKNOWN:
            return self.value(node.body if test.constant else node.orelse)
        return _either(self.value(node.body), self.value(node.orelse), test)

    def _attribute(self, node: ast.Attribute) -> _Held:
        held = self.value(node.value)
        if isinstance(held.constant, _Graph) and node.attr == "opset":
            return _Held(constant=held.constant.opset)
        return _Held(held.arguments)

    def _many(self, node: ast.ListComp | ast.GeneratorExp) -> _Held:
        for loop in node.generators:
            self._assign(loop.target, _element(self.value(loop.iter)))
        return _Held(self.value(node.elt).arguments)

    def _dict(self, node: ast.Dict) -> _Held:
        keys = [self.value(key).constant if key is not None else None for key in node.keys]
        values = [self.value(value) for value in node.values]
        fields = tuple((key, held) for key, held in zip(keys, values, strict=True) if isinstance(key, str))
        return _Held(_union(values).arguments if values else frozenset(), fields=fields)

    def _combined(self, node: ast.expr) -> _Held:
        parts = [self.value(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return _Held(_union(parts).arguments)

    def _part(self, node: ast.Subscript) -> _Held:
        held = self.value(node.value)
        if held.items is not None:
            key = node.slice
            if isinstance(key, ast.Slice):
                ends = [None if e is None else self.value(e).constant for e in (key.lower, key.upper, key.step)]
                if all(end is None or isinstance(end, int) for end in ends):
                    return _listed(list(held.items[slice(*ends)]))
            at = self.value(key).constant if not isinstance(key, ast.Slice) else _UNKNOWN
            if isinstance(at, int) and -len(held.items) <= at < len(held.items):
                return held.items[at]
        return _Held(held.arguments, made_by=held.made_by)

    def _condition(self, node: ast.Compare | ast.UnaryOp | ast.BoolOp) -> _Held:
        if isinstance(node, ast.Compare):
            held = [self.value(one) for one in (node.left, *node.comparators)]
            known = len(held) == 2 and all(one.constant is not _UNKNOWN for one in held)
            compared = COMPARISONS.get(type(node.ops[0]))
            if known and compared is not None:
                try:
                    return _Held(constant=bool(compared(held[0].constant, held[1].constant)))
                except TypeError:
                    return _NOTHING
            return _Held(_union(held).arguments)
        if isinstance(node, ast.UnaryOp):
            one = self.value(node.operand)
            if one.constant is _UNKNOWN:
                return _Held(one.arguments)
            if isinstance(node.op, ast.Not):
                return _Held(constant=not one.constant)
            negative = isinstance(node.op, ast.USub) and isinstance(one.constant, int | float)
            return _Held(constant=-one.constant) if negative else one
        parts = [self.value(one) for one in node.values]
        decides = isinstance(node.op, ast.Or)
        for one in parts:
            if one.constant is not _UNKNOWN and bool(one.constant) is decides:
                return one
        rest = [one for one in parts if one.constant is _UNKNOWN]
        return _union(rest) if rest else parts[-1]

    def _call(self, node: ast.Call) -> _Held:
        positional: list[_Held] = []
        for argument in node.args:
            held = self.value(argument.value if isinstance(argument, ast.Starred) else argument)
            spread = isinstance(argument, ast.Starred) and held.items is not None
            positional += held.items if spread and held.items is not None else [held]
        named: dict[str, _Held] = {}
        for word in node.keywords:
            held = self.value(word.value)
            named.update({word.arg: held} if word.arg is not None else dict(held.fields))
        if emitted := _emitted(node, positional):
            inputs = positional[1:] if _names_its_operator(node) else positional
            made = _union([*inputs, *named.values()])
            first = len(self._reader.emissions)
            self._reader.emissions += [_Emission(name, inputs, named) for name in emitted]
            return _Held(made.arguments, made_by=frozenset(range(first, len(self._reader.emissions))))
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr == "append"
            and isinstance(node.func.value, ast.Name)
        ):
            before = self.env.get(node.func.value.id, _NOTHING)
            if before.items is not None:
                self.env[node.func.value.id] = _listed([*before.items, *positional])
        helper = called(node, self._function) if self._depth < DEPTH else None
        definition = tree(helper) if helper is not None else None
        if helper is not None and definition is not None:
            env = _bound(helper, positional, named)
            if env is not None:
                return self._reader.body(helper, definition, env, self._depth + 1)
        owner = [self.value(node.func.value)] if isinstance(node.func, ast.Attribute) else []
        return _Held(_union([*owner, *positional, *named.values()]).arguments)

    _READERS: ClassVar[dict[type[ast.expr], Callable[[_Frame, Any], _Held]]] = {
        ast.Constant: lambda _, node: _Held(constant=node.value),
        ast.Name: _name,
        ast.Call: _call,
        ast.IfExp: _choice,
        ast.Tuple: lambda self, node: _listed([self.value(element) for element in node.elts]),
        ast.List: lambda self, node: _listed([self.value(element) for element in node.elts]),
        ast.Attribute: _attribute,
        ast.Subscript: _part,
        ast.Dict: _dict,
        **dict.fromkeys((ast.Compare, ast.UnaryOp, ast.BoolOp), _condition),
        **dict.fromkeys((ast.ListComp, ast.GeneratorExp), _many),
    }


def _emitted(node: ast.Call, positional: list[_Held]) -> list[str]:
    """The operators that ``g.op("X", ...)``, ``g.op("X" if c else "Y", ...)`` or ``op.X(...)`` may emit."""
    function = node.func
    if _names_its_operator(node) and positional:
        if isinstance(positional[0].constant, str):
            return [positional[0].constant]
        choices = (one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant))
        return [name for name in choices if isinstance(name, str)]
    if not isinstance(function, ast.Attribute):
        return []
    owner = function.value
    if isinstance(owner, ast.Name) and owner.id.startswith("op") and function.attr[:1].isupper():
        return [function.attr]
    return []


def _names_its_operator(node: ast.Call) -> bool:
    """Whether a call is ``g.op(...)``."""
    return isinstance(node.func, ast.Attribute) and node.func.attr == "op"


def _bound(function: Any, positional: list[_Held], named: dict[str, _Held]) -> dict[str, _Held] | None:
    try:
        bound = inspect.signature(function).bind(*positional, **named)
    except (TypeError, ValueError):
        return None
    env: dict[str, _Held] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in bound.arguments:
            default = parameter.default
            env[name] = _Held(constant=default if _plain(default) or default is None else _UNKNOWN)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            env[name] = _listed(list(bound.arguments[name]))
        elif parameter.kind is parameter.VAR_KEYWORD:
            env[name] = _union(list(bound.arguments[name].values()))
        else:
            env[name] = bound.arguments[name]
    return env


def _listed(items: list[_Held]) -> _Held:
    constants = [one.constant for one in items]
    known = tuple(constants) if items and all(_plain(constant) for constant in constants) else _UNKNOWN
    return _Held(frozenset().union(*(one.arguments for one in items)), known, tuple(items))


def _element(held: _Held) -> _Held:
    return _Held(held.arguments if held.items is None else _union(list(held.items)).arguments)


def _union(parts: Sequence[_Held]) -> _Held:
    if len(parts) == 1:
        return parts[0]
    return _Held(
        frozenset().union(*(one.arguments for one in parts)),
        made_by=frozenset().union(*(one.made_by for one in parts)),
        fields=tuple({key: held for one in parts for key, held in one.fields}.items()),
    )


def _either(one: _Held, other: _Held, test: _Held) -> _Held:
    """What either branch gives; where both give constants, it is the condition that decides."""
    both = _union([one, other])
    if one.items is not None and other.items is not None:
        pairs = itertools.zip_longest(one.items, other.items)
        return _listed([_union([part for part in pair if part is not None]) for pair in pairs])
    deciding = test.arguments if one.constant is not _UNKNOWN and other.constant is not _UNKNOWN else frozenset()
    return _Held(both.arguments | deciding, made_by=both.made_by, fields=both.fields)
