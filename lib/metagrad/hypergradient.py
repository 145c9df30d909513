"""Hypergradient descent: tune the step size while the run goes on, one step at a time.

After each step, ask how the new loss depends on the step size just used, everything before it
held fixed, and move the step size down that derivative. It is truncated backpropagation through
a single step, done online.
"""

from functools import reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from metagrad import checks
from metagrad.problems import Loss
from metagrad.runs import State
from metagrad.unroll import prepend, unroll


class HypergradientState(NamedTuple):
    """The point, its gradient, the step size for the next step, and what the direction keeps."""

    point: State
    gradient: State
    step_size: Float[Array, ""]
    direction: Any
    hypergradient: Float[Array, ""]


class HypergradientRun(NamedTuple):
    """A run of T steps.

    Attributes:
        points: x_0, ..., x_T, with a new axis 0 of length T + 1.
        step_sizes: β_1, ..., β_{T+1}, shape (T + 1,); the last was never used.
        hypergradients: h_1, ..., h_T, shape (T,).
    """

    points: PyTree[Float[Array, "points ..."]]
    step_sizes: Float[Array, " points"]
    hypergradients: Float[Array, " steps"]


def hypergradient_descent(
    loss: Loss,
    x0: Any,
    step_size: Any,
    meta_step_size: Any,
    inner_steps: int,
    *,
    direction: Any = None,
) -> HypergradientRun:
    """Gradient descent, or any optimizer, whose step size follows its own hypergradient.

    x_t = x_{t-1} - β_t u_t,   h_t = df(x_t)/dβ_t = -⟨∇f(x_t), u_t⟩,   β_{t+1} = β_t - η h_t.

    Here u_t is made from ∇f(x_{t-1}); it is that gradient itself unless `direction` is given.
    h_t costs one inner product: the gradient at x_t is needed for the next step anyway.
    A step size may become negative: this is the method as published, without a safeguard.
    Source: Almeida et al., 1998; Baydin et al., 2018, algorithms 4 (SGD-HD) and 5 (Adam-HD).

    Args:
        loss: f, maps a point to one number.
        x0: the start, any pytree of arrays.
        step_size: β_1, at least 0.
        meta_step_size: η, at least 0; 0 keeps the step size.
        inner_steps: T, at least 1.
        direction: None, or an optax transformation, such as `optax.scale_by_adam()`, that makes
            u_t from the gradients.

    Returns:
        A `HypergradientRun`.

    Raises:
        ValueError: if a step size is negative, or inner_steps below 1.

    >>> from metagrad.problems import quadratic
    >>> run = hypergradient_descent(quadratic(1.0), 8.0, 0.25, 0.0078125, 2)
    >>> run.points.tolist(), run.step_sizes.tolist(), run.hypergradients.tolist()
    ([8.0, 6.0, 2.25], [0.25, 0.625, 0.73046875], [-48.0, -13.5])
    """
    checks.require_nonnegative("step_size", step_size)
    checks.require_nonnegative("meta_step_size", meta_step_size)
    x0 = checks.float_tree("x0", x0)
    checks.require_scalar_loss("loss", loss, x0)
    # A Python number is as wide as the point, so that float32 stays float32.
    step_size = checks.as_float("step_size", step_size)
    step_size = step_size.astype(jnp.result_type(*jax.tree.leaves(x0)))

    def step(state, t):
        del t
        if direction is None:
            move, kept = state.gradient, state.direction
        else:
            move, kept = direction.update(state.gradient, state.direction, state.point)
        point = jax.tree.map(lambda x, u: x - state.step_size * u, state.point, move)
        gradient = jax.grad(loss)(point)
        products = jax.tree.map(lambda g, u: jnp.sum(g * u), gradient, move)
        hypergradient = -reduce(add, jax.tree.leaves(products))
        new_step_size = state.step_size - meta_step_size * hypergradient
        return HypergradientState(point, gradient, new_step_size, kept, hypergradient)

    start = HypergradientState(
        x0,
        jax.grad(loss)(x0),
        step_size,
        None if direction is None else direction.init(x0),
        jnp.zeros_like(step_size),  # overwritten by the first step
    )
    states = unroll(step, start, inner_steps)[1]
    return HypergradientRun(
        prepend(x0, states.point), prepend(step_size, states.step_size), states.hypergradient
    )
