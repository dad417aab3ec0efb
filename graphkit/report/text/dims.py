"""What axes mean to a model, as text."""

from __future__ import annotations

from graphkit.inspection.dims_report import DimsReport
from graphkit.report.printable import one_line


def dims_text(result: DimsReport) -> str:
    """What depends on the axes; then a line for each node that can follow, that cannot, and whose size is the net's."""
    lines = [f"{', '.join(result.axes)}: {result.varying} values vary with it"]
    for name, axes in result.outputs.items():
        varying = f"axes {', '.join(map(str, axes))} vary" if axes else "does not vary"
        lines.append(f"output {name}: {varying}")
    for title, findings in (
        ("follows, once it is repaired", result.follows),
        ("should follow and does not", result.held),
        ("property of the net", result.properties),
    ):
        lines.append(f"{title}: {len(findings) or 'nothing'}")
        lines += [f"  {finding}" for finding in findings]
    return "\n".join(map(one_line, lines))
