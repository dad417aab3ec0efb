"""Exports that are right are said to match, at sizes and on numbers that were not exported with.

The whole, 42 nets by both exporters at three sizes: ``pytest -m matrix tests/verify/test_no_false_alarm.py``.
"""

import pytest

import graphkit as gk

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
nets = pytest.importorskip("correct_nets")
NETS, ONE_EXPORTER = nets.NETS, nets.ONE_EXPORTER

SAMPLES = 3
EXPORTS = [(net, by) for net in NETS for by in ("torchscript", "dynamo") if ONE_EXPORTER.get(net, by) == by]
FACTORS = (0.3, 0.35, 0.6, 0.7, 1.1, 1.3, 1.4, 1.7, 2.4, 2.9, 3.3)
SIDES = ((12, 30), (19, 19), (25, 11))


def alarms(name, exporter, samples):
    torch.manual_seed(0)
    net, arguments, axes, sizes = NETS[name]()
    exported = gk.export(net.eval(), arguments, exporter=exporter, dynamic=axes)
    found = []
    for number in range(3):
        bound = {dim: some[number] for dim, some in sizes.items()}
        report = gk.validate(exported, torch=(net, arguments), bind=bound, samples=samples)
        assert len(report.samples) == samples
        found += [(name, exporter, bound, one.number) for one in report.samples if not one.match]
    return found


@pytest.mark.parametrize("name", ["residual", "nearest1.5", "causal"])
def test_an_export_that_is_right_matches_at_three_sizes(name):
    assert alarms(name, "torchscript", 1) == []


@pytest.mark.matrix
@pytest.mark.parametrize(("name", "exporter"), EXPORTS)
def test_every_export_that_is_right_matches_at_three_sizes(name, exporter):
    assert alarms(name, exporter, SAMPLES) == []


@pytest.mark.matrix
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_factor_that_is_an_input_takes_the_pixels_that_torch_takes(exporter):
    torch.manual_seed(0)
    net, arguments = nets.Scaled().eval(), (torch.rand(1, 3, 16, 19),)
    free = gk.resize(gk.export(net, arguments, exporter=exporter, dynamic={"x": {2: "h", 3: "w"}}))
    for factor in FACTORS:
        for height, width in SIDES:
            report = gk.validate(
                free,
                torch=(net, arguments),
                map={"factor": "self.factor"},
                feeds={"factor": factor},
                bind={"h": height, "w": width},
                samples=SAMPLES,
            )
            assert report, (factor, height, width)
