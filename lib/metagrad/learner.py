"""Meta-learners: what turns meta-gradients into the next meta-parameters.

A learner plays in rounds: it gets a hint h_t, says w_t, and is then told v_t, the meta-gradient
times its weight. `leader` is follow the regularized leader, with constant, given or AdaGrad-type
step sizes; `from_optax` lets any optax transformation play.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.projections import Projection


class AdaGrad(NamedTuple):
    """Meta step sizes that shrink, entry by entry, with the errors of the hints; see `adagrad`."""

    scale: Any
    initial: Any


def adagrad(scale: Any, initial: Any = 1e-12) -> AdaGrad:
    """Meta step sizes β_{t,i} = scale / √(initial + Σ_{s<t} (v_s - h_s)_i²).

    They do not increase, so that the regret bound holds for every entry of w by itself, without
    constraint or in a box. Source: after Duchi, Hazan and Singer, 2011.

    Args:
        scale: positive, a number.
        initial: positive; what stands in for the errors before there are any.

    >>> from metagrad.ftrl import ftrl
    >>> ftrl(0.0, jnp.array([1.0, 0.0]), adagrad(8.0, initial=3.0)).step_sizes[1].tolist()
    4.0
    """
    checks.require_positive("scale", scale)
    checks.require_positive("initial", initial)
    return AdaGrad(scale, initial)


class LeaderState(NamedTuple):
    """Σ v_s and, for AdaGrad's step sizes, Σ (v_s - h_s)², over the rounds seen; each like w_0."""

    total: jax.Array
    squared_errors: jax.Array | None


class Learner(NamedTuple):
    """A meta-learner as the three functions that a loop over rounds needs.

    Attributes:
        init: () -> state.
        play: (state, h_t, t) -> (w_t, β_t, state).
        learn: (state, v_t, h_t) -> state.
    """

    init: Callable[[], Any]
    play: Callable[[Any, Any, Any], tuple[Any, Any, Any]]
    learn: Callable[[Any, Any, Any], Any]


def leader(
    w0: jax.Array,
    meta_step_size: Any,
    inner_steps: int,
    project: Projection | None,
    allow_increasing: bool,
) -> Learner:
    """The learner that follows the regularized leader; see `metagrad.ftrl`.

    Raises:
        ValueError: if a meta step size is not positive or increases, or w_0 is not in W.
    """
    adaptive = isinstance(meta_step_size, AdaGrad)
    if not adaptive:
        sizes = step_size_vector(meta_step_size, inner_steps, allow_increasing)
    if project is not None and checks.is_known(w0) and checks.is_known(project(w0)):
        if not np.allclose(project(w0), w0, rtol=1e-12, atol=0.0):
            raise ValueError(f"w0 must lie in the set that project projects to, got {w0!r}")

    def play(state, hint, t):
        if adaptive:
            size = meta_step_size.scale / jnp.sqrt(meta_step_size.initial + state.squared_errors)
        else:
            size = sizes[t - 1]
        w = w0 - size * (state.total + hint)
        return (w if project is None else project(w)), size, state

    def learn(state, gradient, hint):
        squared = state.squared_errors + (gradient - hint) ** 2 if adaptive else None
        return LeaderState(state.total + gradient, squared)

    nothing = jnp.zeros_like(w0)
    return Learner(lambda: LeaderState(nothing, nothing if adaptive else None), play, learn)


def step_size_vector(
    meta_step_size: Any, inner_steps: int, allow_increasing: bool = False
) -> Float[Array, " rounds"]:
    """β_1, ..., β_T, checked, as an array of shape (T,)."""
    checks.require_positive("meta_step_size", meta_step_size)
    sizes = checks.as_float("meta_step_size", meta_step_size)
    if sizes.ndim == 0:
        return jnp.broadcast_to(sizes, (inner_steps,))
    checks.require_vector("meta_step_size", sizes, inner_steps)
    if not allow_increasing and checks.is_known(sizes) and np.any(np.diff(np.asarray(sizes)) > 0):
        raise ValueError(
            "meta_step_size must not increase: the regret bound needs that "
            f"(allow_increasing=True pays for it with growth terms), got {meta_step_size!r}"
        )
    return sizes


class OptaxState(NamedTuple):
    """The last w, what is known but not yet applied (v - h of the last round), and optax's own."""

    parameters: jax.Array
    pending: jax.Array
    inner: Any


def from_optax(
    w0: jax.Array, transformation: optax.GradientTransformation, project: Projection | None
) -> Learner:
    """A learner that hands v_t + h_{t+1} - h_t to an optax transformation; w_1 = w_0.

    Its step sizes are None: no regret bound comes with it.
    """

    def play(state, hint, t):
        updates, inner = transformation.update(state.pending + hint, state.inner, state.parameters)
        w = optax.apply_updates(state.parameters, updates)
        if project is not None:
            w = project(w)
        # Before round 1 there is nothing to learn from, not even a gradient of zero.
        played = OptaxState(w, state.pending, inner)
        first = state._replace(inner=transformation.init(state.parameters))
        played = jax.tree.map(lambda a, b: jnp.where(t == 1, a, b), first, played)
        return played.parameters, None, played

    def learn(state, gradient, hint):
        return state._replace(pending=gradient - hint)

    return Learner(lambda: OptaxState(w0, jnp.zeros_like(w0), transformation.init(w0)), play, learn)
