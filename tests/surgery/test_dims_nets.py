"""Static exports whose axes become free: they compute what torch computes at the other sizes, or a warning says why not."""

import warnings

import numpy as np
import onnx
import pytest
import torch

import graphkit as gk
from oracle import run_ort
from surgery.dims_fourth_nets import fourth_nets
from surgery.dims_more_nets import more_nets
from surgery.dims_nets import nets
from surgery.dims_third_nets import third_nets

NETS = nets() | more_nets() | third_nets() | fourth_nets()

OF_THE_NET = {
    ("block_mask", "1"): "table",
    ("compressed", "1"): "does not say",
    ("conformer", "1"): "cuts axis",
    ("covariance", "1"): "the size in the file",
    ("graph_attention", "0"): "fixed",
    ("half_mask", "1"): "table",
    ("length_feature", "1"): "the size in the file",
    ("local_attention", "1"): "does not say",
    ("location_attention", "1"): "made of constants",
    ("log_distance", "1"): "table",
    ("log_scale", "1"): "the logarithm of",
    ("matching", "1"): "the logarithm of",
    ("middle", "1"): "the middle",
    ("part_rotary", "1"): "match now only",
    ("prefix_mask", "1"): "made of constants",
    ("retention", "1"): "table",
    ("root_scale", "1"): "the root of",
    ("sampled_frames", "1"): "fixed places",
    ("shifted_parts", "all"): "samples in one run",
    ("split_last", "1"): "cuts axis",
    ("tapered", "1"): "does not run",
    ("deconv_to", "2"): "does not run",
    ("deconv_to", "3"): "does not run",
    ("deformable_detr", "2"): "numbers of sizes",
    ("deformable_detr", "3"): "numbers of sizes",
    ("stage_sum", "2"): "does not run",
    ("stage_sum", "3"): "does not run",
    ("style", "2"): "times",
    ("style", "3"): "times",
    ("vignette", "2"): "match now only",
    ("vignette", "3"): "match now only",
    ("windowed", "2"): "cuts axis",
    ("windowed", "3"): "cuts axis",
    ("affine", "2"): "match now only",
    ("affine", "3"): "match now only",
    ("arange_positions", "1"): "table",
    ("bert_embeddings", "1"): "table",
    ("crop_unet", "2"): "cuts axis",
    ("detr_head", "2"): "match now only",
    ("detr_head", "3"): "match now only",
    ("gather_offsets", "2"): "the size in the file",
    ("gather_offsets", "3"): "the size in the file",
    ("norm_by_reshape", "2"): "fixed target",
    ("normalised_grid", "2"): "table",
    ("normalised_grid", "3"): "table",
    ("pad_unet", "2"): "vary by two sizes",
    ("pad_unet", "3"): "multiples",
    ("padded_windows", "1"): "cuts axis",
    ("padded_windows", "2"): "cuts axis",
    ("pointnet", "1"): "cuts axis",
    ("pools", "2"): "the size in the file",
    ("pools", "3"): "the size in the file",
    ("relative_bias", "1"): "table",
    ("resized_positions", "2"): "table",
    ("resized_positions", "3"): "table",
    ("size_interpolate", "2"): "not meant",
    ("size_interpolate", "3"): "not meant",
    ("tensor_unfold", "1"): "cuts axis",
    ("top_queries", "1"): "half of axis",
    ("whole_dft", "1"): "match now only",
    ("by_hand", "2"): "the size in the file",
    ("by_hand", "3"): "the size in the file",
    ("chunked", "1"): "does not say",
    ("half_roll", "1"): "cuts axis 1",
    ("interactions", "1"): "fixed places",
    ("padded_attention", "1"): "table",
    ("perceiver", "1"): "does not vary",
    ("pyramid", "2"): "tile",
    ("pyramid", "3"): "tile",
    ("shaw", "1"): "table",
    ("sine_positions", "2"): "table",
    ("sine_positions", "3"): "table",
    ("sinusoids", "1"): "made of constants",
    ("t5", "1"): "table",
    ("tokens", "2"): "does not vary",
    ("tokens", "3"): "does not vary",
    ("unrolled", "1"): "the last of axis 1",
    ("adaptive", "2"): "tile",
    ("divisor", "1"): "the size in the file",
    ("halves", "1"): "cuts axis 1",
    ("running_mean", "1"): "the size in the file",
    ("text_buffer", "1"): "table",
    ("text_none", "1"): "table",
    ("text_sdpa", "1"): "table",
    ("text_triu", "1"): "table",
    ("tile", "1"): "does not vary",
    ("to_size", "2"): "not meant",
    ("unfold", "1"): "fixed places|cuts axis",
    ("rnn", "1"): "cuts axis",
    ("grid_sample", "2"): "does not vary",
    ("warp", "2"): "does not vary|match now only",
}
"""(net, axis) -> what the warning says: the file alone does not say what another size would be."""

QUICK = """rotary_table heads_view heads_permute heads_merged torch_heads_steps_first text_sdpa swin fpn lstm_states conv_lstm yolo detr
new_zeros even_steps positions_2d divisor roll chunk halves sort warp anchors odd_unet neighbours time_space coord_attention retina flow_warp beam_step repeats""".split()

QUICK_DYNAMO = "swin_shifted group_norm roll pointnet".split()


def axes_of(net):
    """Label -> the places and the sizes to try; "all" where there are several."""
    found = {}
    for *places, sizes in NETS[net][2]:
        pairs = places if isinstance(places[0], tuple) else [tuple(places)]
        found[str(pairs[0][1])] = [(pairs, sizes)]
    if len(found) > 1:
        found["all"] = [entry for entries in list(found.values()) for entry in entries]
    return found


@pytest.fixture
def exported(exports, tmp_path):
    """A function that exports a net once a run: (net, exporter, opset) -> ModelProto, None where torch cannot."""

    def export(net, exporter, opset):
        module, args, _ = NETS[net]
        more = {"dynamo": True, "verbose": False, "external_data": False} if exporter == "dynamo" else {"dynamo": False}

        def make():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    torch.onnx.export(module, args, tmp_path / "net.onnx", opset_version=opset, **more)
            except torch.onnx.errors.OnnxExporterError:
                return None  # the exporter does not have an operator at that opset
            return onnx.load(tmp_path / "net.onnx")

        return exports.of(f"dims/{net}", exporter, make, opset=opset)

    return export


def outcome(model, module, args, entries):
    """("right" | "named" | "silent", what was said): of the model with free axes, beside torch at two other sizes."""
    names = [value.name for value in model.graph.input]
    values = {f"{names[i]}:{axis}": f"N{at}" for at, (places, _) in enumerate(entries) for i, axis in places}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        edited = gk.dims(model, values, repair_shapes=True)
    said = "; ".join(str(w.message) for w in caught if issubclass(w.category, gk.GraphkitWarning))
    generator = torch.Generator().manual_seed(0)
    for turn in range(2):
        given = []
        for position, argument in enumerate(args):
            shape = list(argument.shape)
            for places, sizes in entries:
                for i, axis in places:
                    if i == position:
                        shape[axis] = sizes[turn]
            real = argument.dtype.is_floating_point
            given.append(
                torch.randn(shape, generator=generator) if real else torch.randint(0, 6, shape, generator=generator)
            )
        with torch.no_grad():
            wanted = module(*given)
        wanted = [wanted] if isinstance(wanted, torch.Tensor) else list(wanted)
        why = differs(edited, dict(zip(names, [array.numpy() for array in given], strict=True)), wanted)
        if why and not said and why.startswith("it does not run"):
            said = "; ".join(note for note in edited.history[-1].notes if note.startswith("it does not run with"))
        if why:
            return ("named" if said else "silent"), said or why
    return "right", said


def differs(edited, feeds, wanted):
    """What is other than torch's, or declared and untrue; "" where nothing is."""
    try:
        got = run_ort(edited, feeds)
    except Exception as error:  # noqa: BLE001 (the runtime has no exception of its own)
        return f"it does not run: {error}"
    for info, right in zip(edited.proto.graph.output, wanted, strict=True):
        array = got[info.name]
        if array.shape != tuple(right.shape):
            return f"{info.name} has shape {array.shape}, right is {tuple(right.shape)}"
        if not np.allclose(array, right.numpy(), rtol=1e-3, atol=1e-4):
            return f"{info.name} is off by {np.abs(array - right.numpy()).max()}"
        for dim, size in zip(info.type.tensor_type.shape.dim, array.shape, strict=True):
            if dim.HasField("dim_value") and dim.dim_value != size:
                return f"{info.name} declares {dim.dim_value} and has {size}"
    return ""


def wrong_as_it_is(model, module, args):
    """Whether torch's exporter lost something: scatter_add has no reduction before opset 16."""
    with torch.no_grad():
        wanted = module(*args)
    wanted = [wanted] if isinstance(wanted, torch.Tensor) else list(wanted)
    names = [value.name for value in model.graph.input]
    got = run_ort(model, dict(zip(names, [array.numpy() for array in args], strict=True)))
    pairs = zip(model.graph.output, wanted, strict=True)
    return not all(np.allclose(got[info.name], right.numpy(), rtol=1e-3, atol=1e-4) for info, right in pairs)


def check(net, exporter, opset, exported):
    model = exported(net, exporter, opset)
    module, args, _ = NETS[net]
    if model is None or wrong_as_it_is(model, module, args):
        return
    for label, entries in axes_of(net).items():
        verdict, said = outcome(model, module, args, entries)
        assert verdict != "silent", f"{net} {exporter}{opset} {label}: {said}"
        hard = [text for (name, axis), text in OF_THE_NET.items() if name == net and label in (axis, "all")]
        if not hard:
            assert (verdict, said) == ("right", ""), f"{net} {exporter}{opset} {label}"


@pytest.mark.parametrize("net", QUICK)
def test_a_torchscript_export_follows_or_says_why_not(net, exported):
    check(net, "torchscript", 17, exported)


@pytest.mark.parametrize("net", QUICK_DYNAMO)
def test_a_dynamo_export_follows_or_says_why_not(net, exported):
    check(net, "dynamo", 18, exported)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("exporter", "opset"),
    [("torchscript", 11), ("torchscript", 12), ("torchscript", 17), ("dynamo", 18), ("dynamo", 20)],
)
@pytest.mark.parametrize("net", NETS)
def test_every_export_follows_or_says_why_not(net, exporter, opset, exported):
    check(net, exporter, opset, exported)
