"""What is built and installed: one distribution with two import names, nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def source(tmp_path_factory, root, tracked):
    """A copy of the tracked files, so that building leaves nothing in the repository."""
    import shutil

    copy = tmp_path_factory.mktemp("source")
    for path in tracked:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, copy / path)
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel that the source distribution gives: both are built."""
    out = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--no-isolation", "--outdir", out, source)
    assert len(list(out.glob("*.tar.gz"))) == 1
    (built,) = out.glob("*.whl")
    return built


def python(*arguments, cwd=None, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_two_import_names_and_every_module(wheel, tracked):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"graphkit", "graphkit_cli"}
    expected = {str(p) for p in tracked if p.parts[0] == "graphkit"}
    expected |= {str(p.relative_to("cli")) for p in tracked if p.parts[0] == "cli"}
    assert {name for name in names if ".dist-info" not in name} == expected
    assert "graphkit/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_works_where_nothing_else_of_the_repository_is(wheel, tmp_path):
    site = tmp_path / "site"
    python("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel)
    where = python(
        "-c",
        "import graphkit, graphkit_cli; print(graphkit.__file__, graphkit_cli.__file__)",
        cwd=tmp_path,
        PYTHONPATH=str(site),
    ).split()
    assert all(Path(file).is_relative_to(site) for file in where)
    assert "extract" in python(site / "bin" / "graphkit", "--help", cwd=tmp_path, PYTHONPATH=str(site))


def test_an_editable_install_sees_changes_and_new_files(source, tmp_path):
    site = tmp_path / "site"
    python(
        "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target", site, "-e", source
    )
    (source / "cli" / "graphkit_cli" / "fresh.py").write_text("ANSWER = 42\n", encoding="utf-8")
    paths = [line for pth in site.glob("*.pth") for line in pth.read_text().splitlines()]
    said = python(
        "-c",
        "import graphkit, graphkit_cli.fresh as f; print(graphkit.__file__, f.ANSWER)",
        cwd=tmp_path,
        PYTHONPATH=os.pathsep.join(paths),
    )
    assert said.split() == [str(source / "graphkit" / "__init__.py"), "42"]
    (source / "cli" / "graphkit_cli" / "fresh.py").unlink()
