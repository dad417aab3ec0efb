"""A few of the runs of killed.py, in every run of the tests; a thousand: ``python tests/faults/killed.py 1600``."""

import pytest

from faults.killed import campaign


@pytest.mark.parametrize("name", ["copy to a pair", "split", "apply"])
def test_a_killed_command_leaves_the_old_or_the_new_and_the_next_run_cleans_up(name, tmp_path):
    counted = campaign(6, 3, tmp_path, only=(name,), befores=("pair",))
    assert sum(counted.values()) == 6
