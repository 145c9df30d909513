"""The log objective of a long run: plain, which fails, and with a point that is renormalized.

After T steps the point, and the loss, may be larger or smaller than any float, while F(w) =
(1/T) log loss(x_T, w) and its derivative are of moderate size. `renormalized` divides the point by
its norm after each step and adds up the logarithms. What it makes is a run like any other, for
every method of `metagrad.estimators`: with `reverse()` it is backpropagation that stays in range,
with `forward()` the tangent is renormalized along with the point, and nothing is kept.

The step must be homogeneous, step(s x) = s step(x), as that of a linear optimizer on a quadratic
is. For other runs see `metagrad.scaled_tangents`.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.runs import Run, make_run


def log_loss(loss: Callable, inner_steps: int) -> Callable:
    """The loss of the log objective F(w) = (1/T) log loss(x_T, w).

    Backpropagation through it computes 1/loss and the adjoints, which leave the range of floats
    long before F or F' do: the derivative is then NaN, or 0 without any sign of failure.
    Source: Wang, Yuan, Wu and Ge, 2021, corollary 1.

    Args:
        loss: maps (state, w) to one positive number.
        inner_steps: T, at least 1.

    >>> from metagrad.estimators import meta_gradient
    >>> pieces = lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3  # F = (1/3) log(4 w⁶)
    >>> meta_gradient(log_loss(lambda x, w: x**2, 3), *pieces).gradient.item()  # 2 / w
    4.0
    """
    checks.require_steps("inner_steps", inner_steps)
    return lambda state, w: jnp.log(loss(state, w)) / inner_steps


def norm(tree: Any) -> Float[Array, ""]:
    """The Euclidean norm of all numbers in a pytree, safe from overflow in the squares.

    Infinite if it is larger than any float, NaN if one of the numbers is.

    >>> norm({"a": jnp.array([0.0, 3.0]), "b": jnp.array(-4.0)}).item()
    5.0
    """
    leaves = jax.tree.leaves(tree)
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]))
    # XLA multiplies by 1 / scale, and for the largest floats that would be flushed to 0.
    most = jnp.asarray(jnp.finfo(largest.dtype).max / 8, largest.dtype)
    scale = jax.lax.stop_gradient(jnp.where(largest > 0, jnp.minimum(largest, most), 1.0))
    total = reduce(add, [jnp.sum((leaf / scale) ** 2) for leaf in leaves])
    zero = total == 0  # and not "> 0": the norm of NaN is NaN
    return jnp.where(zero, 0.0, scale * jnp.sqrt(jnp.where(zero, 1.0, total)))


def divide(tree: Any, number: Float[Array, ""]) -> Any:
    """Every leaf of a pytree divided by one number.

    >>> divide({"a": jnp.array([3.0, 6.0])}, jnp.float64(3.0))["a"].tolist()
    [1.0, 2.0]
    """
    return jax.tree.map(lambda leaf: leaf / number, tree)


def renormalized(
    loss: Callable,
    step: Callable,
    meta_parameters: Any,
    start: Any,
    inner_steps: int,
    *,
    degree: int = 2,
) -> Run:
    """The run of (v_t, s_t), v_t = x_t / ||x_t|| and s_t = log ||x_t||, with the log objective.

    F(w) = (degree · s_T + log loss(v_T, w)) / T, which is (1/T) log loss(x_T, w).

    Its derivatives stay in range in both directions, since dividing by the norm removes from a
    tangent (and an adjoint) the part along v_t. Where the state holds several vectors, as heavy
    ball's does, they are divided by one common norm.

    Args:
        loss: maps (state, w) to a positive number; homogeneous of the given degree.
        step: maps (state, w, t) to the next state; homogeneous of degree 1 in the state.
        meta_parameters: w, as for `meta_gradient`.
        start: x_0 or a function of w, not 0.
        inner_steps: T, at least 1.
        degree: loss(s x) = s^degree loss(x) for s > 0.

    Returns:
        A `Run`; `meta_gradient(run.loss, run.step, w, run.start, run.inner_steps)` has its
        derivative, by any method.

    Raises:
        ValueError: if the start is 0, or the loss or the step is seen not to be homogeneous there.

    >>> from metagrad.estimators import meta_gradient
    >>> w, pieces = 0.5, (lambda x, w: x**2, lambda x, w, t: w * x)
    >>> run = renormalized(*pieces, w, jnp.array(2.0), 5000)  # loss(x_T) = 4 w¹⁰⁰⁰⁰
    >>> made = meta_gradient(run.loss, run.step, w, run.start, run.inner_steps)
    >>> made.gradient.round(12).item()
    4.0
    """
    run = make_run(loss, step, meta_parameters, start, inner_steps)
    w = checks.float_tree("meta_parameters", meta_parameters)
    checks.require_steps("degree", degree)
    _require_homogeneous(run, w, degree)

    def scaled_start(w):
        state = run.start(w)
        size = norm(state)
        return divide(state, size), jnp.log(size)

    def scaled_step(carry, w, t):
        state, log_size = carry
        state = run.step(state, w, t)
        size = norm(state)
        return divide(state, size), log_size + jnp.log(size)

    def scaled_loss(carry, w):
        state, log_size = carry
        return (degree * log_size + jnp.log(run.loss(state, w))) / inner_steps

    return Run(scaled_loss, scaled_step, scaled_start, run.inner_steps, False)


def _require_homogeneous(run: Run, w: Any, degree: int) -> None:
    """Doubling the start must double the next state, and multiply the loss by 2^degree."""
    if not checks.is_known(w):
        return
    x = run.start(w)
    if not checks.is_known(x):
        return
    if norm(x) == 0:
        raise ValueError(f"start must not be 0, which has no direction, got {x!r}")
    twice = jax.tree.map(lambda leaf: 2.0 * leaf, x)
    once, doubled = (run.step(state, w, jnp.int32(1)) for state in (x, twice))
    gap = norm(jax.tree.map(lambda one, two: two - 2.0 * one, once, doubled))
    rounding = 1e3 * float(jnp.finfo(gap.dtype).eps)
    if gap > rounding * (norm(doubled) + norm(x)):
        raise ValueError(
            f"step must be homogeneous, step(2 x) = 2 step(x), got a difference of {gap:.3g} at "
            "the start; metagrad.scaled_tangents takes any step"
        )
    one, two = run.loss(x, w), run.loss(twice, w)
    if abs(two - 2.0**degree * one) > rounding * abs(two):
        raise ValueError(
            f"loss must be homogeneous of degree {degree}, loss(2 x) = {2**degree} loss(x), got "
            f"{two:.6g} and {one:.6g} at the start"
        )
