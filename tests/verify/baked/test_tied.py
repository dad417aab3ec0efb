"""Equal numbers that are ranked: which of them comes first is no constant of the example arguments."""

import pytest

import graphkit as gk

torch = pytest.importorskip("torch")


class Ranked(torch.nn.Module):
    def forward(self, x):
        numbers, places = x.topk(3, -1)
        return numbers, places, x.argmax(-1)


class Computed(torch.nn.Module):
    """Indices that go on, of numbers that are equal where they were cut off."""

    def forward(self, x):
        return torch.relu(x).topk(3, -1)[1].float() * 2


class Counted(torch.nn.Module):
    def forward(self, x):
        return x.topk(int(x.max()) % 3 + 1, -1)[1]


def found(net, x):
    return gk.find_baked(net, [(x,)], exporter="torchscript", dynamic=["x:1=n"])


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (Ranked(), torch.arange(32).reshape(4, 8) % 5),
        (Ranked(), torch.zeros(2, 6)),
        (Computed(), torch.linspace(-3, 3, 12).reshape(2, 6)),
        (Computed(), torch.ones(2, 6)),
    ],
    ids=["integers", "zeros", "relu", "ones"],
)
def test_ties_are_no_finding(net, x):
    assert found(net, x)


def test_a_count_made_of_the_example_is_found_beneath_ties():
    baked = found(Counted(), torch.arange(32).reshape(4, 8) % 5)
    assert any("TopK" in finding.message for finding in baked.findings)
