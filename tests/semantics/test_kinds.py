"""The tables of kinds of operators: each name is one of ONNX's, and says what its schema says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from graphkit.edit.repair import KEEPS_ELEMENTS
from graphkit.runtime.placement import HOST_INPUTS
from graphkit.semantics import kinds
from graphkit.semantics.elementwise import BOOLEAN, ONE_BY_ONE
from graphkit.semantics.shape_inputs import SHAPED_BY
from graphkit.verify.laws.rounded import PLAIN

LATEST = {schema.name: schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
HISTORY = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
TABLES = {name: getattr(kinds, name) for name in dir(kinds) if name.isupper()}


@pytest.mark.parametrize(
    "names", [*TABLES.values(), SHAPED_BY, HOST_INPUTS, ONE_BY_ONE, BOOLEAN, KEEPS_ELEMENTS, PLAIN]
)
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


def literals(tree: ast.AST) -> Iterator[tuple[int, set[str]]]:
    """The lines of collections of names that are written out (the keys of a table of rules are none) and the names."""
    for node in ast.walk(tree):
        found: set[str] = set()
        if isinstance(node, ast.Set | ast.Tuple | ast.List):
            found = {e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = set(node.value.split()) if set(node.value.split()) <= HISTORY else set()  # prose is none
        if found:
            yield node.lineno, found


def stated_again(source: str) -> list[tuple[int, str]]:
    """Where a file writes a whole table of kinds out again."""
    return [
        (line, name)
        for line, found in literals(ast.parse(source))
        for name, kind in TABLES.items()
        if kind and found >= set(kind)
    ]


def test_no_file_writes_a_table_of_kinds_out_again() -> None:
    home = Path(kinds.__file__)
    again = {
        str(path.relative_to(home.parents[1])): found
        for path in home.parents[1].rglob("*.py")
        if path != home and (found := stated_again(path.read_text()))
    }
    assert again == {}


def test_a_table_that_is_written_out_again_is_found() -> None:
    assert stated_again('A = ("Scan", "Loop", "If")\nB = "Size Abs Shape".split()\nC = {"Shape": 1, "Size": 2}\n') == [
        (1, "CONTROL_FLOW"),
        (1, "LOOPS"),
        (2, "SHAPE_ONLY"),
    ]
