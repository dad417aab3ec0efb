"""Arguments that hold tensors inside: as torch's pytree sees them, with both exporters, dynamic axes included."""

import collections
import typing

import numpy as np
import pytest

import graphkit as gk

torch = pytest.importorskip("torch")


class Pair(typing.NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


class Nest(typing.NamedTuple):
    pair: Pair
    more: dict


class Takes(torch.nn.Module):
    """Adds up every tensor of its argument, the first twice."""

    def forward(self, given):
        leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(given) if leaf is not None]
        total = leaves[0] * 2
        for leaf in leaves[1:]:
            total = total + leaf
        return total


T = torch.ones(2, 3)
SHAPES = {
    "named tuple": (lambda: Pair(T, T + 1), ["given_0", "given_1"]),
    "named tuple of a named tuple and a dict": (
        lambda: Nest(Pair(T, T + 1), {"c": T + 2}),
        ["given_0_0", "given_0_1", "given_1_c"],
    ),
    "list of tuples": (lambda: [(T, T + 1), (T + 2,)], ["given_0_0", "given_0_1", "given_1_0"]),
    "ordered dict": (lambda: collections.OrderedDict(b=T, a=T + 1), ["given_b", "given_a"]),
    "tuple with None": (lambda: (T, None, T + 1), ["given_0", "given_2"]),
}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("shape", SHAPES)
def test_nested_arguments_are_named_by_their_places_and_may_have_dynamic_axes(shape, exporter):
    make, names = SHAPES[shape]
    model = gk.export(Takes(), (make(),), exporter=exporter, dynamic=[f"{name}:0=n" for name in names])
    assert [port.name for port in model.proto.graph.input] == names
    feeds = {name: np.full((5, 3), at + 1, np.float32) for at, name in enumerate(names)}
    assert np.array_equal(next(iter(gk.run(model, feeds).values())), feeds[names[0]] + sum(feeds.values()))
    assert gk.validate(model, torch=(Takes(), (make(),)), bind={"n": [2, 7]}, samples=1)
