"""resize on nets as people build them: exported with one factor, run at others, against the torch module there."""

import io
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort
from surgery.resize_matrix import quiet

torch = pytest.importorskip("torch")
F = torch.nn.functional

EXPORTERS = ("torchscript", "dynamo")


def conv(inputs, outputs, stride=1):
    return torch.nn.Sequential(torch.nn.Conv2d(inputs, outputs, 3, stride, 1), torch.nn.ReLU())


class Upsampled(torch.nn.Module):
    """A net with a factor that its forward passes to ``interpolate`` as a Python number, which export bakes in."""

    def __init__(self):
        super().__init__()
        self.factor = 2.0

    def up(self, x, own=1.0, mode="bilinear"):
        corners = {} if mode == "nearest" else {"align_corners": False}
        factor = self.factor if isinstance(self.factor, tuple) else (self.factor, self.factor)
        return F.interpolate(x, scale_factor=[own * f for f in factor], mode=mode, **corners)


class UNet(Upsampled):
    """Two levels down and up again, skips joined by Concat; the result is enlarged by the factor."""

    def __init__(self):
        super().__init__()
        self.enter, self.down1, self.down2 = conv(3, 8), conv(8, 12, 2), conv(12, 16, 2)
        self.up1, self.up2, self.leave = conv(28, 12), conv(20, 8), conv(8, 3)

    def forward(self, x):
        a = self.enter(x)
        b = self.down1(a)
        c = self.down2(b)
        d = self.up1(torch.cat([F.interpolate(c, scale_factor=2.0, mode="nearest"), b], 1))
        e = self.up2(torch.cat([F.interpolate(d, scale_factor=2.0, mode="nearest"), a], 1))
        return self.leave(self.up(e, mode="bicubic"))


class Pyramid(Upsampled):
    """An FPN's top-down path, which follows the sizes of its levels, and a head that brings all levels to one size."""

    def __init__(self):
        super().__init__()
        self.levels = torch.nn.ModuleList([conv(3, 8, 2), conv(8, 8, 2), conv(8, 8, 2)])
        self.lateral = torch.nn.ModuleList([torch.nn.Conv2d(8, 8, 1) for _ in range(3)])
        self.head = torch.nn.ModuleList([conv(8, 4) for _ in range(3)])

    def forward(self, x):
        levels = []
        for level in self.levels:
            x = level(x)
            levels.append(x)
        merged = [self.lateral[2](levels[2])]
        for position in (1, 0):
            fine = self.lateral[position](levels[position])
            merged.insert(0, fine + F.interpolate(merged[0], size=fine.shape[-2:], mode="nearest"))
        return sum(self.up(head(m), own) for head, m, own in zip(self.head, merged, (1.0, 2.0, 4.0), strict=True))


class SegmentationHead(torch.nn.Module):
    """Logits at an eighth of the size, enlarged to the size of the input."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(conv(3, 8, 2), conv(8, 8, 2), conv(8, 8, 2), torch.nn.Conv2d(8, 5, 1))
        self.size = None

    def forward(self, x):
        return F.interpolate(self.body(x), size=self.size or x.shape[-2:], mode="bilinear", align_corners=False)


class Decoder(Upsampled):
    """Five stages, each enlarges and convolves."""

    def __init__(self):
        super().__init__()
        self.stages = torch.nn.ModuleList([conv(4, 4) for _ in range(5)])
        self.factors = None

    def forward(self, x):
        for position, stage in enumerate(self.stages):
            if self.factors is not None:
                self.factor = self.factors[position]
            x = stage(self.up(x, mode="nearest" if position % 2 else "bilinear"))
        return x


class Repeated(torch.nn.Module):
    """Enlarges n times in a loop that stays one in ONNX."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x, n: int):
        for _ in range(n):
            x = torch.tanh(F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False))
        return x


NETS = {"unet": UNet, "pyramid": Pyramid, "head": SegmentationHead, "decoder": Decoder}
SIZES = {"unet": (1, 3, 16, 24), "pyramid": (1, 3, 32, 48), "head": (1, 3, 32, 48), "decoder": (1, 4, 3, 4)}


@pytest.fixture(scope="module")
def nets():
    """name -> module, with the same random weights in every test."""
    torch.manual_seed(0)
    return {name: kind().eval() for name, kind in NETS.items()}


@pytest.fixture
def exported(nets, exports):
    """(name, exporter, dynamic) -> ModelProto, each exported once."""

    def export(name, exporter, dynamic=False):
        def make():
            return _exported(nets[name], SIZES[name], exporter, dynamic)

        return exports.of(f"resize/{name}", exporter, make, dynamic=dynamic)

    return export


def _exported(net, shape, exporter, dynamic):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    axes = {0: "n", 2: "h", 3: "w"}
    names = {"input_names": ["x"], "output_names": ["y"]}
    with quiet():
        if exporter == "dynamo":
            # The nets halve their input up to three times: the symbols stand for multiples of 8.
            more = {
                "dynamic_shapes": ({0: "n", 2: 8 * torch.export.Dim("h", min=2), 3: 8 * torch.export.Dim("w", min=2)},)
            }
            return torch.onnx.export(
                net, (x,), dynamo=True, verbose=False, **names, **(more if dynamic else {})
            ).model_proto
        buffer = io.BytesIO()
        more = {"dynamic_axes": {"x": axes}} if dynamic else {}
        torch.onnx.export(net, (x,), buffer, dynamo=False, opset_version=17, **names, **more)
    return onnx.load_from_string(buffer.getvalue())


def image(name, scale=1):
    n, c, h, w = SIZES[name]
    return np.random.default_rng(1).random((n, c, h * scale, w * scale), dtype=np.float32)


def torch_answer(net, x, **settings):
    before = {key: getattr(net, key) for key in (*settings, "factor") if hasattr(net, key)}
    for key, value in settings.items():
        setattr(net, key, value)
    with torch.no_grad():
        answer = net(torch.from_numpy(x)).numpy()
    for key, value in before.items():
        setattr(net, key, value)
    return answer


def given(*numbers):
    return np.array(numbers, np.float32)


def resizes(model):
    return [node.name for node in model.graph.node if node.op_type == "Resize"]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_last_resize_of_a_unet_takes_the_factor_and_the_skips_stay(nets, exported, exporter):
    model = exported("unet", exporter)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resized = gk.resize(model, nodes=resizes(model)[-1:])
    for factor in ((2, 2), (3, 3), (2.5, 2.5), (1.5, 2)):
        want = torch_answer(nets["unet"], image("unet"), factor=tuple(map(float, factor)))
        assert_same(run_ort(resized, {"x": image("unet"), "factor": given(*factor)})["y"], want, atol=1e-5)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_skips_of_a_unet_are_named_when_every_resize_takes_the_factor(exported, exporter):
    with pytest.warns(gk.GraphkitWarning, match="Concat .* joins values whose sizes match now only"):
        gk.resize(exported("unet", exporter))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_one_factor_multiplies_the_scales_of_a_pyramid(nets, exported, exporter, dynamic):
    model = exported("pyramid", exporter, dynamic)
    head = resizes(model)[-3:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resized = gk.resize(model, nodes=head, relative=True)
    for factor in (1.0, 2.0, 1.5):
        for x in (image("pyramid"), *([image("pyramid", 2)] if dynamic else [])):
            want = torch_answer(nets["pyramid"], x, factor=2.0 * factor)
            assert_same(run_ort(resized, {"x": x, "factor": given(factor)})["y"], want, atol=1e-5)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_what_follows_the_levels_of_a_pyramid_is_left_alone(nets, exported, exporter):
    model = exported("pyramid", exporter, dynamic=True)
    resized = gk.resize(model, relative=True)
    assert sum("at run time and is left as it is" in note for note in resized.history[-1].notes) == 2
    want = torch_answer(nets["pyramid"], image("pyramid", 2), factor=3.0)
    got = run_ort(resized, {"x": image("pyramid", 2), "factor": given(1.5)})["y"]
    assert_same(got, want, atol=1e-5)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_taking_the_levels_of_a_pyramid_out_of_step_is_named(exported, exporter):
    model = exported("pyramid", exporter, dynamic=True)
    with pytest.warns(gk.GraphkitWarning, match="Add .* joins values whose sizes match now only"):
        gk.resize(model, nodes=resizes(model)[:2])


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_segmentation_head_gives_any_size(nets, exported, exporter, dynamic):
    model = exported("head", exporter, dynamic)
    x = image("head", 2 if dynamic else 1)
    resized = gk.resize(model, form="sizes", input_name="size")
    for size in ((32, 48), (50, 31), (7, 100)):
        want = torch_answer(nets["head"], x, size=size)
        assert_same(run_ort(resized, {"x": x, "size": np.array(size)})["y"], want, atol=1e-5)
    by_factor = gk.resize(model)
    rows, columns = x.shape[2] // 8, x.shape[3] // 8
    want = torch_answer(nets["head"], x, size=(rows * 4, int(columns * 5.5)))
    assert_same(run_ort(by_factor, {"x": x, "factor": given(4, 5.5)})["y"], want, atol=1e-5)


# R15
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_five_stacked_resizes(nets, exported, exporter):
    model, x = exported("decoder", exporter), image("decoder")
    together = gk.resize(model)
    for factor in (1.0, 2.0, 1.5):
        want = torch_answer(nets["decoder"], x, factor=factor)
        assert_same(run_ort(together, {"x": x, "factor": given(factor)})["y"], want, atol=1e-5)
    each = gk.resize(model, separate=True)
    factors = [1.0, 2.0, 3.0, (1.0, 2.0), 1.5]
    feeds = {f"factor_{i}": given(*np.atleast_1d(f)) for i, f in enumerate(factors, 1)}
    want = torch_answer(nets["decoder"], x, factors=factors)
    assert_same(run_ort(each, {"x": x, **feeds})["y"], want, atol=1e-5)


def test_a_resize_in_the_body_of_a_loop():
    x = np.random.default_rng(1).random((1, 2, 4, 5), dtype=np.float32)
    buffer = io.BytesIO()
    with quiet():
        script = torch.jit.script(Repeated(2.0))
        torch.onnx.export(
            script, (torch.from_numpy(x), torch.tensor(2)), buffer, dynamo=False, opset_version=17, input_names=["x", "n"],
            output_names=["y"], dynamic_axes={"x": [2, 3]},
        )  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    assert "Loop" in {node.op_type for node in model.graph.node}
    resized = gk.resize(model)
    for factor, turns in ((2.0, 2), (1.5, 3), (3.0, 1)):
        with torch.no_grad():
            want = Repeated(factor)(torch.from_numpy(x), turns).numpy()
        got = run_ort(resized, {"x": x, "n": np.array(turns), "factor": given(factor)})["y"]
        assert_same(got, want, atol=1e-5)


class Normalised(Upsampled):
    """GroupNorm after the Resize: the dynamo exporter gives its Reshape the size as a constant."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.GroupNorm(2, 4, affine=True)

    def forward(self, x):
        return self.norm(self.up(x)) * 2


class Unshuffled(Upsampled):
    def forward(self, x):
        return F.pixel_unshuffle(self.up(x), 2) + 1


class Shuffled(Upsampled):
    def forward(self, x):
        y = self.up(x)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w) + 1


class Flattened(Upsampled):
    def forward(self, x):
        y = self.up(x)
        n, c, h, w = y.shape
        return y.reshape(n, c, h * w) + 1


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("kind", [Normalised, Unshuffled, Shuffled, Flattened])
def test_baked_reshapes_are_repaired(kind, exporter):
    net = kind().eval()
    model = _exported(net, (1, 4, 6, 8), exporter, dynamic=False)
    x = np.random.default_rng(1).random((1, 4, 6, 8), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resized = gk.resize(model, repair_shapes=True)
    onnx.checker.check_model(resized.proto, full_check=True)
    for factor in (2.0, 3.0, (4.0, 2.0)):
        want = torch_answer(net, x, factor=factor)
        got = run_ort(resized, {"x": x, "factor": given(*np.atleast_1d(factor))})["y"]
        assert_same(got, want, atol=1e-5)
