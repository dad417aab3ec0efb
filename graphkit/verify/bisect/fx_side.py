"""A torch module value by value: by the nodes of its torch.fx graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphkit.errors import ComparisonError
from graphkit.graph.liveness import living
from graphkit.torch_export.export_branch import export_branches
from graphkit.torch_export.quiet import quiet_torch
from graphkit.torch_export.source_line import stack_line
from graphkit.torch_tensors import tensor_array
from graphkit.verify.bisect.side import Place
from graphkit.verify.reference.torch_run import KERNELS, LIBRARY, TorchRun


class FxSide:
    """The nodes of the torch.fx graph that the dynamo exporter makes of a module, interpreted one by one.

    Attributes:
        graph: The torch.fx graph.
    """

    def __init__(self, run: TorchRun, *, exported: bool = False, outside: bool = False) -> None:
        """Export the module to get its graph.

        Args:
            run: The module and its arguments.
            exported: It is such a graph already.
            outside: Take the branches that the module takes outside of an export (``is_in_onnx_export`` is False).

        Raises:
            ExportFailed: torch cannot export it.
        """
        self.name = run.name
        self.providers: tuple[str, ...] = ("torch",)
        self._run = run
        self._module: Any = run.module if exported else _exported(run, outside=outside)
        self.graph = self._module.graph

    @property
    def outputs(self) -> list[str]:
        """The nodes that are outputs and give tensors, in order."""
        from torch.utils import _pytree

        last = next(node for node in self.graph.nodes if node.op == "output")
        leaves = [node for node in _pytree.tree_leaves(last.args) if hasattr(node, "meta")]
        return [n.name for n in leaves if "val" not in n.meta or hasattr(n.meta["val"], "numel")]

    @property
    def runs(self) -> int:
        """How often the graph was run."""
        return self._run.runs

    def places(self) -> list[Place]:
        """Every node that calls a function."""
        found = []
        for node in self.graph.nodes:
            if node.op == "call_function":
                line = stack_line(node.meta.get("stack_trace") or "")
                found.append(Place(node.name, None, operator_of(node), path_of(node), line))
        return found

    def sizes(self) -> dict[str, int]:
        """fx node -> bytes, as the export traced it."""
        known = {}
        for node in self.graph.nodes:
            value = node.meta.get("val")
            if hasattr(value, "numel"):
                known[node.name] = int(value.numel()) * value.element_size()
        return known

    def held(self) -> dict[str, tuple[int, int]]:
        """Value -> bytes that are held when it is made: every fetch runs all of the graph, so the most that it ever holds."""
        nodes = [node for node in self.graph.nodes if node.op == "call_function"]
        steps = [((node.name,), [read.name for read in node.all_input_nodes]) for node in nodes]
        sizes = self.sizes()
        most = max((part for _, part in living(steps, sizes, ()).values()), default=0)
        most += KERNELS * max(sizes.values(), default=0) + LIBRARY
        return {node.name: (0, most) for node in nodes}

    def expect(self, names: Iterable[str]) -> None:
        """Nothing is kept from one run to the next."""

    def fetch(self, names: Sequence[str]) -> dict[str, Any]:
        """The results of some nodes, from one more run."""
        found = {name: tensor_array(value) for name, value in self._results(names).items() if hasattr(value, "detach")}
        missing = set(names) - found.keys()
        if missing:
            raise ComparisonError(f"the node {min(missing)!r} of {self.name} gave no tensor")
        return found

    def _results(self, names: Iterable[str]) -> dict[str, Any]:
        """What some nodes give, tensors or not, from one more run."""
        import torch
        from torch.utils import _pytree

        wanted = set(names)
        found: dict[str, Any] = {}

        interpreter = torch.fx.Interpreter(self._module)
        plain = interpreter.run_node

        def recorded(node: Any) -> Any:
            result = plain(node)
            if node.name in wanted:
                found[node.name] = result.clone() if isinstance(result, torch.Tensor) else result
            return result

        interpreter.run_node = recorded

        def interpret(*args: Any, **kwargs: Any) -> None:
            leaves = _pytree.tree_leaves((args, kwargs))
            interpreter.run(*leaves, enable_io_processing=False)

        self._run.call(interpret)
        return found

    def branch(self, name: str) -> tuple[bool, FxSide] | None:
        """The branch that ran for a result of ``torch.cond``: (whether it is the first one, the branch with its arguments).

        None where another operator gives the result.
        """
        from torch.fx import Node

        node = next(node for node in self.graph.nodes if node.name == name)
        call = node.args[0] if node.args and isinstance(node.args[0], Node) else node
        if "higher_order.cond]" not in call.format_node():
            return None
        which, first, second, given = call.args
        read = [one for one in (which, *given) if isinstance(one, Node)]
        made = self._results(one.name for one in read)
        values = [made[one.name] if isinstance(one, Node) else one for one in (which, *given)]
        module = getattr(self._module, first.target if values[0] else second.target)
        return bool(values[0]), FxSide(TorchRun(module, values[1:], {}, self.name), exported=True)


class ExportFailed(Exception):  # noqa: N818 (it is caught in this room and never reaches a caller)
    """torch cannot export the module, so that there is no graph to look at."""


def _exported(run: TorchRun, *, outside: bool) -> Any:
    import torch

    try:
        with quiet_torch(), torch.no_grad(), export_branches(answer=False if outside else None):
            program = torch.onnx.export(
                run.module, run.args, kwargs=run.kwargs, dynamo=True, optimize=False, verbose=False
            )
    except Exception as error:
        raise ExportFailed(str(error)) from error
    assert program is not None
    return program.exported_program.module()


def operator_of(node: Any) -> str:
    """The operator of an fx node: ``aten.conv2d``."""
    text = str(node.target)
    return text.removeprefix("torch.ops.").rpartition(".")[0] if text.count(".") > 1 else text


def path_of(node: Any) -> str | None:
    """The path of the module whose forward made an fx node, or None."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return None
    return str(list(stack.values())[-1][0]).removeprefix("L['self'].").removeprefix("L__self__.")
