"""Bootstrapped meta-gradients: match a target that lies further along.

In place of the loss after the update, the meta-learner minimizes the distance from the updated
point to a *target* z_t, a point held fixed while differentiating. In practice the target is where
L further steps with the same parameters lead, after a plain gradient step from there: the learner
then follows not only the present gradient but those that come next. Source: Flennerhag et al.,
2022 (the target and the matching functions); the convex form is in `metagrad.convex_bootstrap`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.rules import UpdateRule


class BootstrappedState(NamedTuple):
    """After step t.

    Attributes:
        point: x_t.
        parameters: w_{t+1}.
        target: z_t, like a point.
        matching_loss: the matching function's value at w_t, shape ().
        optimizer: the state of the optax transformation.
    """

    point: Any
    parameters: Any
    target: Any
    matching_loss: Float[Array, ""]
    optimizer: Any


class BootstrappedRun(NamedTuple):
    """Attributes: the last state, and what `record` kept of each state (new axis 0, length T)."""

    final: BootstrappedState
    kept: Any


def squared_distance(target: Any, point: Any, *data: Any) -> Float[Array, ""]:
    """Half the squared Euclidean distance of two points, any pytrees of arrays alike.

    >>> float(squared_distance(jnp.array([3.0, 4.0]), jnp.zeros(2)))
    12.5
    """
    del data
    squares = jax.tree.map(lambda z, x: jnp.sum((z - x) ** 2), target, point)
    return 0.5 * jax.tree.reduce(jnp.add, squares)


def kl_matching(logits: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Match predictions, not parameters: mean KL(target's classes || point's classes).

    Args:
        logits: maps a point (and data, if `sample` is used) to shape (..., classes).

    Returns:
        The matching function.

    >>> match = kl_matching(lambda x: x)
    >>> value = match(jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.25, 0.75])))
    >>> float(jnp.exp(2 * value).round(12))  # 2 KL = log(1/2 / (1/4)) + log(1/2 / (3/4))
    1.333333333333
    """

    def match(target, point, *data):
        log_p = jax.nn.log_softmax(logits(target, *data))
        log_q = jax.nn.log_softmax(logits(point, *data))
        return jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1))

    return match


def bootstrapped_meta_learning(
    loss: Callable[..., Any],
    update_rule: UpdateRule,
    x0: Any,
    w0: Any,
    meta_step_size: Any,
    inner_steps: int,
    *,
    steps_ahead: int = 1,
    target_step_size: Any = 1.0,
    matching: Callable[..., Any] = squared_distance,
    sample: Callable[[jax.Array], Any] | None = None,
    record: Callable[[BootstrappedState], Any] | None = None,
) -> BootstrappedRun:
    """Learn an update rule's parameters by matching bootstrapped targets.

    For t = 1, ..., T:   x_t = φ(x_{t-1}, w_t);
    y = x_t after L more steps with w_t, each y <- φ(y, w_t);   z_t = y - target_step_size ∇f(y);
    w_{t+1} = w_t - β ∇_w matching(z_t, φ(x_{t-1}, w)) at w = w_t.

    With L = 0 and `squared_distance` this is the plain meta-gradient, times target_step_size.
    One step costs 1 + L gradients of f beyond those that the plain method needs at x_{t-1} anyway.

    Args:
        loss: f, maps a point, or (point, data), to one number.
        update_rule: φ, maps (x, w), or (x, w, data), to the next point; see `metagrad.rules`.
        x0: the start x_0, any pytree of arrays.
        w0: w_1, any pytree of arrays.
        meta_step_size: β, positive, or an optax transformation in place of the gradient step.
        inner_steps: T, at least 1.
        steps_ahead: L, at least 0.
        target_step_size: positive.
        matching: maps (z, x), or (z, x, data), to one number: `squared_distance`, `kl_matching`.
        sample: maps t to the data of step t (t a traced int32); loss, rule and matching then take
            data as their last argument. The look-ahead uses the data of steps t + 1, ..., t + L,
            and the target's gradient those of step t + L + 1.
        record: maps a state to what to keep of it; None keeps the whole state.

    Returns:
        A `BootstrappedRun`.

    >>> from metagrad.problems import quadratic
    >>> from metagrad.rules import translation
    >>> run = bootstrapped_meta_learning(quadratic(1.0), translation, 8.0, -1.0, 0.5, 2)
    >>> run.kept.point.tolist(), run.kept.target.tolist(), run.kept.parameters.tolist()
    ([7.0, 2.5], [0.0, 0.0], [-4.5, -5.75])
    """
    if isinstance(steps_ahead, bool) or not isinstance(steps_ahead, int) or steps_ahead < 0:
        raise ValueError(f"steps_ahead must be an integer of at least 0, got {steps_ahead!r}")
    checks.require_positive("target_step_size", target_step_size)
    x0, w0 = checks.float_tree("x0", x0), checks.float_tree("w0", w0)
    optimizer = meta_step_size
    if not isinstance(meta_step_size, optax.GradientTransformation):
        checks.require_positive("meta_step_size", meta_step_size)
        optimizer = optax.sgd(meta_step_size)

    def data_at(t):
        return () if sample is None else (sample(t),)

    def target_of(x, w, t):
        for ahead in range(1, steps_ahead + 1):
            x = update_rule(x, w, *data_at(t + ahead))
        gradient = jax.grad(loss)(x, *data_at(t + steps_ahead + 1))
        return jax.tree.map(lambda x, g: x - target_step_size * g, x, gradient)

    def step(state, t):
        w, data = state.parameters, data_at(t)
        point, pull_back = jax.vjp(lambda w: update_rule(state.point, w, *data), w)
        target = target_of(point, w, t)
        value, toward = jax.value_and_grad(matching, argnums=1)(target, point, *data)
        (gradient,) = pull_back(toward)
        updates, inner = optimizer.update(gradient, state.optimizer, w)
        return BootstrappedState(point, optax.apply_updates(w, updates), target, value, inner)

    first = jnp.int32(1)
    checks.require_scalar_loss("loss", loss, x0, *data_at(first))
    moved = jax.eval_shape(update_rule, x0, w0, *data_at(first))
    checks.require_same_tree("update_rule", moved, x0)
    checks.require_scalar_loss("matching", matching, x0, x0, *data_at(first))
    checks.require_steps("inner_steps", inner_steps)

    def body(state, t):
        state = step(state, t)
        return state, state if record is None else record(state)

    number = jax.eval_shape(matching, x0, x0, *data_at(first)).dtype
    start = BootstrappedState(x0, w0, x0, jnp.zeros((), number), optimizer.init(w0))
    rounds = jnp.arange(1, inner_steps + 1, dtype=jnp.int32)
    return BootstrappedRun(*jax.lax.scan(body, start, rounds))
