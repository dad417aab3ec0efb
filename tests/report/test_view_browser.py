"""The page of ``graphkit view`` in headless Chromium, with real clicks and keys.

Run with ``python -m pytest -m browser tests/report/test_view_browser.py`` where chromium, chromedriver and the package
selenium are installed; elsewhere the tests say what is missing and are skipped.
"""

import os
import shutil
import time

import numpy as np
import onnx
import pytest

import graphkit as gk

pytestmark = pytest.mark.browser

NASTY = '</text></script><script>window.bad = 1</script><img src=x onerror="window.bad = 1">'
PATIENCE = 60
BODIES = """<ir_version: 10, opset_import: ["": 18, "d": 1]>
g (float[n,3] x, bool c) => (float[n,3] y, float[m,n,3] z) <float[3] w = {1, 2, 3}> {
    [add] h = Add(x, w)
    [call] f1 = d.f(h)
    [branch] s = If(c) <then_branch = t () => (float[n,3] a) { [in_then] a = Relu(f1) },
                        else_branch = e () => (float[n,3] b) { [in_else] b = Exp(f1) }>
    trip = Constant <value = int64 {3}> ()
    cond = Constant <value = bool {1}> ()
    [loop] y, z = Loop(trip, cond, s) <body = body (int64 it, bool cc, float[n,3] st) => (bool co, float[n,3] so, float[n,3] sc) {
        co = Identity(cc)
        [step] so = Mul(st, w)
        [scan] sc = d.f(so) }>
    [wrong] q = Nowhere(x)
}
<domain: "d", opset_import: ["": 18]> f (a) => (b) { [negate] t = Neg(a)
 [absolute] b = Abs(t) }"""


@pytest.fixture(scope="module")
def driver():
    selenium = pytest.importorskip("selenium", reason="the package selenium is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or shutil.which("chromedriver") is None:
        pytest.skip("chromium or chromedriver is not installed")
    from selenium.webdriver.chrome.service import Service

    options = selenium.webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = selenium.webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield found
    found.quit()


class Page:
    """A page that was opened, as a reader uses it."""

    def __init__(self, driver, path, hash_=""):
        self.driver = driver
        driver.get_log("browser")
        driver.set_window_size(1300, 900)
        driver.get("about:blank")
        driver.get(path.as_uri() + hash_)
        self.until(lambda: self.one("body").get_attribute("data-ready") == "yes")

    def until(self, done):
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, self.status
            time.sleep(0.02)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    @property
    def status(self):
        return self.one("#status").text

    @property
    def panel(self):
        return self.one("#panel").text

    @property
    def seen(self):
        """The ids of what is drawn."""
        return [box.get_attribute("data-id") for box in self.all(".box")]

    def settled(self):
        time.sleep(0.05)
        self.until(lambda: "laying out" not in self.status)

    def click(self, selector):
        self.one(selector).click()
        self.settled()

    def box(self, id_):
        return f'.box[data-id="{id_}"]'

    def select(self, id_):
        self.keys("f")  # fit: what is clicked must be seen
        self.click(self.box(id_))

    def switch(self, id_):
        self.keys("f")
        self.click(f"{self.box(id_)} .switch")

    def keys(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()
        self.settled()

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture
def opened(driver, tmp_path):
    """Open the page of a model; in the end nothing was written to the console."""
    pages = []

    def show(model, hash_="", **options):
        path = tmp_path / f"page{len(pages)}.html"
        gk.view(model, **options).save(path)
        pages.append(Page(driver, path, hash_))
        return pages[-1]

    yield show
    assert driver.get_log("browser") == []


def transformer(layers=80):
    """About 5,000 nodes with the names that torch's exporter gives."""
    nodes, last = [], "x"
    for at in range(layers):
        for part in range(62):
            module = ("attn", "attn/q", "attn/k", "mlp/fc1", "mlp/fc2")[part // 13]
            name = f"/layers.{at}/{module}/Op_{part}"
            nodes.append(
                onnx.helper.make_node(("MatMul", "Relu")[part % 2], [last, "w"][: 2 - part % 2], [name], name=name)
            )
            last = name
    nodes.append(onnx.helper.make_node("Softmax", [last], ["y"], name="/head/Softmax"))
    weights = {"w": np.eye(8, dtype=np.float32)}
    return gk.build(nodes, {"x": "float32[n,8]"}, {"y": "float32[n,8]"}, initializers=weights)


@pytest.fixture(scope="module")
def large():
    return transformer()


def test_five_thousand_nodes_open_as_few_boxes_within_two_seconds(opened, large, tmp_path):
    page = opened(large)
    assert len(large.nodes) > 4900
    assert len([id_ for id_ in page.seen if id_]) <= 24
    assert os.path.getsize(tmp_path / "page0.html") < 3_000_000
    times = []
    for _ in range(3):
        page.driver.refresh()
        page.until(lambda: page.one("body").get_attribute("data-ready") == "yes")
        times.append(page.driver.execute_script("return performance.now()"))
    assert min(times) < 2000


def test_a_page_asks_nobody_for_anything(opened, driver):
    driver.get_log("performance")
    page = opened(onnx.parser.parse_model(BODIES))
    urls = [m for entry in driver.get_log("performance") for m in [entry["message"]] if "requestWillBeSent" in m]
    assert [m for m in urls if '"url":"http' in m.replace(" ", "")] == []
    assert page.seen


def test_groups_open_and_close_by_click_and_key(opened, large):
    page = opened(large)
    before = page.seen
    closed = page.one(".box.group:not(.open)").get_attribute("data-id")
    page.switch(closed)
    assert len(page.seen) > len(before)
    assert "nodes" in page.panel
    assert page.driver.current_url.endswith(f"#{closed}")
    page.keys("\ue007")  # Enter
    assert page.seen == before
    page.keys("e")
    assert len(page.seen) > len(before)
    page.keys("c")
    assert page.seen == before


def test_search_finds_names_operators_and_shapes_and_enter_goes_there(opened, large):
    page = opened(large)
    page.keys("/")
    page.one("#search").send_keys("softmax")
    assert page.panel.startswith("1 found")
    page.keys("\ue007")
    assert page.panel.startswith("Softmax")
    assert page.one(".box.selected").get_attribute("aria-label").startswith("Softmax")
    page.one("#search").clear()
    page.one("#search").send_keys("layers.7/ op_3 [n,8]")
    assert "found" in page.panel
    assert all("layers.7/" in row.text for row in page.all("#results li"))


def test_the_path_between_two_values(opened):
    page = opened(onnx.parser.parse_model(BODIES))
    page.click("#ways summary")
    page.one("#from").send_keys("x")
    page.one("#to").send_keys("s")
    page.click("#find")
    assert [row.text.split()[0] for row in page.all("#path li")] == ["input", "Add", "f", "If"]
    assert len(page.all(".box.painted")) == 4
    page.one("#to").clear()
    page.one("#to").send_keys("c")
    page.click("#find")
    assert "nothing leads from x to c" in page.panel


def test_bodies_and_functions_open_in_place(opened):
    page = opened(onnx.parser.parse_model(BODIES))
    page.switch("n1")
    assert {"n1.1/n0", "n1.1/n1"} <= set(page.seen)
    page.switch("n2")
    page.switch("n5")
    text = " ".join(box.get_attribute("aria-label") for box in page.all(".box"))
    assert all(name in text for name in ("negate", "in_then", "in_else", "then_branch", "step", "scan"))
    inner = next(id_ for id_ in page.seen if id_.startswith("n5.") and page.all(f"{page.box(id_)} .switch"))
    page.switch(inner)
    assert sum(id_.startswith(inner + ".") for id_ in page.seen) == 4
    page.switch("n5")
    assert not any(id_.startswith("n5.") for id_ in page.seen)


def test_attributes_weights_and_findings_are_shown(opened):
    page = opened(onnx.parser.parse_model(BODIES))
    assert "Findings" in page.panel
    page.select("n0")
    assert page.all("#panel .histogram rect")
    assert "values\n1, 2, 3" in page.panel.replace("values 1", "values\n1")
    page.select("n6")
    assert "has no operator Nowhere" in page.panel
    assert page.all(f"{page.box('n6')} .badge.error")


def test_links_lead_to_nodes_and_values(opened):
    model = onnx.parser.parse_model(BODIES)
    page = opened(model, "#value=so")
    assert page.panel.startswith("Mul")
    assert page.one(".box.selected").get_attribute("data-id").startswith("n5.")
    address = page.driver.current_url.partition("#")[2]
    assert opened(model, f"#{address}").panel.startswith("Mul")
    assert opened(model, "#node=call").panel.startswith("d::f")
    assert opened(model, "#value=nowhere").status == "there is no value=nowhere in this model"
    assert opened(model, "#n99999/%%%").seen
    assert opened(model, "#value=w").panel.startswith("Add"), "a weight leads to what reads it"


def test_a_function_that_nothing_calls_is_shown_in_the_panel(opened):
    page = opened(onnx.parser.parse_model(BODIES.replace("d.f(", "Relu(")))
    page.one("#search").send_keys("negate")
    page.keys("\ue007")
    assert page.panel.startswith("Neg")
    assert page.all(".box.selected") == []


def test_highlights_are_coloured_and_listed(opened):
    page = opened(onnx.parser.parse_model(BODIES.replace("Nowhere", "Relu")), highlight=["cut:h->s", "in_else"])
    assert "cut h -> s (2)" in page.panel
    assert len(page.all(".box.painted")) >= 2
    assert any(id_.startswith("n2.") for id_ in page.seen), "what is around a highlighted node is open"


def test_keys_move_along_the_edges(opened):
    page = opened(onnx.parser.parse_model(BODIES))
    page.select("n0")
    page.keys("\ue015")  # down
    assert page.panel.startswith("d::f")
    page.keys("\ue013")  # up
    assert page.panel.startswith("Add")
    page.keys("\ue00c")  # Escape
    assert not page.all(".box.selected")
    page.keys("?")
    assert "select nothing" in page.panel


def test_names_of_a_file_stay_text(opened):
    nodes = [
        onnx.helper.make_node("Relu", ["x"], [NASTY], name=NASTY),
        onnx.helper.make_node("Neg", [NASTY], ["y"], name="n" * 10_000),
    ]
    page = opened(gk.build(nodes, {"x": "float32[2]"}, {"y": "float32[2]"}), highlight=NASTY)
    page.select("n0")
    assert NASTY in page.panel
    page.one("#search").send_keys("onerror")
    page.select("n1")
    assert page.driver.execute_script("return window.bad") is None
    assert page.all("img") == []


def test_narrow_windows_and_dark_mode_cut_nothing_off(opened, large):
    page = opened(large)
    page.driver.set_window_size(500, 800)
    wide = "return document.documentElement.scrollWidth <= window.innerWidth"
    assert page.driver.execute_script(wide)
    assert page.one("#panel").is_displayed()
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = page.driver.execute_script(colour)
    page.click("#theme")
    assert page.driver.execute_script(colour) != light


def test_printing_shows_the_whole_drawing(opened, large):
    page = opened(large)
    page.driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert page.one("#drawing").get_dom_attribute("viewBox").startswith("0 0 ")
    page.driver.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert not page.one("#drawing").get_dom_attribute("viewBox")
    assert page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"]


def test_a_hundred_thousand_nodes_open_closed_and_say_so(opened):
    nodes = [onnx.helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(100_000)]
    page = opened(gk.build(nodes, {"v0": "float32[2]"}, {"v100000": "float32[2]"}))
    assert "100,000 nodes: the page opens with everything closed" in page.panel
    assert len(page.seen) < 100
    page.switch(page.one(".box.group:not(.open)").get_attribute("data-id"))
    assert len(page.seen) < 200
