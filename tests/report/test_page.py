"""Text and pages of results: what they say, and that a page needs nothing but itself."""

import re
from html.parser import HTMLParser
from urllib.parse import quote

import onnx
import pytest

import graphkit as gk
from graphkit.fleet.model_page import model_page
from graphkit.report.columns import aligned
from graphkit.report.html.plots import bars, curve, heat
from graphkit.report.numbers import number
from onnx_text import parse

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
NASTY = "<script>alert(1)</script>&"


def pair():
    right = onnx.parser.parse_model(f"{HEAD} g (float[n,3] x) => (float[n,3] y) {{ h = Relu(x)\n y = Neg(h) }}")
    wrong = onnx.ModelProto.FromString(right.SerializeToString())
    wrong.graph.node[0].op_type = "Tanh"
    wrong.graph.name = NASTY
    for model in (right, wrong):
        model.graph.node[0].output[0] = model.graph.node[1].input[0] = NASTY
    return wrong, right


class Strict(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page):
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    assert [link for link in parser.links if not link.startswith("#")] == []
    assert "script" not in parser.seen
    assert not re.search(r"@import|url\(|https?:", page)
    return parser


def test_a_page_of_a_validation():
    wrong, right = pair()
    report = gk.validate(wrong, against=right, bind={"n": [1, 4]}, samples=2)
    page = gk.report_html(report)
    assert {"svg", "table", "rect", "polyline"} <= read(page).seen
    assert ">mismatch<" in page
    assert "torch.testing" in page
    assert page.count("FAILS") >= 5
    assert ">match<" in gk.report_html(gk.validate(right, against=right))


def test_a_page_names_the_output_of_each_tolerance_and_its_scales():
    two = onnx.parser.parse_model(
        f"{HEAD} g (float[n,3] x) => (float[n,3] a, float[n,3] b) {{ a = Neg(x)\n b = Exp(x) }}"
    )
    page = gk.report_html(gk.validate(two, against=two))
    assert "Tolerance of a: rtol 1.3e-06" in page
    assert "Tolerance of b: rtol 1.3e-06" in page
    assert "logarithmic" in page


def test_what_is_not_finite_does_not_look_good_on_the_page():
    right = onnx.parser.parse_model(f"{HEAD} g (float[8] x) => (float[8] y) {{ y = Abs(x) }}")
    wrong = onnx.parser.parse_model(f"{HEAD} g (float[8] x) => (float[8] y) {{ z = Sub(x, x)\n y = Div(z, z) }}")
    report = gk.validate(wrong, against=right)
    page = gk.report_html(report)
    assert "; 8 are not in it" in page
    assert report.pictures["y"].histogram == (0,) * 16
    assert '"max_abs": "inf"' in gk.to_json(report)
    assert "worst at [0]: nan, expected" in gk.text(report)
    read(page)


def test_a_page_of_a_bisection():
    wrong, right = pair()
    page = gk.report_html(gk.bisect(wrong, against=right, isolate=True))
    assert "polyline" in read(page).seen
    assert "diverges" in page
    assert "FAILS (introduces)" in page
    assert "FAILS (passes on)" in page


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    wrong, right = pair()
    report = gk.validate(wrong, against=right)
    gk.save_html(report, tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == gk.report_html(report)
    with pytest.raises(gk.SaveError):
        gk.save_html(report, tmp_path / "no" / "r.html")
    for writer in (gk.report_html, gk.text):
        with pytest.raises(TypeError, match="int"):
            writer(3)


def test_a_page_says_what_wrote_it_and_when():
    wrong, right = pair()
    for result in (gk.validate(wrong, against=right), gk.check(right, runtime=False)):
        page = gk.report_html(result)
        assert re.search(rf"<footer>graphkit {re.escape(gk.__version__)}, 20\d\d-\d\d-\d\d</footer>", page)
        assert '<meta name="viewport"' in page


def long_bisection(name=lambda at: f"v{at}"):
    right = onnx.parser.parse_model(f"{HEAD} g (float[3] x) => (float[3] y) {{ y = Relu(x) }}")
    del right.graph.node[:]
    last = "x"
    for at in range(40):
        made = "y" if at == 39 else name(at)
        right.graph.node.append(onnx.helper.make_node("Neg", [last], [made], name=f"n{at}"))
        last = made
    wrong = onnx.ModelProto.FromString(right.SerializeToString())
    wrong.graph.node[30].op_type = "Abs"
    return wrong, gk.bisect(wrong, against=right, isolate=True)


def test_a_long_table_jumps_to_its_first_failure():
    _, found = long_bisection()
    page = gk.report_html(found)
    read(page)
    assert page.count('<a href="#values-first-failure">') == 1
    assert page.count('id="values-first-failure"') == 1
    before = page.partition('id="values-first-failure"')[0].rpartition("<h2>Every value")[2]
    assert "FAILS" not in before
    wrong, right = pair()
    assert "first-failure" not in gk.report_html(gk.validate(right, against=right))
    assert '<a href="#' not in gk.report_html(gk.validate(wrong, against=right))


def test_values_link_to_the_drawing_of_the_model():
    _, found = long_bisection(lambda at: f"a/b:{at} #&<")
    page = gk.report_html(found, view="dir with space/m.html")
    links = [link for link in links_of(page) if not link.startswith("#")]
    assert links[0] == "./dir%20with%20space/m.html"
    assert f"./dir%20with%20space/m.html#value={quote('a/b:0 #&<', safe='')}" in links
    assert "./javascript%3Ax" in links_of(gk.report_html(found, view="javascript:x"))


def links_of(page):
    parser = Strict()
    parser.feed(page)
    return parser.links


def test_long_names_and_control_characters_are_cut_and_escaped_on_every_page():
    bad = "\x1b[2J\u202e<b>" + "x" * 10_000
    _, found = long_bisection(lambda at: f"{at}{bad}")
    page = gk.report_html(found)
    assert "x" * 1000 not in page.partition("<h2>Every value")[2]
    assert "10,0" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", page)
    read(page)


def test_text_says_what_json_says():
    wrong, right = pair()
    report = gk.validate(wrong, against=right)
    text = gk.text(report)
    assert text.startswith("MISMATCH")
    assert number(report.outputs["y"].max_abs) in text
    assert f"worst at {list(report.outputs['y'].worst)}" in text


def test_plots_of_odd_numbers():
    for points in ([], [(0.0, 0.0)], [(0.0, float("inf")), (1.0, 1e-3)], [(5.0, 1e-300), (5.0, 1e300)]):
        assert "nan" not in curve(points, limit=1e-5, x_title="n")
    assert "nan" not in curve([(0.0, 1.0)], x_title="n")
    assert ">0</text>" in curve([(0.0, 0.0), (1.0, 1e-3)], x_title="n")
    assert bars([0, 0], ["a", "b"]).count("<rect") == 2
    assert heat([[0.0, 0.0]]).count("<rect") == 1
    assert heat([[0.0, 2.0]]).count('opacity="1.000"') == 1


def test_columns_and_numbers():
    assert aligned([("a", "1"), ("bb", "22")], right=(1,)) == "a    1\nbb  22"
    assert [number(v) for v in (None, 0.0, 3, 1.5e-7, 12345678.0)] == ["-", "0", "3", "1.5e-07", "1.235e+07"]


def test_pages_cut_long_names_and_keep_sentences_whole():
    name = "n" * 10_000
    before = parse(f"g (float[2] x) => (float[2] {name}) {{ {name} = Relu(x) }}")
    after = parse(f"g (float[2] x) => (float[2] {name}) {{ {name} = Exp(x) }}")
    page = gk.validate(after, against=before)._repr_html_()
    assert name not in re.sub("<[^>]*>", "", page)
    page = gk.bisect(after, against=before)._repr_html_()
    assert name not in re.sub("<[^>]*>", "", page)
    assert re.search("<p>tolerance: [^<]*magnitude[^<]*</p>|<p>tolerance: [^<]*[)]</p>", page)


def test_pages_of_many_models_cut_what_nobody_reads():
    name = "n" * 10_000
    step = {"number": 1, "what": "rename", "touched": [f"renamed '{name}'"], "state": "done"}
    done = gk.Done("model.onnx", said=f"1 step: {name}", result={"steps": [step], "proof": {"tolerance": name}})
    failed = gk.Failed("other.onnx", "EditError", f"no node\nis named {name}")
    for page in (gk.outcomes_page("all", [done, failed], "graphkit"), *own_pages(done, failed)):
        assert "n" * 300 not in page
        assert "n" * 100 in page


def own_pages(*outcomes):
    for one in outcomes:
        yield model_page(one, gk.told(one), about="graphkit", back="all.html")


def test_the_steps_of_a_proof_are_names():
    done = gk.Done("model.onnx", result={"steps": ["rename", "insert"], "verdict": "proved"})
    assert "<details>" not in gk.outcomes_page("prove", [done], "graphkit")
