"""A process that saves, and is killed (SIGKILL) while it does. Used by test_crash.py; it forks, so that it starts once.

    kill_save.py steps MODEL OPTIONS BASE OUT  in OUT/000, OUT/001, ..., copies of BASE, one save over m.onnx each, killed
                                               at the first, second, ... step; the last one is not killed
    kill_save.py loop A B OPTIONS TARGET       saves A and B in turns; each line on stdin is a delay in seconds, after
                                               which the saving process is killed; a line is printed when it is dead

OPTIONS is JSON: keywords of gk.save, and "without": names of what the file system shall not have.
"""

import errno
import itertools
import json
import os
import shutil
import signal
import sys
import time

import graphkit as gk
from graphkit.storage import commit

STEPS = ("open", "write", "copy_file_range", "fchmod", "link", "replace", "unlink")
"""The calls that change files."""


def main(mode, *arguments):
    if mode == "steps":
        model, options, base, out = arguments
        killed_at_steps(model, take_away(json.loads(options)), base, out)
    else:
        a, b, options, target = arguments
        killed_in_a_loop([gk.load(a), gk.load(b)], take_away(json.loads(options)), target)


def killed_at_steps(path, options, base, out):
    model = gk.load(path)
    os.fsync = lambda fd: None  # what a killed process wrote is there without it
    for count in itertools.count():
        folder = f"{out}/{count:03}"
        shutil.copytree(base, folder)
        child = os.fork()
        if not child:
            kill_at(count)
            gk.save(model, f"{folder}/m.onnx", **options)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != -signal.SIGKILL:
            sys.exit(code)


def kill_at(step):
    """Die before one of the calls, which is the same as after the one before it."""
    steps = itertools.count()

    def watched(call):
        def wrapper(*arguments, **options):
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapper

    for name in STEPS:
        setattr(os, name, watched(getattr(os, name)))


def take_away(options):
    without = options.pop("without", ())
    if "copying old data" in without:
        commit.COPIED = -1
    if "nameless files" in without:
        real = os.open

        def no_tmpfile(path, flags, *arguments, **keywords):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            return real(path, flags, *arguments, **keywords)

        os.open = no_tmpfile
    return options


def killed_in_a_loop(models, options, target):
    for line in sys.stdin:
        child = os.fork()
        if not child:
            for model in itertools.cycle(models):
                gk.save(model, target, **options)
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sys.stdout.write("dead\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
