"""Texts and results are read from regular files: a FIFO or a device, which might never end, is refused at once."""

import os

import onnx
import pytest

import graphkit as gk

MODEL = onnx.parser.parse_model(
    '<ir_version: 9, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { z = Relu(x) y = Neg(z) }'
)

READERS = {
    "a function to define": lambda path: gk.define(MODEL, path),
    "a body to insert": lambda path: gk.insert(MODEL, at="z", function=path),
    "results to judge": gk.validate_saved,
    "a recipe": gk.Recipe.load,
    "a list of models": gk.list_lines,
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_might_never_end_is_refused(read, tmp_path):
    os.mkfifo(tmp_path / "fifo.txt")
    for path in (str(tmp_path / "fifo.txt"), "/dev/zero"):
        with pytest.raises(gk.ModelFileError, match="it is no regular file"):
            read(path)
    with pytest.raises(gk.ModelFileError, match=r"(?i)is a directory"):
        read(str(tmp_path))
