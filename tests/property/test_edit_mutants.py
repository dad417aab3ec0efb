"""Damaged models: every operation gives a result or a GraphkitError, whatever a field says. Seeded, bounded."""

import random
import warnings

import onnx
import onnx_graphsurgeon as gs
import pytest

import graphkit as gk
from backend_cases import node_cases
from damage import damaged, names, subjects
from graphkit.feeds.feeds import complete
from graphkit.graph import walk
from graphkit.graph.names import label
from graphkit.graph.ports import input_ports
from graphkit.storage.load import as_valid_model
from oracle import assert_same, run_ort
from rich_model import rich_model

MUTANTS = 200
OPSETS = [9, 11, 12, 13, 15, 17, 18, 20, 21, 23]
FUNCTION = '<domain: "custom", opset_import: ["" : 17]> Clip (a) => (c) { c = Add(a, a) }'


@pytest.fixture(autouse=True, scope="module")
def quiet_graphsurgeon():
    """onnx-graphsurgeon prints what it warns of."""
    before = gs.logger.G_LOGGER.severity
    gs.logger.G_LOGGER.severity = gs.logger.G_LOGGER.CRITICAL
    yield
    gs.logger.G_LOGGER.severity = before


class Draw:
    """Arguments for an operation out of what a model has, and now and then out of what it has not."""

    def __init__(self, model, rng):
        self.model, self.rng = model, rng
        self.values = [*names(model), "zz"]
        self.nodes = [*map(label, walk.nodes(model.graph)), "zz"]
        self.inputs = [value.name for value in model.graph.input] or ["x"]

    def value(self):
        return self.rng.choice(self.values)

    def node(self):
        return self.rng.choice(self.nodes)

    def reader(self, value):
        readers = [node for node in walk.nodes(self.model.graph) if value in node.input]
        return label(self.rng.choice(readers)) if readers else "zz"

    def input(self):
        return self.rng.choice(self.inputs)

    def flag(self):
        return self.rng.random() < 0.5


def there_and_back(model, draw):
    """Through onnx-graphsurgeon, now and then with a change on the way."""
    graph = gk.to_graphsurgeon(model)
    if draw.flag() and graph.nodes:
        draw.rng.choice(graph.nodes).name = "edited"
    return gk.from_graphsurgeon(graph, like=model)


def random_feeds(model, draw):
    """As run, validate and precision draw them."""
    valid = as_valid_model(model)
    return complete(valid, input_ports(valid.proto), dict.fromkeys(draw.inputs, "random"))


OPERATIONS = {
    "extract": lambda m, d: gk.extract(m, outputs=[v.name for v in m.graph.output] or ["y"]),
    "extract between": lambda m, d: gk.extract(m, inputs=[d.value(), d.value()], outputs=[d.value()]),
    "extract nodes": lambda m, d: gk.extract(m, nodes=[d.node()], hops=d.rng.randint(0, 2)),
    "suggest": lambda m, d: gk.suggest(m, outputs=[d.value(), d.value()]),
    "suggest inputs": lambda m, d: gk.suggest(m, inputs=[d.value(), d.value()]),
    "rename": lambda m, d: gk.rename(m, values={d.value(): "new"}, nodes={d.node(): "new node"}),
    "promote": lambda m, d: gk.promote(m, d.value(), keep_default=d.flag()),
    "promote for one": lambda m, d: gk.promote(m, {(value := d.value()): "new"}, only=[d.reader(value)]),
    "promote attribute": lambda m, d: gk.promote(
        m, f"{d.node()}:{d.rng.choice(['axes', 'scales', 'max', 'split', 'k'])}"
    ),
    "freeze": lambda m, d: gk.freeze(m, {d.input(): d.rng.choice([1, 2.5, -1, [1, 2], "a"])}),
    "freeze and fold": lambda m, d: gk.freeze(m, {d.input(): d.rng.choice([1, 2, 0])}, fold=True),
    "resize": lambda m, d: gk.resize(
        m, form=d.rng.choice(["factor", "scales", "sizes"]), separate=d.flag(), keep_default=d.flag()
    ),
    "resize relative": lambda m, d: gk.resize(
        m, relative=True, semantics=d.rng.choice(["keep", "scales", "sizes"]), repair_shapes=True
    ),
    "resize one": lambda m, d: gk.resize(m, nodes=[d.node()]),
    "dims": lambda m, d: gk.dims(
        m, {f"{d.input()}:{d.rng.randint(-2, 3)}": d.rng.choice(["batch", 7])}, repair_shapes=d.flag()
    ),
    "dims symbol": lambda m, d: gk.dims(
        m, {d.rng.choice(["n", "h", "2*h + 1"]): d.rng.choice(["batch", 3])}, fold=d.flag()
    ),
    "tap": lambda m, d: gk.tap(m, [d.value(), d.value()], replace=d.flag()),
    "define": lambda m, d: gk.define(m, FUNCTION),
    "opset": lambda m, d: gk.opset(m, to=d.rng.choice(OPSETS)),
    "precision": lambda m, d: gk.precision(m, to="float16", keep_io=d.flag()),
    "inspect": lambda m, d: (gk.to_json(gk.inspect(m)), gk.text(gk.inspect(m, infer=True))),
    "lint": lambda m, d: gk.text(gk.lint(m, version=d.rng.choice([None, "8.6"]))),
    "graphsurgeon": there_and_back,
    "random feeds": random_feeds,
}


def models():
    """Small models of every kind, the one with every field, and some of onnx's with bodies and with many nodes."""
    cases = [c.model for c in node_cases() if any(walk.nested(c.model.graph.node)) or len(c.model.graph.node) > 8]
    return [*subjects(), *(model.SerializeToString() for model in (rich_model(), *cases[::40]))]


def answer(operation, model, draw):
    """What an operation gives: its result, or the GraphkitError that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return OPERATIONS[operation](model, draw)
        except gk.GraphkitError as error:
            return error


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_damaged_model_gives_a_result_or_a_graphkit_error(operation):
    rng = random.Random(operation)
    known = models()
    errors, results = set(), 0
    for number in range(MUTANTS):
        model = damaged(known[number % len(known)], rng)
        before = model.SerializeToString(deterministic=True)
        given = answer(operation, model, Draw(model, rng))
        assert model.SerializeToString(deterministic=True) == before
        if isinstance(given, gk.GraphkitError):
            assert 10 < len(str(given)) < 2500
            errors.add(type(given).__name__)
        else:
            results += 1
    assert errors
    assert results


CONSTANTS = ["s", "t", "lo", "hi", "pads", "k", "w", "q", "c", "a"]
"""Values that are constant in one of the models. Those that slice a shape are left out: onnx takes sizes of a Resize
whose number is not known for none at all, and ONNX Runtime refuses the model."""

KEEPING = {
    "rename": lambda m, d, f: gk.rename(m, nodes={d.node(): "new node"}),
    "tap": lambda m, d, f: gk.tap(m, [d.value()]),
    "opset": lambda m, d, f: gk.opset(m, to=d.rng.choice(OPSETS)),
    "dims": lambda m, d, f: gk.dims(m, {"n": "batch"}),
    "promote": lambda m, d, f: gk.promote(m, d.rng.choice(CONSTANTS), keep_default=True),
    "resize": lambda m, d, f: gk.resize(m, relative=True, keep_default=True),
    "freeze": lambda m, d, f: gk.freeze(m, {d.input(): f[d.inputs[0]]} if len(d.inputs) == 1 else f, fold=d.flag()),
    "graphsurgeon": lambda m, d, f: there_and_back(m, d),
}
"""Operations on what changes nothing of what a model computes."""


def computes(model, feeds):
    """What ONNX Runtime makes of a model that onnx's checker takes too; None where one of them refuses it."""
    try:
        onnx.checker.check_model(model, full_check=True)
        return run_ort(model, feeds)
    except Exception:  # noqa: BLE001 (both have classes of their own, with nothing above them)
        return None


def test_what_still_runs_computes_the_same_after_an_edit():
    rng = random.Random(0)
    known = subjects()
    compared = dict.fromkeys(KEEPING, 0)
    for number in range(4 * MUTANTS):
        model = damaged(known[number % len(known)], rng)
        draw = Draw(model, rng)
        try:
            feeds = random_feeds(model, draw)
        except gk.GraphkitError:
            continue
        expected = computes(model, feeds)
        if not expected:
            continue
        for operation, edit in KEEPING.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    edited = edit(model, draw, feeds).proto
                except gk.GraphkitError:
                    continue
            left = {value.name for value in edited.graph.input}
            if edited.ir_version < 4:  # there every constant is listed as an input too
                left -= {tensor.name for tensor in edited.graph.initializer}
            given = run_ort(edited, {name: array for name, array in feeds.items() if name in left})
            assert_same({name: given[name] for name in expected}, expected)
            compared[operation] += 1
    assert min(compared.values()) > 10, compared
