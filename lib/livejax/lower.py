"""From a jaxpr to a program: each equation is handed to the rule for its primitive.

Rules live in the `rules_*` modules and register themselves with `rule`. A rule gets the operation
(`Op`: operand values, result shapes, parameters) and the `Lowering`, with which it adds work to the
program; it returns the result values. Calls (jit, custom derivatives, checkpoint) are inlined.
Operations on small constants are done here and now, by JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex

from .program import Program
from .schedule import Scheduler
from .trace import UnsupportedPrimitive, avals, dtype_name, source_line
from .values import Const, Value
from .wide import Bits64, DoubleBits, Keys, Mantissa, TopBits

FOLD = 64
"""Operations on constants are done while compiling if the result has at most this many elements."""


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of a result."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class Op:
    """One equation: primitive, operands, results, parameters, and where it comes from."""

    name: str
    inputs: list[Any]
    outputs: list[Spec]
    params: dict[str, Any]
    where: str

    @property
    def out(self) -> Spec:
        """The only result."""
        (out,) = self.outputs
        return out

    def refuse(self, why: str) -> UnsupportedPrimitive:
        """The error to raise when the operation cannot be translated."""
        return UnsupportedPrimitive(f"livejax cannot translate {self.name!r}: {why} ({self.where})")

    def expect(self, **allowed: Any) -> None:
        """Raises unless each named parameter is absent or has the given value."""
        for key, value in allowed.items():
            if key in self.params and self.params[key] != value:
                raise self.refuse(f"{key}={self.params[key]!r}")


Rule = Callable[["Lowering", Op], Sequence[Value]]
RULES: dict[str, Rule] = {}

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat2": "jaxpr",
    "remat_opt": "fwd_jaxpr",
    "checkpoint": "jaxpr",
    "composite": "jaxpr",
}
"""Primitives that call a jaxpr, with the parameter that holds it."""

WITH_BODIES = {"scan", "while", "cond", "custom_linear_solve"}
"""Primitives whose jaxprs are translated by a rule; never folded."""

PER_WORD = {
    *("broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "rev"),
    *(
        "concatenate",
        "stack",
        "unstack",
        "split",
        "select_n",
        "gather",
        "scatter",
        "copy",
        "copy_p",
    ),
    *("dynamic_slice", "dynamic_update_slice", "optimization_barrier", "random_clone"),
}
"""Primitives that move elements: random keys go through them one word after the other."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers the decorated function as the rule for these primitives."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


class Lowering(Scheduler):
    """Translates jaxprs into a program."""

    def __init__(self, program: Program, function_name: str):
        super().__init__(program)
        self.function_name = function_name
        self.line = ""

    def const(self, array: Any, dtype: str | None = None) -> Value:
        """An array known while compiling."""
        if hasattr(array, "dtype") and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
            words = np.asarray(jax.random.key_data(array))
            return Keys(self.const(words[..., 0]), self.const(words[..., 1]))
        array = np.asarray(array)
        return Const(array, dtype or dtype_name(array, self.function_name), self.program)

    def inline(self, closed: Any, args: Sequence[Value]) -> list[Value]:
        """Translates a jaxpr applied to values, here."""
        consts = getattr(closed, "consts", ())
        return self.run(getattr(closed, "jaxpr", closed), [self.const(c) for c in consts], args)

    def run(self, jaxpr: Any, consts: Sequence[Value], args: Sequence[Value]) -> list[Value]:
        """Translates the equations of a jaxpr and returns its results."""
        values: dict[Any, Value] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Value:
            if isinstance(atom, jex.Literal):  # a constant scalar
                return self.const(np.asarray(atom.val, dtype=avals([atom])[0].dtype))
            return values[atom]

        for eqn in jaxpr.eqns:
            results = self.equation(eqn, [read(v) for v in eqn.invars])
            values.update(zip(eqn.outvars, results, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def equation(self, eqn: Any, inputs: list[Value]) -> Sequence[Value]:
        """Translates one equation."""
        name, params = eqn.primitive.name, eqn.params
        outer_line = self.line
        # JAX's own functions have no line of the user's: theirs is that of the call.
        self.line = source_line(eqn) or outer_line
        try:
            if name in CALLS:
                return self.inline(params[CALLS[name]], inputs)
            where = f"in {self.function_name}, at {self.line}"
            outputs = [
                Spec(
                    tuple(v.aval.shape),
                    dtype_name(v.aval, f"livejax cannot translate {name!r} {where}"),
                )
                for v in eqn.outvars
            ]
            op = Op(name, inputs, outputs, params, where)
            if name not in RULES:
                raise op.refuse("no rule for this primitive")
            return self.fold(eqn, inputs) if self.can_fold(eqn, op) else self.apply(op)
        finally:
            self.line = outer_line

    def can_fold(self, eqn: Any, op: Op) -> bool:
        """Whether an operation can be done while compiling."""
        return (
            bool(op.inputs)
            and all(isinstance(v, Const) for v in op.inputs)
            and not eqn.effects
            and op.name not in WITH_BODIES
            and sum(o.size for o in op.outputs) <= FOLD
            and all(o.dtype != "key" for o in op.outputs)
        )

    def fold(self, eqn: Any, inputs: list[Any]) -> list[Value]:
        """Lets JAX compute an operation on constants."""
        out = eqn.primitive.bind(*[np.asarray(v.array) for v in inputs], **eqn.params)
        return [self.const(o) for o in (out if eqn.primitive.multiple_results else [out])]

    def apply(self, op: Op) -> Sequence[Value]:
        """Applies the rule of an operation; to each word of the keys, if it moves keys."""
        if any(isinstance(v, Bits64 | TopBits | Mantissa) for v in op.inputs):
            return RULES["64 random bits"](self, op)
        if any(isinstance(v, DoubleBits) for v in op.inputs):
            return RULES["bits of a float64"](self, op)
        if op.name not in PER_WORD or not any(isinstance(v, Keys) for v in op.inputs):
            return RULES[op.name](self, op)
        words = []
        for word in (0, 1):
            inputs = [v.words[word] if isinstance(v, Keys) else v for v in op.inputs]
            outputs = [Spec(o.shape, "uint32") for o in op.outputs]
            words.append(RULES[op.name](self, replace(op, inputs=inputs, outputs=outputs)))
        return [Keys(high, low) for high, low in zip(*words, strict=True)]

    def do(self, name: str, inputs: list[Value], shape: Sequence[int], dtype: str) -> Value:
        """Applies the rule of an elementwise primitive that a rule needs for itself."""
        op = Op(name, inputs, [Spec(tuple(shape), dtype)], {}, self.function_name)
        return RULES[name](self, op)[0]

    def trace_into(self, fn: Callable, inputs: list[Value]) -> list[Value]:
        """Translates a JAX function of arrays like the given values, applied to them."""
        shapes = [jax.ShapeDtypeStruct(v.shape, np.dtype(v.dtype)) for v in inputs]
        return self.inline(jax.make_jaxpr(fn)(*shapes), inputs)
