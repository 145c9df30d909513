"""`compile`: from a JAX function to a self-contained JavaScript module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

import numpy as np

from . import (  # noqa: F401 (registers the rules)
    rules_control,
    rules_elementwise,
    rules_index,
    rules_layout,
    rules_linalg,
    rules_random,
    rules_reduce,
)
from .emit import module
from .index import Ix
from .lower import Lowering
from .program import Group, Program
from .schedule import SMALL
from .trace import DTYPES, ArraySpec, UnsupportedPrimitive, precision_context, trace
from .values import Const, Member, Memory, Value

__all__ = ["ArraySpec", "Compiled", "UnsupportedPrimitive", "compile"]


@dataclass(frozen=True)
class Compiled:
    """A JAX function as JavaScript.

    Attributes:
        name: name of the function.
        source: text of an ES module. Its default export ``main`` takes the leaves of the arguments
            in `jax.tree` order, a number for a scalar and a flat array for an array, and returns an
            array with one new ``Float64Array`` for each leaf of the result (booleans as 0 and 1).
        inputs: the leaves of the arguments.
        outputs: the leaves of the result.
    """

    name: str
    source: str
    inputs: tuple[ArraySpec, ...]
    outputs: tuple[ArraySpec, ...]

    def script(self) -> str:
        """The same code as one expression for a classic script; its value is ``main``."""
        body = self.source.replace("export default main;", "return main;")
        return f"(() => {{\n{body}}})()"


def compile(fn: Callable, *example_args: Any, precision: str = "float64") -> Compiled:
    """Compiles a JAX function at the shapes and dtypes of example arguments.

    Args:
        fn: a function of pytrees of arrays that JAX can trace.
        *example_args: arguments; only their shapes and dtypes matter.
        precision: "float64", or "float32" to compute as JAX does in its default mode: every
            operation rounded to float32 and subnormals flushed to zero.

    Returns:
        The module and the specifications of its inputs and outputs. The text depends on the
        function and the shapes only.

    Raises:
        UnsupportedPrimitive: if the function needs what cannot be translated exactly.
        ValueError: if `precision` is neither of the two.
    """
    with precision_context(precision):
        traced = trace(fn, example_args)
        program = Program()
        lowering = Lowering(program, traced.name)
        header: list[str] = []
        inputs = [
            read_argument(lowering, spec, number, header)
            for number, spec in enumerate(traced.inputs)
        ]
        consts = [lowering.const(c) for c in traced.consts]
        values = lowering.run(traced.jaxpr, consts, inputs)
        for spec in traced.outputs:
            if spec.dtype not in DTYPES:
                raise UnsupportedPrimitive(f"{traced.name}: {spec.name} has dtype {spec.dtype}")
        results = [result(lowering, v) for v in values]
    names = ", ".join(spec.name for spec in traced.inputs)
    expected = f"{traced.name} takes {len(inputs)} arguments ({names}), not "
    check = (
        f" if(leaves.length!=={len(inputs)})throw new TypeError({dumps(expected)}+leaves.length);"
    )
    source = module(program, traced.name, results, [check, *header])
    return Compiled(traced.name, source, traced.inputs, traced.outputs)


def read_argument(lowering: Lowering, spec: ArraySpec, number: int, header: list[str]) -> Value:
    """Reads one argument of ``main``; large arrays stay in memory."""
    program = lowering.program
    label = dumps(spec.name)
    if not program.main.items:
        program.main.append(Group((), program.main, 0))
    first = program.main.items[0]
    assert isinstance(first, Group)
    if spec.shape == ():
        text = program.call("scalarArgument", f"leaves[{number}]", label)
        if spec.dtype == "float32":
            text = f"Math.fround({text})"
        elif spec.dtype != "float64":
            text = program.call("integerArgument", text, label)
        name = program.name("x")
        header.append(f" const {name}={text};")
        return Member((), spec.dtype, first, {(): name}, program)
    array = lowering.new_memory(spec.shape, spec.dtype)
    array.written = {(program.main, 0)}
    kind = "Float32Array" if spec.dtype == "float32" else "Float64Array"
    offset = array.offset.js()
    arguments = (f"leaves[{number}]", label, str(array.size), "h", offset, kind)
    header.append(f" {program.call('arrayArgument', *arguments)};")
    if array.size > SMALL:
        return array
    array.written = set()
    small = lowering.compute(
        spec.shape, spec.dtype, [array], array.at, block=program.main, normal=False
    )
    return small


def result(lowering: Lowering, value: Value) -> str:
    """An expression for one output of ``main``, a fresh array."""
    if isinstance(value, Const) and value.size <= SMALL:
        cells = [value.at(index_of(i), None) for i in indices(value)]  # type: ignore[arg-type]
        return f"Float64Array.of({','.join(cells)})"
    if value.size <= SMALL:
        member = lowering.compute(
            value.shape, value.dtype, [value], value.at, block=lowering.program.main
        )
        return f"Float64Array.of({','.join(member.names[i] for i in indices(value))})"
    memory: Memory = lowering.memory(value)
    return f"h.slice({memory.offset.js()},{(memory.offset + memory.size).js()})"


def indices(value: Value) -> Sequence[tuple[int, ...]]:
    """All indices of a small array in row-major order."""
    return list(np.ndindex(*value.shape))


def index_of(numbers: tuple[int, ...]) -> tuple[Ix, ...]:
    """A known index."""
    return tuple(map(Ix, numbers))
