"""On a GPU: CUDA really used, numbers against torch CUDA, faults located, nothing through the host."""

import copy
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.runtime import providers
from graphkit.verify.compare.metrics import measure
from graphkit.verify.compare.tolerance import Policy
from nets import NETS, faults, with_fault

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.gpu


class SRCNN(nn.Module):
    def __init__(self, factor=3.0):
        super().__init__()
        torch.manual_seed(0)
        self.upsample = nn.Upsample(scale_factor=factor, mode="bicubic")
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 64, 9, padding=4), nn.ReLU(), nn.Conv2d(64, 32, 1), nn.ReLU(), nn.Conv2d(32, 3, 5, padding=2)
        )

    def forward(self, image):
        large = self.upsample(image)
        return large + self.trunk(large)


class ESPCN(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Conv2d(1, 64, 5, padding=2), nn.Tanh(), nn.Conv2d(64, 9, 3, padding=1))
        self.shuffle = nn.PixelShuffle(3)

    def forward(self, luma):
        return self.shuffle(self.layers(luma))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.one, self.two, self.up = (
            nn.Conv2d(3, 16, 3, padding=1),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.Conv2d(48, 3, 3, padding=1),
        )
        self.grow = nn.Upsample(scale_factor=2.0, mode="bilinear")

    def forward(self, x):
        a = torch.relu(self.one(x))
        b = torch.relu(self.two(nn.functional.avg_pool2d(a, 2)))
        return self.up(torch.cat([self.grow(b), a], 1))


def encoder():
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


CASES = {
    "srcnn": (SRCNN, (1, 3, 24, 24), ["image:2=h", "image:3=w"]),
    "espcn": (ESPCN, (2, 1, 32, 32), ["luma:0=n"]),
    "unet": (UNet, (1, 3, 32, 32), []),
    "encoder": (encoder, (2, 16, 64), []),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    make, shape, dynamic = CASES[request.param]
    module = make().eval()
    args = (torch.rand(shape, generator=torch.Generator().manual_seed(4)),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = gk.export(module, args, exporter="torchscript", dynamic=dynamic or None)
    return request.param, module, args, model


def test_cuda_loads_and_is_what_auto_takes():
    assert providers.cuda_problem() is None
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'
    )
    for device in ("cuda", "auto"):
        session = gk.session(model, device=device)
        assert session.device == "cuda"
        assert session.providers[0] == providers.CUDA
        assert {p.provider for p in session.placed} == {providers.CUDA}
    assert providers.CUDA in gk.doctor().providers


def test_nodes_that_fall_to_the_cpu_are_an_error_unless_allowed():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (string[n] x) => (int64[m] y) { s = Shape(x)\n t = Identity(x)\n y = Neg(s) }'
    )
    # Strings have no CUDA kernels.
    with pytest.raises(gk.ProviderError, match="Identity"):
        gk.session(model, device="cuda")
    session = gk.session(model, device="cuda", allow_cpu_nodes=True)
    assert any("Identity" in note for note in session.notes)


def test_float32_without_tf32(case):
    name, module, args, model = case
    report = gk.validate(model, torch=(module, args), device="cuda", samples=2)
    assert report.providers[0] == providers.CUDA
    assert report.match, (name, report.outputs)
    assert {p.device.type for p in module.parameters()} == {"cpu"}


def test_float32_with_tf32(case):
    name, module, args, model = case
    report = gk.validate(model, torch=(module, args), device="cuda", samples=1, tf32=True)
    assert report.match, (name, report.outputs)
    strict = gk.validate(model, torch=(module, args), device="cuda", samples=1)
    assert next(iter(strict.outputs.values())).rtol < next(iter(report.outputs.values())).rtol


def test_tf32_makes_a_difference_that_the_option_takes_away(case):
    name, _, args, model = case
    if name == "espcn":
        pytest.skip("too small for TF32 to be chosen")
    feeds = {model.proto.graph.input[0].name: args[0].numpy()}
    exact = gk.session(model, device="cpu").run(feeds)
    errors = {}
    for tf32 in (False, True):
        made = gk.session(model, device="cuda", tf32=tf32).run(feeds)
        errors[tf32] = max(measure(made[k], exact[k], Policy("gpu")).max_abs for k in exact)
    assert errors[False] < 1e-4
    assert errors[False] <= errors[True]


def test_half_precision(case):
    name, module, args, _ = case
    half, given = copy.deepcopy(module).half().cuda(), (args[0].half().cuda(),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = gk.export(half, given, exporter="torchscript")
    report = gk.validate(model, torch=(half, given), device="cuda", samples=1)
    assert report.match, (name, report.outputs)


def test_a_patched_factor_against_torch(case):
    name, module, args, model = case
    if name not in ("srcnn", "unet"):
        pytest.skip("nothing in it resizes")
    patched = gk.resize(model)
    path = "self.upsample.scale_factor" if name == "srcnn" else "self.grow.scale_factor"
    factors = ["2", "2.5", "2,3"] if name == "srcnn" else ["2"]
    report = gk.validate(
        patched, torch=(module, args), device="cuda", map={"factor": path}, feeds={"factor": factors}, samples=1
    )
    assert report.match, (name, report.outputs)


@pytest.mark.parametrize("name", ["convnet", "unet", "encoder", "lstm"])
def test_faults_between_cpu_and_cuda_are_located(name):
    model, feeds = NETS[name]()
    clean = gk.bisect(model, against=model, device="cuda", reference_device="cpu", feeds=feeds)
    assert not clean.diverges, clean.first
    swaps = [fault for fault in faults(model) if fault[0] == "swap"]
    random = np.random.default_rng(0)
    for at in random.choice(len(swaps), min(5, len(swaps)), replace=False):
        faulty, wrong = with_fault(model, *swaps[at])
        found = gk.bisect(faulty, against=model, device="cuda", reference_device="cpu", feeds=feeds)
        assert found.first is None or found.first.node in wrong


def test_tensors_stay_on_the_device(case):
    """Counts what is copied between host and device while a session runs, with the CUDA profiler."""
    from torch.profiler import ProfilerActivity, profile

    _, _, args, model = case
    session = gk.session(model, device="cuda")
    feeds = {model.proto.graph.input[0].name: args[0].cuda()}
    session.run_tensors(feeds)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        made = session.run_tensors(feeds)
        torch.cuda.synchronize()
    assert all(tensor.is_cuda for tensor in made.values())
    copies = [e for e in profiled.events() if "memcpy" in e.name.lower() and ("HtoD" in e.name or "DtoH" in e.name)]
    largest = max((tensor.numel() * tensor.element_size() for tensor in made.values()), default=0)
    bytes_copied = sum(getattr(e, "nbytes", 0) or 0 for e in copies)
    assert len(copies) <= 4, [e.name for e in copies]  # shapes and scales, which kernels read on the host
    assert bytes_copied < largest / 10


def test_numbers_are_compared_on_the_device():
    a, b = torch.rand(3, 4, 5, device="cuda"), torch.rand(3, 4, 5, device="cuda")
    here, there = measure(a, b, Policy("gpu")), measure(a.cpu().numpy(), b.cpu().numpy(), Policy("gpu"))
    assert here.max_abs == pytest.approx(there.max_abs)
    assert here.worst == there.worst
    assert here.ulp == there.ulp


def test_running_out_of_device_memory_is_said_so():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (int64[1] n) => (float[m] y) { t = ConstantOfShape(n)\n y = Exp(t) }'
    )
    with pytest.raises(gk.SessionError, match="memory"):
        gk.run(model, {"n": np.array([1 << 45])}, device="cuda")
