"""Layout operations: they move no data, they only change the index at which elements are read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from .index import Index, Ix, flatten
from .lower import Lowering, Op, rule
from .rules_elementwise import spread
from .site import Site
from .values import Joined, NeedsMemory, Value, View


@rule("broadcast_in_dim", "broadcast_to")
def _broadcast(lowering: Lowering, op: Op) -> Sequence[Value]:
    value, *dynamic = op.inputs
    if dynamic:
        raise op.refuse("dynamic shapes")
    rank = len(op.out.shape)
    first = rank - len(value.shape)
    axes = op.params.get("broadcast_dimensions", range(first, rank))

    def index(i: Index) -> Index:
        return spread(tuple(i[a] for a in axes), value.shape)

    return [lowering.view(value, op.out.shape, index)]


@rule("reshape")
def _reshape(lowering: Lowering, op: Op) -> Sequence[Value]:
    op.expect(dimensions=None)
    value = op.inputs[0]
    shape = op.out.shape

    def pick(i: Index, site: Site) -> str:
        return value.flat_at(flatten(i, shape), site)

    return [View(shape, value.dtype, [value], pick)]


@rule("squeeze")
def _squeeze(lowering: Lowering, op: Op) -> Sequence[Value]:
    value = op.inputs[0]
    dropped = {int(d) % len(value.shape) for d in op.params["dimensions"]}

    def index(i: Index) -> Index:
        kept = iter(i)
        return tuple(Ix() if a in dropped else next(kept) for a in range(len(value.shape)))

    return [lowering.view(value, op.out.shape, index)]


@rule("expand_dims")
def _expand_dims(lowering: Lowering, op: Op) -> Sequence[Value]:
    added = {int(d) % len(op.out.shape) for d in op.params["dimensions"]}

    def index(i: Index) -> Index:
        return tuple(x for a, x in enumerate(i) if a not in added)

    return [lowering.view(op.inputs[0], op.out.shape, index)]


@rule("transpose")
def _transpose(lowering: Lowering, op: Op) -> Sequence[Value]:
    permutation = [int(p) for p in op.params["permutation"]]
    place = {axis: n for n, axis in enumerate(permutation)}

    def index(i: Index) -> Index:
        return tuple(i[place[axis]] for axis in range(len(permutation)))

    return [lowering.view(op.inputs[0], op.out.shape, index)]


@rule("rev")
def _rev(lowering: Lowering, op: Op) -> Sequence[Value]:
    axes = {int(d) for d in op.params["dimensions"]}
    shape = op.out.shape

    def index(i: Index) -> Index:
        return tuple(x * -1 + (shape[a] - 1) if a in axes else x for a, x in enumerate(i))

    return [lowering.view(op.inputs[0], shape, index)]


@rule("slice")
def _slice(lowering: Lowering, op: Op) -> Sequence[Value]:
    starts = op.params["start_indices"]
    steps = op.params["strides"] or [1] * len(starts)

    def index(i: Index) -> Index:
        return tuple(x * int(n) + int(s) for x, s, n in zip(i, starts, steps, strict=True))

    return [lowering.view(op.inputs[0], op.out.shape, index)]


@rule("split")
def _split(lowering: Lowering, op: Op) -> Sequence[Value]:
    axis = op.params["axis"]
    starts = [0, *accumulate(int(s) for s in op.params["sizes"])]

    def part(start: int, shape: tuple[int, ...]) -> Value:
        return lowering.view(
            op.inputs[0], shape, lambda i: (*i[:axis], i[axis] + start, *i[axis + 1 :])
        )

    return [part(s, o.shape) for s, o in zip(starts, op.outputs, strict=False)]


@rule("unstack")
def _unstack(lowering: Lowering, op: Op) -> Sequence[Value]:
    axis = op.params["axis"]

    def part(number: int, shape: tuple[int, ...]) -> Value:
        return lowering.view(op.inputs[0], shape, lambda i: (*i[:axis], Ix(number), *i[axis:]))

    return [part(n, o.shape) for n, o in enumerate(op.outputs)]


@rule("stack")
def _stack(lowering: Lowering, op: Op) -> Sequence[Value]:
    axis = op.params["axis"]

    def thicken(value: Value) -> Value:
        shape = (*value.shape[:axis], 1, *value.shape[axis:])
        return lowering.view(value, shape, lambda i: (*i[:axis], *i[axis + 1 :]))

    return [join([thicken(v) for v in op.inputs], axis, op.out.shape)]


@rule("concatenate")
def _concatenate(lowering: Lowering, op: Op) -> Sequence[Value]:
    return [join(op.inputs, op.params["dimension"], op.out.shape)]


def join(values: Sequence[Value], axis: int, shape: tuple[int, ...]) -> Value:
    """Arrays side by side along an axis."""
    starts = [0, *accumulate(v.shape[axis] for v in values)]
    parts = []
    for value, start in zip(values, starts, strict=False):
        corner = tuple(start if a == axis else 0 for a in range(len(shape)))
        parts.append((value, corner, (1,) * len(shape)))

    def pick(i: Index, site: Site) -> str:
        if not i[axis].is_const:
            raise NeedsMemory(joined)
        number = next(n for n, stop in enumerate(starts[1:]) if i[axis].const < stop)
        shifted = i[axis] + -starts[number]
        return values[number].at((*i[:axis], shifted, *i[axis + 1 :]), site)

    joined = Joined(shape, parts, pick)
    return joined


@rule("tile")
def _tile(lowering: Lowering, op: Op) -> Sequence[Value]:
    value = op.inputs[0]
    for axis, times in enumerate(op.params["reps"]):
        shape = (*value.shape[:axis], value.shape[axis] * times, *value.shape[axis + 1 :])
        value = join([value] * times, axis, shape) if times != 1 else value
    return [value]


@rule("pad")
def _pad(lowering: Lowering, op: Op) -> Sequence[Value]:
    """Padding along each axis: before, after (negative: cut off), and between elements."""
    value, fill = op.inputs
    config = [tuple(map(int, c)) for c in op.params["padding_config"]]
    shape = op.out.shape
    # Negative padding: keep only the elements that land inside, then pad by nothing.
    kept, starts, steps = [], [], []
    for size, (low, _, interior), extent in zip(value.shape, config, shape, strict=True):
        step = interior + 1
        first = max(0, -(low // step)) if low < 0 else 0
        last = min(size, -(-(extent - low) // step))
        kept.append(range(first, max(first, last)))
        starts.append(low + first * step)
        steps.append(step)
    firsts = [k.start for k in kept]
    inner = lowering.view(
        value,
        tuple(len(k) for k in kept),
        lambda i: tuple(x + f for x, f in zip(i, firsts, strict=True)),
    )
    background = lowering.view(fill, shape, lambda i: ())

    def pick(i: Index, site: Site) -> str:
        source, conditions = [], []
        for x, start, step, size, extent in zip(i, starts, steps, inner.shape, shape, strict=True):
            split = (x + -start).divide(step)
            if split is None or not (split[1].is_const):
                raise NeedsMemory(joined)
            quotient, remainder = split
            if remainder.const != 0 or size == 0:
                return fill.at((), site)
            if x.is_const:
                if not 0 <= quotient.const < size:
                    return fill.at((), site)
            else:
                if start > 0:
                    conditions.append(f"{x.js()}>={start}")
                if start + size * step < extent + step - 1 or step > 1:
                    conditions.append(f"{x.js()}<{start + size * step}")
            source.append(quotient)
        if not conditions:
            return inner.at(tuple(source), site)
        return f"({'&&'.join(conditions)}?{inner.at(tuple(source), site)}:{fill.at((), site)})"

    ones = (1,) * len(shape)
    origin = (0,) * len(shape)
    joined = Joined(shape, [(background, origin, ones), (inner, tuple(starts), tuple(steps))], pick)
    return [joined]


@rule("empty", "empty2")
def _empty(lowering: Lowering, op: Op) -> Sequence[Value]:
    """An array that is overwritten before it is read; zeros, as on JAX's CPU."""
    return [lowering.const(np.zeros(op.out.shape, op.out.dtype))]


@rule("iota")
def _iota(lowering: Lowering, op: Op) -> Sequence[Value]:
    axis = op.params["dimension"]
    small = np.prod(op.out.shape, dtype=int) <= 64
    if small:
        return [lowering.const(np.broadcast_to(*_iota_array(op, axis)), op.out.dtype)]
    view = View(op.out.shape, op.out.dtype, [], lambda i, site: f"({i[axis].js()})")
    view.normal = True
    return [view]


def _iota_array(op: Op, axis: int) -> tuple[np.ndarray, tuple[int, ...]]:
    shape = [1] * len(op.out.shape)
    shape[axis] = op.out.shape[axis]
    return np.arange(op.out.shape[axis], dtype=op.out.dtype).reshape(shape), op.out.shape
