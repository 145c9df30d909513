"""Values whose elements are no JavaScript numbers: random keys, and certain 64-bit integers."""

from __future__ import annotations

from collections.abc import Sequence

from .index import Index
from .site import Site
from .trace import UnsupportedPrimitive
from .values import Value, View


class Keys(Value):
    """An array of random keys: the two 32-bit words of each, as two arrays."""

    def __init__(self, high: Value, low: Value):
        super().__init__(high.shape, "key")
        self.words = (high, low)


class Wide(Value):
    """64-bit integers that are no JavaScript numbers; a few operations know what to do with them.

    Args:
        shape: the shape.
        dtype: the dtype.
        refusal: what to raise when anything else wants an element.
    """

    def __init__(self, shape: Sequence[int], dtype: str, refusal: UnsupportedPrimitive):
        super().__init__(shape, dtype)
        self.refusal = refusal

    def at(self, index: Index, site: Site) -> str:
        """Not to be had."""
        raise self.refusal


class Bits64(Wide):
    """64 random bits an element: the high and the low word, as two arrays."""

    def __init__(self, high: Value, low: Value, refusal: UnsupportedPrimitive):
        super().__init__(high.shape, "uint64", refusal)
        self.words = (high, low)


class TopBits(View):
    """The top 52 of 64 random bits: integers below 2^52, so exact."""


class Mantissa(Wide):
    """The bits of a float64 in [1, 2), of which `bits` holds the 52 lowest."""

    def __init__(self, bits: Value, refusal: UnsupportedPrimitive):
        super().__init__(bits.shape, "uint64", refusal)
        self.bits = bits


class DoubleBits(Wide):
    """The bits of float64 numbers, as a 64-bit integer; only its sign can be used."""

    def __init__(self, value: Value, refusal: UnsupportedPrimitive):
        super().__init__(value.shape, "int64", refusal)
        self.value = value
