"""Processes that begin where the imports end: graphkit and Python as forks of one process that has imported torch.

A sample, or a command line that exports, spends four seconds on importing torch and its exporter. ``commands()`` gives a
folder with a ``graphkit`` and a ``python`` to put in front of PATH: each hands its arguments, folder, environment and
open files to the one process, which forks, and ends with the exit code of that fork. What runs is what would run; only
the imports are there already. tests/cli and the commands of README.md start real ones.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path

CLIENT = """#!{python} -SE
import os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
socket.send_fds(line, [b"."], [0, 1, 2])
words = [str(len(sys.argv)), os.path.basename(sys.argv[0]), *sys.argv[1:], os.getcwd()]
words += [key + "=" + value for key, value in os.environ.items()]
line.sendall("\\0".join(words).encode("utf-8", "surrogateescape"))
line.shutdown(socket.SHUT_WR)
os._exit(int(line.recv(16) or 70))
"""


@functools.cache
def commands() -> Path:
    """A folder with ``graphkit`` and ``python``. The process behind them ends with this one."""
    folder = Path(tempfile.mkdtemp(prefix="forked"))
    address = folder / "socket"
    alive, held = os.pipe()
    os.set_inheritable(alive, True)
    command = [sys.executable, __file__, str(address), str(alive)]
    server = subprocess.Popen(command, pass_fds=[alive], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    os.close(alive)
    _HELD[held] = server
    for name in ("graphkit", "python"):
        (folder / name).write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        (folder / name).chmod(0o755)
    until = time.monotonic() + 60
    while not address.exists():
        assert server.poll() is None, "the process that forks did not start"
        assert time.monotonic() < until
        time.sleep(0.01)
    return folder


_HELD: dict[int, subprocess.Popen[bytes]] = {}
"""The end of a pipe -> the process that lives as long as it is open."""


@atexit.register
def _let_go() -> None:
    """Let the process go, and wait until it has gone."""
    for held, server in _HELD.items():
        os.close(held)
        server.wait(10)
    _HELD.clear()


def _serve(address: str, alive: int) -> Callable[[], object]:
    """Fork for each who asks. In a fork it returns what is to be done there; the server itself never returns."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(address + "~")
    server.listen(64)
    os.rename(address + "~", address)
    _import()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([server, alive], [], [])
        if alive in ready:
            shutil.rmtree(os.path.dirname(address), ignore_errors=True)
            os._exit(0)
        line, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _answer(line)
        line.close()


def _answer(line: socket.socket) -> Callable[[], object]:
    """Read what is wanted; fork once more for it, wait for that fork and tell its exit code."""
    _, files, _, _ = socket.recv_fds(line, 1, 3)
    data = b""
    while part := line.recv(1 << 16):
        data += part
    words = data.decode("utf-8", "surrogateescape").split("\0")
    count = int(words[0])
    arguments, folder = words[1 : 1 + count], words[1 + count]
    environment = dict(word.partition("=")[::2] for word in words[2 + count :])
    if process := os.fork():
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):  # who asked is gone
            line.sendall(str(code if code >= 0 else 128 - code).encode())
        os._exit(0)
    line.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    other = environment.get("PYTHONPATH") != os.environ.get("PYTHONPATH") or "PYTHONWARNINGS" in environment
    os.environ.clear()
    os.environ.update(environment)
    return _work(arguments, really=other)


def _work(arguments: list[str], *, really: bool) -> Callable[[], object]:
    """What ``graphkit ...`` or ``python ...`` does, after its imports."""
    name, *rest = arguments
    if name == "graphkit" and not really:
        from graphkit_cli.main import main

        sys.argv = arguments
        return lambda: sys.exit(main())
    kind = rest[0] if rest else "-"
    if really or (kind.startswith("-") and kind not in ("-c", "-m")):
        program = [sys.executable] if name == "python" else [str(Path(sys.executable).with_name(name))]
        os.execv(program[0], [*program, *rest])  # noqa: S606 (the program itself, no shell)
    if kind == "-m":
        sys.argv, sys.path[0:0] = rest[1:], [os.getcwd()]
        return lambda: runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    if kind == "-c":
        sys.argv, sys.path[0:0] = ["-c", *rest[2:]], [""]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        return lambda: exec(compile(rest[1], "<string>", "exec"), module.__dict__)  # noqa: S102 (a test's own code)
    sys.argv, sys.path[0:0] = rest, [os.path.dirname(os.path.abspath(kind))]
    return lambda: runpy.run_path(kind, run_name="__main__")


def _end(work: Callable[[], object]) -> None:
    """Do it and end the process as Python does, but without the C++ destructors: those of torch wait for a thread that a
    fork does not have.
    """
    code = 0
    try:
        work()
    except SystemExit as error:
        if isinstance(error.code, int | None):
            code = error.code or 0
        else:
            print(error.code, file=sys.stderr)  # noqa: T201 (as Python does)
            code = 1
    except BaseException:  # noqa: BLE001 (as Python does)
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _import() -> None:
    """What samples and commands import, and one export, which imports the rest of the exporter."""
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    import graphkit as gk
    import graphkit_cli.main  # noqa: F401 (it is there for the forks)

    with contextlib.suppress(ImportError):
        import onnxruntime  # noqa: F401
    with contextlib.suppress(ImportError):
        import torch

        importlib.import_module(REGISTRY)
        share_registry()
        gk.export(torch.nn.ReLU(), torch.zeros(2), exporter="dynamo")
        gk.export(torch.nn.ReLU(), torch.zeros(2), exporter="torchscript")
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    from exports import REGISTRY, share_registry

    _end(_serve(sys.argv[1], int(sys.argv[2])))
