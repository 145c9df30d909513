"""Where expressions are written: a group of the program, and loops inside its body."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np

from .index import Index, Ix, Var
from .program import Assign, For, Group, Guard, Let, Program, Statement


class Site:
    """The place where expressions are being written: a group, and loops inside its body."""

    def __init__(self, program: Program, group: Group):
        self.program = program
        self.group = group
        self.statements: list[Statement] = []
        self._scopes: list[dict[str, str]] = [{}]

    def let(self, expression: str) -> str:
        """Names an expression; an equal one in scope keeps its name, and atoms need none."""
        if expression.isidentifier() or is_literal(expression):
            return expression
        for scope in (*self._scopes, self.group.known):
            if expression in scope:
                return scope[expression]
        name = self.program.name("t")
        self.statements.append(Let(name, expression))
        self._scopes[-1][expression] = name
        return name

    def mutable(self, start: str) -> str:
        """Declares a variable that `assign` may change."""
        name = self.program.name("a")
        self.statements.append(Let(name, start, mutable=True))
        return name

    def assign_if(self, conditions: Sequence[str], target: str, expression: str) -> None:
        """Assigns if all conditions hold."""
        if "false" in conditions:
            return
        assignment = Assign(target, expression)
        self.statements.append(
            Guard("&&".join(conditions), [assignment]) if conditions else assignment
        )

    def assign(self, target: str, expression: str) -> None:
        """Assigns to a mutable variable or to memory."""
        self.statements.append(Assign(target, expression))

    @contextmanager
    def loop(self, extent: int) -> Iterator[Var]:
        """Statements written inside the ``with`` are repeated over the yielded variable."""
        var = Var(self.program.name("k"), extent)
        outer, self.statements = self.statements, []
        self._scopes.append({})
        yield var
        self._scopes.pop()
        outer.append(For(var, self.statements))
        self.statements = outer

    def commit(self) -> None:
        """Adds what was written to the group."""
        self.group.body += self.statements
        self.group.known |= self._scopes[0]


def split_shape(shape: Sequence[int], small: int) -> int:
    """Number of leading axes to loop over so that at most `small` elements are left a turn."""
    axes, size = len(shape), 1
    if prod(shape) == 0:
        return 0
    while axes > 0 and size * shape[axes - 1] <= small:
        axes -= 1
        size *= shape[axes]
    return axes


def loop_index(shape: Sequence[int], group: Group) -> Index:
    """Index of the looped axes at the current iteration; axes of extent 1 have no loop."""
    index: list[Ix] = []
    remaining = list(group.vars)
    for extent in shape:
        if extent == 1 and remaining:
            index.append(Ix())
        elif remaining:
            index.append(Ix.of(remaining.pop(0)))
        else:
            break
    return tuple(index)


def is_literal(text: str) -> bool:
    """Whether the text is a JavaScript number or boolean."""
    if text in ("true", "false", "Infinity", "(-Infinity)", "NaN"):
        return True
    try:
        float(text.strip("()"))
    except ValueError:
        return False
    return True


def literal(value: np.generic) -> str:
    """A number or boolean as JavaScript writes it; negative ones are in parentheses."""
    if value.dtype == np.bool_:
        return "true" if value else "false"
    if np.issubdtype(value.dtype, np.integer):
        return str(int(value)) if int(value) >= 0 else f"({int(value)})"
    number = float(value)
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "Infinity" if number > 0 else "(-Infinity)"
    text = repr(number)
    text = text[:-2] if text.endswith(".0") else text
    return f"({text})" if text.startswith("-") else text
