"""A number and what it counts, as English has it: one node, two nodes."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """``1 node``, ``1,200 nodes``; ``many`` is the plural where that is not ``one`` with an s.

    Example:
        >>> counted(1, "node"), counted(3, "node that nothing reads", "nodes that nothing reads")
        ('1 node', '3 nodes that nothing reads')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
