"""What is proved about the averaged form: an upper bound on the gap, and a hardest loss.

Setting: f convex with an L-Lipschitz gradient; φ affine in w with ||B_t||² <= λ and
φ(x, w*) = x* for some w* (for which weaker conditions suffice, see the book); D = ||w* - w_0||;
hints with the fresh Jacobian and y_{t+1} = ∇f(x̄_t); β_t not increasing. Symbols as in
`metagrad.weights`. The proofs in the book are ours; they build on Cutkosky, 2019, and on Joulani,
Raj, György and Szepesvári, 2020.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metagrad import checks
from metagrad.learner import step_size_vector
from metagrad.weights import float_weights


class Guarantee(NamedTuple):
    """An upper bound on f(x̄_T) - f(x*), and whether its condition holds.

    Attributes:
        gap: D² / (2 β_T A_T), shape (). It is a bound only where `holds` is true.
        loads: the left sides of the condition, to be at most 1, shape (T,).
        holds: whether all are at most 1 (up to rounding), shape (), bool.
    """

    gap: Float[Array, ""]
    loads: Float[Array, " rounds"]
    holds: Bool[Array, ""]


def guarantee(
    weights: Any,
    meta_step_size: Any,
    smoothness: Any,
    distance: Any,
    hint_weights: Any = None,
    jacobian_bound: Any = 1.0,
) -> Guarantee:
    """The gap that `optimistic_meta_learning` is guaranteed to reach.

    f(x̄_T) - f(x*) <= D² / (2 β_T A_T)   if for every t

    β_t λ L (γ_t² / A_{t-1} + (α_t - γ_t)² / α_t) <= 1,   where γ_1 = 0 and the first term is 0.

    Without hints this asks β_t α_t <= 1/(λL), and the gap falls like 1/T at best. The sum is
    smallest for `best_hints`, where it is α_t² / A_t: then α_t may grow like t / (2 β λ L), and
    the gap falls like 1/T².

    Args:
        weights: α_1, ..., α_T, positive, shape (T,).
        meta_step_size: β, positive, a number or an array of shape (T,) that does not increase.
        smoothness: L, positive.
        distance: D, at least 0.
        hint_weights: γ_1, ..., γ_T, shape (T,), γ_1 not used; None for no hints.
        jacobian_bound: λ, positive.

    Raises:
        ValueError: if β_t increases, or a number is out of range.

    >>> made = guarantee(jnp.ones(8), 1.0, 1.0, 1.0)
    >>> float(made.gap), bool(made.holds)  # L D² / (2 T)
    (0.0625, True)
    >>> bool(guarantee(jnp.ones(8), 1.25, 1.0, 1.0).holds)
    False
    """
    weights, hint_weights = float_weights(weights, hint_weights)
    sizes = step_size_vector(meta_step_size, weights.shape[0])
    checks.require_positive("smoothness", smoothness)
    checks.require_nonnegative("distance", distance)
    checks.require_positive("jacobian_bound", jacobian_bound)
    totals = jnp.cumsum(weights)
    hints = jnp.concatenate([jnp.zeros_like(weights[:1]), hint_weights[1:]])
    # A_0 = 0 stands under γ_1 = 0: any other number there gives the first term its value, 0.
    totals_before = jnp.concatenate([totals[:1], totals[:-1]])
    loads = (hints**2 / totals_before + (weights - hints) ** 2 / weights) * sizes
    loads = loads * (jacobian_bound * smoothness)
    gap = distance**2 / (2.0 * sizes[-1] * totals[-1])
    return Guarantee(gap, loads, jnp.all(loads <= 1.0 + 1e-12))


def best_hints(weights: Any) -> Float[Array, " rounds"]:
    """The hint weights γ_t = α_t A_{t-1} / A_t, which make `guarantee` ask the least.

    With `nesterov_weights` they are `nesterov_hints`, α_t - 1. Shape (T,).

    >>> best_hints([1.0, 1.0, 2.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    weights, _ = float_weights(weights, None)
    totals = jnp.cumsum(weights)
    return weights * (totals - weights) / totals


def travel(weights: Any, meta_step_size: Any, hint_weights: Any = None) -> Float[Array, " rounds"]:
    """How far the averages go on a slope: with φ(x, w) = w and ∇f = s, x̄_t = w_0 - c_t s.

    c_t = (1 / A_t) Σ_{s<=t} α_s β_s (A_{s-1} + γ_s), γ_1 = 0.

    Args:
        weights: α_1, ..., α_T, positive, shape (T,).
        meta_step_size: β, positive, a number or shape (T,); it may increase.
        hint_weights: γ_1, ..., γ_T, shape (T,), γ_1 not used; None for no hints.

    Returns:
        c_1 = 0, c_2, ..., c_T, shape (T,).

    >>> travel(jnp.ones(4), 1.0).tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    weights, hint_weights = float_weights(weights, hint_weights)
    sizes = step_size_vector(meta_step_size, weights.shape[0], allow_increasing=True)
    totals = jnp.cumsum(weights)
    hints = jnp.concatenate([jnp.zeros_like(weights[:1]), hint_weights[1:]])
    return jnp.cumsum(weights * sizes * (totals - weights + hints)) / totals


class Adversary(NamedTuple):
    """A one-dimensional Huber loss, its minimum at distance D from w_0.

    Attributes:
        half_width: where the slope becomes constant, for `problems.huber(L, half_width)`.
        gap: f(x̄_T) - f(x*) is at least this.
        tight: whether the run has exactly this gap, bool.
    """

    half_width: Float[Array, ""]
    gap: Float[Array, ""]
    tight: Bool[Array, ""]


def hardest_huber(
    weights: Any, meta_step_size: Any, smoothness: Any, distance: Any, hint_weights: Any = None
) -> Adversary:
    """The Huber loss on which every average of a run with φ(x, w) = w stays on the slope.

    With c = max c_t from `travel`, the slope s = D / (2c + 1/L) is so small that x̄_t never comes
    to the bowl, and f(x̄_T) - f(x*) >= L D² / (4 L c + 2), with equality where c_T = c.

    Without hints `guarantee` asks β_t α_t <= 1/L, which makes c at most (T - 1)/L: whatever the
    weights, the gap is then at least L D² / (4T - 2) on this loss.

    Args:
        weights: α_1, ..., α_T, positive, shape (T,).
        meta_step_size: β, positive, a number or shape (T,).
        smoothness: L, positive.
        distance: D, positive.
        hint_weights: γ_1, ..., γ_T, at least 0; None for no hints.

    >>> worst = hardest_huber(jnp.ones(8), 1.0, 1.0, 1.0)
    >>> float(worst.half_width), float(worst.gap), bool(worst.tight)
    (0.125, 0.0625, True)
    """
    checks.require_positive("smoothness", smoothness)
    checks.require_positive("distance", distance)
    if hint_weights is not None:
        checks.require_nonnegative("hint_weights", hint_weights)
    distances = travel(weights, meta_step_size, hint_weights)
    farthest = jnp.max(distances)
    slope = distance / (2.0 * farthest + 1.0 / smoothness)
    return Adversary(
        half_width=slope / smoothness,
        gap=smoothness * distance**2 / (4.0 * smoothness * farthest + 2.0),
        tight=distances[-1] == farthest,
    )
