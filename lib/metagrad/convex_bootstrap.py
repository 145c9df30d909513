"""Bootstrapped meta-gradients in the averaged form, where they are optimism.

The meta-learner is FTRL on the gradients of d_t(w) = ||z_t - φ(x̄_{t-1}, w)||² / 2 with the target

    z_t = x_t - (γ_{t+1} ∇f(x̄_t) + α_t ∇f(x̄_t) - γ_t ∇f(x̄_{t-1})),

a step along the gradient, corrected by what was predicted for it and by a prediction of the next.
The gradients of d_1, ..., d_t add up to the sum of the α_s g_s plus the stale hint of
`metagrad.optimistic`, γ_{t+1} B_tᵀ∇f(x̄_t), minus a *drift*: γ_s (B_s - B_{s-1})ᵀ∇f(x̄_{s-1}) for
s <= t. Where the Jacobian is constant there is no drift, and the two methods are one.
The proof in the book is ours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.bootstrapped import squared_distance
from metagrad.learner import leader
from metagrad.problems import Loss
from metagrad.projections import Projection
from metagrad.rules import UpdateRule
from metagrad.unroll import prepend, unroll
from metagrad.weights import float_weights


class BootstrappedAverages(NamedTuple):
    """A run of T rounds; axis 0 of each array but `start` and `center` has length T.

    Attributes:
        averages: x̄_1, ..., x̄_T.
        iterates: x_1, ..., x_T.
        gradients: ∇f(x̄_1), ..., ∇f(x̄_T).
        weights: α_1, ..., α_T.
        parameters: w_1, ..., w_T.
        targets: z_1, ..., z_T; the last is formed with γ_{T+1} = 0.
        predictions: γ_t ∇f(x̄_{t-1}), the first of them 0.
        step_sizes: β_1, ..., β_T.
        start: x̄_0.
        center: w_0.
    """

    averages: Float[Array, "rounds ..."]
    iterates: Float[Array, "rounds ..."]
    gradients: Float[Array, "rounds ..."]
    weights: Float[Array, " rounds"]
    parameters: Float[Array, "rounds ..."]
    targets: Float[Array, "rounds ..."]
    predictions: Float[Array, "rounds ..."]
    step_sizes: Float[Array, "rounds ..."]
    start: Float[Array, "..."]
    center: Float[Array, "..."]


class _State(NamedTuple):
    average: jax.Array
    iterate: jax.Array
    gradient: jax.Array
    parameters: jax.Array
    target: jax.Array
    prediction: jax.Array
    step_size: jax.Array
    learner: Any


def bootstrapped_averages(
    loss: Loss,
    update_rule: UpdateRule,
    x0: Any,
    w0: Any,
    weights: Any,
    meta_step_size: Any,
    hint_weights: Any = None,
    *,
    project: Projection | None = None,
    allow_increasing: bool = False,
) -> BootstrappedAverages:
    """Learn by bootstrapped targets, with the loss taken at the weighted average.

    Args:
        loss: f, maps a point to one number.
        update_rule: φ, maps (x, w) to the next point; see `metagrad.rules`.
        x0: x̄_0, an array; it has no weight in the averages.
        w0: w_0, an array: the center of the regularizer, and w_1 = w_0.
        weights: α_1, ..., α_T, positive, shape (T,).
        meta_step_size: β, positive, a number or an array of shape (T,) that does not increase; or
            `learner.adagrad`, which here adds up the squares of ∇d_t.
        hint_weights: γ_1, ..., γ_T, shape (T,), γ_1 not used; None for γ = 0, when the target is a
            gradient step and the method is the one without hints.
        project: the projection to W; None for W = everything.
        allow_increasing: let β_t increase; see `metagrad.ftrl`.

    Returns:
        A `BootstrappedAverages` of T rounds.

    >>> from metagrad.problems import quadratic
    >>> from metagrad.rules import proposal
    >>> alpha = jnp.array([1.0, 1.0, 2.0])
    >>> run = bootstrapped_averages(quadratic(1.0), proposal, 8.0, 8.0, alpha, 0.5, alpha)
    >>> run.targets.tolist(), run.averages.tolist()  # as with hints
    ([-8.0, -4.0, 4.0], [8.0, 4.0, 1.0])
    """
    weights, hint_weights = float_weights(weights, hint_weights)
    x0, w0 = checks.as_float("x0", x0), checks.as_float("w0", w0)
    checks.require_scalar_loss("loss", loss, x0)
    checks.require_update_rule("update_rule", update_rule, x0, w0)
    inner_steps = weights.shape[0]
    learner = leader(w0, meta_step_size, inner_steps, project, allow_increasing)
    rhos = weights / jnp.cumsum(weights)
    next_hints = jnp.concatenate([hint_weights[1:], jnp.zeros_like(weights[:1])])
    no_hint = jnp.zeros_like(w0)

    def step(state, t):
        w, step_size, learned = learner.play(state.learner, no_hint, t)
        iterate = update_rule(state.average, w)
        average = (1.0 - rhos[t - 1]) * state.average + rhos[t - 1] * iterate
        gradient = jax.grad(loss)(average)
        predicted = hint_weights[t - 1] * state.gradient
        ahead = next_hints[t - 1] * gradient + weights[t - 1] * gradient - predicted
        target = iterate - ahead

        def distance(w):
            return squared_distance(target, update_rule(state.average, w))

        learned = learner.learn(learned, jax.grad(distance)(w), no_hint)
        return _State(average, iterate, gradient, w, target, predicted, step_size, learned)

    learned = learner.init()
    size = learner.play(learned, no_hint, jnp.int32(1))[1]  # only its shape is used
    nothing = jnp.zeros_like(x0)  # no gradient is known before round 1
    start = _State(x0, x0, nothing, w0, x0, nothing, size, learned)
    states = unroll(step, start, inner_steps)[1]
    return BootstrappedAverages(
        averages=states.average,
        iterates=states.iterate,
        gradients=states.gradient,
        weights=weights,
        parameters=states.parameters,
        targets=states.target,
        predictions=states.prediction,
        step_sizes=states.step_size,
        start=x0,
        center=w0,
    )


def drift_terms(
    update_rule: UpdateRule, run: BootstrappedAverages, comparator: Any
) -> Float[Array, " rounds"]:
    """What a moving Jacobian adds to the bound: <γ_t ∇f(x̄_{t-1}), (B_t - B_{t-1})(w_t - u)>.

    With weights and a constant β whose `guarantee` holds, the run has
    A_T (f(x̄_T) - f(x*)) <= D² / (2β) + the sum of these terms, D = ||u - w_0||, if φ(x, u) = x*
    and the meta-losses are convex in w.

    Args:
        update_rule: the φ of the run.
        run: a run of `bootstrapped_averages`.
        comparator: u, like w_0.

    Returns:
        The terms of rounds 1, ..., T, shape (T,); the first is 0.

    >>> from metagrad.problems import quadratic
    >>> from metagrad.rules import proposal
    >>> run = bootstrapped_averages(quadratic(1.0), proposal, 8.0, 8.0, jnp.ones(2), 0.5)
    >>> drift_terms(proposal, run, 0.0).tolist()
    [0.0, 0.0]
    """
    comparator = checks.as_float("comparator", comparator)
    checks.require_shape("comparator", comparator, run.center.shape)
    used_at = prepend(run.start, run.averages)[:-1]  # x̄_{t-1}
    # Before round 1 there is no Jacobian; the prediction of round 1 is 0 whatever stands there.
    used_before = jnp.concatenate([used_at[:1], used_at[:-1]])
    before = jnp.concatenate([run.parameters[:1], run.parameters[:-1]])

    def along(x, w, direction):  # B at (x, w), times the direction
        return jax.jvp(lambda w: update_rule(x, w), (w,), (direction,))[1]

    def term(prediction, x, w, x_before, w_before):
        direction = w - comparator
        drift = along(x, w, direction) - along(x_before, w_before, direction)
        return jnp.sum(prediction * drift)

    return jax.vmap(term)(run.predictions, used_at, run.parameters, used_before, before)
