"""Where a save may write, what it leaves alone there, and what it needs of the file system."""

import os
import stat
import tempfile
from contextlib import contextmanager

import pytest

import graphkit as gk
from weight_places import assert_computes, names, snapshot

# what is not named


def test_nothing_else_in_the_folder_is_touched(pair, tmp_path):
    for name in (
        "notes.txt",
        ".graphkit-notes",
        ".graphkit-0123456789ab-x.tmp",
        "out.onnx.data",
        "m.onnx.data",
        ".tmp",
    ):
        (tmp_path / name).write_text(name)
    before = snapshot(tmp_path)
    model = gk.load(pair)
    gk.save(model, tmp_path / "out.onnx")
    gk.save(model, tmp_path / "out.onnx", external="out.data")
    gk.save(model, tmp_path / "out.onnx", external="out.data")
    gk.save(model, tmp_path / "keep.onnx", weights="keep")
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"out.onnx", "out.data", "keep.onnx"}


def test_the_current_folder_does_not_matter(file, tmp_path, tmp_path_factory, monkeypatch, everything):
    """onnx.save looks for the data file in the current folder and appends to the one it writes (field-map n5);
    Polygraphy deletes the one in the current folder (n8).
    """
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("w.data", "out.onnx.data", "out.onnx"):
        (elsewhere / name).write_text("precious")
    before = snapshot(elsewhere)
    monkeypatch.chdir(elsewhere)
    for _ in range(3):
        saved = gk.save(file, tmp_path / "out.onnx", external="w.data")
    assert snapshot(elsewhere) == before
    assert saved.data_size < file.stat().st_size
    assert_computes(tmp_path / "out.onnx", everything)
    monkeypatch.chdir(tmp_path)
    gk.save("m.onnx", "relative.onnx", external="relative.data")
    assert_computes("relative.onnx", everything)
    assert snapshot(elsewhere) == before


def test_a_symbolic_link_as_the_target_is_followed(file, tmp_path, tmp_path_factory, everything):
    real = tmp_path_factory.mktemp("real") / "real.onnx"
    real.write_text("old")
    link = tmp_path / "link.onnx"
    link.symlink_to(real)
    saved = gk.save(file, link, external="w.data")
    assert link.is_symlink()
    assert saved.path == str(real)
    assert saved.data_path == str(real.parent / "w.data")
    assert_computes(real, everything)


def test_the_mode_of_the_old_file_is_kept_and_new_files_follow_the_umask(file, tmp_path):
    old = tmp_path / "out.onnx"
    old.write_text("old")
    old.chmod(0o640)
    mask = os.umask(0o027)
    try:
        gk.save(file, old, external="w.data")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "w.data").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no/out.onnx", "there is no folder"),
        (".", "what is there is not a file"),
        ("pipe", "what is there is not a file"),
        ("nowhere://bucket/out.onnx", "Protocol not known"),
        ("m.onnx/out.onnx", "there is no folder"),
    ],
)
def test_a_target_that_cannot_be_written(file, monkeypatch, target, message):
    monkeypatch.chdir(file.parent)
    os.mkfifo("pipe")
    before = names(file.parent)
    with pytest.raises(gk.SaveError, match=message):
        gk.save(file, target)
    assert names(file.parent) == before


def test_a_folder_without_the_right_to_write(file):
    model = gk.load(file)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)  # noqa: S103 (readable by nobody, who tries to write)
        with without_root(), pytest.raises(gk.SaveError, match=r"cannot write .*out\.onnx: Permission denied"):
            gk.save(model, f"{folder}/out.onnx")
        assert os.listdir(folder) == []


@contextmanager
def without_root():
    """Root may write everywhere, so be nobody for a while."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


# without the kernel's help


def test_file_systems_without_nameless_files_hard_links_or_copies_in_the_kernel(
    pair, tmp_path, monkeypatch, everything
):
    import errno

    real_open = os.open

    def no_tmpfile(path, flags, *arguments, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real_open(path, flags, *arguments, **options)

    def refuse(*arguments, **options):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "open", no_tmpfile)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "copy_file_range", refuse)
    model = gk.load(pair)
    gk.save(model, tmp_path / "out.onnx", external="w.data")
    gk.save(model, tmp_path / "out.onnx", external="w.data")
    gk.save(model, pair, external="m.data")
    assert names(tmp_path) == ["m.data", "m.onnx", "out.onnx", "w.data"]
    assert_computes(tmp_path / "out.onnx", everything)
    assert_computes(pair, everything)


def test_a_process_without_proc(pair, tmp_path, monkeypatch, everything):
    isdir = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path != "/proc/self/fd" and isdir(path))
    gk.save(pair, pair, external="m.data")
    assert names(tmp_path) == ["m.data", "m.onnx"]
    assert_computes(pair, everything)


# two at once


def test_two_threads_save_over_the_same_pair(pair, tmp_path, everything):
    from concurrent.futures import ThreadPoolExecutor

    model = gk.load(pair)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(gk.save, model, pair, external="m.data") for _ in range(16)]:
            done.result()
    assert names(tmp_path) == ["m.data", "m.onnx"]
    assert_computes(pair, everything)


def test_a_folder_that_another_process_holds_for_ever(pair, tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr("graphkit.storage.commit.LOCK_SECONDS", 0.05)
    before = snapshot(tmp_path)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        with pytest.raises(gk.SaveError, match="another process has been saving there"):
            gk.save(pair, pair, external="m.data")
    finally:
        os.close(folder)
    assert snapshot(tmp_path) == before
