"""The page that draws a model: its data, its groups, what it marks and colours, and that nothing of a file gets out of it."""

import base64
import json
import random
import re
import webbrowser
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphkit as gk
from damage import damaged, subjects
from graphkit.report.printable import LONGEST, shown
from graphkit.report.view import page
from graphkit.report.view.drawing import CONSTANT, INPUT, OUTPUT
from graphkit.report.view.groups import MOST_BOXES, Group, group_nodes
from graphkit.report.view.weights import BINS, WHOLE, statistics
from graphkit.storage.load import as_model
from rich_model import rich_model

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
NASTY = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&\x1b[2J\u202e'


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f"{HEAD} {text}")


def small() -> onnx.ModelProto:
    return parsed(
        "g (float[n,3] x) => (float[n,3] y) <float[3] w = {1, 2, 3}> { [first] h = Add(x, w)\n [last] y = Relu(h) }"
    )


class Elements(HTMLParser):
    """The tags of a page, what its scripts hold, and what its attributes refer to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.handlers: list[str] = []
        self.held: dict[str, str] = {}
        self._inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self._inside = dict(attrs).get("id") if tag == "script" else None

    def handle_data(self, data):
        if self._inside:
            self.held[self._inside] = self.held.get(self._inside, "") + data


def data_of(made: gk.View) -> dict:
    held = Elements(made.html).held["model"]
    return json.loads(held if held.startswith("{") else zlib.decompress(base64.b64decode(held)))


def nodes_of(data: dict, graph: int = 0) -> list[tuple[str, str, int]]:
    """(operator, name, kind) of the boxes of a graph."""
    texts = data["drawing"]["texts"]
    return [(texts[n["o"]], texts[n["n"]], n.get("k", 0)) for n in data["drawing"]["graphs"][graph]["nodes"]]


def test_a_page_loads_nothing_from_anywhere():
    text = gk.view(small()).html
    found = Elements(text)
    assert found.links == ["data:,"]
    assert found.handlers == []
    assert not re.search(r"@import|url\((?!#)|https?:|fetch\(|XMLHttpRequest|innerHTML|sourceMappingURL", text)
    assert len(text) < 1_000_000


def test_the_data_are_the_graph():
    data = data_of(gk.view(small()))
    assert nodes_of(data) == [("Add", "first", 0), ("Relu", "last", 0), ("input", "x", INPUT), ("output", "y", OUTPUT)]
    texts, values = data["drawing"]["texts"], data["drawing"]["values"]
    add, relu, fed, result = data["drawing"]["graphs"][0]["nodes"]
    assert fed["y"] == [add["i"][0]]
    assert relu["i"] == add["y"]
    assert result["i"] == relu["y"]
    assert texts[values[add["y"][0]][1]] == "float32[n,3]"
    size, _, said = data["drawing"]["weights"][values[add["i"][1]][2]]
    assert size == 12
    assert (said["min"], said["max"], said["values"]) == (1.0, 3.0, "1, 2, 3")


def test_names_of_a_file_make_no_tags_and_end_no_script():
    model = small()
    long = "n" * 10_000
    model.graph.node[0].name = NASTY
    model.graph.node[1].name = long
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = NASTY
    model.graph.name = model.doc_string = model.producer_name = NASTY
    made = gk.view(model, highlight=NASTY)
    found, plain = Elements(made.html), Elements(gk.view(small()).html)
    assert found.tags == plain.tags
    assert found.handlers == []
    assert "<script>alert" not in made.html
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", made.html)
    names = [name for _, name, _ in nodes_of(data_of(made))]
    assert names[0] == NASTY.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert "10,000 characters" in names[1]
    assert long not in made.html


@pytest.mark.parametrize("text", ["", "a" * LONGEST, "\x1b" * 5000, "ä" * 300, "a\nb"])
def test_a_text_is_cut_and_has_no_control_characters(text):
    said = shown(text)
    assert len(said) <= 5 * LONGEST
    assert said.isprintable()
    assert (said == text) == (len(text) <= LONGEST and text.isprintable())


def test_large_data_are_deflated_and_are_the_same(monkeypatch):
    plain = data_of(gk.view(small()))
    monkeypatch.setattr(page, "MOST_PLAIN", 100)
    made = gk.view(small())
    assert not Elements(made.html).held["model"].startswith("{")
    assert data_of(made)["drawing"] == plain["drawing"]


# ---- groups ----


def node(name: str, at: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Relu", [f"v{at}"], [f"v{at + 1}"], name=name)


def all_groups(root: Group) -> list[Group]:
    return [root, *(inner for child in root.children if isinstance(child, Group) for inner in all_groups(child))]


def positions(root: Group) -> list[int]:
    return [p for child in root.children for p in (positions(child) if isinstance(child, Group) else [child])]


def test_modules_are_groups_and_one_of_one_is_the_inner_one():
    names = [f"/enc/layers.{i // 4}/{part}/Relu" for i in range(12) for part in (("a", "b")[i % 2],)]
    root, source = group_nodes([node(name, at) for at, name in enumerate(names)])
    assert source == "modules"
    assert [g.name for g in all_groups(root)[1:4]] == ["enc", "layers.0", "a"] or len(root.children) == 1
    layers = [g for g in all_groups(root) if re.fullmatch(r"(enc\.)?layers\.\d", g.name)]
    assert len(layers) == 3
    assert all(len(g.children) == 2 for g in layers)


def test_prefixes_of_names_are_groups_where_there_are_no_modules():
    names = [f"stage{i // 5}.block.op{i}" for i in range(10)]
    root, source = group_nodes([node(name, at) for at, name in enumerate(names)])
    assert source == "names"
    assert [child.name for child in root.children] == ["stage0.block", "stage1.block"]


@pytest.mark.parametrize("count", [1, MOST_BOXES, MOST_BOXES + 1, 2500, 20_000])
def test_no_group_is_larger_than_can_be_shown_and_every_node_is_in_one(count):
    root, source = group_nodes([node(f"n{at}", at) for at in range(count)])
    assert source == "order"
    assert sorted(positions(root)) == list(range(count))
    assert max(len(g.children) for g in all_groups(root)) <= MOST_BOXES
    names = [g.name for g in root.children if isinstance(g, Group)]
    assert len(set(names)) == len(names)


def test_loose_nodes_between_many_modules_are_bounded_too():
    names = []
    for at in range(150):
        names += [f"/m.{at}/Relu", f"/m.{at}/Neg", f"loose{at}"]
    root, _ = group_nodes([node(name, at) for at, name in enumerate(names)])
    assert sorted(positions(root)) == list(range(450))
    assert max(len(g.children) for g in all_groups(root)) <= MOST_BOXES


def test_constants_and_identities_of_weights_are_in_no_group():
    model = parsed(
        "g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { c = Constant <value = float[2] {3, 4}> ()\n"
        "k = Identity(w)\n a = Add(x, c)\n y = Mul(a, k) }"
    )
    kinds = [kind for _, _, kind in nodes_of(data_of(gk.view(model)))]
    assert kinds == [CONSTANT, CONSTANT, 0, 0, INPUT, OUTPUT]


def test_many_inputs_are_one_group():
    inputs = ", ".join(f"float[2] x{i}" for i in range(20))
    data = data_of(gk.view(parsed(f"g ({inputs}) => (float[2] y) {{ y = Add(x0, x1) }}")))
    groups = data["drawing"]["graphs"][0]["groups"]
    assert [data["drawing"]["texts"][g[0]] for g in groups] == ["20 inputs"]


# ---- bodies and functions ----

BRANCHES = (
    "g (float[2] x, bool c) => (float[2] y) { h = Relu(x)\n y = If(c) <"
    "then_branch = t () => (float[2] a) { a = Neg(h) }, else_branch = e () => (float[2] b) { b = Exp(h) }> }"
)


def test_a_body_is_a_graph_of_its_own_and_reads_the_values_around_it():
    data = data_of(gk.view(parsed(BRANCHES)))
    graphs = data["drawing"]["graphs"]
    relu, branch = graphs[0]["nodes"][:2]
    assert [graphs[inner]["kind"] for inner in branch["b"]] == ["body", "body"]
    assert [graphs[inner]["nodes"][0]["i"] for inner in branch["b"]] == [relu["y"], relu["y"]]
    assert branch["c"] == relu["y"]


def test_a_call_knows_the_graph_of_its_function():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "d": 1]> g (float[2] x) => (float[2] y) { y = d.f(x) }'
        '<domain: "d", opset_import: ["": 18]> f (a) => (b) { b = Neg(a) }'
    )
    data = data_of(gk.view(model))
    assert data["drawing"]["graphs"][0]["nodes"][0]["f"] == 1
    assert data["drawing"]["graphs"][1]["kind"] == "function"
    assert [operator for operator, _, _ in nodes_of(data, 1)] == ["Neg", "input", "output"]


# ---- weights ----


def tensor(array) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(array), "w")


def said_of(*tensors):
    return statistics(as_model(small()), tensors)


def test_statistics_are_numpys():
    array = np.random.default_rng(0).normal(size=(50, 60)).astype(np.float32)
    (said,) = said_of(tensor(array))
    assert said["min"] == array.min()
    assert said["max"] == array.max()
    assert said["mean"] == pytest.approx(array.astype(np.float64).mean())
    assert said["std"] == pytest.approx(array.astype(np.float64).std())
    assert said["bins"] == np.histogram(array.astype(np.float64), BINS)[0].tolist()


def test_of_a_large_tensor_pieces_are_read_and_the_page_says_so():
    array = np.arange(WHOLE, dtype=np.float32)
    (said,) = said_of(tensor(array))
    assert said["of"] == array.size
    assert said["read"] <= WHOLE // 4
    assert said["min"] == 0
    assert said["max"] > array.size * 0.98
    assert said["mean"] == pytest.approx(array.mean(), rel=0.02)


def test_numbers_that_are_not_finite_are_counted_and_json_holds():
    said, other, high = said_of(
        tensor(np.array([1, np.nan, np.inf, 0], np.float32)),
        tensor(np.array([np.nan], np.float16)),
        tensor(np.array([-1.7e308, 1.7e308])),
    )
    assert (said["nan"], said["inf"], said["zeros"], said["max"]) == (1, 1, 1, 1.0)
    assert "min" not in other
    assert high["bins"] == [2]
    json.dumps([said, other, high], allow_nan=False)


@pytest.mark.parametrize("data_type", ["BFLOAT16", "FLOAT8E4M3FN", "INT4", "UINT4", "BOOL", "FLOAT16", "INT64"])
def test_every_dtype_has_statistics(data_type):
    kind = getattr(onnx.TensorProto, data_type)
    (said,) = said_of(onnx.helper.make_tensor("w", kind, [4], [0, 1, 1, 0]))
    assert (said["min"], said["max"], said["mean"], said["zeros"]) == (0, 1, 0.5, 2)


def test_texts_empty_tensors_and_stripped_ones_say_why_there_are_no_numbers():
    texts = onnx.helper.make_tensor("w", onnx.TensorProto.STRING, [1], [NASTY.encode()])
    stripped = onnx.TensorProto(name="w", data_type=1, dims=[3])
    text, empty, gone = said_of(texts, tensor(np.zeros((0, 3), np.float32)), stripped)
    assert text.startswith("texts: ")
    assert empty == "no elements"
    assert "stripped" in gone
    assert said_of(tensor(np.array([1 + 2j], np.complex64))) == ["complex numbers"]


def test_weights_are_not_read_where_that_is_asked(tmp_path):
    onnx.save(small(), tmp_path / "m.onnx")
    data = data_of(gk.view(tmp_path / "m.onnx", weights=False))
    assert data["drawing"]["weights"][0][2] is None


# ---- models that are wrong ----


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("g (float[2] x) => (float[2] y) { y = Relux(x) }", "operator"),
        ("g (float[2] x) => (float[2] y) { [a] y = Add(x, z)\n [b] z = Relu(y) }", "cycle"),
        ("g (float[2] x) => (float[2] y) { y = Add(x, nowhere) }", "reference"),
        ("g (float[2] x) => (float[2] y) { y = Relu(x)\n y = Neg(x) }", "definition"),
    ],
)
def test_an_invalid_model_is_drawn_and_its_fault_is_marked(text, kind):
    data = data_of(gk.view(parsed(text)))
    assert kind in [mark["kind"] for mark in data["marks"]]
    assert any(mark["places"] for mark in data["marks"])


def test_damaged_models_are_drawn_or_refused_with_a_word():
    rng = random.Random(5)
    drawn = 0
    for data in subjects():
        for _ in range(12):
            try:
                made = gk.view(damaged(data, rng))
            except gk.GraphkitError:
                continue
            drawn += 1
            data_of(made)
    assert drawn > 10


def test_nodes_far_inside_of_each_other_are_drawn():
    text = "v{0} = If(c) <then_branch = t{0} () => (float[2] a{0}) {{ {1}\n a{0} = Relu(x) }}, else_branch = e{0} () => (float[2] b{0}) {{ b{0} = Neg(x) }}>"
    inner = ""
    for depth in range(20):
        inner = text.format(depth, inner)
    made = gk.view(parsed(f"g (float[2] x, bool c) => (float[2] v19) {{ {inner} }}"))
    assert len(data_of(made)["drawing"]["graphs"]) == 41


def test_every_field_that_a_model_may_have_is_drawn_or_left_alone():
    model = rich_model()
    before = model.SerializeToString(deterministic=True)
    data = data_of(gk.view(model))
    assert [graph["kind"] for graph in data["drawing"]["graphs"]].count("function") == len(model.functions)
    assert model.SerializeToString(deterministic=True) == before


# ---- highlights ----


def chain() -> onnx.ModelProto:
    return parsed(
        "g (float[2] x) => (float[2] y) { [a] p = Relu(x)\n [b] q = Neg(p)\n [c] r = Exp(q)\n [d] y = Abs(r) }"
    )


@pytest.mark.parametrize(
    ("what", "label", "boxes"),
    [
        ("b", "b", [1]),
        ("q", "q", [1]),
        ('"q"', "q", [1]),
        ("cut:p->r", "cut p -> r", [1, 2]),
        ('cut:"p"->"r"', "cut p -> r", [1, 2]),
        ("cut:->q", "cut  -> q", [0, 1]),
        ("cut:q->", "cut q -> y", [2, 3]),
    ],
)
def test_a_name_or_a_cut_is_highlighted(what, label, boxes):
    (found,) = data_of(gk.view(chain(), highlight=what))["highlights"]
    assert (found["label"], found["places"]) == (label, [[0, box] for box in boxes])


def test_results_are_highlighted():
    cut = gk.suggest(chain(), outputs=["r"], inputs=["p"])
    wrong = chain()
    wrong.graph.node[2].op_type = "Sin"
    bisected = gk.bisect(wrong, against=chain(), isolate=True)
    made = gk.view(wrong, highlight=[cut, bisected, {"a": "mine", "d": "mine"}])
    assert made.highlighted["cut p -> r"] == 2
    assert made.highlighted["first difference: r"] == 1
    assert made.highlighted["introduces error"] == 1
    assert made.highlighted["mine"] == 2
    placed = gk.view(chain(), highlight=gk.session(chain(), device="cpu", optimize=False)).highlighted
    assert placed == {"CPUExecutionProvider": 4}
    assert gk.view(chain(), highlight="placement:cpu").highlighted == placed


def test_what_a_comparison_found_is_highlighted():
    wrong = chain()
    wrong.graph.node[2].op_type = "Sin"
    assert gk.view(wrong, highlight=gk.validate(wrong, against=chain(), samples=1)).highlighted == {"differs": 1}
    assert gk.view(wrong, highlight=gk.validate(chain(), against=chain(), samples=1)).highlighted == {"agrees": 1}
    edited = gk.insert(chain(), "q", function="f (x) => (y) { y = Tanh(x) }")
    edited.proto.graph.node[2].op_type = "Sin"
    broken = gk.prove(edited, chain(), samples=1)
    assert gk.view(edited, highlight=broken).highlighted == {"first difference: r": 1}
    reduced = gk.reduce_model(chain(), lambda part: "Neg" not in {node.op_type for node in part.nodes})
    assert gk.view(chain(), highlight=reduced).highlighted == {"cut p -> q": 1}


def test_a_bisection_is_read_from_its_json(tmp_path):
    wrong = chain()
    wrong.graph.node[1].op_type = "Sin"
    (tmp_path / "b.json").write_text(gk.to_json(gk.bisect(wrong, against=chain())))
    assert gk.view(wrong, highlight=f"bisect:{tmp_path / 'b.json'}").highlighted["first difference: q"] == 1
    (tmp_path / "no.json").write_text("[1")
    with pytest.raises(gk.GraphkitError, match="no JSON"):
        gk.view(wrong, highlight=f"bisect:{tmp_path / 'no.json'}")


def test_a_step_is_replayed_to_see_what_it_added_and_changed(tmp_path):
    onnx.save(chain(), tmp_path / "m.onnx")
    edited = gk.tap(gk.insert(tmp_path / "m.onnx", "q", function="(a) => (b) { b = Tanh(a) }"), ["r"])
    gk.save(edited, tmp_path / "e.onnx")
    made = gk.view(tmp_path / "e.onnx", highlight="step:1")
    assert made.highlighted["step 1, insert: added"] == 1
    (tmp_path / "m.onnx").unlink()
    (found,) = data_of(gk.view(tmp_path / "e.onnx", highlight="step:1"))["highlights"]
    assert "could not be replayed" in found["note"]
    assert found["places"]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("nowhere", gk.NameNotFoundError),
        ("module:nowhere", gk.NameNotFoundError),
        ("step:1", gk.GraphkitError),
        ("bisect:none.json", gk.GraphkitError),
        ("cut:p->nowhere", gk.NameNotFoundError),
        ('cut:"p->r', gk.TextError),
        ("placement:moon", gk.TextError),
    ],
)
def test_what_is_not_there_is_said(what, error):
    with pytest.raises(error):
        gk.view(chain(), highlight=what)


# ---- the result and the command ----


def test_a_notebook_shows_the_page_in_a_frame():
    frame = gk.view(small())._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert Elements(frame).tags == ["iframe"]


def test_repr_and_json_leave_the_page_out():
    made = gk.view(small())
    assert len(repr(made)) < 600
    assert "html" not in json.loads(gk.to_json(made))


def test_open_writes_a_temporary_page_and_calls_the_browser(monkeypatch):
    called = []
    monkeypatch.setattr(webbrowser, "open", called.append)
    path = Path(gk.view(small()).open())
    assert called == [path.as_uri()]
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    path.unlink()
    path.parent.rmdir()
