"""The notebook runs from its first cell to its last, and its results show as pages."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "samples" / "main_job.ipynb"


def test_the_cells_run_in_order(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("PIL")
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    names = {"__name__": "notebook"}
    shown = []
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "it is kept without outputs"
            shown.append(run("".join(cell["source"]), names))
    kinds = [type(result).__name__ for result in shown if result is not None]
    assert kinds == ["Summary", "Difference", "Image", "Proof", "Report", "Bisection", "View"]
    for result in shown:
        if hasattr(result, "_repr_html_"):
            assert "graphkit" in result._repr_html_()
    assert names["errors"].keys() == {(2, 2), (3, 3), (2, 3)}


def run(source, names):
    """Run a cell as a notebook does; gives the value of its last line, which the notebook would show."""
    body = ast.parse(source)
    last = body.body.pop() if isinstance(body.body[-1], ast.Expr) else None
    exec(compile(body, str(NOTEBOOK), "exec"), names)  # noqa: S102 (our own notebook)
    return last and eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)  # noqa: S307 (the same)


def test_jupyter_runs_it():
    """Where nbclient and a kernel are installed."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    pages = [
        output["data"]["text/html"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    assert len(pages) >= 5
