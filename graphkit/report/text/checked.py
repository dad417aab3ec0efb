"""What ``check`` found, as text."""

from __future__ import annotations

from graphkit.inspection.check import Checked


def checked_text(result: Checked) -> str:
    """A line or two for each finding, and the verdict last."""
    lines = []
    for finding in result.findings:
        where = f" at {finding.node}" if finding.node else f" at {finding.value}" if finding.value else ""
        lines.append(f"{finding.kind}{where}: {finding.message}")
        if finding.remedy:
            lines.append(f"  mend: {finding.remedy}")
    count = len(result.findings)
    asked = f"{result.runtime} loads it" if result.runtime else "no runtime was asked to load it"
    lines.append(f"valid; {asked}" if result.valid else f"not valid: {count} finding{'' if count == 1 else 's'}")
    return "\n".join(lines)
