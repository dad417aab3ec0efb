"""Everything the command line writes: results to stdout; progress, notes, warnings and errors to stderr."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol, TextIO

from graphkit_cli.spelling import spelt

if TYPE_CHECKING:
    import click
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

    from graphkit import GraphkitError


class Report(Protocol):
    """How long work says how far it is."""

    def __call__(self, done: int, total: int | None = None, what: str = "", /) -> None:
        """``done`` of ``total`` steps or bytes; ``what`` is being done now."""


LONGEST_WORD = 240
"""Characters of a word that the terminal shows; paths are rarely longer."""

PIPE_WIDTH = 80
"""Columns of a guide where no terminal says how wide it is."""

PROGRESS_AFTER = 1.0
"""Seconds of work after which a progress bar appears."""


class Render:
    """What the user asked to see, and the streams it goes to.

    Attributes:
        quiet: ``-q``: only results and errors.
        verbose: ``-v``: causes of errors, warnings of other packages; commands may add detail.
        no_color: ``--no-color`` or the variable NO_COLOR: no colour, no progress bars.
        as_json: ``--json``: results as one JSON object.
    """

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = False
        self.no_color = bool(os.environ.get("NO_COLOR"))
        self.as_json = False
        self.stdout_is_taken = False
        self._said: set[str] = set()
        self._bar: _Bar | None = None

    def result(self, result: object, text: Callable[[], RenderableType]) -> None:
        """Write a command's result to stdout; to stderr where stdout has the model (OUT is ``-``).

        Args:
            result: A dataclass, or a mapping or sequence of plain values: what ``--json`` writes.
            text: Called unless ``--json``: gives the text, or a rich renderable (a table).
        """
        stream = sys.stderr if self.stdout_is_taken else sys.stdout
        if self.as_json:
            import graphkit as gk

            self._write(stream, gk.to_json(result) + "\n", whole=True)
            return
        shown = text()
        if isinstance(shown, str):
            self._write(stream, shown.rstrip("\n") + "\n")
        else:
            self._console(stream).print(shown)

    def note(self, message: str) -> None:
        """Something the user should know about the work; not with ``-q``, not where a warning said the same."""
        self._say("note", message)

    def warning(self, message: str) -> None:
        """A finding that did not stop the work; once per text, not with ``-q``."""
        self._say("warning", message)

    def error(
        self,
        message: str,
        fields: Mapping[str, object] | None = None,
        *,
        faults: Sequence[str] = (),
        told: Sequence[str] = (),
    ) -> None:
        """Why the command failed; with ``--json`` also as an object on stdout: ``{"error": {"type", "message", ...}}``.

        Each of several ``faults`` has a line, and so has what else is ``told``.
        """
        said = {"type": "Error", "message": message, **(fields or {})}
        hint = said.get("hint")
        listed = list(faults) if len(faults) > 1 else []
        lines = [f"graphkit: error: {_label(message.partition(chr(10))[0] if listed else message)}"]
        lines += [f"  {_label(fault)}" for fault in listed]
        lines += [f"  hint: {_label(str(hint))}"] if hint else []
        lines += [f"  {_label(line)}" for line in told]
        self._write(sys.stderr, "\n".join(lines) + "\n", prose=True)
        if self.as_json:
            import graphkit as gk

            self._write(sys.stdout, gk.to_json({"error": said}) + "\n", whole=True)

    def usage_error(self, error: click.ClickException) -> None:
        """A command line that click does not accept: its usage line and the reason; with ``--json`` as ``error`` too."""
        shown = io.StringIO()
        error.show(file=shown)
        self._write(sys.stderr, shown.getvalue(), prose=True)
        if self.as_json:
            import graphkit as gk

            said = {"type": type(error).__name__, "message": error.format_message()}
            self._write(sys.stdout, gk.to_json({"error": said}) + "\n", whole=True)

    def failure(self, error: GraphkitError) -> None:
        """A GraphkitError: its message and hint; with ``-v`` also its details and causes."""
        plain = (str, int, float, tuple, type(None))
        fields = {name: value for name, value in vars(error).items() if isinstance(value, plain) and name[0] != "_"}
        fields.pop("message")
        hint = error.hint and spelt(error.hint)
        message = spelt(error.message)
        said = {"type": type(error).__name__, "message": message, **fields, "hint": hint}
        self.error(message, said, faults=getattr(error, "faults", ()), told=error.told())
        if not self.verbose:
            return
        details = getattr(error, "details", "")
        if details:
            self._write(sys.stderr, f"{details}\n")
        cause = error.__cause__
        while cause is not None:
            self._write(sys.stderr, f"  caused by {type(cause).__name__}: {cause}\n")
            cause = cause.__cause__

    def bug(self, error: Exception) -> None:
        """An error that graphkit does not expect: the traceback, and whose fault it is."""
        self._write(sys.stderr, "".join(traceback.format_exception(error)))
        self.error(
            "this is a bug in graphkit, not in your model or your command. Please report it with the command line, "
            "the text above and, if you can, the model."
        )

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """Show graphkit's warnings as one line each, and other packages' warnings with ``-v`` only."""
        with warnings.catch_warnings():
            # GraphkitWarning is a UserWarning; to name it here would load onnx for `graphkit --help`.
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = self._show_warning
            yield

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Report]:
        """A progress bar on stderr for work that takes longer than a second; nothing where stderr is no terminal.

        Args:
            what: What is being done, a few words.
            total: How many steps it takes, or None where that is unknown.

        Yields:
            A function to call with (done, total, what); graphkit's long operations take it as ``progress=``.
        """
        stream = sys.stderr  # now: work that keeps another package quiet may put something else in its place
        bar = _Bar(what, total, lambda: self._console(stream))
        if self.quiet or self.no_color or not sys.stderr.isatty():
            yield bar.report
            return
        timer = threading.Timer(PROGRESS_AFTER, bar.show)
        timer.daemon = True
        timer.start()
        import graphkit as gk

        outer, self._bar = self._bar, bar
        try:
            with gk.watched(bar.report):
                yield bar.report
        finally:
            timer.cancel()
            bar.close()
            self._bar = outer

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG002 (the signature of warnings.showwarning)
        line: str | None = None,  # noqa: ARG002 (the signature of warnings.showwarning)
    ) -> None:
        if any(kind.__name__ == "GraphkitWarning" for kind in category.__mro__):
            self.warning(message.args[0] if isinstance(message, Warning) and message.args else str(message))
        elif self.verbose:
            self.warning(f"{category.__name__}: {message} ({filename}:{lineno})")

    def _say(self, kind: str, message: str) -> None:
        text = " ".join(spelt(message).split())
        if not self.quiet and text not in self._said:
            self._said.add(text)
            self._write(sys.stderr, f"{kind}: {text}\n", prose=True)

    def _write(self, stream: TextIO, text: str, *, whole: bool = False, prose: bool = False) -> None:
        """Write a text; of words that nobody reads, names of 10,000 characters, the ends only unless it is wanted whole.

        Prose is broken into lines of a terminal's width; in a pipe or a file, where ``grep`` reads it, each message stays one line.
        """
        from graphkit import printable

        encoding = stream.encoding or "utf-8"
        with self._bar.away() if self._bar is not None else nullcontext():
            text = printable(text, longest=None if whole else LONGEST_WORD)
            if prose and stream.isatty():
                text = _broken(text, shutil.get_terminal_size().columns)
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()

    def _console(self, stream: TextIO) -> Console:
        """A rich console that takes text literally: names in models hold brackets and colons."""
        from rich.console import Console

        return Console(
            file=stream,
            no_color=self.no_color,
            markup=False,
            highlight=False,
            emoji=False,
            width=None if stream.isatty() else PIPE_WIDTH,
        )


def _label(what: str) -> str:
    """A text that is to stand in one line."""
    from graphkit import printable

    return printable(what, lines=False)


def _broken(text: str, width: int) -> str:
    """Prose in lines of at most ``width`` characters; of a longer word its two ends, but of a path, which somebody may copy."""
    from graphkit import printable

    room = max(width, 20)
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()))
        longest = room - len(indent) - 2
        words = [word if "/" in word else printable(word, longest=longest) for word in line.split(" ")]
        lines += textwrap.wrap(
            " ".join(words), room, subsequent_indent=f"{indent}  ", break_on_hyphens=False, break_long_words=False
        ) or [""]
    return "\n".join(lines)


class _Bar:
    """A progress bar that another thread shows once the work has taken long enough."""

    def __init__(self, what: str, total: int | None, console: Callable[[], Console]) -> None:
        self._lock = threading.Lock()
        self._what = _label(what)
        self._total = total
        self._done = 0
        self._console = console
        self._closed = False
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def report(self, done: int, total: int | None = None, what: str = "", /) -> None:
        """Remember how far the work is, and show it if the bar is there."""
        with self._lock:
            self._done = done
            self._total = self._total if total is None else total
            self._what = _label(what) or self._what
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, completed=done, total=self._total, description=self._what)

    def show(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

        said = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), said, BarColumn(bar_width=30), TaskProgressColumn(), TimeElapsedColumn())
        with self._lock:
            if self._closed:
                return
            # rich would put proxies into sys.stdout and sys.stderr and later put back what it found there: in the middle
            # of work that redirects the streams (an export), that is not the user's terminal.
            self._bar = Progress(
                *columns, console=self._console(), transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._task = self._bar.add_task(self._what, total=self._total, completed=self._done)
            self._bar.start()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take the bar from the terminal while a line is written, which would stand in the middle of it."""
        with self._lock:
            shown = self._bar
            if shown is not None:
                shown.stop()
            try:
                yield
            finally:
                if shown is not None:
                    shown.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._bar is not None:
                self._bar.stop()
