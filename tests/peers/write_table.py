"""Write README.md of this folder: the suites of graphkit's peers, how many cases are right here, and what differs and why.

Run it with ``python tests/peers/write_table.py``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent

HEAD = """# What the peers' own suites promise

Each file here is named after a package whose tests were read, and each test says for which of them it stands. The models are
our own; every one is run, and compared with the model before.
A case is one test of theirs, or several that are about one thing (`name*9`). "Outside" are tests of no model, or of what
graphkit has no part in. This file is written by `python tests/peers/write_table.py`; a test holds it to the code.

Two lists lie elsewhere: onnx's version converter in `tests/edit/test_version_converter_list.py`, and every single job that a
peer offers in `tests/jobs`.
"""


def table() -> str:
    """The whole text."""
    suites = [importlib.import_module(f"peers.{path.stem}").SUITE for path in _files()]
    rows = ["| Suite | Read in | Cases | Right | Differs | Outside |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    totals = [0, 0, 0, 0]
    for suite in suites:
        differs = sum(case.count for case in suite.cases if case.differs)
        cases = sum(case.count for case in suite.cases)
        numbers = [cases, cases - differs, differs, sum(count for count, _ in suite.outside)]
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        rows.append(f"| {suite.name} | {suite.source} | {' | '.join(map(str, numbers))} |")
    rows.append(f"| all | | {' | '.join(map(str, totals))} |")
    parts = [HEAD, "\n".join(rows) + "\n"]
    for suite in suites:
        lines = [f"- {case.differs}: {', '.join(case.peer)}" for case in suite.cases if case.differs]
        lines += [f"- outside, {count}: {why}" for count, why in suite.outside]
        if lines:
            parts.append(f"## {suite.name}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _files() -> list[Path]:
    return [path for path in sorted(HERE.glob("test_*.py")) if path.stem != "test_table"]


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    (HERE / "README.md").write_text(table(), encoding="utf-8")
