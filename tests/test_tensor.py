"""One TensorProto: where its bytes lie, how many they should be, which numbers they are."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from graphkit.tensor import (
    DataRange,
    bits,
    check_inline,
    data_range,
    decode,
    embed,
    expected_bytes,
    refer,
    stored_bytes,
    type_name,
)

TYPES = {name: number for name, number in TensorProto.DataType.items() if name != "UNDEFINED"}
NUMBERS = [1, 0, 1, 1, 0, 1, 1]


def made(name, count=7, *, raw=False):
    """A tensor as onnx.helper makes it; 7 elements do not fill the bytes of packed types."""
    dtype = helper.tensor_dtype_to_np_dtype(TYPES[name])
    if name == "STRING":
        return helper.make_tensor("t", TensorProto.STRING, [count], [f"é{i}".encode() for i in range(count)])
    if raw:
        return numpy_helper.from_array(np.array(NUMBERS[:count]).astype(dtype), "t")
    return helper.make_tensor("t", TYPES[name], [count], np.array(NUMBERS[:count]).astype(dtype))


def same(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.tolist() == expected.tolist() if actual.dtype == object else actual.tobytes() == expected.tobytes()


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("name", TYPES)
def test_every_data_type_from_its_own_field(name, count):
    tensor = made(name, count)
    check_inline(tensor)
    array = decode(tensor, None)
    same(array, numpy_helper.to_array(tensor))
    assert not array.flags.writeable


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("name", [name for name in TYPES if name != "STRING"])
def test_every_data_type_from_raw_bytes(name, count):
    tensor = made(name, count, raw=True)
    expected = numpy_helper.to_array(tensor)
    assert (
        expected_bytes(tensor) == len(tensor.raw_data) == stored_bytes(tensor) == (count * bits(TYPES[name]) + 7) // 8
    )
    check_inline(tensor)
    same(decode(tensor, None), expected)
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    array = decode(tensor, memoryview(data))
    same(array, expected)
    assert not array.flags.writeable
    if bits(TYPES[name]) >= 8 and count:
        assert array.base is not None, "a view, not a copy"


@pytest.mark.parametrize("name", TYPES)
def test_one_value_too_many_or_too_few_is_refused_in_every_field(name):
    for wrong in (2, 13) if 0 < bits(TYPES[name]) < 8 else (6, 8):
        tensor = made(name)
        tensor.dims[0] = wrong
        with pytest.raises(
            gk.TensorError,
            match=rf"tensor 't': \d+ values in \w+_data, but a {type_name(TYPES[name])}\[{wrong}\] takes",
        ):
            check_inline(tensor)
        with pytest.raises(gk.TensorError):
            decode(tensor, None)
        if name == "STRING":
            continue
        tensor = made(name, raw=True)
        tensor.dims[0] = wrong
        with pytest.raises(
            gk.TensorError, match=rf"tensor 't': \d+ bytes of data, but a {type_name(TYPES[name])}\[{wrong}\]"
        ):
            check_inline(tensor)
        with pytest.raises(gk.TensorError, match="'t'"):
            decode(tensor, memoryview(made(name, raw=True).raw_data))


def test_dtypes_beyond_numpy_are_those_of_ml_dtypes():
    expected = {
        "BFLOAT16": ml_dtypes.bfloat16,
        "FLOAT8E4M3FN": ml_dtypes.float8_e4m3fn,
        "INT4": ml_dtypes.int4,
        "FLOAT4E2M1": ml_dtypes.float4_e2m1fn,
    }
    for name, dtype in expected.items():
        assert decode(made(name), None).dtype == dtype


def test_raw_bytes_are_little_endian_on_every_machine():
    tensor = TensorProto(name="t", data_type=TensorProto.INT32, dims=[1], raw_data=b"\x01\x00\x00\x00")
    assert decode(tensor, None)[0] == 1
    assert decode(TensorProto(name="t", data_type=TensorProto.INT32, dims=[1]), memoryview(b"\x01\x00\x00\x00"))[0] == 1


def test_a_scalar_and_a_tensor_of_nothing():
    assert decode(numpy_helper.from_array(np.float32(3), "t"), None) == np.float32(3)
    assert decode(TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[0, 5]), None).shape == (0, 5)
    assert decode(TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[0, 5]), memoryview(b"")).shape == (0, 5)


@pytest.mark.parametrize("data_type", [0, 99, 1000])
def test_a_data_type_that_nobody_knows(data_type):
    tensor = TensorProto(name="t", data_type=data_type, dims=[1], raw_data=b"abcd")
    assert expected_bytes(tensor) is None
    assert stored_bytes(tensor) == 0
    check_inline(tensor)
    for data in (None, memoryview(b"abcd")):
        with pytest.raises(gk.TensorError, match="tensor 't': its bytes do not make a"):
            decode(tensor, data)


def test_strings_cannot_lie_elsewhere():
    with pytest.raises(gk.TensorError, match=r"do not make a string\[1\]"):
        decode(TensorProto(name="t", data_type=TensorProto.STRING, dims=[1]), memoryview(b"abc"))


def test_names_of_data_types():
    assert {
        name: type_name(number) for name, number in TYPES.items() if name in ("FLOAT", "DOUBLE", "INT64", "BFLOAT16")
    } == {
        "FLOAT": "float32",
        "DOUBLE": "float64",
        "INT64": "int64",
        "BFLOAT16": "bfloat16",
    }
    assert type_name(77) == "data type 77"


# references


def test_a_reference_and_back():
    tensor = made("FLOAT")
    where = DataRange("w.data", 64, 28)
    refer(tensor, where)
    assert data_range(tensor) == where
    assert not tensor.float_data
    embed(tensor, np.array(NUMBERS, np.float32).tobytes())
    assert tensor == made("FLOAT", raw=True)


@pytest.mark.parametrize("name", ["FLOAT", "DOUBLE", "INT64", "INT32", "UINT64", "STRING"])
def test_a_reference_takes_the_place_of_every_field(name):
    tensor = made(name)
    tensor.doc_string = "kept"
    refer(tensor, DataRange("w.data", 0, None))
    assert {field.name for field, _ in tensor.ListFields()} == {
        "dims",
        "data_type",
        "name",
        "doc_string",
        "external_data",
        "data_location",
    }
    assert data_range(tensor).length is None
    embed(tensor, b"")
    assert {field.name for field, _ in tensor.ListFields()} == {"dims", "data_type", "name", "doc_string", "raw_data"}


def test_an_offset_that_is_left_out_is_0_and_the_last_of_two_entries_holds():
    tensor = TensorProto(data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "a"), ("offset", ""), ("location", "b"), ("unknown", "x"), ("length", "")):
        tensor.external_data.add(key=key, value=value)
    assert data_range(tensor) == DataRange("b", 0, None)


def test_stored_bytes_of_strings_is_their_text():
    assert stored_bytes(made("STRING", 3)) == 9


def test_bits_of_all_types_are_known():
    assert {name for name, number in TYPES.items() if not bits(number)} == {"STRING"}
    assert onnx.TensorProto.DataType.Value("UNDEFINED") == 0
