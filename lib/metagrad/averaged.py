"""The convex form of meta-learning: learn a point, and pay for the weighted average.

The update rule is φ(x, w) = w: the parameters are the next point themselves. The loss is taken
at the average x̄_t = (1 - ρ_t) x̄_{t-1} + ρ_t w_t, and the meta-gradient is

    g_t = (1/ρ_t) ∇_w f((1 - ρ_t) x̄_{t-1} + ρ_t w) at w = w_t,   which equals ∇f(x̄_t).

Symbols as in `metagrad.weights`: α_t, A_t, ρ_t, γ_t, β.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metagrad import checks
from metagrad.exact import reverse
from metagrad.problems import Loss
from metagrad.runs import single_step
from metagrad.unroll import unroll
from metagrad.weights import float_weights


class AveragedState(NamedTuple):
    """One step of the convex form, each array like x_0.

    Attributes:
        average: x̄_t.
        iterate: x_t = w_t, the learned point.
        gradient: the meta-gradient g_t = ∇f(x̄_t).
        gradient_sum: α_1 g_1 + ... + α_t g_t.
    """

    average: jax.Array
    iterate: jax.Array
    gradient: jax.Array
    gradient_sum: jax.Array


class AveragedRun(NamedTuple):
    """A run of T steps; each array has a new axis 0 of length T.

    Attributes:
        averages: x̄_1, ..., x̄_T.
        iterates: x_1, ..., x_T.
        gradients: the meta-gradients g_1, ..., g_T.
        weights: α_1, ..., α_T.
    """

    averages: jax.Array
    iterates: jax.Array
    gradients: jax.Array
    weights: jax.Array


def _meta_gradient(loss: Loss, average: Any, iterate: Any, rho: Any) -> tuple[Any, Any]:
    """The new average x̄_t, and the meta-gradient g_t of the loss there."""

    def rule(x, w):
        return (1.0 - rho) * x + rho * w

    made = reverse()(single_step(lambda x, w: loss(x), rule, average), iterate, None)
    return made.info.final_state, made.gradient / rho


def averaged_meta_learning(
    loss: Loss, x0: Any, weights: Any, meta_step_size: Any, hint_weights: Any = None
) -> AveragedRun:
    """Learn a point with the loss taken at its weighted average.

    The meta-learner is follow-the-regularized-leader, w_1 = x_0 and

    w_{t+1} = x_0 - β (α_1 g_1 + ... + α_t g_t + γ_{t+1} g_t),

    whose last term is a *hint*: a guess, of weight γ_{t+1}, of the gradient still to come.
    As a recurrence in x̄_t it has the coefficients `weights.three_term_coefficients`; with
    `nesterov_weights` and `nesterov_hints`, x̄_t is Nesterov's look-ahead point y_t.
    Source: our derivation.

    Args:
        loss: f, maps a point to one number.
        x0: the start, an array; x̄_1 = x_1 = x_0.
        weights: α_1, ..., α_T, positive, shape (T,).
        meta_step_size: β, positive.
        hint_weights: γ_1, ..., γ_T, shape (T,); None for no hint. γ_1 is not used: before the
            first step there is no gradient to guess from.

    Returns:
        An `AveragedRun` of T steps.

    >>> from metagrad.problems import quadratic
    >>> run = averaged_meta_learning(quadratic(1.0), 8.0, jnp.array([1.0, 1.0, 2.0]), 0.5)
    >>> run.iterates.tolist(), run.averages.tolist()
    ([8.0, 4.0, 1.0], [8.0, 6.0, 3.5])
    """
    weights, hint_weights = float_weights(weights, hint_weights)
    checks.require_positive("meta_step_size", meta_step_size)
    x0 = checks.as_float("x0", x0)
    checks.require_scalar_loss("loss", loss, x0)
    rhos = weights / jnp.cumsum(weights)

    def step(state, t):
        known = state.gradient_sum + hint_weights[t - 1] * state.gradient
        iterate = x0 - meta_step_size * known
        average, gradient = _meta_gradient(loss, state.average, iterate, rhos[t - 1])
        gradient_sum = state.gradient_sum + weights[t - 1] * gradient
        return AveragedState(average, iterate, gradient, gradient_sum)

    nothing = jnp.zeros_like(x0)  # no gradient is known before step 1
    states = unroll(step, AveragedState(x0, x0, nothing, nothing), weights.shape[0])[1]
    return AveragedRun(states.average, states.iterate, states.gradient, weights)


class ConstantAverageRun(NamedTuple):
    """A run of T steps; each array has a new axis 0 of length T.

    Attributes:
        averages: x̄_1, ..., x̄_T.
        iterates: w_1, ..., w_T.
        gradients: the meta-gradients g_1, ..., g_T.
    """

    averages: jax.Array
    iterates: jax.Array
    gradients: jax.Array


def constant_average(
    loss: Loss, x0: Any, average_weight: Any, meta_step_size: Any, inner_steps: int
) -> ConstantAverageRun:
    """Average with one constant weight ρ, and move w by plain gradient steps.

    x̄_t = (1 - ρ) x̄_{t-1} + ρ w_t;   w_{t+1} = w_t - β g_t;   x̄_0 = w_1 = x_0.

    The averages are heavy ball with momentum 1 - ρ and step size ρβ (our derivation): x̄_1 = x_0
    is its start, and x̄_T its point after T - 1 steps.

    Args:
        loss: f, maps a point to one number.
        x0: the start, an array.
        average_weight: ρ, positive, at most 1.
        meta_step_size: β, positive.
        inner_steps: T, at least 1.

    Returns:
        A `ConstantAverageRun` of T steps.

    >>> from metagrad.problems import quadratic
    >>> constant_average(quadratic(1.0), 8.0, 0.5, 1.0, 4).averages.tolist()
    [8.0, 4.0, 0.0, -2.0]
    """
    checks.require_positive("average_weight", average_weight)
    checks.require_in("average_weight", average_weight, 0, 1)
    checks.require_positive("meta_step_size", meta_step_size)
    x0 = checks.as_float("x0", x0)
    checks.require_scalar_loss("loss", loss, x0)

    def step(state, t):
        del t
        iterate = state.iterates - meta_step_size * state.gradients
        average, gradient = _meta_gradient(loss, state.averages, iterate, average_weight)
        return ConstantAverageRun(average, iterate, gradient)

    start = ConstantAverageRun(x0, x0, jnp.zeros_like(x0))
    return unroll(step, start, inner_steps)[1]
