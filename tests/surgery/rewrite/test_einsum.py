"""einsum-to-matmul: every form of one or two operands gives the numbers that Einsum gives."""

import numpy as np
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

SIZES = dict(zip("abcdefg", (2, 3, 4, 5, 3, 2, 4), strict=True))


def net(equation, free="", dtype="float"):
    terms = equation.partition("->")[0].replace(" ", "").split(",")
    inputs = [
        f"{dtype}[{','.join(c if c in free else str(SIZES[c]) for c in term)}] x{i}" for i, term in enumerate(terms)
    ]
    names = ", ".join(f"x{i}" for i in range(len(terms)))
    model = parse(f'g ({", ".join(inputs)}) => ({dtype} y) {{ [sum] y = Einsum<equation = "{equation}">({names}) }}')
    model.graph.output[0].type.tensor_type.ClearField("shape")
    rng = np.random.default_rng(0)
    kind = np.float32 if dtype == "float" else np.int8
    return model, {f"x{i}": rng.standard_normal([SIZES[c] for c in term]).astype(kind) for i, term in enumerate(terms)}


@pytest.mark.parametrize(
    ("equation", "free"),
    [
        *(
            (equation, "")
            for equation in "ab,bc->ac abc,abd->acd ab,cb->ca abcd,abce->abde ab,ab-> ab,cd->abcd".split()
        ),
        *(
            (equation, "")
            for equation in "ab,ab->ab abcd,cdef->abef ab->ba abc->b ab,b->a abc,ad->bcd abc,bd->dac".split()
        ),
        ("ab , bc", ""),
        ("ab,bc->", ""),
        ("a->a", ""),
        ("abc,acd->abd", "abcd"),
        ("abcd,abde->abce", "ab"),
    ],
)
def test_the_numbers_stay(equation, free):
    model, feeds = net(equation, free)
    edited = gk.rewrite(model, "einsum-to-matmul")
    assert "Einsum" not in [node.op_type for node in edited.nodes]
    assert_same(run_ort(edited, feeds), run_ort(model, feeds), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "free", "dtype"),
    [
        ("ab,bc,cd->ad", "", "float"),
        ("aa->a", "", "float"),
        ("abcd,cdef->abef", "ab", "float"),
        ("ab,bc->ac", "", "int8"),
    ],
)
def test_what_cannot_be_said_stays(equation, free, dtype):
    model, _ = net(equation, free, dtype)
    edited = gk.rewrite(model, "einsum-to-matmul")
    assert [node.op_type for node in edited.nodes] == ["Einsum"]


def test_in_a_body_and_proved():
    model = parse(
        'g (bool c, float[2,3] a, float[3,4] b) => (float[2,4] y) { y = If(c) <then_branch = t () => (float[2,4] u) { u = Einsum<equation = "ij,jk->ik">(a, b) },'
        'else_branch = e () => (float[2,4] v) { w = Einsum<equation = "ij,jk->ki">(a, b) v = Transpose<perm = [1,0]>(w) }> }'
    )
    edited = gk.rewrite(model, "einsum-to-matmul")
    assert gk.prove(edited, model)
    assert edited.history[-1].notes[0].startswith("einsum-to-matmul: 2 rewritten")
