"""Options of ONNX Runtime's TensorRT provider: optimization profiles for dynamic shapes, fp16, int8.

Names and formats: ONNX Runtime's documentation, "TensorRT Execution Provider", configurations. None of this was run: no
machine with TensorRT's libraries could be had. What is tested is what the provider is handed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphkit.errors import FeedError, NameNotFoundError
from graphkit.graph.misnamed import node_hint
from graphkit.graph.values import dims, format_type
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import Model


@dataclass(frozen=True)
class TensorRT:
    """How TensorRT builds its engine.

    Attributes:
        profiles: Input name -> smallest, usual and largest shape, written ``1x3x32x32:1x3x64x64:4x3x256x256``. Where one
            dynamic input is named, every dynamic input must be.
        fp16: Let layers compute in float16.
        int8: Let layers compute in int8. Without a calibration table the model must hold QuantizeLinear nodes.
        calibration_table: The file that ``graphkit.calibrate(...).save`` wrote.
    """

    profiles: Mapping[str, str] = field(default_factory=dict)
    fp16: bool = False
    int8: bool = False
    calibration_table: str | None = None

    def provider_options(self) -> dict[str, str]:
        """The options as the provider takes them.

        Raises:
            ValueError: A profile is written in another way, or its sizes do not grow.
        """
        found = {"trt_fp16_enable": str(int(self.fp16)), "trt_int8_enable": str(int(self.int8))}
        if self.calibration_table is not None:
            found["trt_int8_calibration_table_name"] = self.calibration_table
        shapes = {name: profile_shapes(name, text) for name, text in self.profiles.items()}
        for place, key in enumerate(("min", "opt", "max")):
            if shapes:
                texts = (f"{name}:{'x'.join(map(str, three[place]))}" for name, three in shapes.items())
                found[f"trt_profile_{key}_shapes"] = ",".join(texts)
        return found

    def check(self, model: Model) -> None:
        """Check the profiles against a model's inputs.

        Raises:
            NameNotFoundError: A profile is for no input.
            FeedError: A profile has another rank or another fixed size than the input, or a dynamic input has none.
        """
        inputs = {value.name: value for value in model.proto.graph.input}
        for name, text in self.profiles.items():
            if name not in inputs:
                raise NameNotFoundError("input", name, inputs, hint=node_hint(model.proto.graph, name))
            declared = dims(inputs[name].type)
            for shape in profile_shapes(name, text):
                fits = declared is None or (
                    len(shape) == len(declared)
                    and all(not isinstance(d, int) or d == size for d, size in zip(declared, shape, strict=True))
                )
                if not fits:
                    raise FeedError(
                        f"the profile shape {'x'.join(map(str, shape))} does not fit the input {name!r}, which is "
                        f"{format_type(inputs[name].type)}",
                        name=name,
                    )
        dynamic = [n for n, v in inputs.items() if any(not isinstance(d, int) for d in dims(v.type) or ())]
        missing = [name for name in dynamic if name not in self.profiles]
        if self.profiles and missing:
            raise FeedError(
                f"the dynamic input {missing[0]!r} has no profile; TensorRT wants one for every dynamic input",
                name=missing[0],
                hint=Hint("give one with ", Argument("profiles", {missing[0]: Blank("MIN:OPT:MAX")})),
            )


def profile_shapes(name: str, text: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(smallest, usual, largest) shape of a profile.

    Raises:
        ValueError: The text is no ``MIN:OPT:MAX`` of shapes such as ``1x3x32x32``, or the sizes do not grow.
    """
    parts = [part.split("x") for part in text.split(":")]
    if len(parts) != 3 or not all(size.isdigit() for part in parts for size in part):
        raise ValueError(f"a profile is MIN:OPT:MAX, such as {name}=1x3x32x32:1x3x64x64:4x3x256x256, not {text!r}")
    low, usual, high = (tuple(map(int, part)) for part in parts)
    if not len(low) == len(usual) == len(high) or not all(
        a <= b <= c for a, b, c in zip(low, usual, high, strict=True)
    ):
        raise ValueError(f"the shapes of profile {name!r} must have one rank and grow from MIN to MAX: {text!r}")
    return low, usual, high
