"""What starting costs: which packages are loaded by ``import graphkit`` and by ``graphkit --help``."""

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter

import grimp
import pytest

from graphkit_cli.main import COMMANDS

HEAVY = {
    "torch",
    "onnxruntime",
    "onnx_graphsurgeon",
    "onnx_ir",
    "onnxscript",
    "rich",
    "click",
    "PIL",
    "fsspec",
    "dask",
    "scipy",
}

LOADED = "; import json, sys; json.dump(sorted({m.partition('.')[0] for m in sys.modules}), sys.stdout)"


def loaded(statement):
    """Top-level packages that a fresh interpreter has loaded after a statement."""
    done = subprocess.run([sys.executable, "-c", statement + LOADED], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_graphkit_loads_onnx_and_nothing_heavier():
    assert loaded("import graphkit") & HEAVY == set()


def test_no_room_loads_a_heavy_package_by_being_imported(root):
    files = sorted((root / "graphkit").rglob("*.py"))
    rooms = [".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for f in files]
    assert loaded(f"import {', '.join(rooms)}") & HEAVY == set()


def test_import_graphkit_loads_no_package_that_import_onnx_does_not():
    assert third_party(loaded("import graphkit") - loaded("import onnx")) <= {"graphkit"}


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_loads_click_and_nothing_heavier(arguments):
    run = "import contextlib, io; from graphkit_cli.main import main; stdout = contextlib.redirect_stdout(io.StringIO()); "
    run += f"stdout.__enter__(); code = main({arguments}); stdout.__exit__(None, None, None); assert code == 0"
    assert third_party(loaded(run) - loaded("pass")) <= {"click", "graphkit_cli"}


def third_party(names):
    return {name for name in names if name not in sys.stdlib_module_names and not name.startswith("_")}


def test_no_room_imports_the_face(root):
    """``import graphkit`` inside of graphkit makes a circle of every module."""
    guilty = []
    for path in sorted((root / "graphkit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if "graphkit" in names or (isinstance(node, ast.ImportFrom) and node.module == "graphkit"):
                guilty.append(f"{path.relative_to(root)}:{node.lineno}")
    assert guilty == []


def test_no_module_imports_itself_through_others_not_even_in_functions():
    imports = grimp.build_graph("graphkit", cache_dir=None)
    below = {module: imports.find_modules_directly_imported_by(module) - {module} for module in imports.modules}
    TopologicalSorter(below).prepare()  # CycleError names the modules
