"""Results as JSON."""

import enum
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphkit as gk


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    count: np.int64
    path: Path


@dataclass(frozen=True)
class Outer:
    second: float
    first: tuple[Inner, ...]
    names: frozenset[str]
    by_name: dict[str, np.ndarray]
    nothing: None
    colour: Colour
    yes: bool


RESULT = Outer(
    second=float("-inf"),
    first=(Inner(np.int64(2), Path("a/b")),),
    names=frozenset({"z", "ä"}),
    by_name={"w": np.array([[1, 2]], np.uint8), "f": np.array([0.5, np.nan], np.float16)},
    nothing=None,
    colour=Colour.RED,
    yes=True,
)


def test_fields_keep_name_order_and_value():
    told = json.loads(gk.to_json(RESULT))
    assert list(told) == ["second", "first", "names", "by_name", "nothing", "colour", "yes"]
    assert told == {
        "second": "-inf",
        "first": [{"count": 2, "path": "a/b"}],
        "names": ["z", "ä"],
        "by_name": {"w": [[1, 2]], "f": [0.5, "nan"]},
        "nothing": None,
        "colour": "red",
        "yes": True,
    }


def test_one_line():
    assert gk.to_json({"a": [1, "ä"]}, indent=None) == '{"a": [1, "ä"]}'


@pytest.mark.parametrize("value", [onnx.ModelProto(), object(), {"deep": [b"bytes"]}])
def test_what_has_no_json_form_is_refused(value):
    with pytest.raises(TypeError, match="no JSON form"):
        gk.to_json(value)
