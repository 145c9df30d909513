"""What is proved about outer descent where the smoothness grows with the gradient.

Let ||∇F(θ) - ∇F(θ')|| <= (L0 + L1 ||∇F(θ)||) ||θ - θ'|| for all θ, θ', and Δ = F(θ_0) - inf F.
Clipped descent with exact gradients decreases F at every step, and normalized descent with momentum
comes to a small average gradient although the gradients are biased and noisy. Theorems and proofs
are ours, built on Zhang, He, Sra and Jadbabaie, 2020, and on Cutkosky and Mehta, 2020.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.growing_smoothness import Smoothness, largest_gradient

ROUNDING = 1e-9  # how much a step size may be above its limit, as a share of it


class StepChoice(NamedTuple):
    """η = 1/(2 L0) and c = 1/(2 L1), perhaps infinite, for `metagrad.outer_steps.clipped`."""

    outer_step_size: Float[Array, ""]
    longest_step: Float[Array, ""]


def clipped_choice(smoothness: Smoothness) -> StepChoice:
    """With it F decreases at every step, see `clipped_iterations`.

    >>> [float(number) for number in clipped_choice(Smoothness(1.0, 0.25))]
    [0.5, 2.0]
    """
    checks.require_positive("at_rest", smoothness.at_rest)
    checks.require_nonnegative("growth", smoothness.growth)
    growth = checks.as_float("growth", smoothness.growth)
    curved = growth > 0
    longest = jnp.where(curved, 0.5 / jnp.where(curved, growth, 1.0), jnp.inf)
    return StepChoice(0.5 / checks.as_float("at_rest", smoothness.at_rest), longest)


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
    """η and β, shape () each, for `metagrad.outer_steps.normalized`."""

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


def clipped_iterations(smoothness: Smoothness, gap: Any, tolerance: Any) -> Float[Array, ""]:
    """After 4Δ(L0/ε² + L1/ε) clipped steps some gradient was at most ε.

    The steps are those of `clipped_choice`, the gradients exact; F decreases at each of them.

    Args:
        smoothness: L0 and L1.
        gap: Δ, at least 0, shape ().
        tolerance: ε, positive.

    >>> clipped_iterations(Smoothness(1.0, 0.5), 4.0, 0.5).item()
    80.0
    """
    checks.require_nonnegative("gap", gap)
    checks.require_positive("tolerance", tolerance)
    gap = checks.as_float("gap", gap)
    return 4.0 * gap * (smoothness.at_rest / tolerance + smoothness.growth) / tolerance


def plain_iterations(smoothness: Smoothness, gap: Any, tolerance: Any) -> Float[Array, ""]:
    """After 2Δ(L0 + L1 G)/ε² plain steps some gradient was at most ε.

    The steps are those of `plain_choice`, G the largest gradient below the
    start. G grows with Δ, so that Δ enters up to squared. Arguments as for `clipped_iterations`.

    >>> plain_iterations(Smoothness(6.0, 0.5), 2.0, 1.0).item()
    36.0
    """
    checks.require_positive("tolerance", tolerance)
    steepest = largest_gradient(smoothness, gap)
    return 2.0 * gap * (smoothness.at_rest + smoothness.growth * steepest) / tolerance**2


def normalized_average(
    smoothness: Smoothness,
    gap: Any,
    outer_steps: int,
    outer_step_size: Any,
    *,
    momentum: Any = 0.0,
    noise: Any = 0.0,
    bias: Any = 0.0,
    relative_bias: Any = 0.0,
    first_gradient: Any = 0.0,
) -> Float[Array, ""]:
    """A bound on the mean over t < T of E||∇F(θ_t)|| with `metagrad.outer_steps.normalized`:

    2Δ/(ηT) + 4σ/(αT) + 5ηL0/α + 4b + 4√α σ + 4ω||∇F(θ_0)||/(αT),   α = 1 - β,   if η <= α/(8 L1).

    The gradient of step t is ∇F(θ_t) + b_t + n_t. The n_t have mean 0 given the past, and
    E||n_t||² <= σ²; E||b_t|| <= b + ω E||∇F(θ_t)||, and b_t may depend on n_t. For B sampled tasks
    σ = ζ/√B.

    Args:
        smoothness: L0 and L1 (of the mean over tasks).
        gap: Δ, at least 0, shape ().
        outer_steps: T, at least 1.
        outer_step_size: η, positive, at most α/(8 L1). Where it is traced and is larger, the bound
            is infinite: nothing is proved.
        momentum: β, at least 0, below 1.
        noise: σ, at least 0.
        bias: b, at least 0.
        relative_bias: ω, between 0 and 3/32.
        first_gradient: ||∇F(θ_0)||, at least 0; needed only if ω is not 0.

    >>> normalized_average(Smoothness(1.0, 0.5), 4.0, 16, 0.25, bias=0.5).item()
    5.25
    """  # noqa: D415
    checks.require_nonnegative("gap", gap)
    checks.require_steps("outer_steps", outer_steps)
    checks.require_positive("outer_step_size", outer_step_size)
    checks.require_in("momentum", momentum, 0, 1)
    alpha = 1.0 - momentum
    checks.require_positive("1 - momentum", alpha)
    for name, value in (("noise", noise), ("bias", bias), ("first_gradient", first_gradient)):
        checks.require_nonnegative(name, value)
    checks.require_in("relative_bias", relative_bias, 0, 3 / 32)
    load = 8.0 * smoothness.growth * outer_step_size / alpha
    if checks.is_known(load) and load > 1.0 + ROUNDING:
        raise ValueError(
            "outer_step_size must be at most (1 - momentum) / (8 growth) = "
            f"{float(outer_step_size / load):.6g}, got {outer_step_size!r}"
        )
    start = 2.0 * checks.as_float("gap", gap) / outer_step_size
    start = start + 4.0 * (noise + relative_bias * first_gradient) / alpha
    drift = 5.0 * outer_step_size * smoothness.at_rest / alpha
    bound = start / outer_steps + drift + 4.0 * bias + 4.0 * noise * alpha**0.5
    return jnp.where(load <= 1.0 + ROUNDING, bound, jnp.inf)


class Complexity(NamedTuple):
    """Exponents e of (1/ε)^e, up to logarithms, for an average meta-gradient of at most ε.

    Attributes:
        inner_accuracy: δ is ε to this power.
        inner_steps: gradients in an inner solve.
        task_visits: outer steps times tasks in each; times n where all tasks are visited.
        total: gradients in all, the sum of the last two.
    """

    inner_accuracy: Fraction
    inner_steps: Fraction
    task_visits: Fraction
    total: Fraction


def oracle_complexity(order: int, *, stochastic_solver: bool, sampled_tasks: bool) -> Complexity:
    """How many gradients first-order MAML needs, counted in powers of 1/ε.

    A difference of order p, with bias O(ν^p), leaves O(δ^{p/(p+1)}) of an inner accuracy δ, so
    that δ = ε^{(p+1)/p} is needed. A linearly convergent solver takes log(1/δ) steps for it,
    stochastic descent δ^{-2}. The theorem on normalized steps asks ε^{-2} outer steps with all
    tasks, ε^{-4} visits with sampled ones.

    Args:
        order: p: 1 forward, 2 symmetric.
        stochastic_solver: whether the gradients of the inner solves are noisy.
        sampled_tasks: whether an outer step looks at some of the tasks only.

    >>> oracle_complexity(2, stochastic_solver=True, sampled_tasks=False).total
    Fraction(5, 1)
    """
    checks.require_steps("order", order)
    accuracy = Fraction(order + 1, order)
    inner = 2 * accuracy if stochastic_solver else Fraction(0)
    visits = Fraction(4 if sampled_tasks else 2)
    return Complexity(accuracy, inner, visits, inner + visits)
