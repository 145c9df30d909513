"""Outer steps: what is done with a meta-gradient ĝ, as optax transformations.

    plain       θ ← θ - η ĝ
    clipped     θ ← θ - min(η, c/||ĝ||) ĝ
    normalized  m ← β m + (1 - β) ĝ, at first m = ĝ;   θ ← θ - η m/||m||       (SNGDM)

Where the smoothness grows with the gradient (`metagrad.growing_smoothness`), a fixed η is safe only
if it is small enough for the steepest point on the way; the other two need not know that point.
Normalized momentum is due to Cutkosky and Mehta, 2020; clipping for growing smoothness to Zhang,
He, Sra and Jadbabaie, 2020. What to choose for η, c and β is in `metagrad.outer_bounds`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.renormalization import norm


def _number(value: Any) -> Any:
    """A Python number where the value is known: it leaves the gradients their dtype."""
    return float(np.asarray(value)) if checks.is_known(value) else value


def _limit(name: str, value: Any) -> Any:
    """A checked limit: positive, or infinite."""
    if not (checks.is_known(value) and np.all(np.asarray(value) == np.inf)):
        checks.require_positive(name, value)
    return _number(value)


def plain(outer_step_size: Any) -> optax.GradientTransformation:
    """Gradient descent: `optax.sgd`, with the step size checked.

    >>> plain(0.5).update(jnp.array(4.0), plain(0.5).init(jnp.array(0.0)))[0].item()
    -2.0
    """
    checks.require_positive("outer_step_size", outer_step_size)
    return optax.sgd(_number(outer_step_size))


def clipped(outer_step_size: Any, longest_step: Any) -> optax.GradientTransformation:
    """Gradient descent whose step is never longer than c.

    It is `at_most(c/η)` before `optax.sgd(η)`.

    Args:
        outer_step_size: η, positive.
        longest_step: c, positive; may be infinite, and then nothing is clipped.

    >>> outer = clipped(0.5, 1.0)
    >>> [outer.update(jnp.array(g), outer.init(g))[0].item() for g in (1.0, 4.0)]
    [-0.5, -1.0]
    """
    checks.require_positive("outer_step_size", outer_step_size)
    step, longest = _number(outer_step_size), _limit("longest_step", longest_step)
    return optax.chain(at_most(longest / step), optax.sgd(step))


def _finite_norm(tree: Any) -> Float[Array, ""]:
    """The norm, or NaN if it is infinite: dividing by it would make the finite entries 0."""
    size = norm(tree)
    return jnp.where(jnp.isfinite(size), size, jnp.nan)


def at_most(limit: Any) -> optax.GradientTransformation:
    """ĝ · min(1, limit/||ĝ||), over all leaves; what is infinite or NaN becomes NaN.

    Unlike `optax.clip_by_global_norm`, whose norm overflows where the squares do: it makes a
    gradient of 10²⁰⁰ (or in float32 of 10²⁰) a step of 0.

    Args:
        limit: the largest norm let through, positive; may be infinite.

    >>> cut = at_most(2.0)
    >>> cut.update(jnp.array([0.0, 1e200]), cut.init(None))[0].tolist()
    [0.0, 2.0]
    """
    limit = _limit("limit", limit)

    def update(updates, state, params=None):
        del params
        size = _finite_norm(updates)
        above = size > limit
        factor = jnp.where(above, limit / jnp.where(above, size, 1.0), 1.0)
        # A NaN is not above the limit, and must not pass for a factor of 1.
        factor = jnp.where(jnp.isnan(size), size, factor)
        return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


class AverageState(NamedTuple):
    """What `average_from_first` remembers.

    Attributes:
        seen: how many gradients there were, an int32.
        mean: m, like the gradients.
    """

    seen: Array
    mean: Any


def average_from_first(momentum: Any) -> optax.GradientTransformation:
    """m_0 = ĝ_0 and m_t = β m_{t-1} + (1 - β) ĝ_t: an average whose weights always add up to 1.

    Unlike `optax.ema`: that one starts from 0, or divides by 1 - β^t to make up for it, which
    gives the first gradient less weight. The theorem on normalized steps is about this one.

    Args:
        momentum: β, at least 0 and below 1.

    >>> mean = average_from_first(0.5)
    >>> state = mean.init(jnp.array(0.0))
    >>> first, state = mean.update(jnp.array(4.0), state)
    >>> first.item(), mean.update(jnp.array(8.0), state)[0].item()
    (4.0, 6.0)
    """
    checks.require_in("momentum", momentum, 0, 1)
    if checks.is_known(momentum) and np.any(np.asarray(momentum) == 1):
        raise ValueError(f"momentum must be below 1, got {momentum!r}")
    momentum = _number(momentum)

    def init(params):
        return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params
        first = state.seen == 0

        def blend(mean, gradient):
            kept = jnp.where(first, 0.0, momentum).astype(gradient.dtype)
            return kept * mean + (1.0 - kept) * gradient

        mean = jax.tree.map(blend, state.mean, updates)
        return mean, AverageState(optax.safe_increment(state.seen), mean)

    return optax.GradientTransformation(init, update)


def unit_norm() -> optax.GradientTransformation:
    """m/||m||, over all leaves; 0 stays 0, and what is infinite or NaN becomes NaN.

    Unlike `optax.normalize_by_update_norm`, which adds a constant to the norm, so that the length
    of a step would depend on that of m.

    >>> scale = unit_norm()
    >>> scale.update(jnp.array([0.0, -4.0]), scale.init(None))[0].tolist()
    [0.0, -1.0]
    """

    def update(updates, state, params=None):
        del params
        size = _finite_norm(updates)
        divisor = jnp.where(size == 0, 1.0, size)
        return jax.tree.map(lambda leaf: leaf / divisor.astype(leaf.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def normalized(outer_step_size: Any, *, momentum: Any = 0.0) -> optax.GradientTransformation:
    """Normalized gradient descent with momentum, SNGDM: every step has the length η.

    `optax.chain(average_from_first(β), unit_norm(), optax.sgd(η))`: where η should shrink, chain
    the first two with `optax.scale_by_learning_rate(schedule)`.

    Args:
        outer_step_size: η, positive.
        momentum: β, at least 0 and below 1.

    >>> outer = normalized(0.5)
    >>> [outer.update(jnp.array(g), outer.init(jnp.array(g)))[0].item() for g in (1.0, -9.0)]
    [-0.5, 0.5]
    """
    checks.require_positive("outer_step_size", outer_step_size)
    return optax.chain(
        average_from_first(momentum), unit_norm(), optax.sgd(_number(outer_step_size))
    )
