"""JAX's default random numbers (threefry), bit for bit.

A key is two 32-bit words. Bits come from hashing a counter with the key, so that every element of a
draw is computed by itself. 64 random bits do not fit a JavaScript number; but a float64 draw only
uses the top 52 of them as its mantissa, and that much is exact (`Bits64`, `Mantissa`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np

from .index import Index, Ix, flatten
from .lower import Lowering, Op, rule
from .rules_elementwise import spread
from .site import Site
from .values import Const, Value, View
from .wide import Bits64, Keys, Mantissa, TopBits


def hashed(
    lowering: Lowering,
    op: Op,
    keys: Keys,
    shape: tuple[int, ...],
    counter: Value | None = None,
) -> tuple[Value, Value]:
    """The two words that hashing the counters with the keys gives.

    Args:
        lowering: the lowering.
        op: the operation.
        keys: the keys; their axes come first in the result.
        shape: axes that follow; the counter is the position along these.
        counter: a counter for each key instead.
    """
    if not getattr(jax.config, "jax_threefry_partitionable"):  # noqa: B009
        raise op.refuse("jax_threefry_partitionable is off")
    rank = len(keys.shape)
    lead = counter.shape if counter is not None and not rank else keys.shape
    sources = [*keys.words, *([counter] if counter is not None else [])]

    def word(number: int) -> Value:
        def element(index: Index, site: Site) -> str:
            high, low = (w.at(index[:rank], site) for w in keys.words)
            if counter is None:
                count = flatten(index[rank:], shape).js()
            else:
                count = f"{counter.at(index if counter.shape else (), site)}>>>0"
            call = lowering.program.call("threefry2x32", high, low, "0", count)
            return f"{site.let(call)}[{number}]"

        return lowering.compute((*lead, *shape), "uint32", sources, element)

    return word(0), word(1)


@rule("random_bits")
def _random_bits(lowering: Lowering, op: Op) -> Sequence[Value]:
    shape = tuple(op.params["shape"])
    width = op.params["bit_width"]
    high, low = hashed(lowering, op, op.inputs[0], shape)
    if width == 64:
        return [Bits64(high, low, op.refuse(WIDE))]
    mixed = lowering.do("xor", [high, low], op.out.shape, "uint32")
    if width == 32:
        return [mixed]
    kept = Const(np.asarray(2**width - 1, np.uint32), "uint32", lowering.program)
    cut = lowering.do("and", [mixed, kept], op.out.shape, "uint32")
    return [lowering.do("convert_element_type", [cut], op.out.shape, op.out.dtype)]


@rule("random_split")
def _random_split(lowering: Lowering, op: Op) -> Sequence[Value]:
    return [Keys(*hashed(lowering, op, op.inputs[0], tuple(op.params["shape"])))]


@rule("random_fold_in")
def _random_fold_in(lowering: Lowering, op: Op) -> Sequence[Value]:
    keys, data = op.inputs
    if data.shape and keys.shape and data.shape != keys.shape:
        raise op.refuse(f"keys of shape {keys.shape} with data of shape {data.shape}")
    return [Keys(*hashed(lowering, op, keys, (), data))]


@rule("random_seed")
def _random_seed(lowering: Lowering, op: Op) -> Sequence[Value]:
    """The seed's high and low words; a seed of a 32-bit type has no high one."""
    (seed,) = op.inputs
    wide = seed.dtype in ("int64", "uint64")

    def high(index: Index, site: Site) -> str:
        return f"(Math.floor({seed.at(index, site)}/4294967296)>>>0)" if wide else "0"

    def low(index: Index, site: Site) -> str:
        return f"({seed.at(index, site)}>>>0)"

    words = [lowering.compute(op.out.shape, "uint32", [seed], word) for word in (high, low)]
    return [Keys(*words)]


@rule("random_wrap")
def _random_wrap(lowering: Lowering, op: Op) -> Sequence[Value]:
    (data,) = op.inputs
    return [
        Keys(
            lowering.view(data, op.out.shape, lambda i: (*i, Ix(0))),
            lowering.view(data, op.out.shape, lambda i: (*i, Ix(1))),
        )
    ]


@rule("random_unwrap")
def _random_unwrap(lowering: Lowering, op: Op) -> Sequence[Value]:
    words = op.inputs[0].words

    def pick(index: Index, site: Site) -> str:
        return words[index[-1].const].at(index[:-1], site)

    if any(n > 4 for n in op.out.shape):
        stacked = replace(
            op, name="stack", inputs=list(words), params={"axis": len(words[0].shape)}
        )
        return lowering.apply(stacked)
    return [View(op.out.shape, "uint32", words, pick)]


@rule("threefry2x32")
def _threefry(lowering: Lowering, op: Op) -> Sequence[Value]:
    def word(number: int) -> Value:
        def element(index: Index, site: Site) -> str:
            words = [v.at(index, site) for v in op.inputs]
            return f"{site.let(lowering.program.call('threefry2x32', *words))}[{number}]"

        return lowering.compute(op.outputs[0].shape, "uint32", op.inputs, element)

    return [word(0), word(1)]


WIDE = "64 random bits do not fit a number; draw with dtype=jnp.float32 or jnp.int32"
ONE = 0x3FF << 52
"""The bits of 1.0, to which a draw's 52 random bits are added as the mantissa."""


@rule("64 random bits")
def _wide_random(lowering: Lowering, op: Op) -> Sequence[Value]:
    """The operations that turn 64 random bits into a float64 in [1, 2), or a bounded integer."""
    value, *others = op.inputs
    known = [v for v in others if isinstance(v, Const) and v.size == 1]
    constant = int(known[0].array.reshape(-1)[0]) if known else None
    if isinstance(value, Bits64) and op.name == "shift_right_logical" and constant == 12:
        high, low = value.words

        def element(index: Index, site: Site) -> str:
            return f"({high.at(index, site)}*1048576+({low.at(index, site)}>>>12))"

        top = lowering.compute(op.out.shape, "uint64", value.words, element)
        return [TopBits(op.out.shape, "uint64", [top], top.at)]
    if isinstance(value, Bits64) and op.name == "rem":
        (divisor,) = others

        def rest(index: Index, site: Site) -> str:
            words = [w.at(index, site) for w in value.words]
            by = divisor.at(spread(index, divisor.shape), site)
            return lowering.program.call("remainder64", *words, by)

        return [lowering.compute(op.out.shape, "uint64", [*value.words, divisor], rest)]
    if isinstance(value, TopBits) and op.name == "or" and constant == ONE:
        return [Mantissa(value, op.refuse(WIDE))]
    if isinstance(value, Mantissa) and op.name == "bitcast_convert_type":
        bits = value.bits

        def one_to_two(index: Index, site: Site) -> str:
            return f"(1+{bits.at(index, site)}*{2.0**-52!r})"

        return [lowering.compute(op.out.shape, "float64", [bits], one_to_two)]
    raise op.refuse(WIDE)
