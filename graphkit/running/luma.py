"""A colour photograph through a net that takes luma alone: its chroma is enlarged beside it and merged back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphkit.errors import FeedError, SaveError
from graphkit.graph.ports import Port, input_ports, output_ports
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import ModelLike
from graphkit.reading.files import picture_note, read_luma
from graphkit.reading.picture_format import split_format
from graphkit.reading.pictures import merged
from graphkit.running.run import Ran, run_report, summary
from graphkit.runtime.save_arrays import save_arrays
from graphkit.storage.load import as_model


def run_luma(
    model: ModelLike,
    feeds: Mapping[str, Any],
    *,
    save: str | os.PathLike[str] | None = None,
    outputs: Sequence[str] | None = None,
    **running: Any,
) -> Ran:
    """Run a net of one channel on the luma of a colour photograph, and give the colour picture.

    The photograph is taken apart into Y, Cb and Cr (ITU-R BT.601, pillow's ``convert("YCbCr")``). The net gets Y. Cb and
    Cr are brought to the size of its output by pillow's bicubic filter, and the three are merged and converted to RGB.

    Args:
        model: A path, a ModelProto or a Model.
        feeds: As ``run`` takes them; exactly one is a picture, ``"@photo.png"``, for an input of one channel.
        save: The file to write the picture to. Words behind it say what the numbers of the net's output are, as in
            ``"out.png:0-255"``; 0..1 without.
        outputs: The output that is the new luma, where the model has several.
        **running: As ``run_report`` takes it: device, optimization, seed and so on.

    Returns:
        As ``run_report``; ``arrays`` has the colour picture, uint8[height,width,3], under the output's name.

    Raises:
        FeedError: No feed is a picture, or several are; the input takes colours.
        SaveError: The output is no single picture of one channel, or there are several; the file cannot be written.
        TextError, NameNotFoundError, SessionError, ProviderError, MissingExtraError: As ``run_report``.

    Warns:
        GraphkitWarning: The output lies far outside of the range that ``save`` says.

    Changes: nothing.
    Cost: as ``run_report``.

    Source: the PyTorch tutorial on super-resolution with ONNX Runtime does this with PIL by hand.

    Example:
        >>> gk.run_luma("espcn.onnx", {"luma": "@photo.png"}, save="larger.png")  # doctest: +SKIP
    """
    source = as_model(model)
    ports = input_ports(source.proto)
    name = _picture(ports, feeds)
    wanted = list(outputs if outputs is not None else output_ports(source.proto))
    if len(wanted) != 1:
        raise SaveError(
            f"one output is the new luma, and there are {len(wanted)}: {', '.join(map(repr, wanted))}",
            hint=Hint("choose it with ", Argument("outputs", [Blank("NAME")])),
        )
    luma, chroma = read_luma(ports[name], feeds[name][1:])
    ran = run_report(model, {**feeds, name: luma}, outputs=wanted, **running)
    path, form = split_format(os.fspath(save if save is not None else "the picture"))
    picture = merged(wanted[0], np.asarray(ran.arrays[wanted[0]]), chroma, path, form)
    if save is not None:
        save_arrays({wanted[0]: picture}, path)
    read = (
        f"{picture_note(ports[name], feeds[name])}: luma alone; output {wanted[0]!r} was taken as {form.told(1)}; its chroma "
        "was resized (bicubic) and merged back"
    )
    return dataclasses.replace(
        ran, arrays={wanted[0]: picture}, outputs={wanted[0]: summary(picture)}, notes=(*ran.notes, read)
    )


def _picture(ports: Mapping[str, Port], feeds: Mapping[str, Any]) -> str:
    """The input that is fed with a picture.

    Raises:
        FeedError: There is none, or several.
    """
    found = [name for name, value in feeds.items() if name in ports and picture_note(ports[name], value) is not None]
    if len(found) == 1:
        return found[0]
    what = "no feed is a picture" if not found else f"{len(found)} feeds are pictures: {', '.join(map(repr, found))}"
    raise FeedError(
        f"luma is taken of one photograph, and {what}",
        hint=Hint("feed one: ", Argument("feeds", {next(iter(ports), "NAME"): "@photo.png"})),
    )
