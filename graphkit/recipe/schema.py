"""The grammar of a recipe as JSON schema, made of the signatures of the operations."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Literal, get_type_hints

from graphkit.operation import operation_of, operations
from graphkit.recipe.hints import Schema, argument_schemas, schemas_of
from graphkit.surgery.merge import merge
from graphkit.surgery.split import split

Texts = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Number = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
Ports = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "string"}},
    ]
}

_CONDITIONS: dict[str, tuple[Schema, str]] = {
    "has_op": (Texts, "Operator types that occur: 'Conv', 'com.microsoft::Gelu'."),
    "no_op": (Texts, "Operator types that do not occur."),
    "opset": (
        {"anyOf": [*Number["anyOf"], {"type": "object", "additionalProperties": Number}]},
        "Version of the standard opset, as 17 or '>=17'; or a table domain = version.",
    ),
    "nodes": (Number, "Number of nodes of the main graph, as 12 or '<=100'."),
    "weights": (Number, "Bytes of all weights, as 4096 or '<=100MB'."),
    "producer": (Texts, "Name of the tool that wrote the model, as 'pytorch'."),
    "inputs": (Ports, "Names of all inputs in order, or a table name = type, as 'float32[N,3,224,224]'."),
    "outputs": (Ports, "Names of all outputs in order, or a table name = type."),
    "dims": (
        {"type": "object", "propertyNames": {"pattern": ":-?[0-9]+$"}, "additionalProperties": Number},
        "Axes of inputs and outputs: 'image:0' = 'N', 'image:2' = 224.",
    ),
}
"""What can be asked of a model without running it: in ``when`` and in ``expect``."""

_RUNS: dict[str, tuple[Schema, str]] = {
    "runs": ({"type": "boolean"}, "true: it loads, and runs on random feeds; false: it does not."),
    "same_as": ({"type": "string"}, "'original', or the path of a model that gives the same numbers."),
    "rtol": ({"type": "number", "minimum": 0}, "Relative tolerance of same_as."),
    "atol": ({"type": "number", "minimum": 0}, "Absolute tolerance of same_as."),
    "samples": ({"type": "integer", "minimum": 1}, "Runs of same_as, each on other feeds."),
    "proved": ({"type": "boolean"}, "true: the laws of all steps so far hold; false asks nothing."),
    "device": ({"enum": ["auto", "cpu", "cuda", "tensorrt"]}, "Where it runs; another device than that is a failure."),
    "faster_than": (
        {"anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}]},
        "'original', or seconds that a run takes at most (the median of five).",
    ),
}


def _table(entries: dict[str, tuple[Schema, str]]) -> Schema:
    properties = {name: {**schema, "description": text} for name, (schema, text) in entries.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


WHEN: Schema = _table(_CONDITIONS)
EXPECT: Schema = {**_table({**_CONDITIONS, **_RUNS}), "minProperties": 1}

VARIABLE: Schema = {
    "type": "object",
    "properties": {
        "type": {"enum": ["integer", "number", "string", "boolean", "list"]},
        "default": {},
        "help": {"type": "string"},
    },
    "required": ["type"],
    "additionalProperties": False,
}

STEP: Schema = {
    "when": {**WHEN, "description": "Leave the step out where the model is not so."},
    "optional": {"type": "boolean", "description": "Finding nothing to do is no error.", "default": False},
}
"""What every step may say beside its arguments."""


@functools.cache
def doings() -> dict[str, Schema]:
    """Name -> schema of a step's arguments: every operation, and merge and split, which stand at a recipe's ends."""
    found = {name: _operation(name) for name in operations()}
    if "set_parts" in found:
        found["set"] = found.pop("set_parts")  # as the command is called
    for function, given in ((merge, "models"), (split, "model")):
        signature = inspect.signature(function)
        kept = [p for p in signature.parameters.values() if p.name != given]
        names = {"ModelLike": str, "Literal": Literal}
        hints = get_type_hints(function, localns=names)
        schemas, required = schemas_of(signature.replace(parameters=kept), hints)
        if function is merge:
            schemas = {"models": {"type": "object", "additionalProperties": {"type": "string"}}, **schemas}
        found[function.__name__] = _arguments(schemas, required, function)
    return dict(sorted(found.items()))


def _operation(name: str) -> Schema:
    operation = operation_of(name)
    return _arguments(*argument_schemas(operation), operation.function)


def _arguments(schemas: dict[str, Schema], required: list[str], function: Any) -> Schema:
    return {
        "type": "object",
        "description": (inspect.getdoc(function) or "").partition("\n")[0],
        "properties": {**schemas, **STEP},
        "required": required,
        "additionalProperties": False,
    }


_USE: Schema = {"$ref": "#/$defs/variable"}


def _or_variable(schema: Schema) -> Schema:
    """A schema of a value that may be written as ``"${NAME}"`` too, and so may what is inside of it."""
    if schema == {} or "$ref" in schema or schema == {"type": "string"}:
        return schema
    told: Schema = {name: schema[name] for name in ("description", "default") if name in schema}
    bare = {name: held for name, held in schema.items() if name not in told}
    if "properties" in bare:
        bare["properties"] = {name: _or_variable(held) for name, held in bare["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(bare.get(name), dict):
            bare[name] = _or_variable(bare[name])
    if "anyOf" in bare:
        bare["anyOf"] = [_or_variable(held) for held in bare["anyOf"]]
        several = bare["anyOf"]
    else:
        several = [bare]
    if bare == {"type": "string"} or any(held in ({"type": "string"}, _USE) for held in several):
        return {**bare, **told}
    rest = {name: held for name, held in bare.items() if name != "anyOf"} if "anyOf" in bare else {}
    return {"anyOf": [*several, _USE], **rest, **told}


def _inside(schema: Schema) -> dict[str, Schema]:
    plain = ("optional",)  # of the recipe itself: said, not computed
    return {name: held if name in plain else _or_variable(held) for name, held in schema["properties"].items()}


def recipe_schema() -> Schema:
    """The JSON schema of a recipe, for editors that complete TOML.

    Changes: nothing.
    Cost: every operation is imported.

    Example:
        >>> import graphkit as gk
        >>> schema = gk.recipe_schema()
    """
    steps = []
    when = {"$ref": "#/$defs/when"}
    for name, schema in doings().items():
        properties = {"do": {"const": name}, **_inside(schema), "when": when}
        steps.append({**schema, "properties": properties, "required": ["do", *schema["required"]]})
    expect: Schema = {"expect": {**EXPECT, "properties": _inside(EXPECT)}, "when": when}
    include: Schema = {
        "include": {"type": "string", "description": "Path of another recipe, from this one's folder."},
        "vars": {"type": "object", "description": "Values of the other recipe's variables."},
        "when": when,
    }
    for properties in (expect, include):
        first = next(iter(properties))
        steps.append({"type": "object", "properties": properties, "required": [first], "additionalProperties": False})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "graphkit recipe",
        "$defs": {
            "when": {**WHEN, "properties": _inside(WHEN)},
            "variable": {"type": "string", "pattern": "[$][{][^{}]*[}]", "description": "The value of a variable."},
        },
        "type": "object",
        "properties": {
            "vars": {
                "type": "object",
                "description": 'Variables and their defaults, used as "${NAME}"; or a table with type, default, help.',
            },
            "include": {**Texts, "description": "Recipes whose steps come first."},
            "step": {"type": "array", "items": {"anyOf": steps}},
        },
        "additionalProperties": False,
    }
