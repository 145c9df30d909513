"""Rules for elementwise operations.

Most are a JavaScript expression from the tables in `expressions` and `expressions_bits`; those with
parameters of their own have a rule here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from . import expressions_bits  # noqa: F401 (fills the tables)
from .expressions import COMPARISONS, product, quotient
from .index import Index, Ix
from .lower import Lowering, Op, rule
from .site import Site
from .values import Const, Member, Value
from .wide import DoubleBits
from .writer import ARITHMETIC, BITS, BITWISE, Write, Writer, is_float

REUSES = {
    *("square", "clamp", "shift_left", "shift_right_arithmetic", "shift_right_logical"),
    *("select_n",),
}
"""Operations whose expression mentions an operand more than once."""


def spread(index: Index, shape: Sequence[int]) -> Index:
    """The operand's index: scalars and axes of extent 1 are broadcast by elementwise primitives."""
    if not shape:
        return ()
    return tuple(Ix() if n == 1 else i for i, n in zip(index, shape, strict=True))


def elementwise(
    lowering: Lowering, op: Op, combine: Callable[[Site, list[str]], str], flush: bool = True
) -> list[Member]:
    """Computes one element of the result from one element of each operand."""
    for value in op.inputs:
        if value.shape and len(value.shape) != len(op.out.shape):
            raise op.refuse(f"operand of shape {value.shape} for a result of {op.out.shape}")

    def element(index: Index, site: Site) -> str:
        operands = [read(lowering, v, spread(index, v.shape), site, flush) for v in op.inputs]
        return combine(site, operands)

    normal = flush or all(v.normal for v in op.inputs if v.dtype == "float32")
    return [lowering.compute(op.out.shape, op.out.dtype, op.inputs, element, normal=normal)]


def read(lowering: Lowering, value: Value, index: Index, site: Site, flush: bool = True) -> str:
    """One operand; a float32 that may be subnormal is flushed."""
    text = value.at(index, site)
    if flush and value.dtype == "float32" and not value.normal:
        return site.let(lowering.program.call("flush32", text))
    return text


def define(name: str, write: Write, flush: bool) -> None:
    """Makes a rule of a way to write an expression."""

    @rule(name)
    def apply(lowering: Lowering, op: Op) -> list[Member]:
        # Named after the operands, so that comparisons know what they compare.
        dtype = op.inputs[0].dtype if name in COMPARISONS else op.out.dtype
        writer = Writer(lowering, op, dtype)

        def combine(site: Site, operands: list[str]) -> str:
            names = [site.let(o) for o in operands] if name in REUSES else operands
            return write(writer, *names)

        return elementwise(lowering, op, combine, flush)


for _name, _write in ARITHMETIC.items():
    define(_name, _write, flush=True)
for _name, _write in BITWISE.items():
    define(_name, _write, flush=False)


# -- operations that need their parameters --------------------------------------------------------


@rule("integer_pow")
def _integer_pow(lowering: Lowering, op: Op) -> Sequence[Value]:
    """By repeated squaring, as JAX does."""
    writer = Writer(lowering, op, op.out.dtype)
    exponent = op.params["y"]

    def combine(site: Site, operands: list[str]) -> str:
        base, rest, result = site.let(operands[0]), abs(exponent), ""
        while rest:
            if rest & 1:
                result = site.let(product(writer, result, base)) if result else base
            rest >>= 1
            if rest:
                base = site.let(product(writer, base, base))
        result = result or "1"
        return quotient(writer, "1", result) if exponent < 0 else result

    return elementwise(lowering, op, combine)


@rule("convert_element_type")
def _convert(lowering: Lowering, op: Op) -> Sequence[Value]:
    source, target = op.inputs[0].dtype, op.out.dtype
    if source == target:
        return op.inputs
    writer = Writer(lowering, op, target)

    def combine(_: Site, operands: list[str]) -> str:
        (a,) = operands
        if target == "bool":
            return f"({a}!=0)"
        if source == "bool":
            return f"({a}?1:0)"
        if target == "float64":
            return a
        if target == "float32" or not is_float(source):
            return writer.wrap(a)
        info = np.iinfo(target)
        return writer.call("saturate", a, str(float(info.min)), str(float(info.max)))

    return elementwise(lowering, op, combine)


@rule("reduce_precision")
def _reduce_precision(lowering: Lowering, op: Op) -> Sequence[Value]:
    bits = (op.params["exponent_bits"], op.params["mantissa_bits"])
    if bits == (11, 52) or (bits == (8, 23) and op.out.dtype == "float32"):
        return op.inputs
    if bits != (8, 23):
        raise op.refuse(f"exponent_bits={bits[0]}, mantissa_bits={bits[1]}")
    lowering.program.runtime.add("flush32")
    return elementwise(lowering, op, lambda _, operands: f"flush32({operands[0]})")


@rule("bits of a float64")
def _double_bits(lowering: Lowering, op: Op) -> Sequence[Value]:
    """The sign bit is all that can be had of 64 bits (`jnp.signbit`, `jnp.copysign`)."""
    bits, *others = op.inputs
    by = others[0] if others else None
    right = op.name in ("shift_right_arithmetic", "shift_right_logical")
    if not (right and isinstance(bits, DoubleBits) and isinstance(by, Const) and by.size == 1):
        raise op.refuse("the bits of a float64")
    if by.array.reshape(-1)[0] != 63:
        raise op.refuse("the bits of a float64")
    set_bit = "-1" if op.name == "shift_right_arithmetic" else "1"

    def element(index: Index, site: Site) -> str:
        x = site.let(bits.value.at(index, site))
        return f"({x}<0||Object.is({x},-0)?{set_bit}:0)"

    return [lowering.compute(op.out.shape, "int64", [bits.value], element)]


@rule("bitcast_convert_type")
def _bitcast(lowering: Lowering, op: Op) -> Sequence[Value]:
    source, target = op.inputs[0].dtype, op.out.dtype
    if source == target:
        return op.inputs
    if (source, target) == ("float64", "int64"):
        return [DoubleBits(op.inputs[0], op.refuse("the bits of a float64"))]
    if BITS.get(source, 32) != 32 or BITS.get(target, 32) != 32 or "64" in source + target:
        raise op.refuse(f"from {source} to {target}; only 32-bit types are exact")
    writer = Writer(lowering, op, target)

    def combine(_: Site, operands: list[str]) -> str:
        (a,) = operands
        if source == "float32":
            return writer.wrap(writer.call("bitsOfFloat32", a))
        if target == "float32":
            return writer.call("float32OfBits", a)
        return writer.wrap(a)

    return elementwise(lowering, op, combine, flush=False)


@rule(
    "copy",
    "copy_p",
    "stop_gradient",
    "pvary",
    "name",
    "device_put",
    "random_clone",
    "pin",
    "unpin",
    "optimization_barrier",
    "tie",
    "reshard",
    "sharding_constraint",
    "layout_constraint",
)
def _same(_: Lowering, op: Op) -> Sequence[Value]:
    if len(op.inputs) != len(op.outputs):
        raise op.refuse(f"{len(op.inputs)} operands for {len(op.outputs)} results")
    return op.inputs
