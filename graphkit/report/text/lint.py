"""What ``lint`` found, as text."""

from __future__ import annotations

from graphkit.inspection.lint import Lint
from graphkit.report.columns import COPIED_WORD, wrapped


def lint_text(result: Lint) -> str:
    """One paragraph for each violation, then what the rules rest on."""
    lines = wrapped(f"{result.target} {result.version}, operators as {result.documented} documents them", "")
    for violation in result.violations:
        where = f" at {violation.node}" if violation.node else ""
        lines += wrapped(f"{violation.severity}: {violation.rule}{where}: {violation.message}", "")
        if violation.remedy:
            lines += wrapped(f"mend: {violation.remedy}", "  ", longest=COPIED_WORD)
        lines += wrapped(f"source: {violation.source}", "  ", longest=COPIED_WORD)
    for name, shape in result.dynamic.items():
        lines += wrapped(f"dynamic input {name}: {shape}; the engine needs a profile", "")
    lines += wrapped("nothing beyond the documented limits" if not result.violations else result.checked, "")
    return "\n".join(lines)
