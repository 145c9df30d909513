"""The program being built: statements, blocks of them, and the one memory they share.

A program is a tree of statements. A `Block` is the body of something: of the module (run once, when
it is loaded), of `main` (run at each call), of a loop, of a branch. All arrays live in one
`Float64Array` called ``h``; every value has its own place in it and is written once each time its
block runs. So statements may be moved as long as a value is computed before it is read, and that
is what `Scheduler.home` keeps track of. (A loop's state is the exception: see `rules_control.py`.)

A `Group` is the workhorse: a nest of loops over some index range whose body computes, for one
index, elements of any number of arrays. Equations join an existing group when they can
(`schedule.py`), and that is how elementwise chains end up in one loop. A group over no indices is
straight-line code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .index import Var


@dataclass
class Let:
    """``const name = value;`` or, if mutable, ``let name = value;``.

    The printer may write the value where the name is used instead, unless `keep` is set: the value
    then has to be read here, before something changes it.
    """

    name: str
    value: str
    mutable: bool = False
    keep: bool = False


@dataclass
class Assign:
    """``target = value;`` where the target is a mutable name or a place in memory."""

    target: str
    value: str


@dataclass
class Call:
    """A statement that is a call of a runtime function."""

    text: str


@dataclass
class For:
    """``for (let var = 0; var < extent; var++) { body }``, or downwards if `reverse`."""

    var: Var
    body: list[Statement]
    reverse: bool = False


@dataclass
class Guard:
    """``if (condition) { body }``."""

    condition: str
    body: list[Statement]


@dataclass
class Group:
    """Nested loops over `vars` around `body`; plain statements if there are no loop variables."""

    vars: tuple[Var, ...]
    block: Block
    position: int
    body: list[Statement] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)  # expression -> its name, in this body

    @property
    def extents(self) -> tuple[int, ...]:
        """The number of iterations of each loop."""
        return tuple(v.extent for v in self.vars)


@dataclass
class Forever:
    """``for (;;) { body }``; left by a `Break`."""

    body: Block


@dataclass
class Break:
    """``if (!(condition)) break;``."""

    condition: str


@dataclass
class Repeat:
    """A counted loop (``scan``) whose body is a block."""

    var: Var
    body: Block
    reverse: bool


@dataclass
class Switch:
    """``if (selector === 0) ... else if (selector === 1) ... else ...``."""

    selector: str
    branches: list[Block]


Statement = Let | Assign | Call | For | Guard | Group | Forever | Break | Repeat | Switch


class Block:
    """A list of statements that run in order, inside a parent block.

    Attributes:
        parent: the block around this one; None for the module's.
        items: the statements; only ever appended to, so a position in it stays valid.
        is_branch: whether the block may not run at all. Work is not moved out of it.
        barrier: position before which no new work may be put (after a while loop's exit test).
    """

    def __init__(self, parent: Block | None, is_branch: bool = False):
        self.parent = parent
        self.items: list[Statement] = []
        self.is_branch = is_branch
        self.barrier = -1
        self.depth: int = 0 if parent is None else parent.depth + 1

    def append(self, statement: Statement) -> int:
        """Adds a statement at the end and returns its position."""
        self.items.append(statement)
        return len(self.items) - 1

    def encloses(self, other: Block) -> bool:
        """Whether this block is `other` or one of the blocks around it."""
        block: Block | None = other
        while block is not None and block is not self:
            block = block.parent
        return block is self


Place = tuple[Block, int]  # after which statement of which block a value is there


class Program:
    """What is common to a whole module: names, memory, constants, runtime functions in use."""

    def __init__(self) -> None:
        self.static = Block(None)
        self.main = Block(self.static)
        self.heap_size = 0
        self.tables: dict[bytes, tuple[int, np.ndarray]] = {}
        self.runtime: set[str] = set()
        self._names: dict[str, int] = {}

    def name(self, prefix: str) -> str:
        """A fresh identifier."""
        number = self._names.get(prefix, 0)
        self._names[prefix] = number + 1
        return f"{prefix}{number}"

    def allocate(self, size: int) -> int:
        """Reserves `size` numbers of memory and returns where they start."""
        start = self.heap_size
        self.heap_size += size
        return start

    def table(self, values: np.ndarray) -> int:
        """Where in memory the given constants lie; equal tables share one place."""
        flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
        key = flat.tobytes()
        if key not in self.tables:
            self.tables[key] = (self.allocate(flat.size), flat)
        return self.tables[key][0]

    def call(self, function: str, *arguments: str) -> str:
        """Text of a call of a runtime function, which is then included in the module."""
        self.runtime.add(function)
        return f"{function}({','.join(arguments)})"
