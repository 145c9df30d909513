"""Loops and branches.

A loop's state (its carry) is held in mutable variables if small and in memory if not. The new state
is computed in full before any of the old one is overwritten, so that no element is read too late.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .index import Ix, Var
from .lower import RULES, Lowering, Op, Spec, rule
from .program import Assign, Block, Break, Call, Forever, Group, Let, Repeat, Switch
from .schedule import SMALL
from .values import Const, Member, Memory, Value, View
from .wide import Keys


class Carry:
    """One array of a loop's state: variables or memory, with its value at a given point."""

    def __init__(self, lowering: Lowering, start: Value):
        self.lowering = lowering
        self.start = start
        self.names: dict[tuple[int, ...], str] = {}
        self.memory: Memory | None = None
        block = lowering.block
        if start.size <= SMALL:
            member = lowering.compute(start.shape, start.dtype, [start], start.at, block=block)
            for index, name in member.names.items():
                self.names[index] = lowering.program.name("c")
                block.append(Let(self.names[index], name, mutable=True))
        else:
            self.memory = lowering.new_memory(start.shape, start.dtype)
            lowering.copy(start, self.memory, block)

    def value(self, header: Group) -> Value:
        """The state as it is when the (empty) group `header` is reached."""
        if self.memory is None:
            return Member(
                self.start.shape, self.start.dtype, header, self.names, self.lowering.program
            )
        place = {(header.block, header.position)}
        return Memory(self.start.shape, self.start.dtype, self.memory.offset, written=place)


def lower_body_end(lowering: Lowering, carries: Sequence[Carry], new: Sequence[Value]) -> None:
    """Overwrites the state by the new one, at the end of the current block."""
    block = lowering.block
    old_names = {name for carry in carries for name in carry.names.values()}
    assignments: list[Assign | Call] = []
    for carry, value in zip(carries, new, strict=True):
        if carry.memory is None:
            member = lowering.compute(value.shape, value.dtype, [value], value.at, block=block)
            for index, name in member.names.items():
                if name == carry.names[index]:
                    continue
                if name in old_names:
                    # Through a copy, as an assignment may change it before it is read.
                    fresh = lowering.program.name("n")
                    block.append(Let(fresh, name, keep=True))
                    name = fresh
                assignments.append(Assign(carry.names[index], name))
            continue
        if isinstance(value, Memory) and value.offset == carry.memory.offset:
            if value.is_contiguous:
                continue
        source = fresh_memory(lowering, value, block, carries)
        start, stop = source.offset, source.offset + source.size
        assignments.append(
            Call(f"h.copyWithin({carry.memory.offset.js()},{start.js()},{stop.js()})")
        )
    for assignment in assignments:
        block.append(assignment)


def fresh_memory(
    lowering: Lowering, value: Value, block: Block, carries: Sequence[Carry]
) -> Memory:
    """The value in memory that is no loop state: two of these may swap places."""
    if isinstance(value, Memory) and value.is_contiguous:
        owned = {c.memory.offset for c in carries if c.memory is not None}
        if value.offset not in owned and not value.offset.terms:
            return value
    if isinstance(value, Member):
        return value.memory()
    target = lowering.new_memory(value.shape, value.dtype)
    lowering.copy(value, target, block)
    return target


def open_block(lowering: Lowering, is_branch: bool = False) -> tuple[Block, Group]:
    """A new block inside the current one, with an empty group as its first item."""
    block = Block(lowering.block, is_branch)
    header = Group((), block, 0)
    block.append(header)
    return block, header


def footer(lowering: Lowering) -> Group:
    """An empty group at the end of the current block, for values that are there from now on."""
    group = Group((), lowering.block, len(lowering.block.items))
    lowering.block.append(group)
    return group


def flat(values: Sequence[Value]) -> list[Value]:
    """The values, with random keys taken apart into words."""
    out: list[Value] = []
    for value in values:
        out += value.words if isinstance(value, Keys) else (value,)
    return out


def regroup(values: Sequence[Value], like: Sequence[bool]) -> list[Value]:
    """Inverse of `flat`; `like` says which values are keys."""
    rest = iter(values)
    return [Keys(next(rest), next(rest)) if is_key else next(rest) for is_key in like]


def are_keys(avals: Sequence[Value]) -> list[bool]:
    """Which of the values are random keys."""
    return [isinstance(v, Keys) for v in avals]


@rule("scan")
def _scan(lowering: Lowering, op: Op) -> Sequence[Value]:
    n_consts, n_carry = op.params["num_consts"], op.params["num_carry"]
    length, reverse, closed = op.params["length"], op.params["reverse"], op.params["jaxpr"]
    consts = op.inputs[:n_consts]
    start, xs = op.inputs[n_consts : n_consts + n_carry], op.inputs[n_consts + n_carry :]
    outer = lowering.block
    carries = [Carry(lowering, v) for v in flat(start)]
    body, header = open_block(lowering)
    step = Var(lowering.program.name("s"), length)
    now = Ix.of(step)

    def slice_of(value: Value) -> Value:
        if isinstance(value, Keys):
            return Keys(*(slice_of(w) for w in value.words))
        # The header as a source keeps what depends on the counter inside the loop.
        anchor = Member((), "int64", header, {}, lowering.program, normal=True)
        pick = lambda i, site: value.at((now, *i), site)  # noqa: E731
        return View(value.shape[1:], value.dtype, [value, anchor], pick)

    state = regroup([c.value(header) for c in carries], are_keys(start))
    lowering.block = body
    results = lowering.inline(closed, [*consts, *state, *map(slice_of, xs)])
    new, ys = results[:n_carry], results[n_carry:]
    stacked: list[Memory] = []
    for value in flat(ys):
        whole = lowering.new_memory((length, *value.shape), value.dtype, value.normal)
        zeros = (Ix(),) * len(value.shape)
        row = whole.part(value.shape, (now, *zeros), whole.steps[1:])
        row.written = set()
        lowering.copy(value, row, body, adopt=True)
        stacked.append(whole)
    lower_body_end(lowering, carries, flat(new))
    lowering.block = outer
    place = outer.append(Repeat(step, body, reverse))
    for whole in stacked:
        whole.written = {(outer, place)}
    end = footer(lowering)
    final = regroup([c.value(end) for c in carries], are_keys(new))
    return [*final, *regroup(stacked, are_keys(ys))]


@rule("while")
def _while(lowering: Lowering, op: Op) -> Sequence[Value]:
    """``for (;;) { test; if (!test) break; body }``; a batched test goes on while any holds."""
    n_cond, n_body = op.params["cond_nconsts"], op.params["body_nconsts"]
    cond_consts, body_consts = op.inputs[:n_cond], op.inputs[n_cond : n_cond + n_body]
    start = op.inputs[n_cond + n_body :]
    outer = lowering.block
    carries = [Carry(lowering, v) for v in flat(start)]
    body, header = open_block(lowering)
    state = regroup([c.value(header) for c in carries], are_keys(start))
    lowering.block = body
    (test,) = lowering.inline(op.params["cond_jaxpr"], [*cond_consts, *state])
    any_holds = test
    if test.shape:
        axes = tuple(range(len(test.shape)))
        reduce_or = Op("reduce_or", [test], [Spec((), "bool")], {"axes": axes}, op.where)
        any_holds = RULES["reduce_or"](lowering, reduce_or)[0]
    body.barrier = body.append(Break(lowering.scalar(any_holds)))
    new = lowering.inline(op.params["body_jaxpr"], [*body_consts, *state])
    new = flat(new)
    if test.shape:
        pairs = zip(flat(state), new, strict=True)
        new = [choose(lowering, test, old, value) for old, value in pairs]
    lower_body_end(lowering, carries, new)
    lowering.block = outer
    outer.append(Forever(body))
    end = footer(lowering)
    return regroup([c.value(end) for c in carries], are_keys(start))


def choose(lowering: Lowering, test: Value, old: Value, new: Value) -> Value:
    """The new state where the batched test holds, else the old one."""
    spread = lowering.view(test, old.shape, lambda i: i[: len(test.shape)])
    return lowering.do("select_n", [spread, old, new], old.shape, old.dtype)


@rule("platform_index")
def _platform_index(lowering: Lowering, op: Op) -> Sequence[Value]:
    """Which variant JAX would take on a CPU."""
    platforms = op.params["platforms"]
    number = next(n for n, p in enumerate(platforms) if p is None or "cpu" in p)
    return [lowering.const(np.asarray(number, op.out.dtype))]


@rule("cond")
def _cond(lowering: Lowering, op: Op) -> Sequence[Value]:
    branches = op.params["branches"]
    selector, *operands = op.inputs
    if isinstance(selector, Const):
        chosen = min(max(int(selector.array), 0), len(branches) - 1)
        return lowering.inline(branches[chosen], operands)
    outer = lowering.block
    index = lowering.scalar(selector)
    keys = [s.dtype == "key" for s in op.outputs]
    names: list[dict[tuple[int, ...], str]] = []
    memories: list[Memory | None] = []
    flat_specs = []
    for spec in op.outputs:
        flat_specs += (
            [(spec.shape, "uint32")] * 2 if spec.dtype == "key" else [(spec.shape, spec.dtype)]
        )
    for shape, dtype in flat_specs:
        if np.prod(shape, dtype=int) <= SMALL:
            names.append({i: lowering.program.name("c") for i in np.ndindex(*shape)})
            memories.append(None)
            for name in names[-1].values():
                outer.append(Let(name, "0", mutable=True))
        else:
            names.append({})
            memories.append(lowering.new_memory(shape, dtype))
    blocks = []
    for branch in branches:
        block, _ = open_block(lowering, is_branch=True)
        lowering.block = block
        results = flat(lowering.inline(branch, operands))
        for value, own, memory in zip(results, names, memories, strict=True):
            if memory is not None:
                lowering.copy(value, memory, block)
                continue
            member = lowering.compute(value.shape, value.dtype, [value], value.at, block=block)
            for i, name in member.names.items():
                block.append(Assign(own[i], name))
        lowering.block = outer
        blocks.append(block)
    outer.append(Switch(index, blocks))
    end = footer(lowering)
    place = {(outer, end.position)}
    out: list[Value] = []
    for (shape, dtype), own, memory in zip(flat_specs, names, memories, strict=True):
        if memory is None:
            out.append(Member(shape, dtype, end, own, lowering.program))
        else:
            memory.written = set(place)
            out.append(memory)
    return regroup(out, keys)
