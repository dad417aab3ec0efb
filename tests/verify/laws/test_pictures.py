"""image: pictures that are resized are asked at several sizes, and the nodes that do it are held to what NumPy reckons."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.edit import picture_body
from graphkit.model import Model

TEXT = """<ir_version: 8, opset_import: ["": {opset}]> g (float[1, 3, 8, 6] x) => (float[1, 2, 8, 6] y)
    <float[2, 3, 1, 1] w = {{0.5, -0.3, 0.2, 0.7, 0.1, -0.9}}> {{ y = Conv(x, w) }}"""


def edited(opset=18, **options):
    net = onnx.parser.parse_model(TEXT.format(opset=opset))
    return net, gk.image(net, "x", mean=0.4, std=[0.3, 0.2, 0.1], **options)


@pytest.mark.parametrize(
    ("opset", "options"),
    [
        (18, {"resize": "pil"}),
        (11, {"resize": "torchvision", "filter": "nearest", "layout": "NCHW"}),
        (13, {"resize": "opencv", "filter": "bicubic", "order": "bgr", "dtype": "float32"}),
    ],
)
def test_resized_pictures_are_proved_at_larger_and_smaller_sizes(opset, options):
    net, model = edited(opset, **options)
    proof = gk.prove(model, net)
    assert proof, gk.text(proof)
    size = "1x3x{}x{}" if options.get("layout") else "1x{}x{}x3"
    assert {f"x={size.format(*each)}" for each in ((8, 6), (13, 8), (4, 3), (17, 3), (4, 13))} <= set(
        proof.laws[0].sizes
    )


def test_a_number_that_is_another_in_the_resizing_is_refused():
    net, model = edited(resize="pil", filter="bicubic")
    proto = model.materialize()
    places = [
        (number, attribute.name)
        for number, node in enumerate(proto.graph.node)
        for attribute in node.attribute
        if node.op_type == "Resize" and attribute.name in ("antialias", "exclude_outside", "cubic_coeff_a")
    ]
    assert len(places) == 9
    for number, name in places:
        damaged = onnx.ModelProto.FromString(proto.SerializeToString())
        attribute = next(each for each in damaged.graph.node[number].attribute if each.name == name)
        attribute.i, attribute.f = 0, attribute.f - 0.1
        wrong = Model(damaged, {}, path=model.path, original=model.original, steps=model.history)
        assert gk.prove(wrong, net, replay=False).verdict == "broken", (number, name)


@pytest.mark.parametrize("library", ["pil", "opencv", "torchvision"])
def test_a_fault_in_the_nodes_themselves_is_no_rule(monkeypatch, library):
    whole = picture_body._Writer._whole
    monkeypatch.setattr(
        picture_body._Writer, "_whole", lambda self, value: self._add("Floor", [whole(self, value)], "down")
    )
    net, model = edited(resize=library)
    assert gk.prove(model, net)  # the same, once more
    monkeypatch.setattr(picture_body._Writer, "_whole", lambda self, value: self._add("Floor", [value], "down"))
    net, model = edited(resize=library)
    proof = gk.prove(model, net)
    assert (proof.replayed.verdict, proof.verdict) == ("proved", "broken")
    assert f"does not resize as {library} does" in proof.laws[0].why


def test_the_same_pictures_in_numpy_and_in_nodes_at_a_size_where_nothing_is_resized():
    net, model = edited(resize="pil")
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 6, 3)).astype(np.uint8)
    plain = (np.moveaxis(picture, 3, 1) / 255 - 0.4) / np.reshape([0.3, 0.2, 0.1], (3, 1, 1))
    made = gk.run(model, {"x": picture})["y"]
    np.testing.assert_allclose(made, gk.run(net, {"x": plain.astype(np.float32)})["y"], rtol=1e-4, atol=1e-5)
