"""Ten thousand damaged models: each gives a result or a GraphkitError, never anything else."""

import os
import random
import warnings
from contextlib import suppress

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from graphkit.storage import load
from graphkit.storage.source import LocalFile
from weight_places import make_everything, node, value

MUTANTS = 10_000
DATA = "m.data"


def tiny():
    """A chain with one inline weight, with metadata on every level."""
    return onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20, "local" : 1], producer_name: "p", metadata_props: ["k": "v"]>
        g (float[N, 3] x, bool c) => (float[N, 3] y, float[M] z)
        <float[3] w = {1.0, 2.0, 3.0}, int64[2] shape = {-1, 3}>
        {
            a = Add(x, w)
            b = Reshape(a, shape)
            y = If (c) <then_branch = t () => (float[N, 3] p) { p = local.F(b) },
                        else_branch = e () => (float[N, 3] q) { q = Identity(x) }>
            z = Constant <value_floats = [1.0, 2.0]> ()
        }
        <domain: "local", opset_import: ["" : 20]> F (u) => (v) { v = Relu(u) }
        """
    )


def with_external_data():
    """Weights in ``m.data``: with offset and length, without, and shared."""
    model = helper.make_model(
        helper.make_graph(
            [node("Sum", "x a b c", "y")],
            "g",
            [value("x", [8, 8])],
            [value("y", [8, 8])],
        ),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20)],
    )
    for name, entries in {"a": {"offset": 0, "length": 256}, "b": {"offset": 256}, "c": {}}.items():
        tensor = model.graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=[8, 8])
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in {"location": DATA, **entries}.items():
            tensor.external_data.add(key=key, value=str(text))
    return model


def small_everything():
    """Every place a tensor can be in, with tensors small enough that most bytes are structure."""
    model = make_everything()
    from graphkit.graph.walk import tensors

    for tensor in tensors(model):
        array = numpy_helper.to_array(tensor)
        if array.size > 40:
            cut = array[:8, :8] if array.ndim == 2 else array[:64]
            typed = next((f for f in ("float_data", "double_data", "int64_data") if getattr(tensor, f)), None)
            small = numpy_helper.from_array(np.ascontiguousarray(cut), tensor.name)
            if typed:
                small.ClearField("raw_data")
                getattr(small, typed).extend(cut.ravel().tolist())
            tensor.CopyFrom(small)
    for sparse in (model.graph.sparse_initializer[0], model.graph.node[5].attribute[0].sparse_tensor):
        sparse.dims[:] = [8, 8]
    return model


def mutate(data, rng, others):
    """One to four changes of a random kind at random places."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        count = rng.choice((1, 1, 2, 5, 40))
        kind = rng.randrange(8)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            data[at:at] = rng.randbytes(count)
        elif kind == 3:
            del data[at : at + count]
        elif kind == 4:  # a length that says more, or less
            data[at : at + 1] = rng.choice(
                (b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\x80\x00", bytes([rng.randrange(128)]))
            )
        elif kind == 5:
            del data[at:]
        elif kind == 6:  # a piece of another model
            other = rng.choice(others)
            start = rng.randrange(len(other))
            data[at : at + rng.choice((0, count))] = other[start : start + rng.choice((4, 20, 200))]
        else:  # a piece of this one, again
            start = rng.randrange(len(data) or 1)
            data[at:at] = data[start : start + rng.choice((2, 8, 60))]
    return bytes(data)


ODD = {
    "int": (-1, 0, 1, 2, 3, 5, 8, 17, 255, 1 << 31, (1 << 63) - 1, -(1 << 63)),
    "float": (0.0, -1.0, float("nan"), float("inf")),
    "str": (
        "",
        "x",
        "y",
        "a",
        "local",
        "ai.onnx",
        "If",
        "Loop",
        "Constant",
        "\x00",
        "..",
        "ä" * 300,
        "-1",
        "9" * 30,
        DATA,
        "x/y",
    ),
    "bytes": (b"", b"\xff\xfe", bytes(4), bytes(300)),
}


def mutate_fields(data, rng):
    """One to three fields of a model changed, dropped, doubled or exchanged: what parses, and is wrong all the same."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        message, field = rng.choice(list(every_field(model)))
        if field.is_repeated:
            mutate_list(getattr(message, field.name), field, rng)
        elif field.message_type or rng.random() < 0.2:
            message.ClearField(field.name)
        elif field.enum_type:
            setattr(message, field.name, rng.choice(field.enum_type.values).number)
        else:
            assign(message, field, odd(getattr(message, field.name), rng))
    return model.SerializeToString()


def every_field(message):
    for field, held in message.ListFields():
        yield message, field
        if field.message_type:
            for inner in held if field.is_repeated else [held]:
                yield from every_field(inner)


def mutate_list(items, field, rng):
    at = rng.randrange(len(items))
    kind = rng.randrange(4)
    if kind == 0:
        del items[at]
    elif kind == 1:
        items.extend(items[at : at + 1] * (1 if field.message_type else rng.choice((1, 70))))
    elif kind == 2 and field.message_type:
        items[at].CopyFrom(rng.choice(list(items)))
    elif not field.message_type:
        with suppress(ValueError):  # a number that this field cannot hold
            items[at] = odd(items[at], rng)


def odd(value, rng):
    return rng.choice(ODD[type(value).__name__])


def assign(message, field, value):
    with suppress(ValueError):
        setattr(message, field.name, value)


def use(path, out):
    """Load, look at everything, cut nothing away, save; the two ways of saving in turns."""
    model = gk.load(path)
    gk.inspect(model)
    outputs = [output.name for output in model.proto.graph.output]
    part = gk.extract(model, outputs=outputs) if outputs else model
    for tensor in part.proto.graph.initializer:
        part.array_of(tensor)
    gk.save(part, out, external="out.data" if len(outputs) == 1 else None)


@pytest.fixture(scope="module")
def seeds():
    return [
        tiny().SerializeToString(),
        with_external_data().SerializeToString(),
        small_everything().SerializeToString(),
    ]


@pytest.mark.parametrize("threshold", [64, 4096], ids=["scanned", "parsed"])
def test_ten_thousand_mutants(quick_path, monkeypatch, seeds, threshold):
    """Half of them small files that are parsed whole, half of them scanned with tensors of 64 bytes left in the file."""
    rng = random.Random(threshold)
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(LocalFile, "threshold", threshold)
    if threshold < 4096:
        monkeypatch.setattr(load, "SMALL_FILE", 0)
    (quick_path / DATA).write_bytes(np.arange(192, dtype=np.float32).tobytes())
    source, out = quick_path / "m.onnx", quick_path / "out.onnx"
    survived = longest = 0
    for number in range(MUTANTS // 2):
        seed = seeds[number % len(seeds)]
        data = mutate(seed, rng, seeds) if number % 2 else mutate_fields(seed, rng)
        source.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", gk.GraphkitWarning)
                use(source, out)
            survived += 1
        except gk.GraphkitError as error:
            longest = max(longest, len(str(error)))
        except Exception as error:
            raise AssertionError(f"mutant {number}: {data.hex()}") from error
    assert MUTANTS // 10 < survived < MUTANTS // 2 - MUTANTS // 10
    assert longest < 1000
    left = {name for name in os.listdir(quick_path) if name not in (DATA, "m.onnx", "out.onnx", "out.data")}
    assert left == set()
