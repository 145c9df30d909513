"""The averaged form of online meta-learning for any update rule, with hints: optimism.

Round t uses the rule at the average, averages, and pays for the average:

    x_t = φ(x̄_{t-1}, w_t),   x̄_t = (1 - ρ_t) x̄_{t-1} + ρ_t x_t,   g_t = B_tᵀ ∇f(x̄_t),

where B_t is the Jacobian of w -> φ(x̄_{t-1}, w) at w_t. The meta-learner is FTRL on α_t g_t
(`metagrad.ftrl`), with hints h_t = γ_t ĝ_t: before round t + 1 it guesses the next meta-gradient as

    ĝ_{t+1} = Jᵀ y_{t+1},   y_{t+1} a prediction of ∇f(x̄_{t+1}), by default ∇f(x̄_t),

with the fresh Jacobian B at (x̄_t, w_t), or with the stale one B = B_t, which g_t was made with.
With φ(x, w) = w this is `metagrad.averaged`. Symbols as in `metagrad.weights`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.ftrl import FtrlRun, Regret, lazy_iterates, regret
from metagrad.learner import from_optax, leader
from metagrad.problems import Loss
from metagrad.projections import Projection
from metagrad.rules import UpdateRule
from metagrad.unroll import unroll
from metagrad.weights import float_weights


class OptimisticRun(NamedTuple):
    """A run of T rounds; axis 0 of each array but `center` has length T.

    Attributes:
        averages: x̄_1, ..., x̄_T.
        iterates: x_1, ..., x_T, what the rule proposed.
        gradients: ∇f(x̄_1), ..., ∇f(x̄_T).
        weights: α_1, ..., α_T.
        parameters: w_1, ..., w_T.
        meta_gradients: g_1, ..., g_T.
        hints: h_1 = 0, h_2, ..., h_T, weights included.
        step_sizes: β_1, ..., β_T; None where an optax transformation was the meta-learner.
        lazy: the parameters u_0, ..., u_{T-1} without hints, see `FtrlRun`; None likewise.
        center: w_0.
    """

    averages: Float[Array, "rounds ..."]
    iterates: Float[Array, "rounds ..."]
    gradients: Float[Array, "rounds ..."]
    weights: Float[Array, " rounds"]
    parameters: Float[Array, "rounds ..."]
    meta_gradients: Float[Array, "rounds ..."]
    hints: Float[Array, "rounds ..."]
    step_sizes: Float[Array, "rounds ..."] | None
    lazy: Float[Array, "rounds ..."] | None
    center: Float[Array, "..."]


class _State(NamedTuple):
    """What round t leaves behind: its entries of the run, the guess ĝ_{t+1}, the learner."""

    average: jax.Array
    iterate: jax.Array
    gradient: jax.Array
    parameters: jax.Array
    meta_gradient: jax.Array
    hint: jax.Array
    step_size: jax.Array | None
    guess: jax.Array
    learner: Any


def optimistic_meta_learning(
    loss: Loss,
    update_rule: UpdateRule,
    x0: Any,
    w0: Any,
    weights: Any,
    meta_step_size: Any,
    hint_weights: Any = None,
    *,
    jacobian: str = "fresh",
    predict: Callable[[Any, Any, Any], Any] | None = None,
    project: Projection | None = None,
    average: bool = True,
    allow_increasing: bool = False,
) -> OptimisticRun:
    """Learn the parameters of an update rule while using it, with or without hints.

    Args:
        loss: f, maps a point to one number.
        update_rule: φ, maps (x, w) to the next point; see `metagrad.rules`.
        x0: x̄_0, an array: where the rule is first used. It has no weight in the averages.
        w0: w_0, an array: the center of the regularizer, and w_1 = w_0.
        weights: α_1, ..., α_T, positive, shape (T,).
        meta_step_size: β, positive: a number; an array of shape (T,) that does not increase;
            `learner.adagrad`; or an optax transformation, which is fed α_t g_t + h_{t+1} - h_t
            (`optax.sgd(β)` is then the same as the number β) and comes without a regret bound.
        hint_weights: γ_1, ..., γ_T, shape (T,), γ_1 not used; None for no hints.
        jacobian: "fresh" or "stale": the Jacobian in the hints. The same where J is constant.
        predict: maps (x̄_t, ∇f(x̄_t), t) to y_{t+1}; None for y_{t+1} = ∇f(x̄_t).
        project: Π_W for the constrained learner, see `metagrad.projections`; None for no bounds.
        average: False to put ρ_t = 1, so that x̄_t is x_t itself.
        allow_increasing: let β_t increase; see `metagrad.ftrl`.

    Returns:
        An `OptimisticRun`.

    Raises:
        ValueError: if a weight is not positive, β_t increases, or a shape is wrong.

    >>> from metagrad.problems import quadratic
    >>> from metagrad.rules import proposal
    >>> alpha = jnp.array([1.0, 1.0, 2.0])
    >>> run = optimistic_meta_learning(quadratic(1.0), proposal, 8.0, 8.0, alpha, 0.5, alpha)
    >>> run.parameters.tolist(), run.averages.tolist()
    ([8.0, 0.0, -2.0], [8.0, 4.0, 1.0])
    """
    hinted = hint_weights is not None
    weights, hint_weights = float_weights(weights, hint_weights)
    inner_steps = weights.shape[0]
    x0, w0 = checks.as_float("x0", x0), checks.as_float("w0", w0)
    checks.require_scalar_loss("loss", loss, x0)
    checks.require_update_rule("update_rule", update_rule, x0, w0)
    if jacobian not in ("fresh", "stale"):
        raise ValueError(f"jacobian must be 'fresh' or 'stale', got {jacobian!r}")
    if predict is not None:
        guess = jax.eval_shape(predict, x0, x0, jnp.int32(1))
        checks.require_shape("the result of predict", guess, x0.shape)
    if isinstance(meta_step_size, optax.GradientTransformation):
        learner = from_optax(w0, meta_step_size, project)
    else:
        learner = leader(w0, meta_step_size, inner_steps, project, allow_increasing)
    rhos = weights / jnp.cumsum(weights) if average else jnp.ones_like(weights)

    def step(state, t):
        hint = hint_weights[t - 1] * state.guess
        w, step_size, learned = learner.play(state.learner, hint, t)
        iterate, pull_back = jax.vjp(lambda w: update_rule(state.average, w), w)
        rho = rhos[t - 1]
        point = (1.0 - rho) * state.average + rho * iterate
        gradient = jax.grad(loss)(point)
        (meta_gradient,) = pull_back(gradient)
        learned = learner.learn(learned, weights[t - 1] * meta_gradient, hint)
        guess = state.guess
        if hinted:
            prediction = gradient if predict is None else predict(point, gradient, t)
            if jacobian == "fresh":
                pull_back = jax.vjp(lambda w: update_rule(point, w), w)[1]
            (guess,) = pull_back(prediction)
        return _State(point, iterate, gradient, w, meta_gradient, hint, step_size, guess, learned)

    nothing = jnp.zeros_like(w0)
    start = learner.init()
    size = learner.play(start, nothing, jnp.int32(1))[1]  # only its shape is used
    state = _State(x0, x0, jnp.zeros_like(x0), w0, nothing, nothing, size, nothing, start)
    states = unroll(step, state, inner_steps)[1]
    sizes, weighted = states.step_size, jax.vmap(jnp.multiply)(weights, states.meta_gradient)
    lazy = None if sizes is None else lazy_iterates(w0, weighted, sizes, project)
    return OptimisticRun(
        averages=states.average,
        iterates=states.iterate,
        gradients=states.gradient,
        weights=weights,
        parameters=states.parameters,
        meta_gradients=states.meta_gradient,
        hints=states.hint,
        step_sizes=sizes,
        lazy=lazy,
        center=w0,
    )


def meta_regret(run: OptimisticRun, comparator: Any) -> Regret:
    """The meta-learner's regret Σ α_t <g_t, w_t - u>, beside the bound of `metagrad.ftrl`.

    Args:
        run: a run of `optimistic_meta_learning` whose learner was FTRL.
        comparator: u, like w_0.

    >>> from metagrad.problems import quadratic
    >>> from metagrad.rules import proposal
    >>> run = optimistic_meta_learning(quadratic(1.0), proposal, 8.0, 8.0, jnp.ones(2), 0.5)
    >>> account = meta_regret(run, 0.0)
    >>> float(account.regret), float(account.bound)
    (88.0, 89.0)
    """
    if run.step_sizes is None or run.lazy is None:
        raise ValueError(
            "run must have been made with a number, an array or adagrad as meta_step_size, "
            "got one made with an optax transformation, which has no regret bound"
        )
    weighted = jax.vmap(jnp.multiply)(run.weights, run.meta_gradients)
    return regret(
        FtrlRun(run.parameters, run.lazy, weighted, run.hints, run.step_sizes, run.center),
        comparator,
    )
