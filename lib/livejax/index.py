"""Integer index arithmetic, done while compiling.

An array element is read at an index such as ``2*i + 3`` where ``i`` is a loop variable of the
emitted program. Layout operations (transpose, slice, reshape, ...) only rewrite these indices, so
they cost nothing at run time. `Ix` is an affine form, a constant plus multiples of variables of
known range; knowing the range lets `divide` split ``2*i + 1`` (i below 5, divided by 2) into the
quotient ``i`` and the remainder ``1`` exactly, which is what a reshape needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Var:
    """A nonnegative integer variable of the emitted program, less than `extent`."""

    name: str
    extent: int


@dataclass(frozen=True)
class Ix:
    """The affine form ``const + sum(coefficient * variable)``."""

    const: int = 0
    terms: tuple[tuple[Var, int], ...] = ()

    @staticmethod
    def of(value: Ix | Var | int) -> Ix:
        """Turns a variable or an integer into an affine form."""
        if isinstance(value, Ix):
            return value
        if isinstance(value, Var):
            return Ix(0, ((value, 1),))
        return Ix(int(value))

    @property
    def is_const(self) -> bool:
        """Whether the index is a known integer."""
        return not self.terms

    def __add__(self, other: Ix | Var | int) -> Ix:
        """Sum of two affine forms."""
        other = Ix.of(other)
        terms = dict(self.terms)
        for var, coefficient in other.terms:
            terms[var] = terms.get(var, 0) + coefficient
        kept = tuple((v, c) for v, c in sorted(terms.items()) if c != 0)
        return Ix(self.const + other.const, kept)

    def __mul__(self, factor: int) -> Ix:
        """Product with a known integer."""
        if factor == 0:
            return Ix()
        return Ix(self.const * factor, tuple((v, c * factor) for v, c in self.terms))

    def divide(self, divisor: int) -> tuple[Ix, Ix] | None:
        """Quotient and remainder (in ``[0, divisor)``) if both are affine, else None."""
        quotient, remainder = Ix(self.const // divisor), Ix(self.const % divisor)
        low = high = remainder.const
        for var, coefficient in self.terms:
            if coefficient % divisor == 0:
                quotient = quotient + Ix(0, ((var, coefficient // divisor),))
            else:
                remainder = remainder + Ix(0, ((var, coefficient),))
                low += min(0, coefficient * (var.extent - 1))
                high += max(0, coefficient * (var.extent - 1))
        return (quotient, remainder) if 0 <= low and high < divisor else None

    def js(self) -> str:
        """The JavaScript text, without parentheses around it."""
        text = ""
        for var, coefficient in self.terms:
            sign = "-" if coefficient < 0 else "+" if text else ""
            times = "" if abs(coefficient) == 1 else f"{abs(coefficient)}*"
            text += f"{sign}{times}{var.name}"
        if not text:
            return str(self.const)
        return text if self.const == 0 else f"{text}{self.const:+d}"


Index = tuple[Ix, ...]


def flatten(index: Sequence[Ix], shape: Sequence[int]) -> Ix:
    """Row-major position of `index` in an array of the given shape."""
    flat = Ix()
    for i, extent in zip(index, shape, strict=True):
        flat = flat * extent + i
    return flat


def unflatten(flat: Ix, shape: Sequence[int]) -> Index | None:
    """Inverse of `flatten`, or None where it is not affine."""
    index: list[Ix] = []
    for extent in reversed(shape[1:]):
        split = flat.divide(extent)
        if split is None:
            return None
        flat, remainder = split
        index.append(remainder)
    return (flat, *reversed(index)) if shape else ()


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides of an array of the given shape."""
    out, step = [], 1
    for extent in reversed(shape):
        out.append(step)
        step *= extent
    return tuple(reversed(out))
