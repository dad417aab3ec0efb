"""A stand-in for Windows: the calls that it does not have are taken away, and files that are open cannot be replaced.

Run as a script by test_other_systems.py, before graphkit is imported: ``other_system.py FOLDER``.
"""

import asyncio  # noqa: F401  # now: its half for Unix reads os.sysconf, which Windows' half does not
import builtins
import ctypes
import mmap
import os
import shutil
import signal
import sys
import weakref
from typing import ClassVar

ABSENT = {
    os: "fork forkpty pread preadv pwrite pwritev copy_file_range sendfile posix_fadvise posix_fallocate fchmod fchown "
    "fdatasync sysconf geteuid getuid getgid statvfs fstatvfs mkfifo uname O_CLOEXEC O_NONBLOCK O_TMPFILE O_DIRECTORY "
    "O_NOFOLLOW O_SYNC O_NOCTTY",
    mmap: "PROT_READ PROT_WRITE PROT_EXEC MAP_SHARED MAP_PRIVATE MADV_DONTNEED MADV_SEQUENTIAL MADV_RANDOM",
    signal: "SIGKILL SIGHUP SIGALRM SIGUSR1 SIGPIPE SIGCHLD alarm setitimer pthread_sigmask",
}
opened = {}


def take_away():
    """Do what Windows does where Python shows it."""
    for module, names in ABSENT.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty"):
        sys.modules[name] = None
    os.open, os.close = watched_open(os.open), watched_close(os.close)
    os.rename, os.replace, os.unlink = refused_if_there(os.rename), refused(os.replace), refused(os.unlink)
    os.link = without_directory(os.link)
    os.path.isdir = without_proc(os.path.isdir)
    builtins.open = without_proc(builtins.open, FileNotFoundError)
    shutil._use_fd_functions = False  # what shutil finds out for itself where os knows no dir_fd
    shutil._rmtree_impl = getattr(shutil, "_rmtree_unsafe", None)  # so Python 3.14 spells it
    mmap.mmap = Mapped
    ctypes.CDLL = Library


def watched_open(real):
    def opening(path, flags, mode=0o777, *, dir_fd=None):
        assert dir_fd is None, "Windows has no dir_fd"
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        fd = real(path, flags, mode)
        opened[fd] = os.path.realpath(path)
        return fd

    return opening


def watched_close(real):
    def closing(fd):
        opened.pop(fd, None)
        real(fd)

    return closing


def in_use(path):
    path = os.path.realpath(path)
    return path in opened.values() or any(mapped.file == path for mapped in Mapped.alive)


def refused(real):
    def call(path, *target):
        for file in (path, *target):
            if in_use(file):
                raise PermissionError(13, "The process cannot access the file because it is being used", file)
        return real(path, *target)

    return call


def refused_if_there(real):
    def call(source, target):
        if os.path.exists(target):
            raise FileExistsError(17, "Cannot create a file when that file already exists", target)
        return real(source, target)

    return call


def without_directory(real):
    def link(source, target, *, src_dir_fd=None):
        assert src_dir_fd is None, "Windows has no src_dir_fd"
        return real(source, target)

    return link


def without_proc(real, error=None):
    def call(path, *arguments, **keywords):
        if str(path).startswith("/proc"):
            if error:
                raise error(2, "No such file or directory", path)
            return False
        return real(path, *arguments, **keywords)

    return call


class Mapped(mmap.mmap):
    """A mapping, which holds its file."""

    alive: ClassVar = weakref.WeakSet()

    def __new__(cls, fd, length, access=mmap.ACCESS_READ):
        made = super().__new__(cls, fd, length, access=access)
        made.file = opened.get(fd, "")
        cls.alive.add(made)
        return made


class Library(ctypes.CDLL):
    def __init__(self, name, *arguments, **keywords):
        if name is None:
            raise TypeError("LoadLibrary() argument 1 must be str, not None")
        super().__init__(name, *arguments, **keywords)


def main(folder):
    """Load, save, cut, run, join and apply; each result is what it is elsewhere."""
    import json

    import numpy as np
    import onnx

    take_away()
    import graphkit as gk
    from graphkit.storage import system
    from graphkit_cli.main import main as graphkit

    assert system.fcntl is None
    system.REPLACES_OPEN = False
    os.chdir(folder)
    weight = np.arange(640 * 640, dtype=np.float32).reshape(640, 640) / 640**2
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[1,640] x) => (float[1,640] y)'
        " { a = MatMul(x, w) b = Relu(a) y = MatMul(b, w) }"
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(proto, "m.onnx")
    x = np.linspace(-1, 1, 640, dtype=np.float32).reshape(1, 640)
    right = np.maximum(x @ weight, 0) @ weight

    def same(path, feed="x"):
        np.testing.assert_allclose(gk.run(path, {feed: x})["y"], right, rtol=1e-4)

    model = gk.load("m.onnx")
    gk.save(model, "copy.onnx")
    gk.save(gk.rename(model, values={"x": "image"}), "m.onnx")  # over the file that the model is read from
    same("m.onnx", "image")
    said = ""
    try:
        gk.save(model, "late.onnx")
    except gk.WeightsError as error:
        said = error.message
    assert "was changed on disk" in said, "the old bytes are gone, and that is said"
    gk.save(gk.load("copy.onnx"), "pair.onnx", external="pair.data")
    pair = gk.load("pair.onnx")
    np.testing.assert_array_equal(pair.array("w"), weight)
    del pair
    gk.save(gk.load("copy.onnx"), "pair.onnx", external="pair.data")  # a pair over a pair
    same("pair.onnx")
    for command in (
        ["extract", "copy.onnx", "half.onnx", "--output", "b"],
        ["split", "copy.onnx", "stages", "--stages", "2"],
        ["split", "copy.onnx", "stages", "--stages", "2"],
        ["merge", "whole.onnx", "stages/stage0.onnx", "stages/stage1.onnx", "--connect", "stage0:a=stage1:a"],
        ["inspect", "copy.onnx"],
        ["check", "copy.onnx"],
        ["doctor"],
        ["view", "copy.onnx", "--html", "page.html"],
        ["prove", "m.onnx", "copy.onnx"],
        ["bench", "copy.onnx", "--runs", "2"],
        ["bisect", "copy.onnx", "--against", "pair.onnx", "--memory", "2GB"],
    ):
        code = graphkit(command)
        assert code == 0, (command, code)
    same("whole.onnx")
    assert sorted(os.listdir("stages")) == ["stage0.onnx", "stage1.onnx", "stages.json"]
    with open("recipe.toml", "w", encoding="utf-8") as file:
        file.write('[[step]]\ndo = "rename"\nvalues = { x = "image" }\n')
    assert graphkit(["apply", "recipe.toml", "copy.onnx", "--out", "applied.onnx"]) == 0
    same("applied.onnx", "image")
    os.mkdir("out")
    assert graphkit(["apply", "recipe.toml", "copy.onnx", "--out", "out/", "--jobs", "1", "--memory", "2GB"]) == 3
    print(json.dumps(sorted(name for name in os.listdir(".") if name.startswith("."))))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
