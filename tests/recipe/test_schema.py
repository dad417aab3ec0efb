"""The JSON schema that editors complete recipes by takes what graphkit takes, and refuses what it refuses."""

import re
import tomllib
from pathlib import Path

import pytest

import graphkit as gk

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def accepts(schema, value, root):
    """The part of JSON schema that the schema of recipes uses; an unknown word is an error."""
    known = {
        *("type", "enum", "const", "anyOf", "$ref", "pattern", "minimum", "minProperties", "items", "properties"),
        *("additionalProperties", "propertyNames", "required", "description", "default", "title", "$schema", "$defs"),
        *("minItems", "maxItems", "prefixItems"),
    }
    assert set(schema) <= known, set(schema) - known
    ok = True
    if "$ref" in schema:
        ok = accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in schema:
        ok = ok and any(accepts(one, value, root) for one in schema["anyOf"])
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        ok = ok and any(
            isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
        )
    ok = ok and value in schema.get("enum", [value]) and value == schema.get("const", value)
    if isinstance(value, str) and "pattern" in schema:
        ok = ok and re.search(schema["pattern"], value) is not None
    if isinstance(value, (int, float)):
        ok = ok and value >= schema.get("minimum", value)
    if isinstance(value, list) and "items" in schema:
        ok = ok and all(accepts(schema["items"], item, root) for item in value)
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        ok = ok and all(name in value for name in schema.get("required", []))
        for name, held in value.items():
            rule = properties.get(name, more)
            ok = ok and (rule if isinstance(rule, bool) else accepts(rule, held, root))
            ok = ok and accepts(schema.get("propertyNames", {}), name, root)
    return ok


@pytest.fixture(scope="module")
def schema():
    return gk.recipe_schema()


@pytest.mark.parametrize("path", sorted(SAMPLES.rglob("*.toml")), ids=lambda path: path.name)
def test_the_schema_takes_the_recipes_of_the_samples(schema, path):
    assert accepts(schema, tomllib.loads(path.read_text()), schema)


@pytest.mark.parametrize(
    "step",
    [
        'do = "opset"\nto = "${target}"',
        'do = "dims"\nvalues = { "x:0" = "${n}" }\nrepair_shapes = "${repair}"',
        'do = "dims"\nvalues = "${all}"\nwhen = { opset = { "ai.onnx" = "${n}" }, nodes = "${n}" }',
        'do = "precision"\nto = "${to}"\nkeep_ops = "${keep}"',
        'expect = { runs = "${runs}", rtol = "${slack}", device = "${device}", has_op = "${ops}" }',
    ],
)
def test_the_schema_takes_a_variable_wherever_a_recipe_does(schema, step):
    assert accepts(schema, tomllib.loads(f"[[step]]\n{step}\n"), schema)


@pytest.mark.parametrize(
    "step",
    [
        'do = "opset"\nto = "13"',
        'do = "renam"\nvalues = { a = "b" }',
        'do = "dims"\nvaluess = { "x:0" = 1 }',
        'do = "simplify"\noptional = "${lazy}"',
        'expect = { runs = "yes" }',
        "expect = { rtol = -1 }",
        'do = "simplify"\nwhen = { hasop = "Conv" }',
    ],
)
def test_the_schema_refuses_what_graphkit_refuses(schema, step, tmp_path):
    assert not accepts(schema, tomllib.loads(f"[[step]]\n{step}\n"), schema)
    (tmp_path / "r.toml").write_text(f"[[step]]\n{step}\n", encoding="utf-8")
    with pytest.raises(gk.RecipeError):
        gk.Recipe.load(tmp_path / "r.toml")
