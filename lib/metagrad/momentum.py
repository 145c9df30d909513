"""Gradient descent, heavy ball and Nesterov's method, and the recurrence that covers all three.

Symbols: β is the step size, μ the momentum coefficient, T = inner_steps.
`points[t]` is x_t, the iterate after t steps; `points[0]` is the start.
Here x may be any pytree of arrays, except in `three_term`, where it is one array.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metagrad import checks
from metagrad.problems import Loss
from metagrad.unroll import prepend, unroll


def gradient_descent(loss: Loss, x0: Any, step_size: Any, inner_steps: int) -> Any:
    """Gradient descent x_{t+1} = x_t - β ∇f(x_t).

    Args:
        loss: maps a point to one number.
        x0: the start, any pytree of arrays.
        step_size: β, positive.
        inner_steps: T, at least 1.

    Returns:
        The points x_0, ..., x_T: like x0, with a new axis 0 of length T + 1.

    >>> from metagrad.problems import quadratic
    >>> gradient_descent(quadratic([1.0, 2.0]), jnp.array([4.0, 4.0]), 0.5, 2).tolist()
    [[4.0, 4.0], [2.0, 0.0], [1.0, 0.0]]
    """
    checks.require_positive("step_size", step_size)
    x0 = checks.float_tree("x0", x0)
    checks.require_scalar_loss("loss", loss, x0)

    def step(x, t):
        del t
        return jax.tree.map(lambda x, g: x - step_size * g, x, jax.grad(loss)(x))

    return prepend(x0, unroll(step, x0, inner_steps)[1])


class HeavyBallState(NamedTuple):
    """Where heavy ball is, and where it was one step before."""

    point: Any
    previous: Any


def heavy_ball(loss: Loss, x0: Any, step_size: Any, momentum: Any, inner_steps: int) -> Any:
    """Heavy ball x_{t+1} = x_t + μ (x_t - x_{t-1}) - β ∇f(x_t), started at rest: x_{-1} = x_0.

    Source: Polyak, 1964.

    Args:
        loss: maps a point to one number.
        x0: the start, any pytree of arrays.
        step_size: β, positive.
        momentum: μ, between 0 and 1.
        inner_steps: T, at least 1.

    Returns:
        The points x_0, ..., x_T: like x0, with a new axis 0 of length T + 1.

    >>> from metagrad.problems import quadratic
    >>> heavy_ball(quadratic(1.0), 8.0, 0.5, 0.5, 3).tolist()
    [8.0, 4.0, 0.0, -2.0]
    """
    checks.require_positive("step_size", step_size)
    checks.require_in("momentum", momentum, 0, 1)
    x0 = checks.float_tree("x0", x0)
    checks.require_scalar_loss("loss", loss, x0)

    def step(state, t):
        del t
        point = jax.tree.map(
            lambda x, before, g: x + momentum * (x - before) - step_size * g,
            state.point,
            state.previous,
            jax.grad(loss)(state.point),
        )
        return HeavyBallState(point, previous=state.point)

    states = unroll(step, HeavyBallState(x0, x0), inner_steps)[1]
    return prepend(x0, states.point)


class NesterovState(NamedTuple):
    """The iterate x_k, the look-ahead point y_{k+1}, and the weight α_{k+1}."""

    point: Any
    lookahead: Any
    weight: jax.Array  # shape ()


class NesterovRun(NamedTuple):
    """Both sequences of Nesterov's method.

    Attributes:
        points: x_0, ..., x_T, with a new axis 0 of length T + 1.
        lookahead: y_1, ..., y_T, where the gradients were taken; axis 0 has length T, and
            points[k + 1] = lookahead[k] - β ∇f(lookahead[k]).
    """

    points: Any
    lookahead: Any


def next_weight(weight: jax.Array) -> jax.Array:
    """Nesterov's next weight: the α > 0 with α² - α = weight².

    >>> float(next_weight(jnp.sqrt(6.0)).round(12))
    3.0
    """
    return 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * weight**2))


def nesterov(
    loss: Loss, x0: Any, step_size: Any, inner_steps: int, momentum: Any = None
) -> NesterovRun:
    """Nesterov's method: a gradient step from a point extrapolated along the last move.

    x_k = y_k - β ∇f(y_k);  y_{k+1} = x_k + m_{k+1} (x_k - x_{k-1});  y_1 = x_0.

    Without `momentum`, m_{k+1} = (α_k - 1) / α_{k+1} with α_1 = 1 and α_{k+1} from
    `next_weight`. Source: Nesterov, 1983.

    Args:
        loss: maps a point to one number.
        x0: the start, any pytree of arrays of one dtype.
        step_size: β, positive (at most 1/L for the 1983 guarantee).
        inner_steps: T, at least 1.
        momentum: None, or one constant m between 0 and 1 for all steps.

    Returns:
        The points x_0, ..., x_T and the look-ahead points y_1, ..., y_T.

    >>> from metagrad.problems import quadratic
    >>> run = nesterov(quadratic(1.0), 8.0, 0.5, 3, momentum=0.5)
    >>> run.points.tolist(), run.lookahead.tolist()
    ([8.0, 4.0, 1.0, -0.25], [8.0, 2.0, -0.5])
    """
    checks.require_positive("step_size", step_size)
    if momentum is not None:
        checks.require_in("momentum", momentum, 0, 1)
    x0 = checks.float_tree("x0", x0)
    checks.require_scalar_loss("loss", loss, x0)

    def step(state, t):
        del t
        point = jax.tree.map(
            lambda y, g: y - step_size * g, state.lookahead, jax.grad(loss)(state.lookahead)
        )
        weight = next_weight(state.weight)
        m = (state.weight - 1.0) / weight if momentum is None else momentum
        lookahead = jax.tree.map(lambda x, before: x + m * (x - before), point, state.point)
        return NesterovState(point, lookahead, weight)

    one = jnp.ones((), jnp.result_type(*jax.tree.leaves(x0)))
    states = unroll(step, NesterovState(x0, x0, one), inner_steps)[1]
    taken = jax.tree.map(lambda y: y[:-1], prepend(x0, states.lookahead))
    return NesterovRun(prepend(x0, states.point), taken)


class ThreeTermState(NamedTuple):
    """The point, the one before, and the gradient at the one before."""

    point: jax.Array
    previous: jax.Array
    previous_gradient: jax.Array


def three_term(loss: Loss, x0: Any, momentum: Any, step_size: Any, correction: Any) -> jax.Array:
    """The recurrence behind all of these methods, with a coefficient of its own for every step.

    x_{k+1} = x_k + m_k (x_k - x_{k-1}) - ε_k g_k - δ_k (g_k - g_{k-1}),  g_k = ∇f(x_k),
    for k = 0, ..., T - 1, started at rest: x_{-1} = x_0 and g_{-1} = g_0.
    Heavy ball has δ = 0; Nesterov's look-ahead sequence has δ_k = β m_k.

    Args:
        loss: maps a point to one number.
        x0: the start, an array.
        momentum: m_0, ..., m_{T-1}, shape (T,).
        step_size: ε_0, ..., ε_{T-1}, shape (T,); of any sign.
        correction: δ_0, ..., δ_{T-1}, shape (T,).

    Returns:
        The points x_0, ..., x_T, shape (T + 1, *x0.shape).

    >>> from metagrad.problems import quadratic
    >>> ones = jnp.ones(3)
    >>> three_term(quadratic(1.0), 8.0, 0.5 * ones, 0.5 * ones, 0.0 * ones).tolist()
    [8.0, 4.0, 0.0, -2.0]
    """
    checks.require_vector("momentum", momentum)
    inner_steps = len(momentum)
    checks.require_vector("step_size", step_size, inner_steps)
    checks.require_vector("correction", correction, inner_steps)
    coefficients = (
        checks.as_float("momentum", momentum),
        checks.as_float("step_size", step_size),
        checks.as_float("correction", correction),
    )
    x0 = checks.as_float("x0", x0)
    checks.require_scalar_loss("loss", loss, x0)

    def step(state, t):
        m, eps, delta = (values[t - 1] for values in coefficients)
        gradient = jax.grad(loss)(state.point)
        point = (
            state.point
            + m * (state.point - state.previous)
            - eps * gradient
            - delta * (gradient - state.previous_gradient)
        )
        return ThreeTermState(point, state.point, gradient)

    start = ThreeTermState(x0, x0, jax.grad(loss)(x0))
    return prepend(x0, unroll(step, start, inner_steps)[1].point)
