"""Outer steps: what is done with a meta-gradient ĝ, as optax transformations.

    plain       θ ← θ - η ĝ
    clipped     θ ← θ - min(η, c/||ĝ||) ĝ
    normalized  m ← β m + (1 - β) ĝ, at first m = ĝ;   θ ← θ - η m/||m||       (SNGDM)

Where the smoothness grows with the gradient (`metagrad.growing_smoothness`), a fixed η is safe only
if it is small enough for the steepest point on the way; the other two need not know that point.
Normalized momentum is due to Cutkosky and Mehta, 2020; clipping for growing smoothness to Zhang,
He, Sra and Jadbabaie, 2020. The constants are those of the theorems in the book, and ours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.growing_smoothness import Smoothness, largest_gradient
from metagrad.renormalization import norm


def plain(outer_step_size: Any) -> optax.GradientTransformation:
    """Gradient descent: `optax.sgd`, with the step size checked.

    >>> plain(0.5).update(jnp.array(4.0), plain(0.5).init(jnp.array(0.0)))[0].item()
    -2.0
    """
    checks.require_positive("outer_step_size", outer_step_size)
    return optax.sgd(outer_step_size)


def clipped(outer_step_size: Any, longest_step: Any) -> optax.GradientTransformation:
    """Gradient descent whose step is never longer than c.

    It is `optax.clip_by_global_norm(c/η)` before `optax.sgd(η)`.

    Args:
        outer_step_size: η, positive.
        longest_step: c, positive; may be infinite, and then nothing is clipped.

    >>> outer = clipped(0.5, 1.0)
    >>> [outer.update(jnp.array(g), outer.init(g))[0].item() for g in (1.0, 4.0)]
    [-0.5, -1.0]
    """
    checks.require_positive("outer_step_size", outer_step_size)
    if not (checks.is_known(longest_step) and longest_step == jnp.inf):
        checks.require_positive("longest_step", longest_step)
    return optax.chain(
        optax.clip_by_global_norm(longest_step / outer_step_size), optax.sgd(outer_step_size)
    )


class AverageState(NamedTuple):
    """What `average_from_first` remembers.

    Attributes:
        count: how many gradients it has seen, an int32.
        mean: m, like the gradients.
    """

    count: Array
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
    if checks.is_known(momentum) and momentum == 1:
        raise ValueError(f"momentum must be below 1, got {momentum!r}")

    def init(params):
        return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params
        first = state.count == 0

        def blend(mean, gradient):
            kept = jnp.where(first, 0.0, momentum).astype(gradient.dtype)
            return kept * mean + (1.0 - kept) * gradient

        mean = jax.tree.map(blend, state.mean, updates)
        return mean, AverageState(optax.safe_increment(state.count), mean)

    return optax.GradientTransformation(init, update)


def unit_norm() -> optax.GradientTransformation:
    """m/||m||, over all leaves; 0 stays 0, and what is infinite or NaN becomes NaN.

    Unlike `optax.normalize_by_update_norm`, which adds a constant to the norm, so that the length
    of a step would depend on that of m.

    >>> scale = unit_norm()
    >>> scale.update(jnp.array([3.0, 4.0]), scale.init(None))[0].tolist()
    [0.6, 0.8]
    """

    def update(updates, state, params=None):
        del params
        size = norm(updates)
        # Dividing finite numbers by an infinite norm would give 0, and hide the others.
        size = jnp.where(jnp.isfinite(size), size, jnp.nan)
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
    >>> [outer.update(jnp.array(g), outer.init(jnp.array(g)))[0].item() for g in (0.0, 1.0, -9.0)]
    [0.0, -0.5, 0.5]
    """
    checks.require_positive("outer_step_size", outer_step_size)
    return optax.chain(average_from_first(momentum), unit_norm(), optax.sgd(outer_step_size))


class StepChoice(NamedTuple):
    """The numbers for `clipped`: η = 1/(2 L0) and c = 1/(2 L1), infinite if L1 = 0."""

    outer_step_size: Any
    longest_step: Any


def clipped_choice(smoothness: Smoothness) -> StepChoice:
    """With it F decreases at every step, see `metagrad.outer_descent.clipped_iterations`.

    >>> clipped(*clipped_choice(Smoothness(1.0, 0.25))) is not None, clipped_choice(Smoothness(1.0, 0.25))
    (True, StepChoice(outer_step_size=0.5, longest_step=2.0))
    """
    checks.require_positive("at_rest", smoothness.at_rest)
    checks.require_nonnegative("growth", smoothness.growth)
    known_flat = checks.is_known(smoothness.growth) and smoothness.growth == 0
    longest = float("inf") if known_flat else 0.5 / smoothness.growth
    return StepChoice(0.5 / smoothness.at_rest, longest)


def plain_choice(smoothness: Smoothness, gap: Any) -> Float[Array, ""]:
    """η = 1/(L0 + L1 G), G the largest gradient below the start: small if the start is high.

    Args:
        smoothness: L0 and L1.
        gap: Δ = F(θ_0) - inf F, at least 0.

    >>> plain_choice(Smoothness(6.0, 0.5), 2.0).item()  # 1 / (6 + 0.5 · 6)
    0.1111111111111111
    """
    steepest = largest_gradient(smoothness, gap)
    return 1.0 / (smoothness.at_rest + smoothness.growth * steepest)


class NormalizedChoice(NamedTuple):
    """The numbers for `normalized`: η and β, shape () each."""

    outer_step_size: Float[Array, ""]
    momentum: Float[Array, ""]


def normalized_choice(
    smoothness: Smoothness, gap: Any, outer_steps: int, noise: Any = 0.0
) -> NormalizedChoice:
    """β = 1 - α, α = min(1, √(L0 Δ/T)/σ),   η = min(√(αΔ/(L0 T)), α/(8 L1)).

    Args:
        smoothness: L0 and L1 (of the mean over tasks).
        gap: Δ = F(θ_0) - inf F, positive.
        outer_steps: T, at least 1.
        noise: σ, at least 0: the standard deviation of ĝ's noise, for B of the tasks ζ/√B.

    >>> made = normalized_choice(Smoothness(1.0, 0.5), 4.0, 16, 2.0)  # α = 1/4
    >>> made.outer_step_size.item(), made.momentum.item()
    (0.0625, 0.75)
    """
    checks.require_positive("at_rest", smoothness.at_rest)
    checks.require_nonnegative("growth", smoothness.growth)
    checks.require_positive("gap", gap)
    checks.require_steps("outer_steps", outer_steps)
    checks.require_nonnegative("noise", noise)
    gap = checks.as_float("gap", gap)
    calm = jnp.sqrt(smoothness.at_rest * gap / outer_steps)
    alpha = calm / jnp.maximum(calm, noise)
    eta = jnp.sqrt(alpha * gap / (smoothness.at_rest * outer_steps))
    # As a product, not as a least of two quotients: L1 may be 0.
    steep = 8.0 * smoothness.growth * eta
    return NormalizedChoice(alpha * eta / jnp.maximum(alpha, steep), 1.0 - alpha)
