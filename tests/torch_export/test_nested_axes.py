"""Axes of tensors in nested arguments, in the form that torch.export wants."""

from typing import Any, NamedTuple

import torch
from torch.onnx._internal.exporter import _dynamic_shapes
from torch.utils import _pytree as pytree

from graphkit.torch_export.arguments import bind, dynamic_shapes


class Pair(NamedTuple):
    left: Any
    rest: Any


class Nested(torch.nn.Module):
    def forward(self, pair, table):
        return pair.left @ pair.rest[0] + table["b"].sum(0) + pair.rest[1]


def test_a_tuple_of_fixed_tensors_inside_of_a_named_tuple_keeps_its_structure_under_dynamo():
    args = (Pair(torch.ones(3, 4), (torch.ones(4, 5), torch.ones(5))), {"b": torch.ones(6, 5)})
    shapes = dynamic_shapes(bind(Nested(), args, None, None), {"pair_0": {0: "n"}, "table_b": {0: "m"}})
    converted, _ = _dynamic_shapes.convert_str_to_export_dim(shapes)
    like = {"pair": args[0], "table": args[1]}
    leaf = lambda one: isinstance(one, dict) and all(isinstance(key, int) for key in one)  # noqa: E731
    assert pytree.tree_structure(converted, is_leaf=leaf) == pytree.tree_structure(like)
    torch.export.export(Nested(), args, dynamic_shapes=converted)
