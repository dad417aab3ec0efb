"""The smallest part of a model on which a command of the user's still fails."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graphkit.edit import node_set
from graphkit.errors import GraphkitError
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import title
from graphkit.graph.upstream import upstream
from graphkit.model import Model
from graphkit.result import Result
from graphkit.storage.load import as_model
from graphkit.storage.save import save
from graphkit.surgery.extract import extract

if TYPE_CHECKING:
    from graphkit.model import ModelLike
    from graphkit.progress import Progress

PLACE = "{}"
"""Where the file's name goes in a command; at its end, where it has none."""

LEAST_SECONDS = 10.0
"""The least time that a run gets, where no limit is given."""

TIMES_AS_LONG = 10
"""How many times as long as on the whole model a run may take, where no limit is given."""

LAST_LINES = 12
"""Lines of what the command said that are kept."""


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Its exit code, below 0 for the signal that killed it; None where it ran past the limit.
        said: The last lines of what it wrote.
    """

    code: int | None
    said: str = field(default="", compare=False)


@dataclass(frozen=True, repr=False)
class Reduction(Result):
    """The smallest part that a command still fails on. It is true where the command does not fail on the whole.

    Attributes:
        candidate: What the model is called.
        command: The command; one of Python is called by its name.
        fails: Whether it fails on the whole model.
        code: With what exit code it fails; None where it runs past the limit, or does not fail.
        before: Number of nodes of the whole.
        nodes: The nodes of the part, such as ``Conv 'conv1'``.
        inputs: What the part is fed, as values of the whole.
        outputs: What it gives.
        runs: How often the command ran.
        said: The last lines of what it wrote on the part.
        notes: What the user should know.
        model: The part; None where the command does not fail.
    """

    candidate: str
    command: str
    fails: bool
    code: int | None
    before: int
    nodes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    runs: int = 1
    said: str = ""
    notes: tuple[str, ...] = ()
    model: Model | None = field(default=None, metadata={"json": False})
    arguments: tuple[str, ...] = field(default=(), repr=False, metadata={"json": False})

    def __bool__(self) -> bool:
        return not self.fails


def reduce_model(
    model: ModelLike,
    check: str | Sequence[str] | Callable[[Model], object],
    *,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> Reduction:
    """Find the smallest part of a model on which a check still fails.

    Nodes are left out from the end, then from the beginning, each time by halves; then piece by piece from what is left,
    down to single nodes. A value whose node is left out becomes an input. So the check has to take models with other
    inputs and outputs, and feed them by itself. A part counts where the check fails as on the whole: with the same exit
    code, or past the time limit too; a part whose types are not known is not tried.

    Args:
        model: A path, a ModelProto or a Model; it is not changed.
        check: A command, as one text or as its words; ``{}`` in it is the file to look at, which else comes last. It is
            run without a shell, and fails where its exit code is not 0. Or a function of a Model that says whether it is
            right; one that raises says that it is not.
        timeout: Seconds that one run of a command may take, the first one too; then it is stopped, with all that it
            started. None: ten times as long as it took on the whole model, and 10 seconds at least.
        progress: Called with the number of nodes that are left out, how many there are, and what is done.

    Returns:
        The part, with what the command said of it.

    Raises:
        GraphkitError: The command cannot be started.
        ValueError: There is no command, or the limit is not above 0.
        InvalidGraphError, ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: nothing. Parts are written to a temporary folder, which is removed.
    Scope: nodes of the main graph, with their bodies and functions.
    Cost: about 2 log2(nodes) runs, and for the nodes that are left their number times its logarithm, at worst its square.

    Example:
        >>> found = gk.reduce_model("model.onnx", lambda part: "Relu" not in {node.op_type for node in part.nodes})
        >>> found.nodes
        ("Relu 'relu_3'",)
    """
    if timeout is not None and timeout <= 0:
        raise ValueError(f"timeout is a number of seconds above 0, not {timeout}")
    source = as_model(model).without_record()
    with _checker(check, timeout) as checker:
        return _Search(source, checker, progress).result()


class _Command:
    """A command that is run on files in a folder.

    Attributes:
        title: What to call it.
        words: Its words.
    """

    def __init__(self, check: str | Sequence[str], limit: float | None, folder: str) -> None:
        self.words = tuple(shlex.split(check) if isinstance(check, str) else check)
        if not self.words:
            raise ValueError("there is no command")
        self.title = check if isinstance(check, str) else shlex.join(check)
        self._limit = limit
        self._folder = folder

    def __call__(self, model: Model) -> Ending:
        path = os.path.join(self._folder, "model.onnx")
        save(model, path, history=False)
        words = [word.replace(PLACE, path) for word in self.words]
        words += [] if any(PLACE in word for word in self.words) else [path]
        began = time.monotonic()
        ending = self._run(words)
        if self._limit is None:
            self._limit = max(LEAST_SECONDS, TIMES_AS_LONG * (time.monotonic() - began))
        return ending

    def _run(self, words: Sequence[str]) -> Ending:
        with tempfile.TemporaryFile(dir=self._folder) as said:
            try:
                process = subprocess.Popen(  # noqa: S603 (the user's own command, without a shell)
                    words, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
                )
            except OSError as error:
                raise GraphkitError(
                    f"the command {words[0]!r} cannot be started: {error.strerror or error}",
                    hint="it is run without a shell: for pipes and the like give sh -c '...'",
                ) from error
            try:
                code: int | None = process.wait(self._limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _stop(process)
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
        return Ending(code, "\n".join(lines[-LAST_LINES:]))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a command, with all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


class _Function:
    """A check in Python."""

    words: tuple[str, ...] = ()

    def __init__(self, check: Callable[[Model], object]) -> None:
        self.title = getattr(check, "__name__", type(check).__name__)
        self._check = check

    def __call__(self, model: Model) -> Ending:
        try:
            return Ending(0 if self._check(model) else 1)
        except Exception as error:  # noqa: BLE001 (whatever the user's check raises says that it fails)
            return Ending(1, f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _checker(
    check: str | Sequence[str] | Callable[[Model], object], limit: float | None
) -> Iterator[_Command | _Function]:
    if callable(check):
        yield _Function(check)
        return
    with tempfile.TemporaryDirectory(prefix="graphkit-", ignore_cleanup_errors=True) as folder:
        yield _Command(check, limit, folder)


class _Search:
    """Leaves nodes out as long as the check fails as it did on the whole."""

    def __init__(self, model: Model, check: _Command | _Function, progress: Progress | None) -> None:
        self._model = model
        self._check = check
        self._progress = progress
        self._index = GraphIndex(model.proto.graph)
        self._known: dict[frozenset[int], bool] = {}
        self._whole = Ending(0)
        self._runs = 0

    def result(self) -> Reduction:
        """Search."""
        count = len(self._index.nodes)
        self._whole = self._run(self._model)
        candidate = self._model.path or "the model"
        if self._whole.code == 0:
            return Reduction(candidate, self._check.title, fails=False, code=None, before=count)
        chosen = self._smallest(list(range(count)))
        part = self._part(chosen) if len(chosen) < count else self._model
        assert part is not None
        last = self._run(part)
        notes = [] if last == self._whole else ["the command fails on the part in some runs, and not in others"]
        if len(chosen) == count:
            notes.append("no node can be left out")
        inputs, outputs = node_set.boundary(self._index, chosen) if len(chosen) < count else (None, None)
        return Reduction(
            candidate,
            self._check.title,
            fails=True,
            code=self._whole.code,
            before=count,
            nodes=tuple(title(node) for node in part.nodes),
            inputs=inputs if inputs is not None else tuple(value.name for value in part.inputs),
            outputs=outputs if outputs is not None else tuple(value.name for value in part.outputs),
            runs=self._runs,
            said=last.said,
            notes=tuple(notes),
            model=part,
            arguments=self._check.words,
        )

    def _run(self, model: Model) -> Ending:
        self._runs += 1
        return self._check(model)

    def _smallest(self, chosen: list[int]) -> list[int]:
        chosen = self._halved(chosen, lambda nodes, count: nodes[:count])
        needed = self._upstream(chosen)
        if len(needed) < len(chosen) and self._fails(needed):
            chosen = needed
        chosen = self._halved(chosen, lambda nodes, count: nodes[len(nodes) - count :])
        size = len(chosen) // 2
        while size >= 1:
            smaller = self._without_pieces(chosen, size)
            size = min(size, len(smaller)) // 2 if len(smaller) == len(chosen) or size > 1 else 1
            chosen = smaller
        return chosen

    def _halved(self, nodes: list[int], take: Callable[[list[int], int], list[int]]) -> list[int]:
        """The fewest nodes at one end that fail: one less does not."""
        least, most = 0, len(nodes)
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (least, middle) if self._fails(take(nodes, middle)) else (middle, most)
        return take(nodes, most)

    def _without_pieces(self, chosen: list[int], size: int) -> list[int]:
        """Leave out pieces of a size, wherever that still fails."""
        place = 0
        while place < len(chosen) > 1:
            rest = chosen[:place] + chosen[place + size :]
            if rest and self._fails(rest):
                chosen = rest
            else:
                place += size
        return chosen

    def _upstream(self, chosen: list[int]) -> list[int]:
        """The last node, and those that it needs."""
        last, inside = chosen[-1], set(chosen)
        found = upstream(self._index, self._index.reads(last), enter=inside.__contains__)
        return sorted({last, *found.nodes})

    def _fails(self, chosen: list[int]) -> bool:
        key = frozenset(chosen)
        if key not in self._known:
            part = self._part(chosen)
            self._known[key] = part is not None and self._run(part) == self._whole
            if self._progress is not None and self._known[key]:
                self._progress(len(self._index.nodes) - len(chosen), len(self._index.nodes), "nodes are left out")
        return self._known[key]

    def _part(self, chosen: Sequence[int]) -> Model | None:
        """Some nodes as a model; None where that cannot be made."""
        inputs, outputs = node_set.boundary(self._index, chosen)
        if not outputs:
            return None
        try:
            return extract(self._model, inputs=inputs, outputs=outputs)
        except GraphkitError:
            return None
