"""Ctrl-C at moments when no command runs: while the command line is imported, and when its work is done."""

import subprocess
import sys

import pytest

START = "import builtins, os, signal, sys; from graphkit_cli.entry import entry; real = builtins.__import__\n"
OURS = "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""A shell that starts the tests in the background has it ignored."""

AT_IMPORT = """def interrupted(name, *rest):
    if name == NAME:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
builtins.__import__ = interrupted
sys.exit(entry())"""
AT_END = """import atexit
code = entry()
if WHEN == 'exit':
    atexit._run_exitfuncs()
os.kill(os.getpid(), signal.SIGINT)
sys.exit(code)"""


def start(code: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", START + code, "--version"], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["signal", "graphkit_cli.main", "click", "graphkit_cli.render"])
def test_an_interrupt_during_imports_is_130_without_a_traceback(name):
    assert start(f"{OURS}NAME = {name!r}\n{AT_IMPORT}") == (130, "graphkit: error: interrupted\n")


@pytest.mark.parametrize(("when", "code"), [("done", 130), ("exit", 0)])
def test_an_interrupt_after_the_work_says_nothing(when, code):
    assert start(f"{OURS}WHEN = {when!r}\n{AT_END}") == (code, "")


def test_an_interrupt_that_the_shell_ignores_stays_ignored():
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert start(f"{ignored}NAME = 'click'\n{AT_IMPORT}") == (0, "")
