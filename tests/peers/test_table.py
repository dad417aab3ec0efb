"""The table by suite says what the tests say."""

from peers.write_table import HERE, table


def test_the_table_is_written_from_the_tests():
    assert (HERE / "README.md").read_text(encoding="utf-8") == table(), "run python tests/peers/write_table.py"
