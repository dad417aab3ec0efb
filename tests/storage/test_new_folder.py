"""A folder that is written whole: it takes another one's place in one step, and what a killed process left goes."""

import os
import signal

import pytest

from graphkit.storage import system
from graphkit.storage.new_folder import NewFolder


def filled(target, text):
    folder = NewFolder(str(target))
    with open(os.path.join(folder.path, "file"), "w", encoding="utf-8") as file:
        file.write(text)
    return folder


def put(target, text):
    folder = filled(target, text)
    folder.put()
    folder.close()


def killed(target, text, *, put=False):
    """A process that is killed before it puts its folder, or after, before it has cleaned up."""
    child = os.fork()
    if not child:
        folder = filled(target, text)
        if put:
            folder.put()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.fixture(params=["exchanged", "renamed"])
def way(request, monkeypatch):
    if request.param == "renamed":
        monkeypatch.setattr(system, "exchange", lambda one, other: False)


def test_a_new_folder_takes_the_place_of_the_old_one_and_leaves_nothing(tmp_path, way):
    for text in ("one", "two"):
        put(tmp_path / "out", text)
        assert (tmp_path / "out" / "file").read_text() == text
        assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("late", [False, True])
def test_what_a_killed_process_left_goes_with_the_next(tmp_path, way, late):
    put(tmp_path / "out", "one")
    killed(tmp_path / "out", "two", put=late)
    assert (tmp_path / "out" / "file").read_text() == ("two" if late else "one")
    assert len(os.listdir(tmp_path)) == 2
    put(tmp_path / "out", "three")
    assert (tmp_path / "out" / "file").read_text() == "three"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_another_process_still_writes_stays(tmp_path):
    going = filled(tmp_path / "out", "slow")
    put(tmp_path / "out", "quick")
    assert os.path.exists(going.path)
    going.put()
    going.close()
    assert (tmp_path / "out" / "file").read_text() == "slow"
    assert os.listdir(tmp_path) == ["out"]


def test_killed_between_two_renames_the_old_folder_gets_its_name_back(tmp_path, monkeypatch):
    put(tmp_path / "out", "one")
    monkeypatch.setattr(system, "exchange", lambda one, other: False)
    child = os.fork()
    if not child:
        folder = filled(tmp_path / "out", "two")
        rename = os.rename
        monkeypatch.setattr(os, "rename", lambda a, b: rename(a, b) if b.endswith("old") else os.kill(os.getpid(), 9))
        folder.put()
    os.waitpid(child, 0)
    assert "out" not in os.listdir(tmp_path)
    NewFolder(str(tmp_path / "out")).close()
    assert (tmp_path / "out" / "file").read_text() == "one"
    assert os.listdir(tmp_path) == ["out"]
