"""From a program to JavaScript text.

Before printing, two clean-ups: names that nobody uses are dropped, and an expression whose name is
used once, in the same list of statements, is written where it is used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from .program import (
    Assign,
    Block,
    Break,
    Call,
    For,
    Forever,
    Group,
    Guard,
    Let,
    Program,
    Repeat,
    Statement,
    Switch,
)
from .runtime import closure

NAME = re.compile(r"[A-Za-z_$][\w$]*")
LONGEST = 400
"""Expressions longer than this keep their own line."""


def children(statement: Statement) -> list[list[Statement]]:
    """The lists of statements inside a statement."""
    if isinstance(statement, For | Guard | Group):
        return [statement.body]
    if isinstance(statement, Forever | Repeat):
        return [statement.body.items]
    if isinstance(statement, Switch):
        return [b.items for b in statement.branches]
    return []


def texts(statement: Statement) -> list[str]:
    """The expressions written in a statement itself."""
    match statement:
        case Let():
            return [statement.value]
        case Assign():
            return [statement.target, statement.value]
        case Call():
            return [statement.text]
        case Guard() | Break():
            return [statement.condition]
        case Switch():
            return [statement.selector]
    return []


def walk(statements: Sequence[Statement]) -> Iterator[Statement]:
    """All statements, those inside others included."""
    for statement in statements:
        yield statement
        for body in children(statement):
            yield from walk(body)


def live_uses(statements: Sequence[Statement], roots: Sequence[str]) -> Counter[str]:
    """How often each name is used by statements that matter."""
    lets = {s.name: s for s in walk(statements) if isinstance(s, Let) and not s.mutable}
    todo = list(roots)
    for statement in walk(statements):
        if not (isinstance(statement, Let) and not statement.mutable):
            todo += texts(statement)
    uses: Counter[str] = Counter()
    while todo:
        for name in NAME.findall(todo.pop()):
            uses[name] += 1
            if uses[name] == 1 and name in lets:
                todo.append(lets[name].value)
    return uses


class Printer:
    """Prints statements, given how often each name is used."""

    def __init__(self, uses: Counter[str], changing: set[str]):
        self.uses = uses
        self.changing = changing

    def simplify(self, statements: Sequence[Statement]) -> list[Statement]:
        """The statements without unused names, and with names used once written out."""
        live = [s for s in statements if not isinstance(s, Let) or s.mutable or self.uses[s.name]]
        here = Counter(n for s in live for t in texts(s) for n in NAME.findall(t))
        pending: dict[str, str] = {}
        out: list[Statement] = []

        def put(text: str) -> str:
            return NAME.sub(lambda m: pending.pop(m[0], m[0]), text)

        for statement in live:
            match statement:
                case Let(name, value, mutable, keep):
                    value = put(value)
                    once = not (mutable or keep) and self.uses[name] == 1 and here[name] == 1
                    fixed = not self.changing & set(NAME.findall(value))
                    if once and fixed and len(value) <= LONGEST:
                        pending[name] = value
                    else:
                        out.append(Let(name, value, mutable))
                case Assign(target, value):
                    out.append(Assign(put(target), put(value)))
                case Guard(condition, body):
                    out.append(Guard(put(condition), body))
                case _:
                    out.append(statement)
        return out

    def lines(self, statements: Sequence[Statement], indent: str) -> Iterator[str]:
        """The text of a list of statements, line by line."""
        more = indent + " "
        for statement in self.simplify(statements):
            match statement:
                case Let(name, value, mutable):
                    yield f"{indent}{'let' if mutable else 'const'} {name}={bare(value)};"
                case Assign(target, value):
                    yield f"{indent}{target}={bare(value)};"
                case Call(text):
                    yield f"{indent}{text};"
                case Break(condition):
                    yield f"{indent}if(!{condition})break;"
                case For(var, body, reverse):
                    yield from self.loop(var.name, var.extent, reverse, body, indent)
                case Repeat(var, block, reverse):
                    yield from self.loop(var.name, var.extent, reverse, block.items, indent)
                case Forever(block):
                    yield f"{indent}for(;;){{"
                    yield from self.lines(block.items, more)
                    yield f"{indent}}}"
                case Guard(condition, body):
                    yield f"{indent}if({condition}){{"
                    yield from self.lines(body, more)
                    yield f"{indent}}}"
                case Group():
                    yield from self.group(statement, indent)
                case Switch(selector, branches):
                    yield from self.switch(selector, branches, indent)

    def loop(
        self, var: str, extent: int, reverse: bool, body: Sequence[Statement], indent: str
    ) -> Iterator[str]:
        """A counted loop."""
        inner = list(self.lines(body, indent + " "))
        if reverse:
            yield f"{indent}for(let {var}={extent - 1};{var}>=0;{var}--){{"
        else:
            yield f"{indent}for(let {var}=0;{var}<{extent};{var}++){{"
        yield from inner
        yield f"{indent}}}"

    def group(self, group: Group, indent: str) -> Iterator[str]:
        """The loops of a group, unless nothing is left to do in them."""
        depth = len(group.vars)
        inner = list(self.lines(group.body, indent + " " * depth))
        if not inner:
            return
        for n, var in enumerate(group.vars):
            name = var.name
            yield f"{indent}{' ' * n}for(let {name}=0;{name}<{var.extent};{name}++){{"
        yield from inner
        for n in reversed(range(depth)):
            yield f"{indent}{' ' * n}}}"

    def switch(self, selector: str, branches: Sequence[Block], indent: str) -> Iterator[str]:
        """Branches by number; the last one also takes larger numbers."""
        for number, branch in enumerate(branches):
            last = number == len(branches) - 1
            test = "" if last else f"if({selector}<={number})"
            yield f"{indent}{'else ' if number else ''}{test}{{"
            yield from self.lines(branch.items, indent + " ")
            yield f"{indent}}}"


def bare(value: str) -> str:
    """The expression without parentheses around all of it."""
    if not (value.startswith("(") and value.endswith(")")):
        return value
    depth = 0
    for n, character in enumerate(value):
        depth += (character == "(") - (character == ")")
        if depth == 0 and n < len(value) - 1:
            return value
    return value[1:-1]


def module(program: Program, title: str, results: Sequence[str], header: Sequence[str]) -> str:
    """The whole module as JavaScript text.

    Args:
        program: the program.
        title: name of the compiled function, for the comment on top.
        results: an expression for each output.
        header: lines that check and read the arguments of ``main``.
    """
    statements = [*program.static.items, *program.main.items]
    uses = live_uses(statements, results)
    changing = {s.name for s in walk(statements) if isinstance(s, Let) and s.mutable}
    changing -= {n for n in changing if n.startswith("c")}
    printer = Printer(uses, changing)
    body = list(printer.lines(program.main.items, " "))
    static = list(printer.lines(program.static.items, ""))
    tables = [
        f"heap.set([{','.join(number(x) for x in values)}],{start});"
        for start, values in program.tables.values()
    ]
    return "\n".join(
        [
            f"// Compiled by livejax from the JAX function {title}.",
            f"const heap=new Float64Array({program.heap_size});",
            "const h=heap;",
            *tables,
            *filter(None, [closure(program.runtime)]),
            *static,
            "function main(...leaves){",
            " const h=heap;",
            *header,
            *body,
            f" return [{','.join(results)}];",
            "}",
            "export default main;",
            "",
        ]
    )


def number(x: float) -> str:
    """A number in a table."""
    if x != x:
        return "NaN"
    if abs(x) == float("inf"):
        return "Infinity" if x > 0 else "-Infinity"
    text = repr(float(x))
    return text[:-2] if text.endswith(".0") else text
