"""A Dask cluster on this machine: a scheduler and its workers, each a process that a test can kill."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Cluster:
    """A scheduler and its workers, each a process."""

    def __init__(self, folder, **environment):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes = []
        self.start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--scheduler-file",
            str(self.file),
            "--no-dashboard",
            **environment,
        )
        self.address = wait_for(lambda: json.loads(self.file.read_text())["address"])

    def start(self, what, *arguments, **environment):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
        with open(self.folder / f"{what}{len(self.processes)}.log", "w", encoding="utf-8") as log:
            path = os.pathsep.join([*filter(None, [environment.pop("PYTHONPATH", "")]), HERE])
            everything = os.environ | environment | {"PYTHONPATH": path}  # tests' own work is found by its name
            process = subprocess.Popen(command, env=everything, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def worker(self, *, nanny=False, **environment):
        options = ["--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder)]
        options += ["--nanny" if nanny else "--no-nanny"]
        return self.start("worker", self.address, *options, **environment)

    def stop(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a nanny with its worker
            process.wait()


def wait_for(asked, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            if found := asked():
                return found
        except (OSError, ValueError):
            pass
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)
