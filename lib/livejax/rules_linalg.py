"""Sorting and dense linear algebra, by calls of runtime functions on arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import jax
import jax.numpy as jnp

from .index import Ix, Var
from .lower import Lowering, Op, rule
from .program import Call, For
from .values import Memory, Value


def kernel(
    lowering: Lowering,
    op: Op,
    function: str,
    inputs: Sequence[tuple[Value, int]],
    outputs: Sequence[int],
    call: Callable[[list[str], list[str]], Sequence[str]],
) -> list[Value]:
    """Calls a runtime function, once for each matrix of a batch.

    Args:
        lowering: the lowering.
        op: the operation, whose results are those of the function.
        function: name of the runtime function.
        inputs: the operands, with the number of trailing axes that belong to one matrix.
        outputs: for each result, the number of trailing axes that belong to one matrix.
        call: gives the arguments, from those for inputs and outputs.
    """
    sources = [lowering.memory(value) for value, _ in inputs]
    targets = [lowering.new_memory(o.shape, o.dtype) for o in op.outputs]
    first, rank = inputs[0]
    batch = prod(first.shape[: len(first.shape) - rank])
    turn = Var(lowering.program.name("b"), batch)

    def part(memory: Memory, axes: int) -> str:
        size = prod(memory.shape[len(memory.shape) - axes :])
        start = memory.offset + Ix.of(turn) * size if batch > 1 else memory.offset
        return f"h.subarray({start.js()},{(start + size).js()})"

    arguments = call(
        [part(m, axes) for m, (_, axes) in zip(sources, inputs, strict=True)],
        [part(m, axes) for m, axes in zip(targets, outputs, strict=True)],
    )
    statement = Call(lowering.program.call(function, *arguments))
    block, _ = lowering.home(sources, None)
    # An empty batch has no turn at all.
    place = block.append(statement if batch == 1 else For(turn, [statement]))
    for target in targets:
        target.written.add((block, place))
    return [rounded(lowering, t) for t in targets]


def rounded(lowering: Lowering, value: Value) -> Value:
    """The results of a function that computes in float64, rounded if they should be float32."""
    if value.dtype != "float32":
        return value
    call = lowering.program.call
    return lowering.compute(
        value.shape,
        "float32",
        [value],
        lambda index, site: call("flush32", value.at(index, site)),
    )


def boolean(flag: bool) -> str:
    """A boolean in JavaScript."""
    return "true" if flag else "false"


@rule("sort")
def _sort(lowering: Lowering, op: Op) -> Sequence[Value]:
    shape = op.outputs[0].shape
    axis = op.params["dimension"]
    layout = (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]), op.params["num_keys"])

    def call(inputs: list[str], outputs: list[str]) -> list[str]:
        return [f"[{','.join(inputs)}]", *map(str, layout), f"[{','.join(outputs)}]"]

    rank = len(shape)
    if prod(shape) == 0:
        return op.inputs
    pairs = [(v, rank) for v in op.inputs]
    results = kernel(lowering, op, "sortTogether", pairs, [rank] * len(op.outputs), call)
    return results


@rule("top_k")
def _top_k(lowering: Lowering, op: Op) -> Sequence[Value]:
    """By sorting; among equal elements the one with the lower index comes first."""
    k, axis = op.params["k"], op.params.get("axis", -1)

    def largest(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        place = jax.lax.broadcasted_iota(jnp.int32, x.shape, axis % x.ndim)
        values, negated = jax.lax.sort((x, -place), dimension=axis % x.ndim, num_keys=2)
        values, negated = jnp.flip(values, axis), jnp.flip(negated, axis)
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(k)
        return values[tuple(cut)], -negated[tuple(cut)]

    return lowering.trace_into(largest, op.inputs)


@rule("cholesky")
def _cholesky(lowering: Lowering, op: Op) -> Sequence[Value]:
    order = str(op.out.shape[-1])
    return kernel(
        lowering, op, "cholesky", [(op.inputs[0], 2)], [2], lambda i, o: [i[0], order, o[0]]
    )


@rule("triangular_solve")
def _triangular_solve(lowering: Lowering, op: Op) -> Sequence[Value]:
    matrix, right = op.inputs
    p = op.params
    n = matrix.shape[-1]
    columns = right.shape[-1] if p["left_side"] else right.shape[-2]
    flags = [p["left_side"], p["lower"], p["transpose_a"], p["unit_diagonal"]]

    def call(inputs: list[str], outputs: list[str]) -> list[str]:
        return [*inputs, str(n), str(columns), *map(boolean, flags), outputs[0]]

    return kernel(lowering, op, "triangularSolve", [(matrix, 2), (right, 2)], [2], call)


@rule("lu")
def _lu(lowering: Lowering, op: Op) -> Sequence[Value]:
    rows, columns = map(str, op.inputs[0].shape[-2:])
    return kernel(
        lowering,
        op,
        "lu",
        [(op.inputs[0], 2)],
        [2, 1, 1],
        lambda i, o: [i[0], rows, columns, *o],
    )


@rule("lu_pivots_to_permutation")
def _lu_pivots(lowering: Lowering, op: Op) -> Sequence[Value]:
    pivots = op.inputs[0]
    steps, size = str(pivots.shape[-1]), str(op.params["permutation_size"])
    return kernel(
        lowering,
        op,
        "luPivotsToPermutation",
        [(pivots, 1)],
        [1],
        lambda i, o: [i[0], steps, size, o[0]],
    )


@rule("eigh")
def _eigh(lowering: Lowering, op: Op) -> Sequence[Value]:
    """Eigenvalues in ascending order. The sign of an eigenvector is the runtime's choice."""
    op.expect(subset_by_index=None)
    matrix = op.inputs[0]
    order = str(matrix.shape[-1])
    if not op.params["lower"]:
        matrix = lowering.view(matrix, matrix.shape, lambda i: (*i[:-2], i[-1], i[-2]))
    return kernel(lowering, op, "eighJacobi", [(matrix, 2)], [2, 1], lambda i, o: [i[0], order, *o])


@rule("custom_linear_solve")
def _custom_linear_solve(lowering: Lowering, op: Op) -> Sequence[Value]:
    """The solver that JAX was given, applied to the right-hand side."""
    lengths = op.params["const_lengths"]
    before = lengths.matvec + lengths.vecmat
    consts = op.inputs[before : before + lengths.solve]
    right = op.inputs[before + lengths.solve + lengths.transpose_solve :]
    return lowering.inline(op.params["jaxprs"].solve, [*consts, *right])
