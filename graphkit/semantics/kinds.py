"""Kinds of operators of ai.onnx: what each kind does with its inputs, said once.

Which inputs decide the shape of a result is in ``shape_inputs``; which operators go element by element in ``elementwise``.
"""

from __future__ import annotations

import onnx

DRAWS = frozenset("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split())
"""Operators that draw random numbers."""

MAY_DRAW = DRAWS | {"Dropout"}
"""Operators that may draw random numbers: Dropout does where it is told to train."""

LOOPS = ("Loop", "Scan")
"""Operators that run a body once a turn, and carry values from a turn into the next."""

CONTROL_FLOW = ("If", *LOOPS)
"""Operators with bodies whose inputs, outputs and turns are known here."""

SHAPE_ONLY = ("Shape", "Size")
"""Operators whose result depends on the shape of their input and not on its values."""

REGROUPS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
"""Operators that give the elements of their first input in the same order and another shape."""

SAME_NUMBERS = ("Identity", "Cast", *REGROUPS)
"""Operators that give the numbers of their first input in the same order, in whatever shape or type."""

SELECTS = frozenset(
    """Compress ConcatFromSequence DepthToSpace Expand Flatten Gather GatherElements GatherND GlobalMaxPool Identity
    MaxPool MaxRoiPool ReduceMax ReduceMin Reshape ReverseSequence SequenceAt SequenceErase Slice SpaceToDepth Split
    SplitToSequence Squeeze Tile TopK Transpose Unique Unsqueeze""".split()
)
"""Operators whose first output holds numbers of their first input and no others."""

RANKING = ("TopK", "ArgMax", "ArgMin")
"""Operators that give places in the order of their numbers: which of equal ones comes first decides."""

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that sum products with a weight, their second input."""

POOLS = ("AveragePool", "LpPool", "MaxPool")
"""Operators that make one number of each window."""

GLOBAL_POOLS = tuple(f"Global{kind}" for kind in POOLS)
"""Operators that make one number of each channel, whatever its size."""

SOFTMAXES = ("Hardmax", "LogSoftmax", "Softmax")
"""Operators that compare the numbers along an axis, before version 13 those of all axes from theirs on."""

NORMS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")
"""Operators that scale numbers by their spread, and then by weights; the result has the shape of their first input."""

RESIZERS = ("Resize", "Upsample")
"""Operators that make a picture larger or smaller: Resize, and what it was called before version 10."""

RECURRENT = ("GRU", "LSTM", "RNN")
"""Recurrent layers, which share their inputs and outputs (but for the cell of LSTM)."""

REDUCTIONS = tuple(f"Reduce{kind}" for kind in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split())
"""Reductions over axes, which were attributes and became the second input (ReduceSum-13, the others in version 18)."""

MIXES = frozenset(
    (
        *(*PRODUCTS, *RECURRENT, *POOLS, *GLOBAL_POOLS, *SOFTMAXES, *NORMS, *REDUCTIONS, *RANKING, *RESIZERS, *LOOPS),
        *("Einsum", "Attention", "CumSum", "Gather", "Slice", "Concat", "Pad"),
    )
)
"""Operators that may compute across the places of an axis."""


def draws(node: onnx.NodeProto) -> bool:
    """Whether a node draws random numbers. Dropout does where ``training_mode`` (its third input since Dropout-12) is
    given, which may say that it does not.
    """
    if node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type in DRAWS or (node.op_type == "Dropout" and any(node.input[2:]))
