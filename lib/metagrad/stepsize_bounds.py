"""What is proved about the log objective F(β) = (1/t) log f(x_t) on a quadratic.

Setting as in `metagrad.stepsize`, with two different eigenvalues at least: L the largest, α the
smallest, C = Σ c_i². What counts is the smaller share c² = min(C_L, C_α) / C of the start that
lies in the eigenspaces of L and of α. No constant but the exponent 1/(2t) contains t.

The theorem (a bound on F', and convergence) is that of Wang, Yuan, Wu and Ge, 2021; the
constants and the proofs are ours.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.quadratic_terms import Problem, problem
from metagrad.stepsize import contraction


class _Extremes(NamedTuple):
    smallest: Float[Array, ""]  # α
    largest: Float[Array, ""]  # L
    share: Float[Array, ""]  # c²


def _extremes(given: Problem) -> _Extremes:
    """α, L and c², checked."""
    eigenvalues, weights = given.eigenvalues, given.coefficients**2
    smallest, largest = jnp.min(eigenvalues), jnp.max(eigenvalues)
    at_ends = [jnp.sum(jnp.where(eigenvalues == end, weights, 0.0)) for end in (smallest, largest)]
    share = jnp.minimum(*at_ends) / jnp.sum(weights)
    if checks.is_known((smallest, largest)) and smallest == largest:
        raise ValueError(
            f"eigenvalues must hold two different numbers, got {given.eigenvalues.tolist()}"
        )
    if checks.is_known(share) and not share > 0:
        raise ValueError(
            "coefficients must not be 0 at the smallest and at the largest eigenvalue, got "
            f"{np.asarray(given.coefficients).tolist()}"
        )
    return _Extremes(smallest, largest, share)


class GradientBounds(NamedTuple):
    """Two numbers that |F'(β)| never exceeds, for any β >= 0.

    Attributes:
        simple: G = 4 L³ / (c² α (L - α)).
        sharp: 2L (L + α) / (L - α) · (L / (c² α))^{1/(2t)}, far smaller; a factor of 1 remains
            of the coefficients when t is large.
    """

    simple: Float[Array, ""]
    sharp: Float[Array, ""]


def gradient_bounds(eigenvalues: Any, coefficients: Any, steps: Any) -> GradientBounds:
    """How large |F'| can be, whatever the step size.

    Args:
        eigenvalues: λ_1, ..., λ_d, positive, not all equal, shape (d,).
        coefficients: c_1, ..., c_d, shape (d,), not 0 at both ends of the spectrum.
        steps: t, at least 1.

    Raises:
        ValueError: if the eigenvalues are all equal, or none of the start lies at one end.

    >>> bounds = gradient_bounds([1.0, 2.0], [1.0, 1.0], 1)
    >>> float(bounds.simple), float(bounds.sharp)
    (64.0, 24.0)
    """
    given = problem(0.0, eigenvalues, coefficients, steps)
    low, high, share = _extremes(given)
    simple = 4.0 * high**3 / (share * low * (high - low))
    root = (high / (share * low)) ** (0.5 / given.steps)
    return GradientBounds(simple, 2.0 * high * (high + low) / (high - low) * root)


def gradient_bound_at(
    step_size: Any, eigenvalues: Any, coefficients: Any, steps: Any
) -> Float[Array, ""]:
    """A bound on |F'(β)| at one β: (2L / ρ) (L / (c² α))^{1/(2t)}, with ρ = max |1 - βλ_i|.

    From |Σ c_i² λ_i² a_i^{2t-1}| <= L S_{2t-1} with S_q = Σ c_i² λ_i |a_i|^q, and Hölder's
    inequality S_{2t-1} <= S_{2t} (S_0 / S_{2t})^{1/(2t)}. Arguments as for `gradient_bounds`.

    >>> gradient_bound_at(1.0, [1.0, 2.0], [1.0, 1.0], 1).item()
    8.0
    """
    given = problem(step_size, eigenvalues, coefficients, steps)
    low, high, share = _extremes(given)
    root = (high / (share * low)) ** (0.5 / given.steps)
    return 2.0 * high / contraction(given.step_size, given.eigenvalues) * root


def secant_constant(
    eigenvalues: Any, coefficients: Any, largest_step_size: Any
) -> Float[Array, ""]:
    """The m > 0 with (β - β*) F'(β) >= m (β - β*)² for every β in [0, M] and every t.

    m = 2 c² min(α³ / L, 1 / M²), where M must be at least 1/α; β* is the minimizer. This is the
    restricted secant inequality: F is not convex, but its slope always points away from β*.

    Args:
        eigenvalues: as for `gradient_bounds`.
        coefficients: as for `gradient_bounds`.
        largest_step_size: M, at least 1/α.

    >>> secant_constant([1.0, 2.0], [1.0, 1.0], 1.0).item()
    0.5
    """
    given = problem(largest_step_size, eigenvalues, coefficients, 1)
    low, high, share = _extremes(given)
    top = given.step_size
    checks.require_at_least("largest_step_size", top, "1 / the smallest eigenvalue", 1.0 / low)
    return 2.0 * share * jnp.minimum(low**3 / high, 1.0 / top**2)


def meta_steps_needed(
    tolerance: Any,
    step_size: Any,
    eigenvalues: Any,
    coefficients: Any,
    steps: Any,
    *,
    meta_step_size: Any = 1.0,
) -> Float[Array, ""]:
    """After how many steps `tune_step_size` is proved to stay within a tolerance of β*.

    With G the sharp bound, μ the factor in front of 1/√k, M = max(β_0, 1/α + μG) and m the
    secant constant for M:  k' = (μG/ε + 1 + log(M/ε) / (2μm))². In practice far fewer suffice.

    Args:
        tolerance: ε, positive.
        step_size: β_0, where the meta-parameter starts, at least 0.
        eigenvalues: as for `gradient_bounds`.
        coefficients: as for `gradient_bounds`.
        steps: t, at least 1.
        meta_step_size: μ, positive.

    Returns:
        k', a real number, shape ().

    >>> meta_steps_needed(0.5, 0.0, [1.0, 2.0], [1.0, 1.0], 1).round(-3).item()
    1617000.0
    """
    checks.require_positive("tolerance", tolerance)
    checks.require_positive("meta_step_size", meta_step_size)
    given = problem(step_size, eigenvalues, coefficients, steps)
    move = meta_step_size * gradient_bounds(eigenvalues, coefficients, steps).sharp
    top = jnp.maximum(given.step_size, 1.0 / jnp.min(given.eigenvalues) + move)
    m = meta_step_size * secant_constant(eigenvalues, coefficients, top)
    return (move / tolerance + 1.0 + jnp.log(jnp.maximum(top / tolerance, 1.0)) / (2.0 * m)) ** 2
