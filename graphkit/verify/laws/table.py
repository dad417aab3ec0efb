"""Operation -> what its law binds: the one table that a new operation adds a line to.

A binding function takes a ``Change`` (the step's decoded arguments, the model before, the model after) and gives the
``Binding`` that must hold. It says what should be there from the arguments and the model *before*; reading it off the model
after would prove nothing. It raises ``Unproved(why)`` where it cannot say, and ``Broken(why)`` where what it would bind is
not in the model after.

How to add one:

- An operation whose law is ``same`` and that keeps the names of inputs and outputs needs no line.
- An axis that is free now is a ``Freed``; a cast or transposed input is a ``Fed`` with ``convert``, an output likewise.
- Everything else: a function in the file of its law (``bound.py``, ``part.py``, ...), built from ``identity(change)`` with
  ``dataclasses.replace``, and a line in ``BINDINGS``.
"""

from __future__ import annotations

from collections.abc import Callable

from graphkit.operation import operation_of
from graphkit.verify.laws.binding import Binding, Change, Unproved
from graphkit.verify.laws.bound import dims, freeze, promote
from graphkit.verify.laws.close import precision, rewrite, simplify
from graphkit.verify.laws.interface import image, layout, retype
from graphkit.verify.laws.meant import edit, insert, remove, set_parts, tap
from graphkit.verify.laws.part import extract
from graphkit.verify.laws.replaced import define, replace
from graphkit.verify.laws.resized import resize
from graphkit.verify.laws.same import identity, rename, reorder

BINDINGS: dict[str, Callable[[Change], Binding]] = {
    "define": define,
    "dims": dims,
    "edit": edit,
    "extract": extract,
    "freeze": freeze,
    "image": image,
    "insert": insert,
    "layout": layout,
    "precision": precision,
    "promote": promote,
    "remove": remove,
    "rename": rename,
    "reorder": reorder,
    "replace": replace,
    "resize": resize,
    "retype": retype,
    "rewrite": rewrite,
    "set_parts": set_parts,
    "simplify": simplify,
    "tap": tap,
}
"""Operation -> its binding function."""


def binding_of(change: Change) -> Binding:
    """What must hold between the models before and after a step.

    Raises:
        Unproved: Nobody wrote down how the operation binds.
        Broken: The model after lacks what would be bound.
    """
    bind = BINDINGS.get(change.operation)
    if bind is not None:
        return bind(change)
    law = operation_of(change.operation).law
    if law == "same":
        return identity(change)
    raise Unproved(f"how {change.operation} binds the model after to the one before (law {law!r}) is not known")
