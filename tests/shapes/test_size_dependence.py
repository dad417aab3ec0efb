"""Which axes of two shapes of the same number of elements belong together."""

import pytest

from graphkit.shapes.size_dependence import reshape_groups


@pytest.mark.parametrize(
    ("old", "new", "groups"),
    [
        ([1, 3, 4, 4], [1, 48], [([0], [0]), ([1, 2, 3], [1])]),
        ([1, 3, 4, 4], [1, 3, 2, 2, 2, 2], [([0], [0]), ([1], [1]), ([2], [2, 3]), ([3], [4, 5])]),
        ([2, 6], [3, 4], [([0, 1], [0, 1])]),
        ([4, 1, 5], [4, 5], [([0], [0]), ([1, 2], [1])]),
        ([4, 5], [4, 1, 5], [([0], [0]), ([1], [1, 2])]),
        ([4], [4, 1], [([0], [0]), ([], [1])]),
        ([], [1], [([], [0])]),
    ],
)
def test_groups_are_the_finest_from_the_front(old, new, groups):
    assert reshape_groups(old, new) == groups
