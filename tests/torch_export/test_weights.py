"""Checkpoints: the prefix that they may have, and those that are none."""

import numpy as np
import pytest

import graphkit as gk

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """Something with parameters and buffers, and a Python number among its arguments."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)

    def forward(self, x, scale: float = 2.0):
        return self.norm(self.conv(x)) * scale


# R03
def test_checkpoints_find_their_prefix(tmp_path):
    module = Net()
    state = {f"generator.{name}": tensor + 1 for name, tensor in module.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "net.pth")
    gk.load_checkpoint(module, tmp_path / "net.pth")
    assert torch.equal(module.conv.weight, state["generator.conv.weight"])
    gk.load_checkpoint(Net(), state, strip=1)
    gk.load_checkpoint(Net(), state, strip="generator")
    with pytest.raises(gk.ExportError, match=r"conv\.weight: not in the checkpoint"):
        gk.load_checkpoint(Net(), state, strip="discriminator")
    with pytest.raises(gk.ExportError, match=r"conv.bias: \(2,\) in the checkpoint, \(4,\) in the module"):
        gk.load_checkpoint(Net(), module.state_dict() | {"conv.bias": torch.zeros(2)})
    (tmp_path / "bad.pth").write_bytes(b"no checkpoint")
    with pytest.raises(gk.ModelFileError, match=r"bad.pth is no checkpoint of tensors"):
        gk.load_checkpoint(module, tmp_path / "bad.pth")
    with pytest.raises(gk.ModelFileError, match="cannot read the checkpoint"):
        gk.load_checkpoint(module, tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("held", "options", "says"),
    [
        (b"junk", {}, r"bad.pth is no checkpoint of tensors: it is damaged, or something else\n"),
        (b"", {}, "it is damaged, or something else"),
        (Net(), {}, r"it holds an object of [\w.]*test_weights.Net\n  hint: save the weights with"),
        (torch.ones(2), {}, "holds an object of type Tensor, no state dict"),
        (
            {"params_ema": Net().state_dict(), "epoch": 3},
            {},
            r"'params_ema' \(7 tensors\), 'epoch' \(int\)\n.*key='params",
        ),
        (
            {"params_ema": Net().state_dict()},
            {"key": "zzz"},
            r"no state dict 'zzz': it has 'params_ema' \(7 tensors\)",
        ),
        ({"epoch": 3}, {"key": "epoch"}, r"no state dict 'epoch': it has 'epoch' \(int\)"),
        (Net().state_dict(), {"key": "zzz"}, r"no state dict 'zzz': it has 'conv.weight' \(Tensor\)"),
    ],
)
def test_a_checkpoint_of_another_kind_is_told(held, options, says, tmp_path):
    path = tmp_path / "bad.pth"
    path.write_bytes(held) if isinstance(held, bytes) else torch.save(held, path)
    with pytest.raises(gk.GraphkitError, match=says) as caught:
        gk.load_checkpoint(Net(), path, **options)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


# R03
def test_numpy_scalars_beside_the_weights_are_no_hindrance(tmp_path):
    module = Net()
    kinds = [np.float64(0.5), np.float32(1), np.float16(2), np.int64(3), np.uint8(4), np.bool_(True), np.complex64(1j)]
    kinds += [np.str_("a net"), np.bytes_(b"x"), np.datetime64("2026-01-01")]
    saved = {"state_dict": {name: tensor + 1 for name, tensor in module.state_dict().items()}, "scalars": kinds}
    torch.save(saved, tmp_path / "net.pth")
    gk.load_checkpoint(module, tmp_path / "net.pth")
    assert torch.equal(module.conv.weight, saved["state_dict"]["conv.weight"])
    assert np.dtype not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("held", [np.arange(3), print, np.array([None])])
def test_other_objects_beside_the_weights_are_refused(tmp_path, held):
    torch.save({"state_dict": Net().state_dict(), "more": held}, tmp_path / "net.pth")
    with pytest.raises(gk.ModelFileError):
        gk.load_checkpoint(Net(), tmp_path / "net.pth")
