"""Least squares against the best estimator, in the limit of Marchenko and Pastur, in closed form.

Random least squares as in `metagrad.least_squares`, for n, d → ∞ with d/n → γ. Training until the
loss is minimal ends at the least squares solution; the Bayes ridge is what no estimator can beat.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks


def _ratio(ratio: Any) -> Float[Array, " *shape"]:
    checks.require_positive("ratio", ratio)
    return checks.as_float("ratio", ratio)


def least_squares_risk(ratio: Any, noise: Any) -> Float[Array, " *shape"]:
    """The mean of ||w - w*||² at the least squares solution of least norm.

    σ² γ / (1 - γ) for γ < 1, and 1 - 1/γ + σ² / (γ - 1) for γ > 1; infinite at γ = 1.

    Args:
        ratio: γ, positive; a number or an array.
        noise: σ, at least 0; of the same shape.

    >>> least_squares_risk(2.0, 1.0).item(), least_squares_risk(0.5, 1.0).item()
    (1.5, 1.0)
    """
    checks.require_nonnegative("noise", noise)
    ratio = _ratio(ratio)
    apart = jnp.abs(ratio - 1.0)
    fitted = noise**2 * jnp.minimum(ratio, 1.0) / apart
    return jnp.maximum(0.0, 1.0 - 1.0 / ratio) + jnp.where(apart == 0.0, jnp.inf, fitted)


def best_risk(ratio: Any, noise: Any) -> Float[Array, " *shape"]:
    """The mean of ||w - w*||² of ridge regression with the penalty σ² γ, the least possible.

    The root B in [0, 1) of γ B² + (1 - γ + k) B - k = 0 with k = σ² γ (Dicker, 2016; Dobriban and
    Wager, 2018). `least_squares_tuning.bayes_risk` computes the same from a quadrature.

    Args:
        ratio: γ, positive; a number or an array.
        noise: σ, at least 0; of the same shape.

    >>> best_risk(1.0, 1.0).round(6).item()  # (√5 - 1) / 2
    0.618034
    """
    checks.require_nonnegative("noise", noise)
    ratio = _ratio(ratio)
    penalty = noise**2 * ratio
    slope = 1.0 - ratio + penalty
    root = jnp.sqrt(slope**2 + 4.0 * ratio * penalty)
    # Two forms of one root: each is free of cancellation where it is used.
    small = jnp.where(slope > 0.0, slope + root, 1.0)
    return jnp.where(slope > 0.0, 2.0 * penalty / small, (root - slope) / (2.0 * ratio))


def harmless_noise(ratio: Any, excess: Any) -> Float[Array, " *shape"]:
    """The noise σ up to which least squares is within a share p of the best risk.

    That is, `least_squares_risk` = (1 + p) `best_risk`. Both are known in closed form, and so is σ.

    Args:
        ratio: γ, positive; a number or an array.
        excess: p, positive; of the same shape.

    >>> noise = harmless_noise(2.0, 0.05)
    >>> (least_squares_risk(2.0, noise) / best_risk(2.0, noise)).round(12).item()
    1.05
    """
    checks.require_positive("excess", excess)
    ratio = _ratio(ratio)
    below = excess * (1.0 - ratio) / (1.0 + excess * (1.0 - ratio))  # for γ <= 1
    root = jnp.sqrt(ratio * excess * (ratio * excess + 4.0))
    # For γ > 1: 1 - γ + γB and B, from the larger root of a quadratic equation.
    denominator = 2.0 * (1.0 + (1.0 + excess) * jnp.maximum(ratio - 1.0, 0.0))
    beyond = (ratio - 1.0) * (2.0 * excess + root - ratio * excess) / denominator
    above = (ratio - 1.0) * (ratio * (2.0 + excess) + root) / (ratio * denominator)
    share = jnp.where(ratio <= 1.0, below, above)
    factor = jnp.where(ratio <= 1.0, 1.0 - ratio + ratio * below, beyond)
    return jnp.sqrt(share * factor / ((1.0 - share) * ratio))
