"""Inner solves that stop early: the total error, and the perturbation that makes it least.

With computed p in place of the solutions φ, ||p - φ|| <= δ each, a difference errs by at most

    forward  C1 ν + 2λδ/ν,        symmetric  C2 ν² + C3 ν³ + λδ/ν,

of order δ^{1/2} and δ^{2/3} at the best ν: the rates of Chayti and Jaggi, 2024. If both solves
start at one point and take the same steps of gradient descent, the errors δ cancel for the most
part, see `same_start_floor`. Constants and symbols are those of `metagrad.task_constants`;
the derivations are ours.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.perturbation_bounds import (
    forward_bias,
    forward_constant,
    symmetric_bias,
    symmetric_constants,
)
from metagrad.task_constants import (
    Constants,
    checked,
    largest_perturbation,
    remaining_convexity,
)


def solution_distance(
    constants: Constants, residual: Any, perturbation: Any = 0.0
) -> Float[Array, ""]:
    """A certificate: ||p - φ_ν|| is at most the norm of the inner gradient at p over μ - νL_f.

    Args:
        constants: of the task.
        residual: ||ν∇f(p) + ∇f̂(p) + λ(p - θ)||, at least 0, shape ().
        perturbation: the size of ν, of either sign, below μ / L_f; where it is traced and is not,
            the certificate is infinite.

    >>> from metagrad.task_constants import convex_support
    >>> solution_distance(convex_support(2.0, 5.0, 1.0, 4.0), 3.0, 0.25).item()
    3.0
    """
    checks.require_nonnegative("residual", residual)
    residual = checks.as_float("residual", residual)
    left = remaining_convexity(constants, perturbation).astype(residual.dtype)
    return jnp.where(left > 0, residual / jnp.where(left > 0, left, 1.0), jnp.inf)


def forward_error(
    constants: Constants, query_gradient: Any, perturbation: Any, distance: Any
) -> Float[Array, ""]:
    """A bound on the forward difference's error: `forward_bias` + 2λδ/ν.

    Args:
        constants: of the task.
        query_gradient: g = ||∇f(φ_0)||, at least 0, shape ().
        perturbation: ν, positive, below μ / L_f.
        distance: δ >= ||p - φ|| for both solves, at least 0.

    >>> from metagrad.task_constants import convex_support
    >>> forward_error(convex_support(2.0, 5.0, 1.0, 4.0), 4.0, 0.25, 0.5).item()
    14.0
    """
    checks.require_nonnegative("distance", distance)
    bias = forward_bias(constants, query_gradient, perturbation)
    return bias + 2.0 * constants.regularizer * distance / perturbation


def symmetric_error(
    constants: Constants, query_gradient: Any, perturbation: Any, distance: Any
) -> Float[Array, ""]:
    """A bound on the symmetric difference's error: `symmetric_bias` + λδ/ν.

    Arguments as for `forward_error`.

    >>> from metagrad.task_constants import convex_support
    >>> symmetric_error(convex_support(2.0, 0.0, 0.0, 4.0, 0.0, 0.0), 4.0, 0.25, 0.5).item()
    6.0
    """
    checks.require_nonnegative("distance", distance)
    bias = symmetric_bias(constants, query_gradient, perturbation)
    return bias + constants.regularizer * distance / perturbation


class Choice(NamedTuple):
    """A perturbation, and what is then proved.

    Attributes:
        perturbation: ν.
        error: a bound on the estimator's error.
        capped: whether ν is ν_max, because the best one is larger.
    """

    perturbation: Float[Array, ""]
    error: Float[Array, ""]
    capped: Array


def _choice(constants: Constants, rate: Any, order: int, inexactness: Any) -> Choice:
    """The ν up to ν_max that minimizes rate · ν^order + inexactness / ν."""
    most = largest_perturbation(constants).astype(rate.dtype)
    known = rate > 0  # at g = 0 there is no bias: the larger ν, the better
    best = (inexactness / (order * jnp.where(known, rate, 1.0))) ** (1.0 / (order + 1))
    best = jnp.where(known, best, jnp.inf)
    nu = jnp.minimum(best, most)
    return Choice(nu, rate * nu**order + inexactness / nu, best > most)


def best_forward(constants: Constants, query_gradient: Any, distance: Any) -> Choice:
    """ν = min(√(2λδ/C1), ν_max): the error is at most 2 √(2λ C1 δ), or 8 λ L_f δ/μ if capped.

    Args:
        constants: of the task.
        query_gradient: g, at least 0, shape ().
        distance: δ, positive.

    >>> from metagrad.task_constants import convex_support
    >>> best_forward(convex_support(2.0, 5.0, 1.0, 4.0), 4.0, 0.06)[:2]
    (Array(0.1, dtype=float64), Array(4.8, dtype=float64))
    """
    checks.require_positive("distance", distance)
    rate = forward_constant(constants, query_gradient)
    return _choice(constants, rate, 1, 2.0 * constants.regularizer * distance)


def best_symmetric(constants: Constants, query_gradient: Any, distance: Any) -> Choice:
    """ν = min((λδ/(2C))^{1/3}, ν_max) with C = C2 + C3 ν_max.

    The error is at most 3 C^{1/3} (λδ/2)^{2/3}, or 3 λ L_f δ/μ if capped. Arguments as for
    `best_forward`.

    >>> from metagrad.task_constants import convex_support
    >>> best_symmetric(convex_support(2.0, 0.0, 0.0, 4.0, 0.0, 0.0), 4.0, 0.032)[:2]
    (Array(0.1, dtype=float64), Array(0.96, dtype=float64))
    """
    checks.require_positive("distance", distance)
    square, cube = symmetric_constants(constants, query_gradient)
    rate = square + cube * largest_perturbation(constants).astype(cube.dtype)
    return _choice(constants, rate, 2, constants.regularizer * distance)


def same_start_floor(
    constants: Constants,
    query_gradient: Any,
    start_distance: Any,
    inner_step_size: Any,
    inner_steps: int,
) -> Float[Array, ""]:
    """The error that K common steps from a common start leave however small ν is: O(K q^K).

    λ (q^K g/μ + K q^{K-1} η (ρg/μ + L_f) ||p - φ_0||),   q = 1 - ημ,   where δ/ν would be infinite.

    The whole error is at most this plus `forward_bias` (or `symmetric_bias`) with g replaced by
    G = g + L_f ||p - φ_0||. It holds for η <= 1 / (λ + L).

    Args:
        constants: of the task.
        query_gradient: g, at least 0, shape ().
        start_distance: ||p - φ_0|| of the common start p, at least 0.
        inner_step_size: η, positive, at most 1 / (λ + L).
        inner_steps: K, at least 1.

    >>> from metagrad.task_constants import convex_support
    >>> same_start_floor(convex_support(2.0, 2.0, 1.0, 4.0), 4.0, 1.0, 0.25, 2).item()
    4.0
    """
    given = checked(constants)
    checks.require_nonnegative("query_gradient", query_gradient)
    checks.require_nonnegative("start_distance", start_distance)
    checks.require_positive("inner_step_size", inner_step_size)
    checks.require_steps("inner_steps", inner_steps)
    most = 1.0 / (given.regularizer + given.smoothness)
    name = "1 / (regularizer + smoothness)"
    checks.require_at_most("inner_step_size", inner_step_size, name, most)
    mu, steps = given.strong_convexity, float(inner_steps)
    slope = checks.as_float("query_gradient", query_gradient) / mu
    q = 1.0 - inner_step_size * mu
    drift = steps * q ** (steps - 1.0) * inner_step_size * start_distance
    rest = given.hessian_lipschitz * slope + given.query_smoothness
    return given.regularizer * (q**steps * slope + drift * rest)
