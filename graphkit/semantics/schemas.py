"""ONNX operators: the versions that an opset change gave them, what each changed, and the rule in force."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx

from graphkit.errors import GraphkitError, similar
from graphkit.result import Result

Schema = onnx.defs.OpSchema


@dataclass(frozen=True, repr=False)
class Parameter(Result):
    """An input or output of an operator.

    Attributes:
        name: Its name in the specification.
        types: A type variable (``T``) or a type (``tensor(float)``).
        option: "required", "optional" or "variadic".
        doc: What it means, in the specification's words.
    """

    name: str
    types: str
    option: str
    doc: str = ""


@dataclass(frozen=True, repr=False)
class AttributeRule(Result):
    """An attribute of an operator.

    Attributes:
        name: Its name.
        type: "INT", "FLOATS", "STRING", "TENSOR", "GRAPH" and so on.
        required: Whether a node must give it.
        default: The default value, or None.
        doc: What it means, in the specification's words.
    """

    name: str
    type: str
    required: bool
    default: object = None
    doc: str = ""


@dataclass(frozen=True, repr=False)
class OperatorVersion(Result):
    """The definition of an operator from one opset on.

    Attributes:
        since: The opset that brought it.
        deprecated: Whether it may no longer be used.
        inputs: The inputs, in order.
        outputs: The outputs, in order.
        attributes: The attributes, by name.
        types: Type variable -> the types it stands for.
        changes: What is other than in the version before, one sentence each; empty for the first.
    """

    since: int
    deprecated: bool
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    attributes: tuple[AttributeRule, ...]
    types: dict[str, tuple[str, ...]]
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Operator(Result):
    """An operator and its history.

    Attributes:
        name: The operator.
        domain: Its domain, "" for ai.onnx.
        doc: What it does, from the newest version.
        versions: Its versions, oldest first.
        opset: The opset that was asked for, or the newest that the installed onnx knows.
        rule: The version in force at that opset; None where the operator did not exist yet.
    """

    name: str
    domain: str
    doc: str
    versions: tuple[OperatorVersion, ...]
    opset: int
    rule: OperatorVersion | None


def operator(name: str, opset: int | None = None, domain: str = "") -> Operator:
    """What ONNX says about an operator, version by version.

    Args:
        name: The operator, ``Resize``; case does not matter.
        opset: The opset whose rule is wanted; None for the newest that the installed onnx knows.
        domain: Its domain, "" for ai.onnx.

    Raises:
        GraphkitError: There is no such operator; names that look like it are suggested. The installed onnx does not know
            the opset.

    Cost: about 20 ms the first time (all definitions are read).

    Example:
        >>> import graphkit as gk
        >>> [version.since for version in gk.operator("Resize").versions]
        [10, 11, 13, 18, 19]
    """
    _check_known(opset, domain)
    found = _all(domain)
    exact = name if name in found else {known.lower(): known for known in found}.get(name.lower())
    if exact is None:
        close = similar(name, found)
        raise GraphkitError(
            f"ONNX has no operator {name!r}" + (f" in domain {domain!r}" if domain else ""),
            hint=f"did you mean {' or '.join(close)}?" if close else None,
        )
    schemas = found[exact]
    versions = [_version(schema, before) for before, schema in zip([None, *schemas], schemas, strict=False)]
    newest = opset if opset is not None else max(onnx.defs.onnx_opset_version(), schemas[-1].since_version)
    rule = next((version for version in reversed(versions) if version.since <= newest), None)
    return Operator(exact, domain, schemas[-1].doc or "", tuple(versions), newest, rule)


@dataclass(frozen=True, repr=False)
class RulesInForce(Result):
    """The operators that exist at an opset, each by the rule that is in force there.

    Attributes:
        domain: The domain, "" for ai.onnx.
        opset: The opset.
        rules: Operator -> its version, by name; those that came later are left out.
    """

    domain: str
    opset: int
    rules: dict[str, OperatorVersion]


def rules_in_force(opset: int, domain: str = "") -> RulesInForce:
    """Every operator of a domain at an opset, each by the rule that is in force there.

    Args:
        opset: The opset.
        domain: The domain, "" for ai.onnx.

    Raises:
        GraphkitError: The installed onnx does not know the opset.

    Cost: about 50 ms.

    Example:
        >>> import graphkit as gk
        >>> gk.rules_in_force(11).rules["Resize"].since
        11
    """
    _check_known(opset, domain)
    found = {}
    for name, schemas in sorted(_all(domain).items()):
        until = [schema for schema in schemas if schema.since_version <= opset]
        if until:
            found[name] = _version(until[-1], until[-2] if len(until) > 1 else None)
    return RulesInForce(domain, opset, found)


def _check_known(opset: int | None, domain: str) -> None:
    """Refuse an opset of which the installed onnx cannot say the rules.

    Raises:
        GraphkitError: The installed onnx does not know the opset.
    """
    known = onnx.defs.onnx_opset_version()
    if opset is not None and not domain and opset > known:
        raise GraphkitError(f"the installed onnx {onnx.__version__} knows opsets up to {known}, not {opset}")


def operators(domain: str = "") -> dict[str, tuple[int, ...]]:
    """Every operator of a domain -> the opsets that changed it, oldest first.

    Example:
        >>> import graphkit as gk
        >>> gk.operators()["Relu"]
        (1, 6, 13, 14)
    """
    return {name: tuple(schema.since_version for schema in schemas) for name, schemas in sorted(_all(domain).items())}


@functools.cache
def schema_of(name: str, opset: int) -> Schema | None:
    """The definition of an ai.onnx operator that is in force at an opset, or None; a later opset counts as the newest."""
    try:
        return onnx.defs.get_schema(name, max(0, min(opset, onnx.defs.onnx_opset_version())))
    except onnx.defs.SchemaError:
        return None


@functools.cache
def schema_in(domain: str, name: str, version: int) -> Schema | None:
    """The definition of an operator of any domain that ONNX defines, in force at a version of that domain, or None."""
    if not domain:
        return schema_of(name, version)
    try:
        return onnx.defs.get_schema(name, max(0, min(version, 1 << 30)), domain)
    except onnx.defs.SchemaError:
        return None


@functools.cache
def _all(domain: str) -> dict[str, list[Schema]]:
    found: dict[str, list[Schema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == domain:
            found.setdefault(schema.name, []).append(schema)
    for schemas in found.values():
        schemas.sort(key=lambda schema: schema.since_version)
    return found


def _version(schema: Schema, before: Schema | None) -> OperatorVersion:
    made = OperatorVersion(
        since=schema.since_version,
        deprecated=schema.deprecated,
        inputs=tuple(_parameter(value) for value in schema.inputs),
        outputs=tuple(_parameter(value) for value in schema.outputs),
        attributes=tuple(_attribute(rule) for _, rule in sorted(schema.attributes.items())),
        types={rule.type_param_str: tuple(sorted(rule.allowed_type_strs)) for rule in schema.type_constraints},
    )
    if before is None:
        return made
    changes = _changes(_version(before, None), made) + _new_words(before, schema)
    return OperatorVersion(**{**vars(made), "changes": tuple(changes) or (WORDING,)})


WORDING = "the text of the specification only"

_WORD = re.compile(r"[`'\"]([a-z][a-z_0-9]+)[`'\"]")
_PLAIN = re.compile(r"[a-z][a-z_0-9]+")


def _new_words(before: Schema, after: Schema) -> list[str]:
    """Values of text attributes that the description of an attribute names for the first time."""
    found = []
    for name, rule in sorted(after.attributes.items()):
        if name in before.attributes and _word(rule.type) == "STRING":
            known = set(_PLAIN.findall(before.attributes[name].description))  # older texts quote nothing
            if new := sorted(set(_WORD.findall(rule.description)) - known - set(after.attributes)):
                found.append(f"attribute {name!r} also names {', '.join(new)}")
    return found


def _parameter(value: onnx.defs.OpSchema.FormalParameter) -> Parameter:
    option = {"Single": "required", "Optional": "optional", "Variadic": "variadic"}[_word(value.option)]
    return Parameter(value.name, value.type_str, option, _meaning(value.description))


def _meaning(description: str) -> str:
    return " ".join(description.replace("<br/>", " ").split())


def _word(member: object) -> str:
    """The name of a member of one of onnx's enumerations, ``OptionalInput.Single`` -> ``Single``."""
    return str(member).rpartition(".")[2]


def _attribute(rule: onnx.defs.OpSchema.Attribute) -> AttributeRule:
    default = onnx.helper.get_attribute_value(rule.default_value) if rule.default_value.name else None
    if isinstance(default, bytes):
        default = default.decode()
    if isinstance(default, list):
        default = [item.decode() if isinstance(item, bytes) else item for item in default]
    if isinstance(default, onnx.TensorProto):
        default = "a tensor"
    return AttributeRule(rule.name, _word(rule.type), rule.required, default, _meaning(rule.description))


def _changes(before: OperatorVersion, after: OperatorVersion) -> list[str]:
    found = ["deprecated"] if after.deprecated and not before.deprecated else []
    for kind, old, new in (("input", before.inputs, after.inputs), ("output", before.outputs, after.outputs)):
        found += _parameters_changed(kind, old, new)
    found += _attributes_changed(before.attributes, after.attributes)
    for variable, types in after.types.items():
        old_types = before.types.get(variable, ())
        if not old_types:
            continue
        if more := _short_types(set(types) - set(old_types)):
            found.append(f"{variable} also {more}")
        if fewer := _short_types(set(old_types) - set(types)):
            found.append(f"{variable} no longer {fewer}")
    return found


def _parameters_changed(kind: str, old: Sequence[Parameter], new: Sequence[Parameter]) -> list[str]:
    before, after = {p.name: p for p in old}, {p.name: p for p in new}
    found = [f"{kind} {name!r} is gone" for name in before if name not in after]
    found += [f"{kind} {name!r} is new ({p.option})" for name, p in after.items() if name not in before]
    for name in before.keys() & after.keys():
        if before[name].option != after[name].option:
            found.append(f"{kind} {name!r} is {after[name].option}, was {before[name].option}")
    return found


def _attributes_changed(old: Sequence[AttributeRule], new: Sequence[AttributeRule]) -> list[str]:
    before, after = {a.name: a for a in old}, {a.name: a for a in new}
    found = [f"attribute {name!r} is gone" for name in before if name not in after]
    found += [f"attribute {name!r} is new (default {a.default!r})" for name, a in after.items() if name not in before]
    for name in sorted(before.keys() & after.keys()):
        if before[name].default != after[name].default:
            found.append(f"attribute {name!r} has default {after[name].default!r}, had {before[name].default!r}")
        if before[name].required != after[name].required:
            found.append(f"attribute {name!r} is {'required' if after[name].required else 'optional'} now")
    return found


def _short_types(types: Iterable[str]) -> str:
    return ", ".join(sorted(name.removeprefix("tensor(").removesuffix(")") for name in types))
