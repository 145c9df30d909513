"""Weights of an average, weights of a hint, and the recurrence that they amount to.

Symbols: α_t > 0 weights, A_t = α_1 + ... + α_t (A_0 = 0), ρ_t = α_t / A_t, γ_t hint weights,
β the meta step size. Every array here starts at t = 1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metagrad import checks
from metagrad.momentum import next_weight
from metagrad.unroll import unroll


def power_weights(inner_steps: int, power: Any) -> jax.Array:
    """The weights α_t = t**power for t = 1, ..., inner_steps; shape (inner_steps,).

    >>> power_weights(4, 2.0).tolist()
    [1.0, 4.0, 9.0, 16.0]
    """
    checks.require_steps("inner_steps", inner_steps)
    power = checks.as_float("power", power)
    checks.require_shape("power", power, ())
    return jnp.arange(1, inner_steps + 1, dtype=power.dtype) ** power


def nesterov_weights(inner_steps: int) -> jax.Array:
    """The weights with α_1 = 1 and α_t² = A_t; shape (inner_steps,). They grow like t / 2.

    Source: the sequence in Nesterov, 1983.

    >>> alpha = nesterov_weights(5)
    >>> bool(jnp.allclose(alpha**2, jnp.cumsum(alpha), rtol=1e-14))
    True
    """
    checks.require_steps("inner_steps", inner_steps)
    zero = jnp.zeros((), jnp.result_type(float))
    return unroll(lambda weight, t: next_weight(weight), zero, inner_steps)[1]


def nesterov_hints(weights: Any) -> jax.Array:
    """The hint weights γ_t = α_t - 1, which with `nesterov_weights` give Nesterov's method.

    >>> nesterov_hints(power_weights(3, 1.0)).tolist()
    [0.0, 1.0, 2.0]
    """
    weights, _ = float_weights(weights, None)
    return weights - 1.0


def float_weights(weights: Any, hint_weights: Any) -> tuple[jax.Array, jax.Array]:
    """Both kinds of weights, checked, as arrays of shape (T,); zeros where there is no hint.

    Raises:
        ValueError: if a weight is not positive, or a shape is wrong.
    """
    checks.require_vector("weights", weights)
    checks.require_positive("weights", weights)
    weights = checks.as_float("weights", weights)
    if hint_weights is None:
        return weights, jnp.zeros_like(weights)
    checks.require_vector("hint_weights", hint_weights, weights.shape[0])
    return weights, checks.as_float("hint_weights", hint_weights)


class ThreeTermCoefficients(NamedTuple):
    """The coefficients of the three-term recurrence, entry t - 1 for t = 1, ..., T - 1.

    Attributes:
        momentum: m_{t+1}, shape (T - 1,).
        step_size: ε_{t+1}, shape (T - 1,).
        correction: δ_{t+1}, shape (T - 1,).
    """

    momentum: jax.Array
    step_size: jax.Array
    correction: jax.Array


def three_term_coefficients(
    weights: Any, meta_step_size: Any, hint_weights: Any = None
) -> ThreeTermCoefficients:
    """What averaged meta-learning with these weights and hints is, as a recurrence in x̄_t.

    x̄_{t+1} = x̄_t + m_{t+1} (x̄_t - x̄_{t-1}) - ε_{t+1} ∇f(x̄_t) - δ_{t+1} (∇f(x̄_t) - ∇f(x̄_{t-1}))

    m_{t+1} = α_{t+1} A_{t-1} / (A_{t+1} α_t),
    ε_{t+1} = β ρ_{t+1} (α_t + γ_{t+1} - γ_t),   δ_{t+1} = β ρ_{t+1} γ_t,   γ_1 = 0.

    Given to `momentum.three_term`, they return the averages of `averaged_meta_learning`.
    Source: our derivation.

    Args:
        weights: α_1, ..., α_T, positive, shape (T,).
        meta_step_size: β, positive.
        hint_weights: γ_1, ..., γ_T, shape (T,), γ_1 not used; None for no hint.

    Returns:
        The coefficients, three arrays of shape (T - 1,).

    >>> m, eps, delta = three_term_coefficients(power_weights(3, 1.0), 1.0)  # m = (t-1) / (t+2)
    >>> m.tolist(), delta.tolist()
    ([0.0, 0.25], [0.0, 0.0])
    """
    weights, hint_weights = float_weights(weights, hint_weights)
    checks.require_positive("meta_step_size", meta_step_size)
    totals = jnp.cumsum(weights)
    zero = jnp.zeros(1, weights.dtype)
    totals_before = jnp.concatenate([zero, totals[:-1]])  # A_0, ..., A_{T-1}
    kappa = jnp.concatenate([zero, hint_weights[1:]])
    step_share = meta_step_size * weights[1:] / totals[1:]  # β ρ_{t+1}
    return ThreeTermCoefficients(
        momentum=weights[1:] * totals_before[:-1] / (totals[1:] * weights[:-1]),
        step_size=step_share * (weights[:-1] + kappa[1:] - kappa[:-1]),
        correction=step_share * kappa[:-1],
    )
