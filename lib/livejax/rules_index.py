"""Reads and writes at computed positions: dynamic slices, gather, scatter.

A start index is clamped (or tested) once and becomes a variable of known range, so the reads and
writes themselves are ordinary affine ones. Where each result element receives at most one update,
writes are done the other way round: each element asks whether the update meets it. That keeps them
in the loop of their operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from jax.lax import GatherScatterMode

from .index import Index, Ix, Var
from .lower import Lowering, Op, rule
from .rules_elementwise import read
from .rules_reduce import step_writer
from .site import Site, is_literal
from .values import Value
from .writer import is_float

CLAMPED = (GatherScatterMode.CLIP, GatherScatterMode.PROMISE_IN_BOUNDS)


def clamped(site: Site, start: str, last: int) -> Ix:
    """The start index, brought into ``[0, last]``."""
    if is_literal(start):
        return Ix(min(max(int(start.strip("()")), 0), last))
    if last == 0:
        return Ix()
    return Ix.of(Var(site.let(f"Math.min(Math.max({start},0),{last})"), last + 1))


def named(site: Site, start: str, last: int) -> Ix:
    """The start index as it is; it must be tested to be in ``[0, last]``."""
    if is_literal(start):
        return Ix(int(start.strip("()")))
    return Ix.of(Var(site.let(start), last + 1))


def in_range(start: Ix, last: int) -> list[str]:
    """Conditions for an index to be in ``[0, last]``; ``["false"]`` if it is known not to be."""
    if start.is_const:
        return [] if 0 <= start.const <= last else ["false"]
    return [f"{start.js()}>=0", f"{start.js()}<={last}"]


def meets(index: Ix, start: Ix, size: int) -> list[str]:
    """Conditions for an index to be in a window that begins at `start`."""
    offset = index + start * -1
    if offset.is_const:
        return [] if 0 <= offset.const < size else ["false"]
    if size == 1:
        return [f"({index.js()})===({start.js()})"]
    return [f"({offset.js()})>=0", f"({offset.js()})<{size}"]


def choose(conditions: Sequence[str], then: Callable[[], str], otherwise: str) -> str:
    """A conditional expression."""
    if "false" in conditions:
        return otherwise
    return f"({'&&'.join(conditions)}?{then()}:{otherwise})" if conditions else then()


@rule("dynamic_slice")
def _dynamic_slice(lowering: Lowering, op: Op) -> Sequence[Value]:
    value, *starts = op.inputs
    sizes = op.out.shape
    if len(starts) != len(sizes):
        raise op.refuse("dynamic shapes")

    def element(index: Index, site: Site) -> str:
        where = []
        for i, start, extent, size in zip(index, starts, value.shape, sizes, strict=True):
            where.append(i + clamped(site, start.at((), site), extent - size))
        return value.at(tuple(where), site)

    return [
        lowering.compute(sizes, op.out.dtype, op.inputs, element, normal=value.normal),
    ]


@rule("dynamic_update_slice")
def _dynamic_update_slice(lowering: Lowering, op: Op) -> Sequence[Value]:
    value, update, *starts = op.inputs

    def element(index: Index, site: Site) -> str:
        conditions: list[str] = []
        offsets: list[Ix] = []
        for i, start, extent, size in zip(index, starts, value.shape, update.shape, strict=True):
            first = clamped(site, start.at((), site), extent - size)
            conditions += meets(i, first, size) if size < extent else []
            offsets.append(i + first * -1 if size > 1 else Ix())
        return choose(conditions, lambda: update.at(tuple(offsets), site), value.at(index, site))

    normal = value.normal and update.normal
    if update.size == 0:
        return [value]
    return [lowering.compute(op.out.shape, op.out.dtype, op.inputs, element, normal=normal)]


@rule("gather")
def _gather(lowering: Lowering, op: Op) -> Sequence[Value]:
    value, indices = op.inputs
    numbers, mode = op.params["dimension_numbers"], op.params["mode"]
    sizes = [int(n) for n in op.params["slice_sizes"]]
    offset_dims = [int(d) for d in numbers.offset_dims]
    collapsed = [int(d) for d in numbers.collapsed_slice_dims]
    start_map = [int(d) for d in numbers.start_index_map]
    batching = [int(d) for d in numbers.operand_batching_dims]
    index_batching = [int(d) for d in numbers.start_indices_batching_dims]
    if mode not in (*CLAMPED, GatherScatterMode.FILL_OR_DROP):
        raise op.refuse(f"mode={mode}")
    window = [d for d in range(len(value.shape)) if d not in (*collapsed, *batching)]

    def element(index: Index, site: Site) -> str:
        batch = [i for d, i in enumerate(index) if d not in offset_dims]
        where = [Ix()] * len(value.shape)
        conditions: list[str] = []
        for d, place in zip(batching, index_batching, strict=True):
            where[d] = batch[place]
        for k, d in enumerate(start_map):
            last = value.shape[d] - sizes[d]
            start = indices.at((*batch, Ix(k)), site)
            if mode in CLAMPED:
                where[d] = clamped(site, start, last)
            else:
                where[d] = named(site, start, last)
                conditions += in_range(where[d], last)
        for d, out_axis in zip(window, offset_dims, strict=True):
            where[d] = where[d] + index[out_axis]
        if not conditions:
            return value.at(tuple(where), site)
        fill = fill_value(op.params["fill_value"], op.out.dtype)
        return choose(conditions, lambda: value.at(tuple(where), site), fill)

    return [lowering.compute(op.out.shape, op.out.dtype, op.inputs, element, normal=value.normal)]


def fill_value(given: object, dtype: str) -> str:
    """What reads out of bounds give: NaN, or an extreme integer."""
    if given is not None:
        number = np.asarray(given).item()
        return "NaN" if number != number else f"({number!r})".replace("inf", "Infinity")
    if is_float(dtype):
        return "NaN"
    if dtype == "bool":
        return "true"
    info = np.iinfo(dtype)
    return f"({info.min if dtype.startswith('int') else info.max})"


SCATTERS = {
    "scatter": None,
    "scatter-add": "add",
    "scatter-sub": "sub",
    "scatter-mul": "mul",
    "scatter-min": "min",
    "scatter-max": "max",
}


@rule(*SCATTERS)
def _scatter(lowering: Lowering, op: Op) -> Sequence[Value]:
    value, indices, updates = op.inputs
    numbers, mode = op.params["dimension_numbers"], op.params["mode"]
    window_dims = [int(d) for d in numbers.update_window_dims]
    inserted = [int(d) for d in numbers.inserted_window_dims]
    scatter_map = [int(d) for d in numbers.scatter_dims_to_operand_dims]
    batching = [int(d) for d in numbers.operand_batching_dims]
    index_batching = [int(d) for d in numbers.scatter_indices_batching_dims]
    if mode not in (*CLAMPED, GatherScatterMode.FILL_OR_DROP):
        raise op.refuse(f"mode={mode}")
    body = op.params.get("update_jaxpr")
    if op.name == "scatter" and body is not None:
        body = getattr(body, "jaxpr", body)
        if body.eqns or body.outvars[0] is not body.invars[1]:
            raise op.refuse("an update function of its own, as of x.at[i].apply")
    name = SCATTERS[op.name]
    step = step_writer(lowering, op, name) if name else lambda old, new: new
    flush = name is not None
    # Operand axes that the window covers, with its size along each operand axis.
    window = [d for d in range(len(value.shape)) if d not in (*inserted, *batching)]
    sizes = [1] * len(value.shape)
    for d, axis in zip(window, window_dims, strict=True):
        sizes[d] = updates.shape[axis]
    outer_dims = [d for d in range(len(updates.shape)) if d not in window_dims]

    def starts(batch: Sequence[Ix], site: Site) -> tuple[list[Ix], list[str]]:
        """First operand index of a window, and conditions for it to lie inside."""
        first = [Ix()] * len(value.shape)
        conditions: list[str] = []
        for d, place in zip(batching, index_batching, strict=True):
            first[d] = batch[place]
        for k, d in enumerate(scatter_map):
            last = value.shape[d] - sizes[d]
            start = indices.at((*batch, Ix(k)), site)
            if mode is GatherScatterMode.CLIP:
                first[d] = clamped(site, start, last)
            else:
                first[d] = named(site, start, last)
                conditions += in_range(first[d], last)
        return first, conditions

    def update_index(batch: Sequence[Ix], offsets: Sequence[Ix]) -> Index:
        index = [Ix()] * len(updates.shape)
        for axis, i in zip(outer_dims, batch, strict=True):
            index[axis] = i
        for axis, d in zip(window_dims, window, strict=True):
            index[axis] = offsets[d]
        return tuple(index)

    free = [n for place, n in enumerate(indices.shape[:-1]) if place not in index_batching]
    if prod(free) == 1:

        def element(index: Index, site: Site) -> str:
            batch = [Ix()] * (len(indices.shape) - 1)
            for d, place in zip(batching, index_batching, strict=True):
                batch[place] = index[d]
            first, conditions = starts(batch, site)
            offsets = [Ix()] * len(value.shape)
            for d in range(len(value.shape)):
                if d in batching:
                    continue
                conditions = conditions + meets(index[d], first[d], sizes[d])
                offsets[d] = index[d] + first[d] * -1 if sizes[d] > 1 else Ix()
            old = site.let(read(lowering, value, index, site, flush))
            where = update_index(batch, offsets)
            return choose(
                list(dict.fromkeys(conditions)),
                lambda: step(old, read(lowering, updates, where, site, flush)),
                old,
            )

        normal = flush or (value.normal and updates.normal)
        return [lowering.compute(op.out.shape, op.out.dtype, op.inputs, element, normal=normal)]

    target = lowering.new_memory(op.out.shape, op.out.dtype)
    block, _ = lowering.home(op.inputs, None)
    lowering.copy(value, target, block)

    def put(index: Index, site: Site) -> None:
        batch = [index[axis] for axis in outer_dims]
        first, conditions = starts(batch, site)
        where = list(first)
        for axis, d in zip(window_dims, window, strict=True):
            where[d] = where[d] + index[axis]
        place = target.read(tuple(where))
        new = step(place, read(lowering, updates, index, site, flush))
        site.assign_if(conditions, place, new)

    lowering.sweep(updates.shape, [indices, updates], put, target, block=block)
    return [target]
