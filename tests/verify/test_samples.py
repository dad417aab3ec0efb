"""What validate runs, and what it says of it: samples that the module refuses, sizes that were not tried, exact factors."""

import itertools

import numpy as np
import pytest

import graphkit as gk

torch = pytest.importorskip("torch")
functional = torch.nn.functional


class Filled(torch.nn.Module):
    """Takes three values of y where x is positive, and raises where there are more."""

    def forward(self, x, y):
        if int((x > 0).sum()) > 3:
            raise ValueError("more places than values")
        return x + y.sum()


X, Y = torch.tensor([1.0, 1, 1, -1, -1, -1]), torch.arange(3.0)


@pytest.fixture(scope="module")
def filled():
    return gk.export(Filled(), (X, Y), exporter="torchscript")


def test_a_random_sample_that_the_module_refuses_is_said_and_the_others_count(filled):
    for seed in range(20):
        report = gk.validate(filled, torch=(Filled(), (X, Y)), samples=4, seed=seed)
        left = [note for note in report.notes if "was left out, the others count" in note]
        assert report
        assert len(report.samples) + len(left) == 4
        if left:
            assert "more places than values" in left[0]
            return
    pytest.fail("no sample was refused")


def test_a_module_that_refuses_everything_is_an_error(filled):
    class Never(torch.nn.Module):
        def forward(self, x, y):
            raise ValueError("never")

    with pytest.raises(gk.ComparisonError, match="never"):
        gk.validate(filled, torch=(Never(), (X, Y)), samples=3)


class Double(torch.nn.Module):
    def forward(self, x):
        return x * 2


def test_dims_that_had_one_size_are_said_and_bind_is_proposed():
    x = torch.ones(2, 3)
    model = gk.export(Double(), (x,), dynamic={"x": {0: "n", 1: "c"}})
    note = next(note for note in gk.validate(model, torch=(Double(), (x,))).notes if "one size" in note)
    assert "(n=2, c=3)" in note
    assert "bind={'n': SIZES, 'c': SIZES}" in note
    notes = gk.validate(model, torch=(Double(), (x,)), bind={"n": [1, 4], "c": [3, 5]}).notes
    assert not [note for note in notes if "one size" in note]


class Scaled(torch.nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.factor, self.mode = 2.0, mode

    def forward(self, x):
        return functional.interpolate(x, scale_factor=self.factor, mode=self.mode)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_fractional_factors_are_the_numbers_that_were_meant_on_both_sides(mode):
    x = torch.rand(1, 2, 11, 15)
    net = Scaled(mode).eval()
    model = gk.resize(gk.export(net, (x,), exporter="torchscript", dynamic={"x": {2: "h", 3: "w"}}))
    for factor, (h, w) in itertools.product(("1.7", "2.3", "4.2", "0.6"), ((11, 15), (15, 20))):
        feeds, bind = {"factor": factor}, {"h": h, "w": w}
        report = gk.validate(model, torch=(net, (x,)), map={"factor": "self.factor"}, feeds=feeds, bind=bind, samples=1)
        assert report, (factor, h, w, gk.text(report))
    assert net.factor == 2.0


class Ordered(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


CALLS = {
    "topk": lambda x: torch.topk(x, 5, dim=1),
    "argsort": lambda x: torch.argsort(x, dim=1),
    "sort": lambda x: torch.sort(x, dim=1, descending=True),
}


@pytest.mark.parametrize(
    ("call", "exporter"), [("topk", "dynamo"), *((call, "torchscript") for call in ("topk", "argsort", "sort"))]
)
def test_nothing_is_baked_in_what_orders_values(call, exporter):
    x = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    found = gk.find_baked(Ordered(CALLS[call]).eval(), [(x,)], exporter=exporter, dynamic={"x": {1: "n"}})
    assert found.findings == ()
    assert all(trial.agrees for trial in found.trials)


def test_what_was_meant_by_a_float32_is_its_shortest_decimal():
    from graphkit.verify.reference.torch_arguments import like_python

    assert like_python(np.float32([1.7]), 2.0) == 1.7
    assert like_python(np.float32([1.7, 0.1]), (2.0, 2.0)) == (1.7, 0.1)
    assert like_python(np.float64([1.7000000476837158]), 2.0) == 1.7000000476837158
