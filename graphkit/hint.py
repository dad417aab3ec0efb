"""A hint is data: free text, arguments to give, calls to make. Python spells it here, the command line as options."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self, TypeAlias, Union


class Blank(str):
    """A word that the user replaces, such as ``VALUE`` or ``NAME``; it is never quoted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Argument(NamedTuple):
    """An argument to give.

    Attributes:
        name: The keyword of graphkit's functions.
        value: True for a switch; a text or number; a list of them; a mapping from names.
    """

    name: str
    value: Any = True

    def __str__(self) -> str:
        return f"{self.name}={self.value!r}"


NO_MODEL = ("", "")
"""The subject of a call that takes no model."""


class Call(NamedTuple):
    """A function of graphkit to call, which is the command of the same name.

    Attributes:
        operation: The function.
        arguments: Its keyword arguments, in order; without the model.
        subject: The positional arguments of the function and of the command.
    """

    operation: str
    arguments: tuple[Argument, ...] = ()
    subject: tuple[str, str] = ("model", "MODEL OUT")

    def __str__(self) -> str:
        given = [self.subject[0], *map(str, self.arguments)]
        return f"graphkit.{self.operation}({', '.join(filter(None, given))})"


class Either(NamedTuple):
    """What Python and the command line do in ways that have nothing in common.

    Attributes:
        python: What to do in Python.
        command: What to do on the command line.
    """

    python: str
    command: str

    def __str__(self) -> str:
        return self.python


Part: TypeAlias = Union[str, Argument, Call, Either, "Hint"]


class Hint(str):
    """Advice as Python spells it, which knows its parts, so that the command line can spell them as options.

    ::

        >>> hint = Hint("feed it with ", Argument("feeds", {"x": Blank("VALUE")}))
        >>> str(hint)
        "feed it with feeds={'x': VALUE}"

    Attributes:
        parts: Texts, arguments, calls and what differs, in order.
    """

    parts: tuple[str | Argument | Call | Either, ...]

    def __new__(cls, *parts: Part) -> Self:
        """Join texts, arguments, calls and hints."""
        flat = tuple(one for part in parts for one in (part.parts if isinstance(part, Hint) else (part,)))
        made = super().__new__(cls, "".join(map(str, flat)))
        made.parts = flat
        return made

    def __reduce__(self) -> tuple[type["Hint"], tuple[str | Argument | Call | Either, ...]]:
        return Hint, self.parts

    def spelt(self, argument: Callable[[Argument], str], call: Callable[[Call], str]) -> str:
        """The hint in another spelling.

        Args:
            argument: Spells an argument.
            call: Spells a call.
        """
        spelt = []
        for part in self.parts:
            if isinstance(part, Argument):
                spelt.append(argument(part))
            elif isinstance(part, Call):
                spelt.append(call(part))
            elif isinstance(part, Either):
                spelt.append(part.command)
            else:
                spelt.append(part)
        return "".join(spelt)

    def filled(self, words: Mapping[str, str]) -> "Hint":
        """The hint with words in the place of ``{name}`` in its texts, in the words that a user replaces, and in its calls."""

        def fill(part: Any) -> Any:
            if isinstance(part, Blank):
                return Blank(part.format(**words))
            if isinstance(part, Argument):
                return Argument(part.name, fill(part.value))
            if isinstance(part, Call):
                one, two = part.subject
                subject = one.format(**words), two.format(**words)
                return Call(part.operation, tuple(fill(argument) for argument in part.arguments), subject)
            if isinstance(part, Mapping):
                return {fill(key): fill(value) for key, value in part.items()}
            return part

        return Hint(*(part.format(**words) if type(part) is str else fill(part) for part in self.parts))


def joined(separator: str, hints: list[Part]) -> Hint:
    """Hints with a separator between them."""
    parts: list[Part] = []
    for hint in hints:
        parts += [separator, hint] if parts else [hint]
    return Hint(*parts)


def call(operation: str, /, **arguments: Any) -> Call:
    """A function to call with keyword arguments, on the model; those that are None are left out."""
    return Call(operation, _given(arguments))


def look(operation: str, /, **arguments: Any) -> Call:
    """A function that writes no model, to call with keyword arguments."""
    return Call(operation, _given(arguments), ("model", "MODEL"))


def bare(operation: str, /, **arguments: Any) -> Call:
    """A function that takes no model, to call with keyword arguments."""
    return Call(operation, _given(arguments), NO_MODEL)


def _given(arguments: Mapping[str, Any]) -> tuple[Argument, ...]:
    return tuple(Argument(name, value) for name, value in arguments.items() if value is not None)
