"""A value means the same wherever it is written: as a feed, for freeze, as text and as a Python object."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import graphkit as gk
from graphkit.graph.ports import Port, input_ports
from graphkit.reading.literal import literal
from graphkit.reading.values import value_for
from graphkit.tensor import bits, numpy_type, type_name


def port(text):
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 19]> g ({text} x) => ({text} y) {{ y = Identity(x) }}'
    )
    return input_ports(model)["x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("-2.5e3", -2500.0),
        (" 2 , 3 ", [2, 3]),
        ("2,", [2]),
        ("(2, 3)", [2, 3]),
        ("[[1,2],[3,4],]", [[1, 2], [3, 4]]),
        ("[]", []),
        ("[[],[]]", [[], []]),
        ("true,False", [True, False]),
        ("-inf", float("-inf")),
        ("0x10", 16),
        ("007", 7),
        ("1_000", 1000),
        (".5", 0.5),
        ("1+2j", 1 + 2j),
        ("9" * 300, int("9" * 300)),
    ],
)
def test_what_is_a_number_or_a_list(text, value):
    assert literal(text) == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "None", "-" * 5000, "[" * 5000, "[1", "1]", "[1)", "1 2", ",", "1,,2", "1e999", "9" * 5000, "__import__('os')",
     "1.5.2", "--1", "e5", "1e", "0x", "1__0", "[1]2", "2(3)", "'a'", "1" * 401 + ".5", "j"],
    ids=lambda t: t[:8],
)  # fmt: skip
def test_what_is_none(text):
    with pytest.raises(ValueError, match=r"."):
        literal(text)


FITS = [
    ("bool", "true", True),
    ("bool", "0", False),
    ("bool", 1, True),
    ("int64", "9007199254740993", 2**53 + 1),
    ("int64", [2**53 + 1, -(2**63)], [2**53 + 1, -(2**63)]),
    ("uint64", "18446744073709551615", 2**64 - 1),
    ("uint64", [0, 2**64 - 1], [0, 2**64 - 1]),
    ("int8", "-128", -128),
    ("int64", "2.0", 2),
    ("float", "0.1", np.float32(0.1)),
    ("float", "inf", np.inf),
    ("float", 10**30, np.float32(1e30)),
    ("float16", "65504", 65504),
    ("bfloat16", "1.5", 1.5),
    ("int4", "-8,7", [-8, 7]),
    ("float8e4m3fn", "448", 448),
    ("complex64", "1+2j", 1 + 2j),
    ("string", "a,b", "a,b"),
    ("string", '"@a"', "@a"),
    ("string", '["a","b"]', ["a", "b"]),
    ("string", "[a", "[a"),
    ("string", ["a", b"b"], ["a", b"b"]),
]
REFUSED = [
    ("bool", "2"),
    ("bool", 2),
    ("bool", "0.5"),
    ("bool", "nan"),
    ("int64", "1.5"),
    ("int64", "inf"),
    ("int64", "9223372036854775808"),
    ("int64", [2**63, -1]),
    ("int8", "128"),
    ("uint8", "-1"),
    ("uint64", [-1, 2**64 - 1]),
    ("int4", "8"),
    ("float", "1j"),
    ("float", 1j),
    ("float", "None"),
    ("float", None),
    ("float", [None]),
    ("float", "1e999"),
    ("float", "1e40"),
    ("float", 1e40),
    ("float", 10**400),
    ("float16", "65536"),
    ("bfloat16", "1e39"),
    ("float8e4m3fn", "1e4"),
    ("float", "-" * 5000),
    ("float", "9" * 5000),
    ("float", ["1", "2"]),
    ("float", [[1], [2, 3]]),
    ("float", {"a": 1}),
    ("float", object()),
    ("string", 1),
    ("string", [1]),
]


def declared(text, rank):
    """The input, of any shape of the rank; built by hand, as the parser knows few types."""
    names = {"float": "FLOAT", "bfloat16": "BFLOAT16"}
    data_type = getattr(TensorProto, names.get(text, text.upper()))
    dims = [f"d{n}" for n in range(rank)]
    return Port("x", data_type, tuple(dims), type_name(data_type))


@pytest.mark.parametrize(("text", "given", "expected"), FITS, ids=str)
def test_a_value_is_taken_as_it_is(text, given, expected):
    array = value_for(declared(text, np.ndim(expected)), given)
    assert array.dtype == numpy_type(declared(text, 0).data_type)
    assert array.ravel().tolist() == np.array(expected, array.dtype).ravel().tolist()
    assert str(array.ravel()[-1]) == str(np.array(expected, array.dtype).ravel()[-1])


@pytest.mark.parametrize(("text", "given"), REFUSED, ids=lambda v: str(v)[:12])
def test_a_value_that_would_change_is_refused(text, given):
    for rank in (0, 1):
        with pytest.raises(gk.FeedError, match="'x'") as caught:
            value_for(declared(text, rank), given)
        assert len(str(caught.value)) < 500


def test_run_and_freeze_mean_the_same_by_every_text(tmp_path):
    """Each of the texts, for an input of three types: both take it and compute the same, or both refuse."""
    np.savez(tmp_path / "a.npz", x=np.array([3.0], np.float32), f=np.array([True]), i=np.array([7]))
    np.save(tmp_path / "a.npy", np.array([4.0], np.float32))
    files = [f"@{tmp_path}/a.npz", f"@{tmp_path}/a.npy", f"@{tmp_path}/a.npz:i", f"@{tmp_path}/none.npy"]
    agreed = set()
    for name, elem in (("x", "float"), ("f", "bool"), ("i", "int64")):
        model = onnx.parser.parse_model(
            f'<ir_version: 9, opset_import: ["" : 19]> g ({elem}[1] {name}) => ({elem}[1] y) {{ y = Identity({name}) }}'
        )
        for text in [
            "0",
            "1",
            "2",
            "1.5",
            "true",
            "inf",
            "nan",
            "1e999",
            "1j",
            "None",
            "2,",
            "2,3",
            "[[2]]",
            "x",
            *files,
        ]:
            results = []
            for work in (lambda m, n, t: gk.run(m, {n: t}), lambda m, n, t: gk.run(gk.freeze(m, {n: t}), {})):
                try:
                    results.append(str(work(model, name, text)["y"]))
                except gk.FeedError:
                    results.append("refused")
            assert results[0] == results[1], (elem, text)
            agreed.add((elem, text, results[0] == "refused"))
    assert len({refused for _, _, refused in agreed}) == 2


def test_a_history_keeps_what_a_file_held(tmp_path):
    np.save(tmp_path / "a.npy", np.array([4.0], np.float32))
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 19]> g (float[1] x) => (float[1] y) { y = Identity(x) }'
    )
    frozen = gk.freeze(model, {"x": f"@{tmp_path}/a.npy"})
    (tmp_path / "a.npy").unlink()
    assert str(tmp_path) not in json.dumps(frozen.history[-1].arguments)
    again = gk.replay(frozen, model)
    assert gk.run(again, {})["y"].tolist() == [4.0]


@pytest.mark.parametrize("data_type", [t for t in TensorProto.DataType.values() if bits(t)])
def test_every_numeric_type_takes_one(data_type):
    array = value_for(Port("x", data_type, (2,), type_name(data_type)), "1")
    assert array.dtype == helper.tensor_dtype_to_np_dtype(data_type)
    assert [complex(v) for v in array] == [1, 1]


@pytest.mark.parametrize("shape", [(0, 2**40, 2**40), (2**62, 2**62, 0), (2**40,), (1,) * 65], ids=str)
def test_a_shape_that_no_array_has_is_refused(shape):
    with pytest.raises(gk.FeedError, match="more"):
        value_for(Port("x", TensorProto.FLOAT, shape, "float32"), "1")
