"""graphkit deduplicate: equal weights are stored once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphkit_cli.edit import edit_command

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
def command(model: str) -> gk.Model:
    r"""Store equal weights once.

    \b
    graphkit deduplicate model.onnx smaller.onnx
    graphkit deduplicate model.onnx smaller.onnx --external weights.bin
    """
    import graphkit as gk

    return gk.deduplicate(model)
