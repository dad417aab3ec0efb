"""The tables of kinds of operators: each name is one of ONNX's, and says what its schema says."""

import onnx
import pytest

from graphkit.edit.repair import KEEPS_ELEMENTS
from graphkit.runtime.placement import HOST_INPUTS
from graphkit.semantics import kinds
from graphkit.semantics.elementwise import BOOLEAN, ONE_BY_ONE
from graphkit.semantics.shape_inputs import SHAPED_BY

LATEST = {schema.name: schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
HISTORY = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
TABLES = {name: getattr(kinds, name) for name in dir(kinds) if name.isupper()}


@pytest.mark.parametrize("names", [*TABLES.values(), SHAPED_BY, HOST_INPUTS, ONE_BY_ONE, BOOLEAN, KEEPS_ELEMENTS])
def test_every_name_is_an_operator_of_onnx(names: object) -> None:
    assert set(names) <= HISTORY  # type: ignore[call-overload]


@pytest.mark.parametrize("table", [SHAPED_BY, HOST_INPUTS])
def test_every_place_is_an_input_that_the_operator_has(table: dict[str, tuple[int, ...]]) -> None:
    for name, places in table.items():
        most = max(s.max_input for s in onnx.defs.get_all_schemas_with_history() if s.name == name and not s.domain)
        assert all(place < most for place in places), name


def test_reductions_are_all_that_take_axes() -> None:
    assert set(kinds.REDUCTIONS) == {name for name in LATEST if name.startswith("Reduce")}


def test_operators_that_draw_are_those_that_onnx_calls_nondeterministic() -> None:
    kind = onnx.defs.OpSchema.NodeDeterminism
    said = {name for name, schema in LATEST.items() if schema.node_determinism == kind.NonDeterministic}
    bodies = {"If", "Loop", "Scan", "SequenceMap"}  # which may hold such operators
    assert said - bodies - {"AffineGrid"} == kinds.MAY_DRAW  # whose marking contradicts its formula


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("y = RandomNormal <shape = [2]> ()", True),
        ("y = Bernoulli(x)", True),
        ("y = Dropout(x)", False),
        ("y = Dropout(x, ratio)", False),
        ("y = Dropout(x, ratio, training)", True),
        ('y = Dropout(x, ratio, "")', False),
        ("y = local.RandomNormal(x)", False),
        ("y = Neg(x)", False),
    ],
)
def test_which_nodes_draw(text: str, drawn: bool) -> None:
    assert kinds.draws(onnx.parser.parse_node(text)) is drawn
