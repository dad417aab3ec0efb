"""What torch cannot export: one sentence, which operator or argument, where, and what to try."""

import json

import pytest

import graphkit as gk
from graphkit_cli.main import main

torch = pytest.importorskip("torch")


BOTH = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])


def image(*shape):
    return torch.rand(shape)


class Three(torch.nn.Module):
    def forward(self, a, b, c):
        return a + c


class Unsupported(torch.nn.Module):
    def forward(self, x):
        y = x + 1
        return torch.special.i0(y)


@pytest.mark.parametrize(
    ("module", "args", "options", "says"),
    [
        (
            Unsupported(),
            (image(2),),
            {},
            r"bessel_i0 has no translation in the dynamo exporter, at .*test_failure.py:\d+ \(in forward\)",
        ),
        (
            Unsupported(),
            (image(2),),
            {"exporter": "torchscript"},
            r"aten::i0 has no translation to opset 20, at .*test_failure.py:\d+\n  hint: the dynamo exporter has no rule",
        ),
        (Three(), (image(2),), {}, r"do not fit Three.forward\(a, b, c\): missing a required argument: 'b'"),
        (
            Three(),
            (image(2), image(3), image(3)),
            {},
            r"Three does not run on these arguments, at .*test_failure.py:\d+ \(in forward\)",
        ),
        (Three(), (image(2),) * 3, {"input_names": ["a", "b", "a"]}, "the input name 'a' is given twice"),
        (Three(), (image(2),) * 3, {"input_names": ["a", "b", "c", "d"]}, "4 input names were given .* for 3 tensor"),
        (Three(), (image(2),) * 3, {"output_names": ["y", "y"]}, "the output name 'y' is given twice"),
        (Three(), (image(2),) * 3, {"output_names": ["a"]}, "the input or output name 'a' is given twice"),
        (Three(), (image(2),) * 3, {"dynamic": ["aa:0=n"]}, "on 'aa', which is no input\n  hint: did you mean a"),
        (Three(), (image(2),) * 3, {"dynamic": ["a:1=n"]}, "there is no axis 1"),
        (Three(), (image(2),) * 3, {"dynamic": ["a:0=n", "a:-1=m"]}, "axis 0 of input 'a' has two names, 'n' and 'm'"),
        (Three(), (image(2),) * 3, {"dynamic": ["a=n"]}, "write INPUT:AXIS=NAME"),
        (Three(), (image(2),) * 3, {"dynamic": ["a:0=2n"]}, "is no name for a dim"),
        (Three(), (image(2),) * 3, {"dynamic": ["a:0=n"]}, "the module fixes it to 2"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(module, args, options, says):
    with pytest.raises(gk.ExportError, match=says) as caught:
        gk.export(module, args, **options)
    assert len(str(caught.value).splitlines()) <= 3


def test_the_other_exporter_is_named_where_it_has_a_rule():
    class Asinh(torch.nn.Module):
        def forward(self, x):
            return torch.asinh(x)

    with pytest.raises(gk.ExportError, match="use exporter 'dynamo', which has a rule for it since opset 18"):
        gk.export(Asinh(), image(2), exporter="torchscript")
    assert gk.export(Asinh(), image(2)).proto.graph.node[0].op_type == "Asinh"


def test_what_is_no_module_and_no_opset_is_refused():
    with pytest.raises(TypeError, match="not an object of type function; put a function into the forward"):
        gk.export(lambda x: x, image(2))
    with pytest.raises(TypeError, match="opset is a number, not '18'"):
        gk.export(Three(), (image(2),) * 3, opset="18")


def test_more_output_names_than_outputs_are_refused_by_dynamo_too():
    with pytest.raises(gk.ExportError, match="2 output names were given"):
        gk.export(Three(), (image(2),) * 3, output_names=["y", "z"])


@BOTH
def test_an_operator_of_ones_own_without_translation_is_named(exporter):
    @torch.library.custom_op("tests_export::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    double.register_fake(torch.empty_like)

    class Net(torch.nn.Module):
        def forward(self, x):
            return double(x)

    with pytest.raises(
        gk.ExportError, match=rf"tests_export::double has no translation in the {exporter} exporter"
    ) as caught:
        gk.export(Net(), image(2), exporter=exporter)
    assert ("translations=" if exporter == "dynamo" else "register_custom_op_symbolic") in caught.value.hint
    assert exporter == "torchscript" or "test_failure.py:" in caught.value.message


class Branch(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class NotToday(torch.nn.Module):
    def forward(self, x):
        raise RuntimeError("not today")


class Aliasing(torch.nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x, lambda x: -x, (x,))


@pytest.mark.parametrize(
    ("module", "options", "stage", "words"),
    [
        (NotToday(), {}, "module", "not today"),
        (NotToday(), {"exporter": "torchscript"}, "module", "not today"),
        (Branch(), {}, "capture", "Could not guard on data-dependent expression"),
        (Aliasing(), {}, "capture", "aliasing"),
        (Unsupported(), {}, "translation", "No ONNX function found for"),
        (Unsupported(), {"exporter": "torchscript"}, "translation", "Exporting the operator 'aten::i0'"),
    ],
)
def test_an_error_has_its_stage_and_torchs_own_words_and_version(module, options, stage, words):
    with pytest.raises(gk.ExportError) as caught:
        gk.export(module, (image(2),), **options)
    error = caught.value
    assert error.stage == stage
    assert words in error.words
    assert error.torch_version == torch.__version__
    assert f"stage: {stage}; torch {torch.__version__}" in str(error)
    assert words in str(error)


def test_arguments_that_do_not_fit_are_of_the_stage_module():
    with pytest.raises(gk.ExportError) as caught:
        gk.export(Three(), (image(2),))
    assert caught.value.stage == "module"


@pytest.mark.parametrize("broken", ["tempfile.TemporaryFile", "os.mkdir"])
def test_files_that_cannot_be_written_are_of_the_stage_file(broken, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(broken, full)
    with pytest.raises(gk.ExportError, match=r"cannot be written: .*No space left") as caught:
        gk.export(torch.nn.ReLU(), (image(2),), exporter="torchscript")
    assert caught.value.stage == "file"
    assert "TMPDIR" in caught.value.hint


def test_the_command_prints_stage_version_and_words(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stage_net.py").write_text(
        "import torch\n"
        "class Branch(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x if x.sum() > 0 else -x\n"
        "def make():\n"
        "    return Branch(), torch.rand(3)\n"
    )
    assert main(["export", "stage_net:make", "m.onnx", "--json"]) == 3
    said = capsys.readouterr()
    assert f"stage: capture; torch {torch.__version__} says: Could not guard" in said.err
    told = json.loads(said.out)["error"]
    assert (told["stage"], told["torch_version"]) == ("capture", torch.__version__)
