"""What ``check`` found, as text."""

from __future__ import annotations

from graphkit.inspection.check import Checked
from graphkit.report.columns import COPIED_WORD, wrapped
from graphkit.report.printable import shortened


def checked_text(result: Checked) -> str:
    """A line or two for each finding, and the verdict last."""
    lines = []
    for finding in result.findings:
        name = finding.node or finding.value
        where = f" at {shortened(name, 60)}" if name else ""
        lines += wrapped(f"{finding.kind}{where}: {finding.message}", "")
        if finding.remedy:
            lines += wrapped(f"mend: {finding.remedy}", "  ", longest=COPIED_WORD)
    count = len(result.findings)
    asked = f"{result.runtime} loads it" if result.runtime else "no runtime was asked to load it"
    lines.append(f"valid; {asked}" if result.valid else f"not valid: {count} finding{'' if count == 1 else 's'}")
    return "\n".join(lines)
