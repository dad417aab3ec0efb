"""Loading, cutting and saving beside the peers: ``python tests/bench/storage.py [ROW ...]``.

Generates its models in a temporary folder (up to 6 GB of disk), runs graphkit and the installed peers in turns as whole
processes, prints a table of medians and ratios, and removes everything. Without arguments: every row.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from process import Timed, beside, graphkit, python
from rich.console import Console
from rich.table import Table

GS = """
import onnx, onnx_graphsurgeon as gs
graph = gs.import_onnx(onnx.load("{model}"))
tensors = graph.tensors()
graph.inputs = [tensors["{a}"].to_variable("float32", ["batch", {width}])]
graph.outputs = [tensors["{b}"].to_variable("float32", ["batch", {width}])]
onnx.save(gs.export_onnx(graph.cleanup().toposort()), "out.onnx")
"""
UTILS = 'import onnx.utils; onnx.utils.extract_model("{model}", "out.onnx", ["{a}"], ["{b}"])'
UTILS_PLAIN = (
    'import onnx.utils; onnx.utils.extract_model("{model}", "out.onnx", ["{a}"], ["{b}"], check_model=False, '
    "infer_shapes=False)"
)
IR_CUT = """
import onnx_ir as ir
model = ir.load("{model}")
part = ir.convenience.extract(model.graph, ["{a}"], ["{b}"])
ir.save(ir.Model(part, ir_version=10), "out.onnx"{external})
"""
IR_RENAME = """
import onnx_ir as ir
model = ir.load("{model}")
next(iter(model.graph)).name = "renamed"
ir.save(model, "out.onnx"{external})
"""


def cut_embedded(folder: Path) -> dict[str, Timed]:
    """One block of 71 MB out of a single file of 1.7 GB."""
    a, b = _generate(folder, "transformer", 24, 1536, 2736)
    names = {"model": "m.onnx", "a": a, "b": b, "width": 1536}
    return _beside(
        folder,
        {
            "graphkit extract": graphkit("extract", "m.onnx", "out.onnx", "--input", a, "--output", b),
            "onnx-graphsurgeon": python(GS.format(**names)),
            "onnx.utils": python(UTILS.format(**names)),
            "onnx-ir": python(IR_CUT.format(**names, external="")),
        },
    )


def cut_external(folder: Path) -> dict[str, Timed]:
    """One block of 113 MB out of a model of 5.4 GB with external data; the result stands alone."""
    a, b = _generate(folder, "transformer", 48, 1920, 3520, external="m.data")
    names = {"model": "m.onnx", "a": a, "b": b}
    return _beside(
        folder,
        {
            "graphkit extract": graphkit("extract", "m.onnx", "out.onnx", "--input", a, "--output", b),
            "onnx.utils, no inference": python(UTILS_PLAIN.format(**names)),
            "onnx-ir, self-contained": python(IR_CUT.format(**names, external=', external_data="out.data"')),
            "onnx-ir, dangling": python(IR_CUT.format(**names, external="")),
        },
    )


def cut_chain(folder: Path) -> dict[str, Timed]:
    """200 of 100,000 nodes, no value_info in the file."""
    _generate(folder, "chain", 100_000)
    names = {"model": "m.onnx", "a": "v50000", "b": "v50200", "width": 4}
    return _beside(
        folder,
        {
            "graphkit extract": graphkit("extract", "m.onnx", "out.onnx", "--input", "v50000", "--output", "v50200"),
            "onnx.utils": python(UTILS.format(**names)),
            "onnx-graphsurgeon": python(GS.format(**names)),
        },
    )


def rename_embedded(folder: Path) -> dict[str, Timed]:
    """Rename one node in the 1.7 GB file and save the whole."""
    _generate(folder, "transformer", 24, 1536, 2736)
    node = "block0/MatMul/b0.q=renamed"
    return _beside(
        folder,
        {
            "graphkit rename": graphkit("rename", "m.onnx", "out.onnx", "--node", node),
            "cp": ["cp", "m.onnx", "out.onnx"],
            "cp and sync": ["sh", "-c", "cp m.onnx out.onnx && sync out.onnx"],
            "python": python("import onnx"),
            "onnx-ir": python(IR_RENAME.format(model="m.onnx", external="")),
        },
    )


def rename_external(folder: Path) -> dict[str, Timed]:
    """Rename one node in a 1.7 GB model with external data, saved beside it."""
    _generate(folder, "transformer", 24, 1536, 2736, external="m.data")
    node = "block0/MatMul/b0.q=renamed"
    return _beside(
        folder,
        {
            "graphkit rename --weights keep": graphkit(
                "rename", "m.onnx", "out.onnx", "--node", node, "--weights", "keep"
            ),
            "onnx-ir": python(IR_RENAME.format(model="m.onnx", external="")),
        },
    )


def start(folder: Path) -> dict[str, Timed]:
    """Start-up: ``graphkit --help`` and ``import graphkit``."""
    return _beside(
        folder,
        {
            "graphkit --help": graphkit("--help"),
            "import graphkit": python("import graphkit"),
            "import onnx": python("import onnx"),
        },
        runs=11,
    )


def growth(folder: Path) -> dict[str, Timed]:
    """Four times the nodes: every edit at 100,000 nodes (first) and at 25,000."""
    commands: dict[str, Sequence[str]] = {}
    for count in (100_000, 25_000):
        chain, up = f"chain{count}.onnx", f"up{count}.onnx"
        _generate(folder, "chain", count, name=chain)
        _generate(folder, "upsampled_chain", count, name=up)
        a, b = f"v{count // 2}", f"v{count // 2 + 200}"
        for name, arguments in {
            "extract": [chain, "out.onnx", "--input", a, "--output", b],
            "extract --suggest": [chain, "--suggest", "--output", b],
            "rename": [chain, "out.onnx", "--value", f"{a}=middle"],
            "tap": [chain, "out.onnx", "--value", a],
            "inspect": [chain],
            "promote": [up, "out.onnx", "--tensor", "bias"],
            "freeze": [up, "out.onnx", "--set", "x=1"],
            "dims": [up, "out.onnx", "--set", "x:0=batch"],
            "resize": [up, "out.onnx"],
        }.items():
            commands[f"{name} {count}"] = graphkit(*name.split(), *arguments)
    return _beside(folder, commands, runs=3)


ROWS: dict[str, Callable[[Path], dict[str, Timed]]] = {
    "cut-embedded": cut_embedded,
    "cut-external": cut_external,
    "cut-chain": cut_chain,
    "rename-embedded": rename_embedded,
    "rename-external": rename_external,
    "start": start,
    "growth": growth,
}


def _growth_table(measured: dict[str, Timed]) -> Table:
    table = Table(title=f"growth: {growth.__doc__}", title_justify="left")
    for column in ("operation", "25,000 nodes, s", "100,000 nodes, s", "times as long (below 5)"):
        table.add_column(column, justify="left" if column == "operation" else "right")
    for label, small in measured.items():
        name, _, count = label.rpartition(" ")
        if count == "25000":
            large = measured[f"{name} 100000"]
            table.add_row(name, f"{small.seconds:.2f}", f"{large.seconds:.2f}", f"{large.seconds / small.seconds:.2f}")
    return table


def _generate(folder: Path, kind: str, *arguments: object, **options: object) -> tuple[str, str]:
    """Make a model in another process: the memory of this one would count as its children's."""
    path = folder / str(options.pop("name", "m.onnx"))
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import models; from pathlib import Path
print(*models.{kind}(Path({str(path)!r}), *{arguments!r}, **{options!r}) or ("", ""))
"""
    printed = subprocess.run(python(code), capture_output=True, text=True, check=True).stdout
    a, _, b = printed.strip("\n").partition(" ")
    return a, b


def _beside(folder: Path, commands: dict[str, Sequence[str]], *, runs: int = 5) -> dict[str, Timed]:
    def remove_results() -> None:
        for path in folder.glob("out.*"):
            path.unlink()

    return beside(commands, folder, runs=runs, after=remove_results)


def main() -> None:
    """Run the rows asked for and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="which rows; all by default")
    console = Console(width=110)
    for row in parser.parse_args().rows or ROWS:
        folder = Path(tempfile.mkdtemp(prefix="graphkit-bench-"))
        try:
            measured = ROWS[row](folder)
        finally:
            shutil.rmtree(folder)
        table = Table(title=f"{row}: {ROWS[row].__doc__}", title_justify="left")
        for column in ("command", "seconds", "peak MiB", "time, first / this", "memory, first / this"):
            table.add_column(column, justify="left" if column == "command" else "right")
        first = next(iter(measured.values()))
        if row == "growth":
            table = _growth_table(measured)
            measured = {}
        for label, timed in measured.items():
            table.add_row(
                label,
                f"{timed.seconds:.3f}",
                f"{timed.mib:.0f}",
                f"{first.seconds / timed.seconds:.3f}",
                f"{first.mib / timed.mib:.3f}",
            )
        console.print(table)


if __name__ == "__main__":
    main()
