"""Reductions, cumulative operations, arg-reductions and `dot_general`.

Order of summation: along the reduced axes in row-major order, one element after the other, starting
from the neutral element. (XLA may use another order; results then agree to the rounding of the
sum.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import prod

import numpy as np

from .index import Index, Ix
from .lower import Lowering, Op, rule
from .rules_elementwise import read
from .schedule import SMALL
from .site import Site
from .values import Value
from .writer import ARITHMETIC, BITWISE, Writer, is_float

UNROLL = 64
"""A reduction is written out if that takes at most this many terms in one iteration."""


def fold(
    site: Site,
    extents: Sequence[int],
    start: str,
    combine: Callable[[str, Index], str],
    turns: int = 1,
) -> str:
    """Reduces over all indices below `extents`.

    Args:
        site: where to write.
        extents: extents of the reduced axes.
        start: the neutral element.
        combine: gives the new accumulator from the old one and an index.
        turns: how often this is written out in one iteration of the group.
    """
    if prod(extents) <= SMALL and prod(extents) * turns <= UNROLL:
        result = start
        for index in product(*(range(n) for n in extents)):
            result = site.let(combine(result, tuple(map(Ix, index))))
        return result
    result = site.mutable(start)

    def nest(axes: Sequence[int], index: Index) -> None:
        if not axes:
            site.assign(result, combine(result, index))
        elif axes[0] == 1:
            nest(axes[1:], (*index, Ix()))
        else:
            with site.loop(axes[0]) as k:
                nest(axes[1:], (*index, Ix.of(k)))

    nest(list(extents), ())
    return result


def turns(shape: Sequence[int]) -> int:
    """How many elements of an array of this shape are written out in one iteration."""
    size = 1
    for extent in reversed(shape):
        if size * extent > SMALL:
            break
        size *= extent
    return size


def lowest(dtype: str) -> str:
    """The neutral element of max."""
    if dtype == "bool":
        return "0"
    return "(-Infinity)" if is_float(dtype) else f"({np.iinfo(dtype).min})"


def highest(dtype: str) -> str:
    """The neutral element of min."""
    if dtype == "bool":
        return "1"
    return "Infinity" if is_float(dtype) else str(np.iinfo(dtype).max)


REDUCTIONS = {
    "reduce_sum": ("add", lambda dtype: "0"),
    "reduce_prod": ("mul", lambda dtype: "1"),
    "reduce_max": ("max", lowest),
    "reduce_min": ("min", highest),
    "reduce_and": ("and", lambda dtype: "1" if dtype == "bool" else "-1"),
    "reduce_or": ("or", lambda dtype: "0"),
    "reduce_xor": ("xor", lambda dtype: "0"),
}


def step_writer(lowering: Lowering, op: Op, name: str) -> Callable[[str, str], str]:
    """How to write one step of a reduction by the named elementwise operation."""
    writer = Writer(lowering, replace(op, name=name), op.inputs[0].dtype)
    write = ARITHMETIC.get(name) or BITWISE[name]
    return lambda a, b: write(writer, a, b)


@rule(*REDUCTIONS)
def _reduce(lowering: Lowering, op: Op) -> Sequence[Value]:
    value, dtype = op.inputs[0], op.inputs[0].dtype
    axes = [int(a) for a in op.params["axes"]]
    extents = [value.shape[a] for a in axes]
    name, neutral = REDUCTIONS[op.name]
    step = step_writer(lowering, op, name)
    if name in ("and", "xor") and dtype.startswith("uint"):
        raise op.refuse(f"not for dtype {dtype}")

    def element(index: Index, site: Site) -> str:
        def combine(acc: str, reduced: Index) -> str:
            return step(acc, read(lowering, value, insert(index, axes, reduced), site))

        return fold(site, extents, neutral(dtype), combine, turns(op.out.shape))

    return [lowering.compute(op.out.shape, dtype, op.inputs, element)]


def insert(index: Index, axes: Sequence[int], at_axes: Index) -> Index:
    """The index with entries for the reduced axes put back in."""
    given = dict(zip(axes, at_axes, strict=True))
    rest = iter(index)
    return tuple(given[a] if a in given else next(rest) for a in range(len(index) + len(axes)))


@rule("argmax", "argmin")
def _arg_reduce(lowering: Lowering, op: Op) -> Sequence[Value]:
    """First index of the largest (smallest) element; a NaN counts as such."""
    value = op.inputs[0]
    axes = [int(a) for a in op.params["axes"]]
    if len(axes) != 1:
        raise op.refuse(f"axes={axes}")
    sign = ">" if op.name == "argmax" else "<"

    def element(index: Index, site: Site) -> str:
        def get(k: Ix) -> str:
            return read(lowering, value, insert(index, axes, (k,)), site)

        best, where = site.mutable(f"+{get(Ix())}"), site.mutable("0")
        extent = value.shape[axes[0]]
        if extent > 1:
            with site.loop(extent - 1) as k:
                here = site.let(f"(+{get(Ix.of(k) + 1)})")
                better = f"({here}{sign}{best}||({here}!=={here}&&{best}==={best}))"
                # `where` first, as `better` reads the old best.
                site.assign(where, f"({better}?{(Ix.of(k) + 1).js()}:{where})")
                site.assign(best, f"({better}?{here}:{best})")
        return where

    return [lowering.compute(op.out.shape, op.out.dtype, op.inputs, element)]


CUMULATIVE = {"cumsum": "add", "cumprod": "mul", "cummax": "max", "cummin": "min"}
STARTS = {
    **{"cumsum": lambda dtype: "0", "cumprod": lambda dtype: "1"},
    **{"cummax": lowest, "cummin": highest, "cumlogsumexp": lowest},
}


@rule(*STARTS)
def _cumulate(lowering: Lowering, op: Op) -> Sequence[Value]:
    """Running reductions: one pass along the axis, from the end if `reverse`."""
    value, dtype = op.inputs[0], op.out.dtype
    axis, reverse = op.params["axis"], op.params["reverse"]
    extent = value.shape[axis]
    step: Callable[[str, str], str]
    if op.name == "cumlogsumexp":
        writer = Writer(lowering, op, dtype)

        def add_exp(a: str, b: str) -> str:
            return writer.wrap(writer.call("logAddExp", a, b))

        step = add_exp
    else:
        step = step_writer(lowering, op, CUMULATIVE[op.name])
    target = lowering.new_memory(op.out.shape, dtype, normal=True)

    def body(others: Index, site: Site) -> None:
        running = site.mutable(STARTS[op.name](dtype))
        with site.loop(extent) as k:
            along = Ix.of(k) * -1 + (extent - 1) if reverse else Ix.of(k)
            index = (*others[:axis], along, *others[axis:])
            site.assign(running, step(running, read(lowering, value, index, site)))
            site.assign(target.read(index), running)

    lowering.sweep((*value.shape[:axis], *value.shape[axis + 1 :]), op.inputs, body, target)
    return [target]


@rule("dot_general")
def _dot_general(lowering: Lowering, op: Op) -> Sequence[Value]:
    """Sum of products over the contracted axes; the result has batch, left and right axes."""
    left, right = op.inputs
    (left_sum, right_sum), (left_batch, right_batch) = op.params["dimension_numbers"]
    left_sum, right_sum = [int(a) for a in left_sum], [int(a) for a in right_sum]
    left_batch, right_batch = [int(a) for a in left_batch], [int(a) for a in right_batch]
    left_free = [a for a in range(len(left.shape)) if a not in (*left_sum, *left_batch)]
    right_free = [a for a in range(len(right.shape)) if a not in (*right_sum, *right_batch)]
    dtype = op.out.dtype
    if dtype == "bool" or not all(np.can_cast(v.dtype, dtype) for v in op.inputs):
        raise op.refuse(f"{left.dtype} times {right.dtype} into {dtype}")
    left, right = (lowering.do("convert_element_type", [v], v.shape, dtype) for v in (left, right))
    converted = replace(op, inputs=[left, right])
    add, times = (step_writer(lowering, converted, name) for name in ("add", "mul"))

    def element(index: Index, site: Site) -> str:
        batch = index[: len(left_batch)]
        rows = index[len(left_batch) : len(left_batch) + len(left_free)]
        columns = index[len(left_batch) + len(left_free) :]

        def combine(acc: str, contracted: Index) -> str:
            at_left = dict(zip(left_batch, batch, strict=True))
            at_left |= dict(zip(left_free, rows, strict=True))
            at_left |= dict(zip(left_sum, contracted, strict=True))
            at_right = dict(zip(right_batch, batch, strict=True))
            at_right |= dict(zip(right_free, columns, strict=True))
            at_right |= dict(zip(right_sum, contracted, strict=True))
            a = read(lowering, left, tuple(at_left[n] for n in range(len(left.shape))), site)
            b = read(lowering, right, tuple(at_right[n] for n in range(len(right.shape))), site)
            return add(acc, times(a, b))

        return fold(site, [left.shape[a] for a in left_sum], "0", combine, turns(op.out.shape))

    return [lowering.compute(op.out.shape, dtype, [left, right], element)]
