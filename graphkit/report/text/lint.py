"""What ``lint`` found, as text."""

from __future__ import annotations

from graphkit.inspection.lint import Lint
from graphkit.report.columns import COPIED_WORD, wrapped


def lint_text(result: Lint) -> str:
    """One paragraph for each violation, then what the rules rest on."""
    lines = [f"{result.target} {result.version}, operators as {result.documented} documents them"]
    for violation in result.violations:
        where = f" at {violation.node}" if violation.node else ""
        lines.append(f"{violation.severity}: {violation.rule}{where}: {violation.message}")
        if violation.remedy:
            lines.append(f"  mend: {violation.remedy}")
        lines.append(f"  source: {violation.source}")
    lines += [f"dynamic input {name}: {shape}; the engine needs a profile" for name, shape in result.dynamic.items()]
    lines.append("nothing beyond the documented limits" if not result.violations else result.checked)
    return "\n".join(line for text in lines for line in wrapped(text, "", trim=False, longest=COPIED_WORD))
