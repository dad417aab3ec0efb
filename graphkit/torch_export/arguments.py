"""A module's example arguments: what each tensor among them is called, and which of their axes are dynamic."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from graphkit.errors import ExportError, TextError, similar
from graphkit.hint import Argument, Blank, Hint, call
from graphkit.reading.names import read_pair, unquoted

if TYPE_CHECKING:
    import torch

DynamicAxes: TypeAlias = Mapping[str, Mapping[int, str] | Sequence[int]] | Iterable[str]
"""Which input axes are dynamic: ``{"x": {2: "h", 3: "w"}}``, or ``["x:2=h", "x:3=w"]`` as on the command line.

``{"x": [2, 3]}`` will do too, as in torch's ``dynamic_axes``: the axes are called ``x_2`` and ``x_3``.
"""


@dataclass(frozen=True)
class Leaf:
    """One value among a module's arguments, nested ones included.

    Attributes:
        name: The name of its graph input.
        parameter: The parameter of ``forward`` that it belongs to.
        value: A tensor, or a Python number, string or bool.
        is_tensor: Whether it is a tensor, and so an input of the graph.
    """

    name: str
    parameter: str
    value: Any
    is_tensor: bool


@dataclass(frozen=True)
class Arguments:
    """Example arguments, bound to the parameters of ``forward``.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        bound: parameter -> argument, in the order of the signature.
        leaves: The values among them, in the order in which the exporters see them.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    bound: dict[str, Any]
    leaves: tuple[Leaf, ...]

    @property
    def tensors(self) -> tuple[Leaf, ...]:
        """The leaves that are tensors."""
        return tuple(leaf for leaf in self.leaves if leaf.is_tensor)

    def changed(self, change: Callable[[Leaf], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments with every leaf replaced; ``change`` gets them in the order of ``leaves``."""
        rest = iter(self.leaves)
        args, kwargs = mapped((self.args, self.kwargs), lambda _: change(next(rest)))
        return args, kwargs


def bind(
    module: torch.nn.Module, args: Any, kwargs: Mapping[str, Any] | None, names: Sequence[str] | None
) -> Arguments:
    """Bind example arguments to ``forward`` and name its tensors.

    Args:
        module: The module.
        args: Positional arguments; a single tensor counts as a tuple of one.
        kwargs: Keyword arguments.
        names: Names for the tensors, in order; without them a tensor has the name of its parameter, one nested in a
            container its parameter's name and its place (``boxes_0``, ``batch_mask``).

    Raises:
        ExportError: The arguments do not fit the signature; a name is given twice; there are more names than tensors.
    """
    import torch

    given = (args,) if isinstance(args, torch.Tensor) else tuple(args)
    positional, keywords = _distinct((given, dict(kwargs or {})))
    bound = _bound(module, positional, keywords)
    keywords = {
        name: keywords[name] for name in bound if name in keywords
    }  # in the order of the signature, as leaves are
    found: list[tuple[str, str, Any]] = []
    for parameter, value in bound.items():
        found.extend((parameter, name, leaf) for name, leaf in _leaves(parameter, value))
    tensors = [name for _, name, leaf in found if isinstance(leaf, torch.Tensor)]
    others = [(name, leaf) for _, name, leaf in found if not isinstance(leaf, torch.Tensor)]
    renamed = dict(zip(tensors, _checked(names, tensors, others), strict=False))
    leaves = tuple(
        Leaf(renamed.get(name, name), parameter, leaf, isinstance(leaf, torch.Tensor))
        for parameter, name, leaf in found
    )
    return Arguments(positional, keywords, bound, leaves)


def _distinct(value: Any) -> Any:
    """The arguments with a copy in the place of a tensor that stands there again: dynamo takes two for one input."""
    import torch

    seen: set[int] = set()

    def own(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if id(leaf) in seen:
            return leaf.clone()
        seen.add(id(leaf))
        return leaf

    return mapped(value, own)


def forward_signature(module: Any) -> inspect.Signature:
    """The parameters of a module's ``forward``; of a traced or loaded ScriptModule what its schema says."""
    schema = getattr(module.forward, "schema", None)
    if schema is None:
        return inspect.signature(module.forward)
    return inspect.Signature(
        [
            inspect.Parameter(
                argument.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=argument.default_value if argument.has_default_value() else inspect.Parameter.empty,
            )
            for argument in schema.arguments[1:]
        ]
    )


def _bound(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    signature = forward_signature(module)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ExportError(
            f"the example arguments do not fit {type(module).__name__}.forward{signature}: {error}",
            hint="give one argument for each parameter of forward that has no default",
        ) from error
    flat: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            flat.update(value)
        else:
            flat[name] = value
    return flat


def _leaves(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """(name, value) of each leaf but None: the places on the way to it, joined by ``_``; a named tuple's are numbers."""
    from torch.utils import _pytree as pytree

    for path, leaf in pytree.tree_flatten_with_path(value)[0]:
        if leaf is None:
            continue
        parts, at = [name], value
        for key in path:
            field = getattr(key, "name", None)
            parts.append(str(at._fields.index(field) if hasattr(at, "_fields") and field else _place(key)))
            at = key.get(at)
        yield "_".join(parts), leaf


def _place(key: Any) -> Any:
    """What a step of a pytree's path says: an index, a key, an attribute's name."""
    return next(getattr(key, name) for name in ("idx", "key", "name") if hasattr(key, name))


def _checked(names: Sequence[str] | None, tensors: Sequence[str], others: Sequence[tuple[str, Any]]) -> Sequence[str]:
    if names is None:
        return tensors
    refuse_repeated("input", names)
    if len(names) > len(tensors):
        raise ExportError(
            f"{len(names)} input names were given ({', '.join(names)}) for {len(tensors)} tensor arguments"
            + "".join(f"; {name!r} is the {type(value).__name__} {value!r}, no tensor" for name, value in others),
            hint=_no_tensor(others),
        )
    return names


def _no_tensor(others: Sequence[tuple[str, Any]]) -> Hint | str:
    """What becomes of arguments that are no tensors, and how to have an input for one."""
    if not others:
        return "only tensors become inputs; Python numbers, strings and None do not"
    return Hint(
        f"only tensors become inputs: torch makes a constant of {others[0][1]!r}. Leave its name out, and make a scale "
        "factor an input of the file with `",
        call("resize"),
        "`, another number with `",
        call("promote", tensors=[Blank("NAME")]),
        "`; or give it as a tensor",
    )


def refuse_repeated(kind: str, names: Sequence[str]) -> None:
    """Refuse a list of names in which one stands twice.

    Raises:
        ExportError: It does.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ExportError(
            f"the {kind} name {twice[0]!r} is given twice", hint=f"each {kind} of the graph needs a name of its own"
        )


def dynamic_axes(
    wanted: DynamicAxes | None, tensors: Sequence[Leaf], outputs: Sequence[str] = ()
) -> tuple[dict[str, dict[int, str]], dict[str, dict[int, str]]]:
    """The dynamic axes as a table, each input and axis of which is there; and those of outputs.

    Args:
        wanted: A table, or texts ``INPUT:AXIS=NAME``. A negative axis counts from the end.
        tensors: The tensor arguments.
        outputs: The names of the outputs, as far as they are given.

    Raises:
        ExportError: A text of another form, an unknown input, an axis that the input does not have or that has two
            names, a name that ONNX readers would take for a number or an expression.
    """
    table: dict[str, dict[int, str]] = {}
    of_outputs: dict[str, dict[int, str]] = {}
    shapes = {leaf.name: tuple(leaf.value.shape) for leaf in tensors}
    for name, axis, given in _triples(wanted, [*shapes, *outputs]):
        if name in outputs and name not in shapes:
            of_outputs.setdefault(name, {})[axis] = _symbol(f"{name}_{axis}" if given is None else given)
            continue
        if name not in shapes:
            known = similar(name, shapes) or list(shapes)
            raise ExportError(
                f"a dynamic axis is asked for on {name!r}, which is no input",
                hint=f"did you mean {' or '.join(known)}? The dims of outputs follow from those of the inputs",
            )
        rank = len(shapes[name])
        if not -rank <= axis < rank:
            raise ExportError(f"input {name!r} has {rank} axes, shape {list(shapes[name])}; there is no axis {axis}")
        symbol = _symbol(f"{name}_{axis % rank}" if given is None else given)
        if table.setdefault(name, {}).setdefault(axis % rank, symbol) != symbol:
            named = table[name][axis % rank]
            raise ExportError(f"axis {axis % rank} of input {name!r} has two names, {named!r} and {symbol!r}")
    return table, of_outputs


def _symbol(text: str) -> str:
    if not text.isidentifier():
        raise ExportError(
            f"{text!r} is no name for a dim",
            hint=Hint("use letters, digits and _, such as ", Argument("dynamic", ["x:2=height"])),
        )
    return text


def _triples(wanted: DynamicAxes | None, known: Collection[str]) -> Iterable[tuple[str, int, str | None]]:
    """(input, axis, symbol) of each dynamic axis; the symbol is None where only the axis is given."""
    if wanted is None:
        return
    if isinstance(wanted, Mapping):
        for name, axes in wanted.items():
            named = axes if isinstance(axes, Mapping) else dict.fromkeys(axes)
            for axis, symbol in named.items():
                yield name, int(axis), symbol
        return
    for text in wanted:
        try:
            key, symbol = read_pair(text, known, of="dim", form="INPUT:AXIS=NAME")
        except TextError as error:
            raise ExportError(f"{text!r} names no dynamic axis: {error.message}", hint=error.hint) from error
        name, colon, axis_text = key.rpartition(":")
        if not colon or not axis_text.removeprefix("-").isdigit():
            raise ExportError(f"{text!r} names no dynamic axis", hint="write INPUT:AXIS=NAME, e.g. x:2=height")
        yield unquoted(name), int(axis_text), symbol


def dynamic_shapes(arguments: Arguments, table: Mapping[str, Mapping[int, str]]) -> dict[str, Any] | None:
    """The same table in the form that torch.export wants: nested like the arguments, keyed by parameter."""
    if not table:
        return None
    rest = iter(arguments.leaves)

    def axes(_: Any) -> dict[int, str] | None:
        leaf = next(rest)
        return (
            dict(table.get(leaf.name, {})) if leaf.is_tensor else None
        )  # torch takes (None, None) for the axes of one tensor

    return {parameter: mapped(value, axes) for parameter, value in arguments.bound.items()}


def rebuilt(arguments: Arguments, tensors: Iterable[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments with other tensors in the places of the tensors, in order."""
    rest = iter(tensors)
    return arguments.changed(lambda leaf: next(rest) if leaf.is_tensor else leaf.value)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A nested argument, as torch's pytree sees it, with each leaf but None changed, in order."""
    from torch.utils import _pytree as pytree

    return pytree.tree_map(lambda leaf: None if leaf is None else change(leaf), value)
