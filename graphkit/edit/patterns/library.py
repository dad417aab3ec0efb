"""The rules that come with graphkit, and those of files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from graphkit.edit.patterns.expressions import UnknownError, evaluate, parsed
from graphkit.edit.patterns.graph_rules import GRAPH_RULES, GraphRule
from graphkit.edit.patterns.rule import Rule
from graphkit.edit.patterns.rule_file import read_rule, with_parameters
from graphkit.errors import FormatError, ModelFileError, NameNotFoundError
from graphkit.storage.system import regular_only

SUFFIX = ".txt"
"""How files of rules end in a folder."""

MOST_BYTES = 1 << 20
"""A rule file is text of a few lines; a larger file is something else."""

_TENSORRT = (
    "remove-memcpy",
    "expand-quick-gelu",
    "expand-center-crop-pad",
    "expand-cross-entropy-loss",
    "expand-nll-loss",
)

TARGETS = {
    "tensorrt": _TENSORRT,
    "tensorrt-8.5": (
        *_TENSORRT,
        "expand-attention",
        "expand-rotary-embedding",
        "expand-rms-norm",
        "expand-layer-norm",
        "expand-group-norm",
        "expand-silu",
        "expand-gelu",
        "expand-mish",
        "expand-hard-swish",
    ),
}
"""Target -> the rules that take out what it does not document as supported (``graphkit lint`` has its table).

TensorRT 8.5 documents opsets up to 17: what came later is taken apart, so that ``opset`` can write the model in 17.
"""


@cache
def built_in() -> Mapping[str, Rule | GraphRule]:
    """The rules that come with graphkit, by name, sorted."""
    found: dict[str, Rule | GraphRule] = dict(GRAPH_RULES)
    folder = resources.files("graphkit") / "rules"
    for file in folder.iterdir():
        if file.name.endswith(SUFFIX):
            rule = read_rule(file.read_text("utf-8"), file.name.removesuffix(SUFFIX))
            found[rule.name] = rule
    return dict(sorted(found.items()))


def find_rules(text: str) -> Iterator[tuple[Rule | GraphRule, str]]:
    """The rules that a text means: a built-in rule's name, maybe with parameters, a file, a folder of files, or rules' text.

    Yields:
        (rule, how a history writes it: the name, or the text of the file).

    Raises:
        NameNotFoundError: It is none of these; names that look alike are suggested.
        FormatError: A file holds no rule, or the rule has no such parameter.
        ModelFileError: A file cannot be read, or a folder has no rules.
    """
    if "=>" in text:
        rule = read_rule(text, "rule")
        yield rule, text
        return
    name, _, given = text.partition(":")
    known = built_in()
    if name in known:
        yield _with(known[name], given, text), text
        return
    if os.path.isdir(text):
        files = sorted(entry for entry in os.listdir(text) if entry.endswith(SUFFIX))
        if not files:
            raise ModelFileError(f"the folder {text!r} holds no rules: no file that ends in {SUFFIX}", path=text)
        for file in files:
            yield from _from_file(os.path.join(text, file), "")
        return
    path = text if os.path.isfile(text) else name
    if not os.path.isfile(path):
        if text.endswith(SUFFIX) or os.sep in text:
            raise ModelFileError(f"there is no file of rules {text!r}", path=text)
        raise NameNotFoundError("rule", text, known, message=f"there is no rule named {name!r}")
    yield from _from_file(path, "" if path == text else given)


def _from_file(path: str, given: str) -> Iterator[tuple[Rule | GraphRule, str]]:
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise FormatError(f"{path!r} is too large to be a rule", path=path)
        with open(path, encoding="utf-8", opener=regular_only) as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"cannot read the rule {path!r}: {error}", path=path) from error
    name = os.path.splitext(os.path.basename(path))[0]
    rule = _with(read_rule(text, name), given, path)
    yield rule, written(rule)


def written(rule: Rule) -> str:
    """A rule's text with its name and parameters in it, so that it is the same wherever it is read again."""
    lines = [line for line in rule.text.splitlines() if not line.strip().startswith(("rule ", "parameter "))]
    parameters = [f"parameter {name} = {value!r}" for name, value in rule.parameters.items()]
    return "\n".join([f"# {rule.summary}", f"rule {rule.name}", *parameters, *lines]) + "\n"


def _with(rule: Any, given: str, text: str) -> Any:
    if not given:
        return rule
    values: dict[str, Any] = {}
    for part in given.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise FormatError(f"{text!r}: {part!r} is not KEY=VALUE", hint="write NAME:KEY=VALUE,KEY=VALUE")
        values[name.strip()] = value.strip() if value.strip().isidentifier() else _number(value, text)
    return with_parameters(rule, values) if isinstance(rule, Rule) else rule.given(values)


def _number(value: str, text: str) -> Any:
    try:
        return evaluate(parsed(value), {}, {})
    except (UnknownError, FormatError) as error:
        raise FormatError(f"{text!r}: {value!r} is no value", hint="write a number or a word") from error
