"""gk.resize against torch.nn.functional.interpolate: a seeded part of the matrix always, all of it with ``-m matrix``."""

import pytest

from surgery import resize_matrix as matrix


# R12
@pytest.mark.parametrize("case", matrix.some_cases(), ids=str)
def test_a_part_of_the_matrix_agrees_with_torch(case):
    matrix.check(case, matrix.Tally())


@pytest.mark.matrix
def test_the_whole_matrix_agrees_with_torch():
    tally, failures = matrix.main()
    assert failures == []
    assert tally.checked > 20_000


def test_the_part_covers_every_mode_exporter_opset_and_way():
    cases = matrix.some_cases()
    for field in ("mode", "corners", "how", "exporter", "opset", "dynamic"):
        everything = {getattr(case, field) for case in matrix.all_cases() if matrix.no_export(case) is None}
        assert {getattr(case, field) for case in cases} == everything, field


def test_the_matrix_can_fail(monkeypatch):
    case = next(c for c in matrix.some_cases() if c.exporter == "torchscript" and c.opset > 9)
    right = matrix.reference
    monkeypatch.setattr(matrix, "reference", lambda *arguments: right(*arguments) * 1.0001)
    with pytest.raises(AssertionError, match="relative error"):
        matrix.check(case, matrix.Tally())


def test_torch_copies_along_an_axis_whose_size_stays():
    torch = pytest.importorskip("torch")
    x = torch.arange(5.0).reshape(1, 1, 5, 1).square().repeat(1, 1, 1, 15)
    scaled = torch.nn.functional.interpolate(x, scale_factor=1.1, mode="bilinear")
    assert torch.equal(scaled, x[..., :1].expand(1, 1, 5, 16))
    case = matrix.Case("bilinear", False, "scale_factor", "torchscript", 17, dynamic=True)
    assert "copy" in matrix.no_answer(case, 5, 1.1, "scales")
    assert matrix.no_answer(case, 15, 1.1, "scales") is None
