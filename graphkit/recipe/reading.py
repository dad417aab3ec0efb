"""What a recipe's tables say: entries, includes, scopes of variables, and steps that are ready to be done."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphkit.errors import GraphkitError, RecipeError, TextError
from graphkit.recipe.checking import Tell, check, listed, suggestion
from graphkit.recipe.expectations import holds
from graphkit.recipe.positions import Path, Place, read_toml
from graphkit.recipe.schema import EXPECT, VARIABLE, WHEN, doings
from graphkit.recipe.variables import filled, fits, kind_of
from graphkit.step import decoded
from graphkit.storage.system import regular_only

TOP = ("vars", "include", "step")


@dataclass(frozen=True)
class Source:
    """Where tables were read from.

    Attributes:
        name: What to call it in messages.
        file: The file; None for a recipe that was made in Python.
        places: Path -> line and column.
    """

    name: str
    file: str | None
    places: Mapping[Path, Place]

    @property
    def folder(self) -> str:
        """Where the files that it names are."""
        return os.path.dirname(self.file) if self.file else ""

    def at(self, path: Path) -> str:
        """``file:line:column`` of a path, or of the nearest one around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                line, column = self.places[path[:end]]
                return f"{self.name}:{line}:{column}"
        if self.file is None and len(path) > 1 and path[0] == "step":
            return f"step {int(path[1]) + 1}"
        return self.name

    def find(self, digest: str, length: int) -> bytes | None:
        """The bytes of an array that lies beside the recipe, as ``history --recipe`` wrote it."""
        if self.file is None:
            return None
        try:
            with open(array_file(self.file, digest), "rb") as file:
                data = file.read()
        except OSError:
            return None
        return data if len(data) == length and hashlib.sha256(data).hexdigest() == digest else None


def array_file(recipe: str, digest: str) -> str:
    """The file beside a recipe that holds the bytes of an array."""
    return f"{os.path.splitext(recipe)[0]}.{digest[:16]}.bin"


@dataclass
class Scope:
    """The variables of one recipe.

    Attributes:
        declared: Variable -> (default, kind).
        passed: Variable -> value, in the terms of the recipe that includes it.
        outer: The scope of that recipe.
    """

    declared: dict[str, tuple[Any, str | None]]
    passed: Mapping[str, Any] = field(default_factory=dict)
    outer: Scope | None = None


@dataclass(frozen=True)
class Entry:
    """A ``[[step]]`` table, where it stands and what surrounds it."""

    table: dict[str, Any]
    path: Path
    source: Source
    scope: Scope
    gates: tuple[tuple[int, dict[str, Any], Path, Source, Scope], ...] = ()


@dataclass(frozen=True)
class Step:
    """A step that is ready to be done.

    Attributes:
        number: From 1, included steps counted.
        place: ``file:line:column``.
        do: The operation, "merge" or "split"; None for an expectation.
        arguments: Its keyword arguments.
        expect: What is expected; None for an operation.
        when: Conditions on the model; empty for none.
        optional: Finding nothing to do is no error.
        gates: Number of an include -> its conditions.
        folder: Where the files are that it names.
    """

    number: int
    place: str
    do: str | None
    arguments: Mapping[str, Any]
    expect: Mapping[str, Any] | None
    when: Mapping[str, Any]
    optional: bool
    gates: Mapping[int, Mapping[str, Any]]
    folder: str

    def told(self) -> dict[str, Any]:
        """What it does, for a digest: without its place."""
        return {
            "do": self.do,
            "arguments": dict(self.arguments),
            "expect": self.expect,
            "when": dict(self.when),
            "optional": self.optional,
            "gates": [dict(when) for when in self.gates.values()],
        }

    def files(self) -> list[str]:
        """The files that its texts name, beside the recipe or in the current folder."""
        found = []
        for text in _texts([self.arguments, self.expect or {}]):
            name = text.removeprefix("@").partition(".npz:")
            path = os.path.join(self.folder, name[0] + name[1].removesuffix(":"))
            if len(path) < 1000 and "\0" not in path and os.path.isfile(path):
                found.append(path)
        return found


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


class Reader:
    """Reads recipes, and collects every fault.

    Attributes:
        faults: ``file:line:column: what is wrong``, in the order in which they were met.
        scopes: The scope of each recipe, the outermost first.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.scopes: list[Scope] = []
        self._includes = 0

    def _tell(self, source: Source, path: Path, what: str) -> None:
        text = f"{source.at(path)}: {what}"
        if text not in self.faults:
            self.faults.append(text)

    def scope(
        self,
        document: Mapping[str, Any],
        source: Source,
        passed: Mapping[str, Any] | None = None,
        outer: Scope | None = None,
    ) -> Scope:
        """The variables that a recipe declares."""
        declared: dict[str, tuple[Any, str | None]] = {}
        table = document.get("vars", {})
        if not isinstance(table, Mapping):
            self._tell(source, ("vars",), "[vars] is a table: NAME = default")
            table = {}
        for name, value in table.items():
            path = ("vars", name)
            if isinstance(value, Mapping):
                check(value, VARIABLE, path, lambda at, what: self._tell(source, at, what))
                kind, default = value.get("type"), value.get("default")
                if kind in ("integer", "number", "string", "boolean", "list"):
                    if default is not None and not fits(default, kind):
                        self._tell(source, (*path, "default"), f"{kind} is the type, and {default!r} is none")
                    declared[name] = (default, kind)
            else:
                declared[name] = (value, kind_of(value))
        made = Scope(declared, passed or {}, outer)
        self.scopes.append(made)
        return made

    def entries(
        self, document: Mapping[str, Any], source: Source, scope: Scope, chain: tuple[str, ...] = ()
    ) -> list[Entry]:
        """The steps of a recipe, included ones in their place."""
        for key in document:
            if key not in TOP:
                self._tell(source, (key,), f"there is no key {key!r} here{suggestion(key, TOP) or listed(TOP)}")
        chain = (*chain, os.path.realpath(source.file)) if source.file else chain
        found: list[Entry] = []
        above = document.get("include", [])
        for index, name in enumerate([above] if isinstance(above, str) else above if isinstance(above, list) else []):
            path: Path = ("include",) if isinstance(above, str) else ("include", index)
            found += self._included(Entry({"include": name}, path, source, scope), chain)
        if not isinstance(above, str | list):
            self._tell(source, ("include",), "a path or a list of paths is wanted")
        steps = document.get("step", [])
        if not isinstance(steps, list):
            self._tell(source, ("step",), "steps are written as [[step]]")
            steps = []
        for index, table in enumerate(steps):
            entry = Entry(table, ("step", index), source, scope)
            if not isinstance(table, dict):
                self._tell(source, entry.path, "a step is a table")
            elif "include" in table:
                found += self._included(entry, chain)
            else:
                found.append(entry)
        return found

    def _included(self, entry: Entry, chain: tuple[str, ...]) -> list[Entry]:
        source, at = entry.source, (*entry.path, "include") if len(entry.path) > 1 else entry.path
        for key in entry.table:
            if key not in ("include", "vars", "when"):
                self._tell(source, (*entry.path, key), f"an include has no key {key!r}: there are include, vars, when")
        name, passed = entry.table["include"], entry.table.get("vars", {})
        if not isinstance(name, str) or not isinstance(passed, dict):
            self._tell(source, at, "include names a file, and vars is a table")
            return []
        file = os.path.join(source.folder, name)
        if os.path.realpath(file) in chain:
            circle = " -> ".join(os.path.basename(one) for one in (*chain, os.path.realpath(file)))
            self._tell(source, at, f"the recipe includes itself: {circle}")
            return []
        try:
            with open(file, encoding="utf-8-sig", opener=regular_only) as opened:
                document, places = read_toml(opened.read(), file)
        except RecipeError as error:
            self.faults += error.faults
            return []
        except (OSError, ValueError) as error:
            self._tell(source, at, f"{file!r} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}")
            return []
        inner = Source(file, file, places)
        scope = self.scope(document, inner, passed, entry.scope)
        for key in passed:
            if key not in scope.declared:
                self._tell(
                    source,
                    (*entry.path, "vars", key),
                    f"{name} has no variable {key!r}{suggestion(key, scope.declared)}",
                )
        found = self.entries(document, inner, scope, chain)
        if "when" not in entry.table:
            return found
        self._includes += 1
        gate = (self._includes, entry.table["when"], (*entry.path, "when"), source, entry.scope)
        return [Entry(e.table, e.path, e.source, e.scope, (gate, *e.gates)) for e in found]

    def steps(self, entries: list[Entry], given: Mapping[str, Any] | None) -> list[Step]:
        """The entries with variables filled in, checked.

        Args:
            entries: What ``entries`` gave.
            given: Variable -> value; None: not known yet.
        """
        known = {name: kind for scope in self.scopes for name, (_, kind) in scope.declared.items()}
        for name, value in (given or {}).items():
            if name not in known:
                self.faults.append(f"the recipe has no variable {name!r}{suggestion(name, known) or listed(known)}")
            elif (kind := known[name]) is not None and not fits(value, kind):
                self.faults.append(f"the variable {name!r} is of the type {kind}, and {value!r} is none")
        found = [self._step(entry, number, given) for number, entry in enumerate(entries, 1)]
        steps = [step for step in found if step is not None]
        doing = [step for step in steps if step.do is not None]
        for step in doing:
            if step.do == "merge" and step is not doing[0]:
                self.faults.append(f"{step.place}: merge is the first thing that a recipe does")
            if step.do == "split" and step is not steps[-1]:
                self.faults.append(f"{step.place}: split is the last step of a recipe")
        return steps

    def _step(self, entry: Entry, number: int, given: Mapping[str, Any] | None) -> Step | None:
        source, path, table = entry.source, entry.path, entry.table
        before = len(self.faults)
        kinds = [key for key in ("do", "expect") if key in table]
        if len(kinds) != 1:
            alike = next((text for key in table if (text := suggestion(key, ("do", "expect", "include")))), "")
            what = "has both do and expect" if kinds else f"says neither do nor expect nor include{alike}"
            self._tell(source, path, f"a step {what}")
            return None
        body = {key: self._filled(value, entry, (*path, key), given) for key, value in table.items()}
        gates = {
            number: self._condition(filled_when, at, where)
            for number, when, at, where, scope in entry.gates
            for filled_when in [self._filled(when, Entry({}, at, where, scope), at, given)]
        }
        tell = lambda at, what: self._tell(source, at, what)  # noqa: E731 (one line, used twice)
        when = body.pop("when", {})
        optional = bool(body.pop("optional", False)) if kinds == ["do"] else False
        if kinds == ["expect"]:
            schema = {"type": "object", "properties": {"expect": EXPECT}, "additionalProperties": False}
            check(body, schema, path, tell)
            _check_bounds(body.get("expect"), (*path, "expect"), tell)
        else:
            self._check_call(body, table, path, tell)
        if "when" in table:
            check(when, WHEN, (*path, "when"), tell)
            _check_bounds(when, (*path, "when"), tell)
        if len(self.faults) > before:
            return None
        do = body.pop("do", None)
        expect = body.pop("expect", None)
        arguments = {key: value for key, value in body.items() if value is not None}
        place = source.at(path)
        return Step(number, place, do, arguments, expect, when or {}, optional, gates, source.folder)

    def _check_call(self, body: dict[str, Any], table: Mapping[str, Any], path: Path, tell: Any) -> None:
        name = body.get("do")
        known = doings()
        if not isinstance(name, str) or name not in known:
            shown = suggestion(name, known) if isinstance(name, str) else ""
            tell((*path, "do"), f"there is no operation {name!r}{shown or listed(known)}")
            return
        arguments = {key: value for key, value in body.items() if key != "do"}
        if "optional" in table and not isinstance(table["optional"], bool):
            tell((*path, "optional"), "true or false is wanted")
        check(arguments, known[name], path, tell)

    def _condition(self, when: Any, path: Path, source: Source) -> Mapping[str, Any]:
        check(when, WHEN, path, lambda at, what: self._tell(source, at, what))
        return when if isinstance(when, Mapping) else {}

    def _filled(self, value: Any, entry: Entry, path: Path, given: Mapping[str, Any] | None) -> Any:
        """A value with variables filled in, and with what TOML has no words for."""

        def find(name: str) -> Any:
            return self._look_up(name, entry.scope, given, entry.source, path)

        made = filled(value, find)
        try:
            return decoded(_plain(made), entry.source.find)
        except GraphkitError as error:
            self._tell(entry.source, path, error.message.rpartition(" cannot be used: ")[2])
            return None

    def _look_up(self, name: str, scope: Scope, given: Mapping[str, Any] | None, source: Source, path: Path) -> Any:
        if name not in scope.declared:
            known = suggestion(name, scope.declared) or listed(scope.declared)
            self._tell(source, path, f"there is no variable {name!r}{known or '; [vars] declares them'}")
            return None
        if name in scope.passed and scope.outer is not None:
            outer = scope.outer
            return filled(scope.passed[name], lambda inner: self._look_up(inner, outer, given, source, path))
        default, _ = scope.declared[name]
        value = (given or {}).get(name, default)
        if value is None and given is not None:
            self._tell(source, path, f"the variable {name!r} has no value")
        return value


def in_order(faults: Sequence[str]) -> list[str]:
    """Faults by line and column, file by file; those without a place first."""
    files: dict[str, int] = {}

    def key(text: str) -> tuple[int, int, int]:
        place = re.match(r"(.+?):(\d+):(\d+): ", text)
        if place is None:
            return (-1, 0, 0)
        return (files.setdefault(place[1], len(files)), int(place[2]), int(place[3]))

    return sorted(faults, key=key)


def _check_bounds(table: Any, path: Path, tell: Tell) -> None:
    """Numbers that are written as ``<=100``."""
    for key in ("opset", "nodes", "weights") if isinstance(table, Mapping) else ():
        wanted = table.get(key)
        for text in wanted.values() if isinstance(wanted, Mapping) else [wanted]:
            try:
                holds(0, text if isinstance(text, str | int) else 0, size=key == "weights")
            except TextError as error:
                tell((*path, key), error.message)


def _plain(value: Any) -> Any:
    """``{"$none" = true}`` as None, which TOML does not have, and ``{"$text" = "..."}`` as a text without variables."""
    if isinstance(value, Mapping):
        if set(value) == {"$none"}:
            return None
        if set(value) == {"$text"}:
            return value["$text"]
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
