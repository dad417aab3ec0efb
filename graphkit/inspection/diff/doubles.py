"""Names that stand more than once where each should stand once: such files are found in the wild, and are no other file's equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from graphkit.inspection.diff.difference import Change, Found


def doubles(
    kind: str, prefix: str, names: tuple[Sequence[str], Sequence[str]], pairs: Mapping[str, str], found: Found
) -> None:
    """Names that both models have, and one of them more often.

    Args:
        kind: What they name.
        prefix: What stands before a name in its address.
        names: Before and after, in the file's order.
        pairs: Name before -> name after; the others keep theirs.
        found: Where differences go.
    """
    before, after = Counter(names[0]), Counter(names[1])
    if len(before) == len(names[0]) and len(after) == len(names[1]):
        return
    for name, count in before.items():
        other = pairs.get(name, name)
        if other in after and after[other] != count:
            said = f"stands {after[other]} times, {count} before"
            former = None if name == other else prefix + name
            found.add("changed", Change(kind, prefix + other, "structure", former, details=(said,)))
