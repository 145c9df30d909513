"""A perturbation that adapts to the query gradient: no bound on that gradient is needed then.

With ν = min(ν_max, r/g), g = ||∇f(φ_0)||, the solution moves by at most 2r/μ, whatever g is, and
the estimator's error is at most b_0 + ω ||∇F||: relative, which the theorem on normalized steps
allows. Constants and symbols are those of `metagrad.task_constants`; our derivations.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.perturbation_bounds import symmetric_constants
from metagrad.task_constants import Constants, checked, largest_perturbation


def scale_free_perturbation(
    constants: Constants, query_gradient: Any, reach: Any, reference: Any = 0.0
) -> Float[Array, ""]:
    """ν = min(ν_max, r / max(g_ref, g)): the solution moves by at most 2r/μ, however large g is.

    Args:
        constants: of the task.
        query_gradient: g, or an estimate of it, at least 0, shape ().
        reach: r, positive.
        reference: g_ref, at least 0; positive for a symmetric difference.

    >>> from metagrad.task_constants import convex_support
    >>> scale_free_perturbation(convex_support(2.0, 5.0, 1.0, 4.0), 400.0, 2.0).item()
    0.005
    """
    checks.require_nonnegative("query_gradient", query_gradient)
    checks.require_positive("reach", reach)
    checks.require_nonnegative("reference", reference)
    size = jnp.maximum(checks.as_float("query_gradient", query_gradient), reference)
    most = largest_perturbation(constants).astype(size.dtype)
    return jnp.where(size * most > reach, reach / jnp.where(size > 0, size, 1.0), most)


class RelativeError(NamedTuple):
    """An error of at most b_0 + ω ||∇F||, whatever θ is: what `metagrad.outer_descent` asks for.

    Attributes:
        at_rest: b_0.
        growth: ω.
    """

    at_rest: Float[Array, ""]
    growth: Float[Array, ""]


def scale_free_forward(constants: Constants, reach: Any, distance: Any) -> RelativeError:
    """What the forward difference with the scale-free perturbation (g_ref = 0) errs by.

    b_0 = 2λL_f r/μ² + 4λL_f δ/μ,   ω = (1 + L/λ)(2λρr/μ³ + 2λδ/r):  both O(√δ) at r = √δ.

    Args:
        constants: of the task.
        reach: r, positive.
        distance: δ, at least 0.

    >>> from metagrad.task_constants import convex_support
    >>> made = scale_free_forward(convex_support(2.0, 2.0, 1.0, 4.0), 0.5, 0.25)
    >>> made.at_rest.item(), made.growth.item()
    (6.0, 4.5)
    """
    given = checked(constants)
    checks.require_positive("reach", reach)
    checks.require_nonnegative("distance", distance)
    lam, mu, flat = given.regularizer, given.strong_convexity, given.query_smoothness
    reach = checks.as_float("reach", reach)
    at_rest = 2.0 * lam * flat * (reach / mu**2 + 2.0 * distance / mu)
    per_g = 2.0 * lam * (given.hessian_lipschitz * reach / mu**3 + distance / reach)
    return RelativeError(at_rest, (1.0 + given.smoothness / lam) * per_g)


def scale_free_symmetric(
    constants: Constants, reach: Any, reference: Any, distance: Any
) -> RelativeError:
    """What the symmetric difference with the scale-free perturbation errs by.

    With u = r/g_ref, d = r/μ, ℓ = L_f u + 2ρd and k = (λ/μ)(1 + ℓ/μ):

    b_0 = 2kρ_f d² + λδ(2L_f/μ + g_ref/r),
    ω = (1 + L/λ)((2λ/μ³) ℓ (L_f u + ρd) + (4/3) kMd²/μ + λδ/r):  O(δ^{2/3}) at r = δ^{1/3}.

    Args:
        constants: of the task, with M and ρ_f.
        reach: r, positive.
        reference: g_ref, positive.
        distance: δ, at least 0.

    >>> from metagrad.task_constants import convex_support
    >>> task = convex_support(2.0, 2.0, 0.0, 4.0, 0.0, 1.0)
    >>> made = scale_free_symmetric(task, 0.5, 1.0, 0.25)
    >>> made.at_rest.item(), made.growth.item()
    (3.25, 6.0)
    """
    checks.require_positive("reach", reach)
    checks.require_positive("reference", reference)
    checks.require_nonnegative("distance", distance)
    symmetric_constants(constants, 0.0)  # refuses constants without M or ρ_f
    lam, mu, flat = constants.regularizer, constants.strong_convexity, constants.query_smoothness
    reach = checks.as_float("reach", reach)
    u, d, rho = reach / reference, reach / mu, constants.hessian_lipschitz
    steep = flat * u + 2.0 * rho * d
    k = lam / mu * (1.0 + steep / mu)
    inexact = lam * distance * (2.0 * flat / mu + reference / reach)
    at_rest = 2.0 * k * constants.query_hessian_lipschitz * d**2 + inexact
    per_g = 2.0 * lam / mu**3 * steep * (flat * u + rho * d)
    per_g += 4.0 / 3.0 * k * constants.third_lipschitz * d**2 / mu + lam * distance / reach
    return RelativeError(at_rest, (1.0 + constants.smoothness / lam) * per_g)
