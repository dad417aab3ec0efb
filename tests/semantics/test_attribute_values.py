"""The values that versions of an operator brought, compared with what the schemas of the installed onnx write about them."""

import itertools

import onnx
import pytest

from graphkit.semantics.attribute_values import ALWAYS, VALUES
from graphkit.semantics.schemas import operators, schema_of


@pytest.mark.parametrize(("op", "attribute"), VALUES)
def test_each_version_names_its_values_and_no_later_ones(op, attribute):
    for version in operators()[op]:
        rule = schema_of(op, version).attributes.get(attribute)
        if rule is None:
            continue
        text = rule.description.lower().replace("-", "_")
        for value, (first, end) in VALUES[op, attribute].items():
            if first <= version < end:
                assert value in text or (op, value) in {("GridSample", "linear"), ("GridSample", "cubic")}, (
                    version,
                    value,
                )
            elif version < first and not any(value in other for other in VALUES[op, attribute] if other != value):
                assert value not in text, (version, value)


def test_no_other_attribute_got_a_value_that_its_older_description_lacks():
    """A new onnx that brings a value to an attribute fails here, and the table gets a line."""
    from graphkit.semantics import schemas

    found = set()
    for op in operators():
        versions = [schema_of(op, version) for version in operators()[op]]
        for before, after in itertools.pairwise(versions):
            for change in schemas._new_words(before, after):
                found.add((op, change.split("'")[1]))
    assert found - VALUES.keys() == set()
    assert all(end == ALWAYS or end > first for values in VALUES.values() for first, end in values.values())
    assert onnx.defs.onnx_opset_version() >= max(first for values in VALUES.values() for first, _ in values.values())
