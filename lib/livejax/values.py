"""What the compiler knows an array as: constants, memory, names of scalars, views of these.

The one thing every value can do is `at(index, site)`: give the JavaScript expression of one
element. Where the element lies decides what that is: a literal, ``h[2*i+7]``, or the name of a
local variable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from .index import Index, Ix, flatten, strides, unflatten
from .program import Assign, Group, Place, Program
from .site import Site, literal, loop_index
from .trace import UnsupportedPrimitive


class CannotJoin(Exception):
    """The equation reads a value of the group at an index other than the group's own."""


class NeedsMemory(Exception):
    """A value must first be written to memory to be read in the way that was asked for."""

    def __init__(self, value: Value):
        super().__init__()
        self.value = value


class Value:
    """An array of known shape and dtype.

    Attributes:
        shape: the shape.
        dtype: name of the dtype, as JAX has it.
        normal: for float32, whether elements are known not to be subnormal.
        stored: a row-major copy in memory, where one had to be made.
    """

    def __init__(self, shape: Sequence[int], dtype: str, normal: bool = False):
        self.shape = tuple(int(n) for n in shape)
        self.dtype = dtype
        self.normal = normal
        self.stored: Memory | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def at(self, index: Index, site: Site) -> str:
        """Expression of the element at `index`, for use at `site`."""
        raise NotImplementedError

    def flat_at(self, flat: Ix, site: Site) -> str:
        """Expression of the element at a row-major position."""
        if self.stored:
            return self.stored.flat_at(flat, site)
        index = unflatten(flat, self.shape)
        if index is None:
            raise NeedsMemory(self)
        return self.at(index, site)

    def places(self) -> set[Place]:
        """Statements after which the value is there."""
        return self.stored.places() if self.stored else set()


class Const(Value):
    """An array known while compiling."""

    def __init__(self, array: np.ndarray, dtype: str, program: Program):
        super().__init__(array.shape, dtype)
        self.array = array
        self.program = program
        flat = array.reshape(-1)
        same = np.array_equal(flat, np.broadcast_to(flat[:1], flat.shape), equal_nan=True)
        self.uniform = same and len(set(np.signbit(flat.astype(float)))) == 1
        if dtype == "float32":
            tiny = np.finfo(np.float32).tiny
            self.normal = not np.any((array != 0) & (np.abs(array) < tiny))

    def at(self, index: Index, site: Site) -> str:
        """A literal where the index is known or all elements are the same."""
        if self.size == 0:
            return "0"  # in a loop that never runs
        self.check()
        if all(i.is_const for i in index):
            return literal(self.array[tuple(i.const for i in index)])
        if self.uniform:
            return literal(self.array.reshape(-1)[0])
        return self.flat_at(flatten(index, self.shape), site)

    def flat_at(self, flat: Ix, site: Site) -> str:
        """A read of the table of constants."""
        return f"h[{(flat + self.program.table(self.array)).js()}]"

    def check(self) -> None:
        """Refuses integers that a float64 cannot hold."""
        if self.dtype in ("int64", "uint64") and any(int(float(n)) != n for n in self.array.flat):
            raise UnsupportedPrimitive(
                f"livejax cannot translate a constant of dtype {self.dtype}: JavaScript holds "
                f"integers exactly up to 2^53 only ({self.array.flat[0]}, ...)"
            )

    def memory(self) -> Memory:
        """The constants as an array in memory."""
        self.check()
        return Memory(self.shape, self.dtype, Ix(self.program.table(self.array)))


class Memory(Value):
    """An array in memory: element `index` is at ``offset + sum(stride * index)``."""

    def __init__(
        self,
        shape: Sequence[int],
        dtype: str,
        offset: Ix,
        steps: tuple[int, ...] | None = None,
        written: set[Place] | None = None,
        normal: bool = False,
    ):
        super().__init__(shape, dtype, normal)
        self.offset = offset
        self.steps = strides(self.shape) if steps is None else steps
        self.written = written if written is not None else set()

    @property
    def is_contiguous(self) -> bool:
        """Whether elements lie one after another in row-major order."""
        return self.steps == strides(self.shape)

    def address(self, index: Index) -> Ix:
        """Where in memory an element is."""
        where = self.offset
        for i, step in zip(index, self.steps, strict=True):
            where = where + i * step
        return where

    def read(self, index: Index) -> str:
        """A read of memory, whoever writes it."""
        return f"h[{self.address(index).js()}]"

    def at(self, index: Index, site: Site) -> str:
        """A read of memory, which another group must have finished writing."""
        if (site.group.block, site.group.position) in self.written:
            raise CannotJoin
        return self.read(index)

    def flat_at(self, flat: Ix, site: Site) -> str:
        """Where elements are contiguous, the position is the address."""
        if self.is_contiguous:
            if (site.group.block, site.group.position) in self.written:
                raise CannotJoin
            return f"h[{(self.offset + flat).js()}]"
        return super().flat_at(flat, site)

    def places(self) -> set[Place]:
        """The statements that write it."""
        return self.written | super().places()

    def part(self, shape: Sequence[int], start: Index, steps: Sequence[int]) -> Memory:
        """The sub-array that begins at `start` and has the given strides in memory."""
        return Memory(shape, self.dtype, self.address(start), tuple(steps), self.written)


class Member(Value):
    """An array computed by a group, one or a few elements per iteration.

    The leading axes are the group's loops; the elements along the others have a name each. Read at
    the group's own index, it is a name; read in any other way, it is stored to memory and read
    there.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: str,
        group: Group,
        names: dict[tuple[int, ...], str],
        program: Program,
        normal: bool = False,
    ):
        super().__init__(shape, dtype, normal)
        self.group = group
        self.names = names
        self.program = program
        self._memory: Memory | None = None

    def own_index(self) -> Index:
        """The index of the axes that the group loops over, at the current iteration."""
        return loop_index(self.shape, self.group)

    def at(self, index: Index, site: Site) -> str:
        """A name where possible, else a read of memory."""
        own = self.own_index()
        lead, rest = index[: len(own)], index[len(own) :]
        if all(i.is_const for i in rest) and (not self.group.vars or site.group is self.group):
            if lead == own:
                return self.names[tuple(i.const for i in rest)]
        if site.group is not self.group:
            return self.memory().at(index, site)
        if lead != own:
            raise CannotJoin
        return self.memory().read(index)

    def flat_at(self, flat: Ix, site: Site) -> str:
        """By index if the position splits into one, else a read of memory."""
        index = unflatten(flat, self.shape)
        return self.memory().flat_at(flat, site) if index is None else self.at(index, site)

    def places(self) -> set[Place]:
        """Its group."""
        return {(self.group.block, self.group.position)}

    def memory(self) -> Memory:
        """The array in memory; the group stores it there from now on."""
        if self._memory is None:
            start = Ix(self.program.allocate(self.size))
            self._memory = Memory(
                self.shape, self.dtype, start, written=self.places(), normal=self.normal
            )
            self.store(self._memory)
        return self._memory

    def store(self, target: Memory, adopt: bool = False) -> None:
        """Lets the group write the elements to `target`; `adopt` makes it the array's memory."""
        if adopt and self._memory is None:
            self._memory = target
        for rest, name in self.names.items():
            index = self.own_index() + tuple(Ix(i) for i in rest)
            self.group.body.append(Assign(f"h[{target.address(index).js()}]", name))


class View(Value):
    """Elements of other values, picked by a rule from index to element.

    Args:
        shape: shape of the view.
        dtype: dtype of the view.
        sources: the values it reads.
        pick: the rule; gets an index of the view and the site.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: str,
        sources: Sequence[Value],
        pick: Callable[[Index, Site], str],
    ):
        super().__init__(shape, dtype, all(s.normal for s in sources))
        self.sources = tuple(sources)
        self.pick = pick

    def at(self, index: Index, site: Site) -> str:
        """What the rule picks, or memory once the view has been stored."""
        return self.stored.at(index, site) if self.stored else self.pick(index, site)

    def places(self) -> set[Place]:
        """Those of the sources, or of the memory."""
        if self.stored:
            return self.stored.places()
        return set().union(*(s.places() for s in self.sources))


class Joined(View):
    """A view made of other arrays side by side (over a background), for `concatenate` and `pad`.

    Args:
        shape: shape of the view.
        parts: arrays with the index of their first element and their step along each axis; a later
            one covers an earlier one.
        pick: as of `View`; raises `NeedsMemory` where the part is not known while compiling.
    """

    def __init__(
        self,
        shape: Sequence[int],
        parts: Sequence[tuple[Value, tuple[int, ...], tuple[int, ...]]],
        pick: Callable[[Index, Site], str],
    ):
        sources = [value for value, _, _ in parts]
        super().__init__(shape, sources[0].dtype, sources, pick)
        self.parts = parts
