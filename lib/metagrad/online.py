"""Momentum as a meta-gradient: an update rule with parameters, learned while it is used.

Each step uses an update rule φ with parameters w, then moves w down the *meta-gradient*: the
derivative, with respect to w, of the loss that the rule has just led to. That is a run of one
step, differentiated by the same `reverse` as longer runs.

This module holds the practice form, with the loss at the iterate x_t = φ(x_{t-1}, w_t). The
convex form, with the loss at an average of iterates, is in `metagrad.averaged`, its weights are
in `metagrad.weights` and its account in `metagrad.ledger`; all of it can be had from here.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metagrad import checks
from metagrad.averaged import AveragedRun, averaged_meta_learning, constant_average
from metagrad.exact import reverse
from metagrad.ledger import Ledger, online_to_batch
from metagrad.problems import Loss
from metagrad.rules import UpdateRule, translation
from metagrad.runs import single_step
from metagrad.unroll import prepend, unroll
from metagrad.weights import (
    nesterov_hints,
    nesterov_weights,
    power_weights,
    three_term_coefficients,
)

__all__ = [
    "AveragedRun",
    "Ledger",
    "OnlineRun",
    "averaged_meta_learning",
    "constant_average",
    "nesterov_hints",
    "nesterov_weights",
    "online_meta_learning",
    "online_to_batch",
    "power_weights",
    "three_term_coefficients",
    "translation",
]


class OnlineState(NamedTuple):
    """One step: the point x_t, the parameters w_{t+1}, h_t(w_t) and its gradient."""

    point: jax.Array
    parameters: Any
    meta_loss: jax.Array
    meta_gradient: Any


class OnlineRun(NamedTuple):
    """A run of T steps of the practice form.

    Attributes:
        points: x_0, ..., x_T, shape (T + 1, *x0.shape).
        parameters: w_1, ..., w_{T+1}: like w0, with a new axis 0 of length T + 1.
        meta_losses: h_t(w_t) for t = 1, ..., T, shape (T,).
        meta_gradients: ∇h_t(w_t) for t = 1, ..., T: like w0, with a new axis 0 of length T.
    """

    points: jax.Array
    parameters: Any
    meta_losses: jax.Array
    meta_gradients: Any


def online_meta_learning(
    loss: Loss,
    update_rule: UpdateRule,
    x0: Any,
    w0: Any,
    meta_step_size: Any,
    inner_steps: int,
    decay: Any = 0.0,
) -> OnlineRun:
    """Learn the parameters of an update rule by gradient descent while using the rule.

    For t = 1, ..., T:   x_t = φ(x_{t-1}, w_t)   and   w_{t+1} = w_t - β ∇h_t(w_t)
    with the meta-loss   h_t(w) = f(φ(x_{t-1}, w)) + (decay / 2) ||w||².

    With φ = `translation` and decay = (1 - μ) / β this *is* heavy ball with step size β and
    momentum μ: w_{t+1} = μ w_t - β ∇f(x_t). From w_1 = 0 the first step stands still, so that
    points[1:] are heavy ball's x_0, ..., x_{T-1}; from w_1 = -β ∇f(x_0) nothing is shifted.
    Source: our derivation.

    Args:
        loss: f, maps a point to one number.
        update_rule: φ, maps (x, w) to the next point, an array like x.
        x0: the start x_0, an array.
        w0: the first parameters w_1, any pytree of arrays.
        meta_step_size: β, positive.
        inner_steps: T, at least 1.
        decay: the coefficient of the penalty on w, at least 0.

    Returns:
        An `OnlineRun` of T steps.

    >>> from metagrad.problems import quadratic
    >>> run = online_meta_learning(quadratic(1.0), translation, 8.0, 0.0, 0.5, 4, decay=1.0)
    >>> run.points.tolist()  # heavy ball with β = 0.5 and μ = 0.5, one step late
    [8.0, 8.0, 4.0, 0.0, -2.0]
    """
    checks.require_positive("meta_step_size", meta_step_size)
    checks.require_nonnegative("decay", decay)
    x0 = checks.as_float("x0", x0)
    w0 = checks.float_tree("w0", w0)
    checks.require_update_rule("update_rule", update_rule, x0, w0)
    checks.require_scalar_loss("loss", loss, x0)

    def meta_loss(x, w):
        penalty = 0.5 * decay * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(w))
        return loss(x) + penalty

    def step(state, t):
        del t
        w = state.parameters
        made = reverse()(single_step(meta_loss, update_rule, state.point), w, None)
        w = jax.tree.map(lambda w, g: w - meta_step_size * g, w, made.gradient)
        return OnlineState(made.info.final_state, w, made.value, made.gradient)

    start = OnlineState(x0, w0, jnp.zeros((), x0.dtype), w0)  # the last two are overwritten
    states = unroll(step, start, inner_steps)[1]
    return OnlineRun(
        points=prepend(x0, states.point),
        parameters=prepend(w0, states.parameters),
        meta_losses=states.meta_loss,
        meta_gradients=states.meta_gradient,
    )
