"""A model that no longer says which sizes it is for, so that it runs at others where it can."""

from __future__ import annotations

from collections.abc import Iterable

from graphkit.graph import walk
from graphkit.graph.symbols import tensor_types
from graphkit.model import Model
from graphkit.verify.laws.binding import Freed


def loosened(model: Model, freed: Iterable[Freed]) -> Model:
    """A model whose freed axes are free, and that declares no shape of any other value than its inputs."""
    proto = model.copy_proto()
    axes = {(one.before, one.axis) for one in freed}
    for value in proto.graph.input:
        for tensor in tensor_types(value.type):
            for axis, dim in enumerate(tensor.shape.dim):
                if (value.name, axis) in axes:
                    dim.Clear()
    for graph in walk.graphs(proto.graph):
        del graph.value_info[:]
        for value in graph.output:
            for tensor in tensor_types(value.type):
                tensor.ClearField("shape")
    return Model(proto, model.sources, path=model.path)
