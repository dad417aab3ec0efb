"""Kinds of operators of ai.onnx: what each kind does with its inputs, said once.

Which inputs decide the shape of a result is in ``shape_inputs``; which operators go element by element in ``elementwise``.
"""

from __future__ import annotations

import onnx

DRAWS = frozenset("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split())
"""Operators that draw random numbers."""

MAY_DRAW = DRAWS | {"Dropout"}
"""Operators that may draw random numbers: Dropout does where it is told to train."""

CONTROL_FLOW = ("If", "Loop", "Scan")
"""Operators with bodies whose inputs, outputs and turns are known here."""

SHAPE_ONLY = ("Shape", "Size")
"""Operators whose result depends on the shape of their input and not on its values."""

REGROUPS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
"""Operators that give the elements of their first input in the same order and another shape."""

RECURRENT = ("GRU", "LSTM", "RNN")
"""Recurrent layers, which share their inputs and outputs (but for the cell of LSTM)."""

REDUCTIONS = tuple(f"Reduce{kind}" for kind in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split())
"""Reductions over axes, which were attributes and became the second input (ReduceSum-13, the others in version 18)."""


def draws(node: onnx.NodeProto) -> bool:
    """Whether a node draws random numbers. Dropout does where ``training_mode`` (its third input since Dropout-12) is
    given, which may say that it does not.
    """
    if node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type in DRAWS or (node.op_type == "Dropout" and any(node.input[2:]))
