"""What every command shares: exit codes, which stream says what, --json, the report of a written model."""

import contextlib
import io
import json
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass

import click
import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.edit import edit_command
from graphkit_cli.main import main
from graphkit_cli.options import output_options
from graphkit_cli.render import Render


@dataclass(frozen=True)
class Measured:
    name: str
    worst: float
    shape: tuple[int, ...]
    values: np.ndarray


def probe(action):
    """A command that does what the test wants."""

    @click.command()
    @output_options
    def command(render):
        """Do what the test wants."""
        return action(render)

    return command


def fail(error):
    def action(_render):
        raise error

    return action


def warn(category, text):
    def action(_render):
        warnings.warn(text, category, stacklevel=2)

    return action


def test_done_is_0_and_no_is_1(graphkit, command):
    command(probe(lambda _render: None))
    assert graphkit("probe") == (0, "", "")
    command(probe(lambda _render: 1))
    assert graphkit("probe") == (1, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["probe", "--nonsense"], "No such option"),
        (["probe", "extra"], "unexpected extra argument"),
        (["simplfy"], "Did you mean 'simplify'?"),
        (["xyz"], "No such command 'xyz'."),
        (["--nonsense"], "No such option"),
        ([], "Usage: graphkit"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_so_on_stderr(graphkit, command, arguments, said):
    command(probe(lambda _render: None))
    code, out, err = graphkit(*arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_options_that_exclude_each_other_are_2(graphkit, command):
    command(probe(fail(click.UsageError("--this excludes --that"))))
    code, out, err = graphkit("probe")
    assert (code, out) == (2, "")
    assert "--this excludes --that" in err


def test_a_graphkit_error_is_3_with_its_hint_and_no_traceback(graphkit, command):
    command(probe(fail(gk.EditError("the node is in the way", hint="move it"))))
    assert graphkit("probe") == (3, "", "graphkit: error: the node is in the way\n  hint: move it\n")


def test_verbose_adds_details_and_causes(graphkit, command):
    def action(_render):
        try:
            {}["deep"]
        except KeyError as cause:
            raise gk.ExportError("torch gave up", details="line 1\nline 2") from cause

    command(probe(action))
    assert "line 2" not in graphkit("probe").err
    code, out, err = graphkit("probe", "-v")
    assert (code, out) == (3, "")
    assert "line 2" in err
    assert "caused by KeyError: 'deep'" in err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.npy"), "No such file or directory: 'a.npy'"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_what_the_machine_refuses_is_3_in_one_line(graphkit, command, error, said):
    command(probe(fail(error)))
    code, out, err = graphkit("probe")
    assert (code, out) == (3, "")
    assert err.startswith("graphkit: error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError(), KeyError("k")])
def test_our_bug_is_70_with_a_traceback_and_whose_fault_it_is(graphkit, command, error):
    command(probe(fail(error)))
    code, out, err = graphkit("probe")
    assert (code, out) == (70, "")
    assert "Traceback" in err
    assert type(error).__name__ in err
    assert err.rstrip().splitlines()[-1].startswith("graphkit: error: this is a bug in graphkit")


def test_interrupted_is_130(graphkit, command):
    command(probe(fail(KeyboardInterrupt())))
    assert graphkit("probe") == (130, "", "graphkit: error: interrupted\n")


def test_a_reader_that_goes_away_gets_no_traceback():
    writes = "import sys; from graphkit_cli.render import Render; "
    writes += (
        "import graphkit_cli.main as m; m._run = lambda a, r: [r.result(0, lambda: 'x' * 9999) for _ in range(99)]; "
    )
    process = subprocess.Popen(
        [sys.executable, "-c", writes + "sys.exit(m.main([]))"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), err) == (141, b"")


RESULT = Measured("é[red]", float("nan"), (1, 2), np.array([1.5, np.inf], np.float32))


def test_the_result_goes_to_stdout_and_notes_to_stderr(graphkit, command):
    def action(render):
        render.note("a  finding\nof two lines")
        render.note("a finding of two lines")
        render.result(RESULT, lambda: f"name {RESULT.name}")

    command(probe(action))
    assert graphkit("probe") == (0, "name é[red]\n", "note: a finding of two lines\n")
    assert graphkit("probe", "-q") == (0, "name é[red]\n", "")
    assert graphkit("-q", "probe") == (0, "name é[red]\n", "")


def test_json_is_strict_json_of_the_same_dataclass(graphkit, command):
    command(probe(lambda render: render.result(RESULT, lambda: pytest.fail("text was asked for"))))
    code, out, err = graphkit("probe", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert told == {"name": "é[red]", "worst": "nan", "shape": [1, 2], "values": [1.5, "inf"]}


def test_a_table_is_shown_as_text_without_control_characters(graphkit, command):
    from rich.table import Table

    table = Table("name", "type")
    table.add_row("layers[0]", "float32[1,3]")
    command(probe(lambda render: render.result({}, lambda: table)))
    out = graphkit("probe").out
    assert "layers[0]" in out
    assert "float32[1,3]" in out
    assert "\x1b" not in out


def test_a_graphkit_warning_is_one_line_on_stderr(graphkit, command):
    command(probe(warn(gk.GraphkitWarning, "two\nlines")))
    assert graphkit("probe") == (0, "", "warning: two lines\n")
    assert graphkit("probe", "--quiet") == (0, "", "")


def test_a_note_that_was_a_warning_already_is_not_said_again(graphkit, command):
    def action(render):
        warnings.warn("odd", gk.GraphkitWarning, stacklevel=2)
        render.note("odd")

    command(probe(action))
    assert graphkit("probe").err == "warning: odd\n"


def test_other_packages_warnings_are_shown_with_v_only(graphkit, command):
    command(probe(warn(UserWarning, "torch says")))
    assert graphkit("probe") == (0, "", "")
    assert "UserWarning: torch says" in graphkit("probe", "-v").err


def test_text_that_the_terminal_cannot_show_does_not_break_the_command(shell):
    code, out, err = shell("extract", "é.onnx", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert code in {2, 3}, (out, err)
    assert "Traceback" not in err


class Terminal:
    """A stderr that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass


@pytest.fixture
def on_a_terminal(monkeypatch):
    """Call it in the test's body: pytest sets stderr again between the fixtures and the test."""

    def install():
        stderr = Terminal()
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("TERM", "xterm")
        return stderr

    return install


def test_a_bar_appears_when_the_work_takes_long(monkeypatch, on_a_terminal):
    terminal = on_a_terminal()
    monkeypatch.setattr("graphkit_cli.render.PROGRESS_AFTER", 0.0)
    render = Render()
    with render.progress("counting sheep", total=3) as report:
        for _ in range(2_000):
            report(2, None, "counting goats")
            if "goats" in terminal.text:
                break
            time.sleep(0.005)
    assert "goats" in terminal.text


def test_a_line_that_is_written_beside_a_bar_does_not_stand_in_it(monkeypatch, on_a_terminal):
    terminal = on_a_terminal()
    monkeypatch.setattr("graphkit_cli.render.PROGRESS_AFTER", 0.0)
    render = Render()
    with render.progress("counting sheep", total=3):
        for _ in range(2_000):
            if "sheep" in terminal.text:
                break
            time.sleep(0.005)
        render.note("one is black")
        before, _, after = terminal.text.partition("note: one is black\n")
    assert before.endswith(("\n", "\r", "\x1b[2K")), "the bar is gone when the line is written"
    assert "sheep" in after, "and comes back"


@pytest.mark.parametrize("setting", ["quiet", "no_color"])
def test_no_bar_when_it_is_not_wanted(monkeypatch, on_a_terminal, setting):
    terminal = on_a_terminal()
    monkeypatch.setattr("graphkit_cli.render.threading.Timer", lambda *_: pytest.fail("a bar was started"))
    render = Render()
    setattr(render, setting, True)
    with render.progress("counting sheep") as report:
        report(1, 3, "")
    assert terminal.text == ""


def test_no_bar_when_the_work_is_short(monkeypatch, on_a_terminal):
    terminal = on_a_terminal()
    monkeypatch.setattr("graphkit_cli.render.PROGRESS_AFTER", 3600)
    with Render().progress("counting sheep") as report:
        report(1, 3, "")
    assert terminal.text == ""


def test_no_color_variable(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert Render().no_color
    monkeypatch.setenv("NO_COLOR", "")
    assert not Render().no_color


@edit_command
@click.option("--suffix", default="_new", help="What to append.")
def renamed(model, suffix):
    """Append to the output's name."""
    source = gk.load(model)
    proto = source.copy_proto()
    proto.graph.node[-1].output[0] = proto.graph.output[0].name = proto.graph.output[0].name + suffix
    return source.after(gk.Step("renamed", {"suffix": suffix}, ["one name changed"]), proto)


def test_an_edit_is_saved_and_reported(graphkit, command, chain, tmp_path):
    command(renamed, "renamed")
    out = tmp_path / "out.onnx"
    code, said, err = graphkit("renamed", chain, out)
    assert (code, err) == (0, "note: one name changed\n")
    assert said == f"wrote {out}: {out.stat().st_size} B, 2 nodes, x -> y_new\n"
    assert onnx.load(out).graph.output[0].name == "y_new"


def test_an_edit_as_json(graphkit, command, chain, tmp_path):
    command(renamed, "renamed")
    out = tmp_path / "out.onnx"
    told = json.loads(graphkit("renamed", chain, out, "--suffix", "2", "--json").out)
    assert told == {
        "path": str(out),
        "size": out.stat().st_size,
        "data_path": None,
        "data_size": None,
        "references": [],
        "nodes": 2,
        "inputs": ["x"],
        "outputs": ["y2"],
        "operation": "renamed",
        "notes": ["one name changed"],
        "dry_run": False,
        "replaced": False,
    }


def test_weights_in_a_file_of_their_own_are_reported(graphkit, command, tmp_path):
    big = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1024] x) => (float[1024] y) { y = Add(x, w) }'
    )
    big.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1024, np.float32), "w"))
    onnx.save(big, tmp_path / "big.onnx")
    command(renamed, "renamed")
    said = graphkit("renamed", tmp_path / "big.onnx", tmp_path / "out.onnx", "--external", "out.data").out
    assert f"wrote {tmp_path / 'out.data'}: 4.1 kB of weights" in said


@pytest.mark.parametrize(
    "options", [["--external", "w.data", "--weights", "keep"], ["--external", "../w.data"], ["--external", "/w.data"]]
)
def test_options_of_the_file_that_make_no_sense_are_2(graphkit, command, chain, tmp_path, options):
    command(renamed, "renamed")
    code, out, err = graphkit("renamed", chain, tmp_path / "out.onnx", *options)
    assert (code, out) == (2, "")
    assert "--external" in err
    assert not (tmp_path / "out.onnx").exists()


def test_a_dry_run_writes_nothing(graphkit, command, chain, tmp_path):
    command(renamed, "renamed")
    before = sorted(tmp_path.iterdir())
    code, said, _ = graphkit("renamed", chain, tmp_path / "out.onnx", "--dry-run")
    assert code == 0
    assert said.startswith("would write ")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("place", ["nowhere/out.onnx", "."])
def test_a_target_that_cannot_be_written_is_refused_before_the_work(graphkit, command, tmp_path, place):
    @edit_command
    def working(model):
        """Work."""
        assert model == "missing.onnx"
        pytest.fail("the work was started")

    command(working, "working")
    code, out, err = graphkit("working", "missing.onnx", tmp_path / place)
    assert (code, out) == (3, "")
    assert "cannot write" in err
    assert "hint:" in err


def test_main_reads_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["graphkit", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"graphkit {gk.__version__}\n"


def test_a_bar_leaves_the_streams_alone_while_work_redirects_them(monkeypatch, on_a_terminal):
    terminal = on_a_terminal()
    monkeypatch.setattr("graphkit_cli.render.PROGRESS_AFTER", 0.0)
    before = sys.stdout
    with Render().progress("exporting"):
        with contextlib.redirect_stdout(io.StringIO()):
            for _ in range(2_000):
                if "exporting" in terminal.text:
                    break
                time.sleep(0.005)
        assert sys.stdout is before
    assert sys.stdout is before
    assert "exporting" in terminal.text


@pytest.mark.parametrize("line", ["check --json", "inspect m.onnx --bogus --json", "set a.onnx b.onnx --ir x --json"])
def test_a_wrong_command_line_is_json_too(capsys, line):
    assert main(line.split()) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["message"] in told.err


class Window(io.StringIO):
    def isatty(self):
        return True


LONG = "n" * 500
SAID = f"the model has no value {LONG!r}, " + "and so nothing could be renamed there " * 5


def test_messages_fit_a_terminal_of_80_columns_and_paths_stay_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", Window())
    path = "/data/" + "folder/" * 20 + "model.onnx"
    render = Render()
    render.note(SAID)
    render.warning(SAID + "too")
    render.error(SAID, {"hint": "it has " + ", ".join(f"'value{i}'" for i in range(30))})
    lines = sys.stderr.getvalue().splitlines()
    assert len(lines) > 9
    assert max(map(len, lines)) <= 80
    assert " ".join("".join(lines).split()).count("...") == 3
    render.note(f"wrote {path}")
    assert path in sys.stderr.getvalue().splitlines()[-1]


def test_messages_stay_one_line_in_a_pipe(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    Render().note("a note of many words " * 20)
    assert len(sys.stderr.getvalue().splitlines()) == 1


def test_long_interfaces_are_shown_short_and_the_path_stands_in_the_first_line(graphkit, tmp_path):
    names = [f"past_key_values.{i}.value_{'x' * 60}" for i in range(20)]
    nodes = [onnx.helper.make_node("Relu", [name], [f"y_{i}"]) for i, name in enumerate(names)]
    model = gk.build(nodes, dict.fromkeys(names, "float32[2]"), {f"y_{i}": "float32[2]" for i in range(20)})
    gk.save(model, tmp_path / "in.onnx")
    out = tmp_path / "out.onnx"
    code, said, _ = graphkit("copy", tmp_path / "in.onnx", out)
    first, *others = said.splitlines()
    assert (code, first.startswith(f"wrote {out}: ")) == (0, True)
    assert max(map(len, others)) <= 80
    assert "and 16 more -> y_0, y_1, y_2, y_3 and 16 more" in " ".join(said.split())
    assert json.loads(graphkit("copy", tmp_path / "in.onnx", out, "--json").out)["inputs"] == names
