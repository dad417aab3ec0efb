"""Many models: a crash costs a row, memory is bounded, and a run that was killed goes on."""

import json
import os
import pickle
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import onnx
import pytest

import graphkit as gk
from fleet.works import Crashing, Failing, Greedy, Mixed, Telling

RELU = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3] x) => (float[N, 3] y) { h = Relu(x)  y = Neg(h) }"""


@pytest.fixture
def models(tmp_path):
    """Six models in a folder and one below it."""
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "e", "deep/f"):
        onnx.save(onnx.parser.parse_model(RELU), folder / f"{name}.onnx")
    return folder


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "patch.toml"
    path.write_text(
        '[[step]]\ndo = "rename"\nvalues = { x = "image" }\n[[step]]\ndo = "opset"\nto = 18\n', encoding="utf-8"
    )
    return path


def applying(recipe):
    return gk.Applying(gk.Recipe.load(recipe))


def jobs(folder, out):
    named = gk.named_models([str(folder)])
    return [gk.Job(n.path, o) for n, o in zip(named, gk.output_paths(named, str(out)), strict=True)]


def test_a_segfault_costs_its_model_a_retry_and_a_row_and_the_others_are_done_once(tmp_path):
    log = tmp_path / "begun.txt"
    given = [gk.Job(f"m{k}{'bad' if k == 2 else ''}") for k in range(6)]
    rows = list(gk.run_fleet(Crashing(str(log)), given, workers=2))
    assert sorted(row.model for row in rows) == sorted(job.model for job in given)
    crashed = [row for row in rows if not row]
    assert {(row.model, row.kind, row.attempts) for row in crashed} == {("m2bad", "Crash", 2)}
    assert all("SIGSEGV" in row.message for row in crashed)
    begun = Counter(line.split()[0] for line in log.read_text().splitlines())
    assert begun["m2bad"] == 2
    assert max(begun.values()) == 2


def test_memory_that_a_worker_may_not_have_is_a_row(tmp_path):
    rows = list(gk.run_fleet(Greedy(3 << 30), [gk.Job("large")], memory="2GB"))
    assert [(row.model, row.kind) for row in rows] == [("large", "MemoryError")]
    (row,) = gk.run_fleet(Greedy(1 << 20), [gk.Job("small")], memory="2GB")
    assert row.said == "1048576 bytes"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process holds")
def test_memory_is_counted_beside_what_a_worker_holds_itself_and_one_model_spoils_no_other(recipe, models, tmp_path):
    every = [gk.Job("large"), *jobs(models, tmp_path / "out")]
    rows = list(gk.run_fleet(Mixed(applying(recipe), 200 << 20), every, memory="100MB"))
    assert [row.kind for row in rows if not row] == ["MemoryError"]
    assert len(rows) == len(every)


def test_a_worker_has_one_thread_and_is_another_process_and_the_parents_variables_stay(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("GRAPHKIT_THREADS", raising=False)
    (row,) = gk.run_fleet(Telling(), [gk.Job("x")])
    assert row.said == "1 1"
    assert row.result["pid"] != os.getpid()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "GRAPHKIT_THREADS" not in os.environ


def test_errors_are_rows_with_their_hint_and_bugs_with_their_traceback():
    rows = {row.model: row for row in gk.run_fleet(Failing(), [gk.Job("value"), gk.Job("name")])}
    assert rows["name"].kind == "NameNotFoundError"
    assert "did you mean 'x1'" in rows["name"].hint
    assert rows["value"].kind == "Bug"
    assert "ValueError: a bug" in rows["value"].message


@pytest.mark.parametrize(
    "outcome",
    [gk.Done("m", False, "o", "s", {"a": 1}, 1.0, 2, "k", "w"), gk.Failed("m", "K", "why"), gk.Skipped("m", "why")],
)
def test_outcomes_pass_through_pickle(outcome):
    again = pickle.loads(pickle.dumps(outcome))  # noqa: S301
    assert again == outcome
    assert bool(again) is bool(outcome)


def test_a_journal_has_a_line_a_model_and_a_second_run_goes_on_from_it(models, recipe, tmp_path):
    journal = tmp_path / "outcomes.jsonl"
    given = jobs(models, tmp_path / "out")

    def run(**options):
        work = applying(recipe)
        return {
            Path(r.model).stem: type(r).__name__ for r in gk.run_fleet(work, given, journal=str(journal), **options)
        }

    assert set(run().values()) == {"Done"}
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert sorted(Path(row["model"]).stem for row in lines) == list("abcdef")
    assert {row["outcome"] for row in lines} == {"done"}
    # Another model, a changed output, a missing output: these are done again, and nothing else.
    changed = onnx.parser.parse_model(RELU.replace("Neg", "Abs"))
    onnx.save(changed, models / "a.onnx")
    (tmp_path / "out" / "b.onnx").unlink()
    onnx.save(changed, tmp_path / "out" / "c.onnx")
    with open(journal, "a", encoding="utf-8") as file:
        file.write('{"outcome": "done", "mod')  # cut short by a kill
    again = run(resume=True)
    assert {name for name, kind in again.items() if kind == "Done"} == {"a", "b", "c"}
    assert {name for name, kind in again.items() if kind == "Skipped"} == {"d", "e", "f"}
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert sorted(Path(row["model"]).stem for row in lines) == list("abcdef")
    assert {row["outcome"] for row in lines} == {"done"}
    # Another recipe: everything is done again.
    recipe.write_text(recipe.read_text().replace("18", "19"), encoding="utf-8")
    assert set(run(resume=True).values()) == {"Done"}


def test_a_fleet_that_is_killed_at_any_moment_goes_on_by_resume(models, recipe, tmp_path):
    for k in range(14):
        onnx.save(onnx.parser.parse_model(RELU), models / f"more{k}.onnx")
    command = [Path(sys.executable).parent / "graphkit", "apply", recipe, models, "--out", tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(6):
            process.stdout.readline()
        process.kill()
        process.communicate(timeout=60)  # the end of its output: no worker outlives it
    journal = tmp_path / "out" / "outcomes.jsonl"
    before = journal.read_text().splitlines()
    assert 5 <= len(before) <= 20
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    assert "done before" in done.stdout.splitlines()[-1]
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(rows) == len({row["model"] for row in rows}) == 20
    assert sum(": " in line and line.startswith("done: ") for line in done.stdout.splitlines()) <= 20 - 5


def test_a_model_that_is_named_twice_is_refused(models, tmp_path):
    with pytest.raises(gk.NameTakenError, match="named twice"):
        gk.named_models([str(models), str(models / "a.onnx")])


def test_two_models_that_would_write_one_file_are_refused(models, tmp_path):
    onnx.save(onnx.parser.parse_model(RELU), models / "deep" / "a.onnx")
    named = gk.named_models([str(models / "a.onnx"), str(models / "deep" / "a.onnx")])
    with pytest.raises(gk.NameTakenError, match="would both be written to"):
        gk.output_paths(named, str(tmp_path / "out"))
    assert len(set(gk.output_paths(named, str(tmp_path / "out" / "{number}-{name}")))) == 2
    with pytest.raises(gk.NameTakenError, match="one of the models that are read"):
        gk.output_paths(named[:1], str(models))
    with pytest.raises(gk.SaveError, match="none of"):
        gk.output_paths(named, "out/{steam}.onnx")


def test_models_are_named_by_folder_pattern_list_and_address(models, tmp_path):
    def below(*texts):
        return [named.below for named in gk.named_models(texts)]

    assert below(str(models)) == ["a.onnx", "b.onnx", "c.onnx", "d.onnx", "e.onnx", os.path.join("deep", "f.onnx")]
    assert below(str(models / "[ab].onnx")) == ["a.onnx", "b.onnx"]
    listed = tmp_path / "list.txt"
    listed.write_text("# some\nmodels/a.onnx\n\nmodels/deep/*.onnx\n", encoding="utf-8")
    assert below(f"@{listed}") == below(str(listed)) == ["a.onnx", "f.onnx"]
    pytest.importorskip("fsspec")
    assert below(f"file://{models}/") == below(str(models))[:5][:0] + sorted(below(str(models)))
    for nothing in (str(models / "x*.onnx"), str(tmp_path / "none.txt").replace("none.txt", "@none")):
        if "*" in nothing:
            with pytest.raises(gk.ModelFileError, match="no file matches"):
                gk.named_models([nothing])


def test_reports_are_xml_markdown_and_a_page_with_failures_first(tmp_path):
    rows = [
        gk.Done(
            "z.onnx",
            True,
            "out/z.onnx",
            "2 steps",
            {"steps": [{"number": 1, "what": "opset", "touched": ["a<b"], "state": "done", "seconds": 0.5}]},
        ),
        gk.Failed("a<b>.onnx", "Crash", "killed by \x1bSIGSEGV", attempts=2),
        gk.Done("n.onnx", False, said="no"),
    ]
    page = gk.outcomes_page("apply", rows, "graphkit 1")
    assert page.index("a&lt;b&gt;.onnx") < page.index("n.onnx") < page.index("z.onnx")
    assert "3 models: 1 failed, 1 no, 1 done" in page
    xml = ET.fromstring(gk.junit("apply", rows))  # noqa: S314 (our own)
    assert xml.attrib["failures"] == "2"
    assert [suite.attrib["name"] for suite in xml] == ["z.onnx", "a<b>.onnx", "n.onnx"]
    text = gk.markdown("apply", rows)
    assert text.index("a&lt;b>.onnx") < text.index("z.onnx")
    assert "| **failed: Crash** |" in text


def test_each_row_of_the_page_leads_to_a_page_of_its_model(tmp_path):
    steps = [{"number": 1, "what": "opset", "touched": ["a<b", "c"], "state": "done", "seconds": 0.5}]
    rows = [
        gk.Done(
            "models/z.onnx", True, str(tmp_path / "out" / "z #1.onnx"), "1 step", {"steps": steps, "proof": {"n": 1}}
        ),
        gk.Failed("s3://b/a<b>.onnx", "Bug", "Traceback\nValueError: a bug", "tell us", attempts=2),
        gk.Done("n.onnx", False, said="no", result={"findings": [{"kind": "cycle", "node": None}]}),
        gk.Skipped("before.onnx", "done before"),
    ]
    (tmp_path / "pages").mkdir()
    gk.save_outcomes(tmp_path / "pages" / "all models.html", "apply", rows, "graphkit 1")
    page = (tmp_path / "pages" / "all models.html").read_text()
    links = {unquote(name): unquote(link) for link, name in re.findall(r'<td><a href="([^"]+)">([^<]+)</a></td>', page)}
    assert [*links] == ["s3://b/a&lt;b&gt;.onnx", "n.onnx", "models/z.onnx", str(tmp_path / "out" / "z #1.onnx")]
    own = {name: (tmp_path / "pages" / link) for name, link in links.items()}
    assert own[str(tmp_path / "out" / "z #1.onnx")].resolve() == tmp_path / "out" / "z #1.onnx"
    told = own["models/z.onnx"].read_text()
    assert "a&lt;b; c" in told
    assert "&quot;n&quot;: 1" in told
    assert 'href="../all%20models.html"' in told
    assert "ValueError: a bug" in own["s3://b/a&lt;b&gt;.onnx"].read_text()
    assert "cycle" in own["n.onnx"].read_text()
    gk.save_outcomes(
        tmp_path / "pages" / "all models.html", "apply", [gk.Skipped("n.onnx", "done before")], "graphkit 1"
    )
    assert own["n.onnx"].name in (tmp_path / "pages" / "all models.html").read_text()  # the page of the run before
    with pytest.raises(gk.SaveError, match="cannot write"):
        gk.save_outcomes(tmp_path / "nowhere" / "x.html", "apply", [], "graphkit 1")


def test_an_address_gets_whole_files_only(models, recipe, tmp_path):
    pytest.importorskip("fsspec")
    target = tmp_path / "store"
    rows = list(gk.run_fleet(applying(recipe), [gk.Job(str(models / "a.onnx"), f"file://{target}/a.onnx")]))
    assert all(rows), rows
    assert [p.name for p in target.iterdir()] == ["a.onnx"]
    assert [v.name for v in gk.load(str(target / "a.onnx")).inputs] == ["image"]


def test_what_was_done_before_a_kill_gets_its_page_from_the_journal(tmp_path):
    (tmp_path / "all_models").mkdir()
    done = gk.Done("m.onnx", said="4 of 4 steps", result={"steps": []}, key="k")
    journal = tmp_path / "all.jsonl"
    journal.write_text(gk.to_json(gk.as_row(done), indent=None) + '\n{"outcome": "do', encoding="utf-8")
    skipped, before = gk.Skipped("m.onnx", "done before"), gk.read_outcomes(str(journal))
    assert before == {"m.onnx": done}
    gk.save_outcomes(tmp_path / "all.html", "apply", [skipped], "graphkit 1")
    assert "all_models/" not in (tmp_path / "all.html").read_text()
    gk.save_outcomes(tmp_path / "all.html", "apply", [skipped], "graphkit 1", before=before)
    (own,) = (tmp_path / "all_models").iterdir()
    assert f"all_models/{own.name}" in (tmp_path / "all.html").read_text()
    assert "4 of 4 steps" in own.read_text()


def test_a_page_that_a_killed_run_was_putting_in_place_is_taken_away(tmp_path):
    rows = [gk.Done(f"{k}.onnx") for k in range(3)]
    kill = "import os, signal, graphkit as gk; os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    code = f"{kill}gk.save_outcomes('all.html', 'apply', [gk.Done('1.onnx')], '')"
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert killed.returncode == -9
    assert [path.name[:10] for path in (tmp_path / "all_models").iterdir()] == [".graphkit-"]
    gk.save_outcomes(tmp_path / "all.html", "apply", rows, "")
    assert sorted(path.name[:2] for path in (tmp_path / "all_models").iterdir()) == ["0.", "1.", "2."]


def test_reports_for_other_programs_are_whole_or_not_there(tmp_path):
    rows = [gk.Done("1.onnx"), gk.Failed("2.onnx", "EditError", "a \ud800 in it", None, 0.1, 3, "")]
    gk.save_reports("apply", rows, junit_path=tmp_path / "a.xml", markdown_path=tmp_path / "a.md")
    assert ET.parse(tmp_path / "a.xml").getroot().get("failures") == "1"  # noqa: S314 (our own)
    assert "2.onnx" in (tmp_path / "a.md").read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.md", "a.xml"]
    with pytest.raises(gk.SaveError, match="no folder"):
        gk.save_reports("apply", rows, junit_path=tmp_path / "nowhere" / "a.xml")
