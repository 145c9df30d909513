"""Where each piece of work goes: into which block, and into which group of that block.

Two rules do all the optimizing.

*As far out as possible.* A value is computed in the innermost block that one of its operands comes
from. What does not change in a loop leaves it; what depends on no argument at all is computed once,
when the module is loaded.

*Together with its operands.* An array's leading axes become loops, its last few elements (at most
`SMALL`) are written out one by one. If an operand is computed by a group with the same loops, and
is read only at that group's own index, then the new array joins the group, and its operand is a
local variable instead of a place in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .index import Index, Ix, Var
from .program import Block, Group, Place, Program
from .site import Site, loop_index, split_shape
from .values import CannotJoin, Const, Joined, Member, Memory, NeedsMemory, Value, View

SMALL = 8
"""Arrays of at most this many elements are written out element by element."""


def deepest(places: set[Place], default: Block) -> Block:
    """The innermost of the blocks, which all lie inside one another."""
    return max((block for block, _ in places), key=lambda block: block.depth, default=default)


class Scheduler:
    """Adds computations to a program.

    Attributes:
        program: the program.
        block: the block that equations are being translated for.
    """

    def __init__(self, program: Program):
        self.program = program
        self.block = program.main

    def home(self, sources: Sequence[Value], block: Block | None) -> Place:
        """The outermost block in which all sources are there, and after which of its statements."""
        places: set[Place] = set().union(*(s.places() for s in sources))
        innermost = deepest(places, self.program.static)
        assert innermost.encloses(self.block), "a value is used outside of its block"
        if block is None:
            block = self.block
            while block is not innermost and not block.is_branch and block.parent is not None:
                block = block.parent
        last = max((p for b, p in places if b is block), default=-1)
        return block, max(last, block.barrier)

    def candidates(
        self, block: Block, after: int, extents: tuple[int, ...], may_join_last: bool
    ) -> Iterator[Group]:
        """Groups that might take the work: the last source's, the next one with equal loops."""
        first = after if may_join_last and after > block.barrier else after + 1
        later = 0
        for item in block.items[max(first, 0) :]:
            if isinstance(item, Group) and item.extents == extents:
                yield item
                later += item.position > after
                if later:
                    break
        group_vars = tuple(Var(self.program.name("i"), n) for n in extents)
        group = Group(group_vars, block, len(block.items))
        block.append(group)
        yield group

    def compute(
        self,
        shape: Sequence[int],
        dtype: str,
        sources: Sequence[Value],
        element: Callable[[Index, Site], str],
        *,
        normal: bool = True,
        block: Block | None = None,
        after: int = -1,
    ) -> Member:
        """Computes an array elementwise.

        Args:
            shape: its shape.
            dtype: its dtype.
            sources: all values that `element` reads.
            element: gives the expression of the element at an index.
            normal: whether no element can be subnormal (float32).
            block: the block to compute in, if not the outermost possible.
            after: a position in that block that the work must come after.
        """
        shape = tuple(shape)
        lead = split_shape(shape, SMALL)
        extents = tuple(n for n in shape[:lead] if n != 1)

        def fill(group: Group) -> Member:
            site = Site(self.program, group)
            own = loop_index(shape, group)
            names = {
                rest: site.let(element(own + tuple(map(Ix, rest)), site))
                for rest in np.ndindex(*shape[lead:])
            }
            site.commit()
            return Member(shape, dtype, group, names, self.program, normal)

        return self._placed(fill, extents, sources, block, after)

    def sweep(
        self,
        extents: Sequence[int],
        sources: Sequence[Value],
        body: Callable[[Index, Site], None],
        target: Memory,
        *,
        block: Block | None = None,
        after: int = -1,
    ) -> None:
        """Runs `body`, which assigns elements of `target`, for each index below `extents`."""
        extents = tuple(extents)
        loops = tuple(n for n in extents if n != 1)

        def fill(group: Group) -> Group:
            site = Site(self.program, group)
            variables = iter(group.vars)
            body(tuple(Ix() if n == 1 else Ix.of(next(variables)) for n in extents), site)
            site.commit()
            return group

        # In a group of its own, as it reads and writes memory in an order that matters.
        home, last = self.home([*sources, target], block)
        after = max(after, last, len(home.items) - 1)
        group = self._placed(fill, loops, sources, home, after)
        target.written.add((group.block, group.position))

    def _placed(
        self,
        fill: Callable[[Group], Any],
        extents: tuple[int, ...],
        sources: Sequence[Value],
        block: Block | None,
        after: int,
    ) -> Any:
        """What `fill` returns for the first group that it can fill."""
        while True:
            try:
                home, last = self.home(sources, block)
                joinable = last > after
                for group in self.candidates(home, max(last, after), extents, joinable):
                    try:
                        return fill(group)
                    except CannotJoin:
                        continue
            except NeedsMemory as need:
                self.remember(need.value)

    def memory(self, value: Value) -> Memory:
        """The value as a contiguous array in memory."""
        if isinstance(value, Memory) and value.is_contiguous:
            return value
        if isinstance(value, Member | Const):
            return value.memory()
        if value.stored is None:
            self.remember(value)
        assert value.stored is not None
        return value.stored

    def remember(self, value: Value) -> None:
        """Stores a view to memory, from where it is read from now on."""
        target = self.new_memory(value.shape, value.dtype)
        # Not in a branch that happens to ask first: others may read the copy too.
        home = deepest(value.places(), self.program.static)
        if isinstance(value, Joined):
            after = -1
            for part, start, step in value.parts:
                steps = [a * b for a, b in zip(target.steps, step, strict=True)]
                where = target.part(part.shape, tuple(map(Ix, start)), steps)
                self.copy(part, where, home, after)
                after = max(p for b, p in target.written if b is home)
        else:
            self.copy(value, target, home)
        target.normal = value.normal
        value.stored = target

    def new_memory(self, shape: Sequence[int], dtype: str, normal: bool = False) -> Memory:
        """Memory for an array, not written yet."""
        size = int(np.prod(shape, dtype=int))
        return Memory(shape, dtype, Ix(self.program.allocate(size)), normal=normal)

    def copy(
        self, value: Value, target: Memory, block: Block, after: int = -1, adopt: bool = False
    ) -> None:
        """Writes a value to memory, in the given block and after the given position.

        With `adopt`, the value may be read from there afterwards: nothing overwrites it.
        """
        member = value
        in_block = isinstance(member, Member) and member.group.block is block
        if not (isinstance(member, Member) and in_block and member.group.position > after):
            member = self.compute(
                value.shape, value.dtype, [value], value.at, block=block, after=after
            )
        member.store(target, adopt)
        target.written.add((block, member.group.position))

    def scalar(self, value: Value) -> str:
        """The name (or literal) of a scalar, for a statement of the current block."""
        if isinstance(value, Const):
            return value.at((), None)  # type: ignore[arg-type]
        if isinstance(value, Member):
            return value.names[()]
        return self.compute((), value.dtype, [value], value.at, normal=value.normal).names[()]

    def view(
        self,
        like: Value,
        shape: Sequence[int],
        index: Callable[[Index], Index],
    ) -> View:
        """A view of one value, by a map from its index to that of the value."""
        return View(shape, like.dtype, [like], lambda i, site: like.at(index(i), site))
