"""How different two numbers may be and still count as the same: by dtype and by what computed them."""

from __future__ import annotations

from dataclasses import dataclass

TORCH_TESTING = {
    "float64": (1e-7, 1e-7),
    "float32": (1.3e-6, 1e-5),
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
"""(rtol, atol) of ``torch.testing.assert_close`` by dtype (torch 2.13, torch/testing/_comparison.py)."""

SMALLEST_SCALE = 1e-2
"""A tensor smaller than this, by its root mean square, is compared as if it had this magnitude."""

FEW = 64
"""Elements below which a slice may be small by accident, and the rounding of its larger neighbours large beside it."""

FACTORS = {"same": 1.0, "cpu": 10.0, "gpu": 20.0}
"""By how much the table is widened: two runs of ONNX Runtime on one provider; torch or another provider on the CPU side;
anything on a GPU. The table is meant for one operator; a whole network on other kernels adds up more rounding."""


@dataclass(frozen=True)
class Tolerance:
    """An element agrees when ``|actual - expected| <= atol * scale + rtol * |expected|``.

    Attributes:
        rtol: Relative part.
        atol: Absolute part.
        scaled: Whether ``atol`` counts in units of the expected tensor's magnitude (root mean square of what is
            not zero, outliers clipped, at least 0.01). An ``atol`` that the user gives is absolute: ``scale`` is 1 then.
        source: Where the numbers come from, for people.
    """

    rtol: float
    atol: float
    scaled: bool
    source: str

    @property
    def share(self) -> float:
        """The root mean square of an output's errors may be at most this share of that of its numbers.

        Ten times what the tolerance lets pass where ``scale`` is the output's own magnitude; numbers that are all lost
        are never near enough.
        """
        return min(0.5, 10 * (self.atol + self.rtol))


@dataclass(frozen=True)
class Policy:
    """Gives the tolerance of each dtype.

    Attributes:
        between: A key of FACTORS.
        tf32: float32 products were rounded to the 10 bits of TF32 on the way.
        rtol: The user's own, for every dtype.
        atol: The user's own, for every dtype.
    """

    between: str = "cpu"
    tf32: bool = False
    rtol: float | None = None
    atol: float | None = None

    def tolerance(self, dtype: str) -> Tolerance:
        """The tolerance of a dtype by its name; integers, booleans and strings must agree exactly.

        16-bit types get their rtol as atol, because 1e-5 is less than half a step of theirs near 1.
        """
        row = TORCH_TESTING.get(dtype)
        if row is None:
            return Tolerance(
                self.rtol or 0.0, self.atol or 0.0, scaled=False, source="exact" if self._own is None else self._own
            )
        rtol, atol = row
        what = f"torch.testing's {dtype}"
        if dtype in ("float16", "bfloat16"):
            atol = rtol
        if self.tf32 and dtype == "float32":
            rtol = atol = TORCH_TESTING["float16"][0]
            what = "TF32"
        factor = FACTORS[self.between]
        source = self._own or (what + (f" x {factor:g} ({self.between})" if factor != 1 else ""))
        return Tolerance(
            rtol * factor if self.rtol is None else self.rtol,
            atol * factor if self.atol is None else self.atol,
            scaled=self.atol is None,
            source=source,
        )

    @property
    def _own(self) -> str | None:
        given = [name for name, value in (("rtol", self.rtol), ("atol", self.atol)) if value is not None]
        return f"{' and '.join(given)} given" if given else None


def coarser(dtype: str, other: str) -> str:
    """Of two float dtypes the one with fewer bits of precision; the first where one of them is no float."""
    order = ["float64", "float32", "float16", "bfloat16"]
    if dtype not in order or other not in order:
        return dtype
    return order[max(order.index(dtype), order.index(other))]
