"""How far the nudged solution goes, and how wrong a difference of two of them is.

The setting of first-order MAML with a perturbation. From θ, with regularizer λ and nudge ν:

    φ_ν = argmin_φ  ν f(φ) + f̂(φ) + (λ/2) ||φ - θ||²,     F(θ) = f(φ_0),     H = ∇²f̂(φ_0) + λI.

Then ∇F = λ H⁻¹ ∇f(φ_0) = -λ dφ_ν/dν at ν = 0, and two differences estimate it:

    forward  -λ (φ_ν - φ_0) / ν,        symmetric  -λ (φ_ν - φ_{-ν}) / (2ν).

Here are bounds on their errors when both solves are exact; `metagrad.inexact_bounds` adds the
rest. Throughout g = ||∇f(φ_0)||, and ν > 0 stands for the size of the nudge, of either sign.
That the derivative of the solution is the meta-gradient is due to Zucchet et al., 2022, and
Chayti and Jaggi, 2024; constants and proofs are ours, as the latter's constants we have not seen.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.task_constants import Constants, checked, remaining_convexity


def _nudge(constants: Constants, query_gradient: Any, perturbation: Any) -> tuple[Any, Any]:
    """The checked g, and what is left of the convexity: not positive where nothing is."""
    checks.require_nonnegative("query_gradient", query_gradient)
    checks.require_positive("perturbation", perturbation)
    size = checks.as_float("query_gradient", query_gradient)
    return size, remaining_convexity(constants, perturbation).astype(size.dtype)


def nudge_distance(
    constants: Constants, query_gradient: Any, perturbation: Any
) -> Float[Array, ""]:
    """A bound on ||φ_ν - φ_0||:  ν g / (μ - ν L_f), which is at most 2 ν g / μ up to ν_max.

    Attained where f curves downward by L_f, and f̂ by as little as it may.

    Args:
        constants: of the task.
        query_gradient: g, at least 0, shape ().
        perturbation: ν, positive, below μ / L_f. Where it is traced and is not, the bound is
            infinite, here and in the functions below: nothing is proved.

    >>> from metagrad.task_constants import convex_support
    >>> nudge_distance(convex_support(2.0, 5.0, 1.0, 4.0), 3.0, 0.25).item()
    0.75
    """
    size, left = _nudge(constants, query_gradient, perturbation)
    return jnp.where(left > 0, perturbation * size / jnp.where(left > 0, left, 1.0), jnp.inf)


def forward_constant(constants: Constants, query_gradient: Any) -> Float[Array, ""]:
    """C1 = (2λg/μ²)(L_f + ρg/μ): up to ν_max, the forward difference errs by at most C1 ν.

    >>> from metagrad.task_constants import convex_support
    >>> forward_constant(convex_support(2.0, 5.0, 1.0, 4.0), 4.0).item()
    24.0
    """
    given = checked(constants)
    checks.require_nonnegative("query_gradient", query_gradient)
    size, mu = checks.as_float("query_gradient", query_gradient), given.strong_convexity
    slope = given.query_smoothness + given.hessian_lipschitz * size / mu
    return 2.0 * given.regularizer * size / mu**2 * slope


def forward_bias(constants: Constants, query_gradient: Any, perturbation: Any) -> Float[Array, ""]:
    """A bound on the forward difference's error: (λ/μ)(L_f d + ρ d²/(2ν)), d = `nudge_distance`.

    At most `forward_constant` · ν up to ν_max, and at small ν between 2 and 4 times smaller: there
    no smaller factor will do. Arguments as for `nudge_distance`.

    >>> from metagrad.task_constants import convex_support
    >>> forward_bias(convex_support(2.0, 5.0, 1.0, 4.0), 4.0, 0.25).item()
    6.0
    """
    distance = nudge_distance(constants, query_gradient, perturbation)
    bend = constants.hessian_lipschitz * distance**2 / (2.0 * perturbation)
    scale = constants.regularizer / constants.strong_convexity
    return scale * (constants.query_smoothness * distance + bend)


class SymmetricConstants(NamedTuple):
    """C2 and C3: up to ν_max, the symmetric difference errs by at most C2 ν² + C3 ν³."""

    square: Float[Array, ""]
    cube: Float[Array, ""]


def _smooth(constants: Constants) -> Constants:
    """The checked constants, with those that only symmetric differences need."""
    for name in ("third_lipschitz", "query_hessian_lipschitz"):
        if getattr(constants, name) is None:
            raise ValueError(f"{name} must be given for a symmetric difference, got None")
    return checked(constants)


def symmetric_constants(constants: Constants, query_gradient: Any) -> SymmetricConstants:
    """C2 and C3. With a = g/μ and B = 2 ρ_f a² + (4/3) M a³,

    C2 = (λ/μ)((2a/μ)(L_f + 2ρa)(L_f + ρa) + B),     C3 = (λ/μ²)(L_f + 2ρa) B.

    Raises:
        ValueError: if the constants lack M or ρ_f.

    >>> from metagrad.task_constants import convex_support
    >>> made = symmetric_constants(convex_support(2.0, 0.0, 0.0, 4.0, 0.0, 1.0), 4.0)
    >>> made.square.item(), made.cube.item()
    (40.0, 16.0)
    """  # noqa: D415
    given = _smooth(constants)
    checks.require_nonnegative("query_gradient", query_gradient)
    mu, flat = given.strong_convexity, given.query_smoothness
    a = checks.as_float("query_gradient", query_gradient) / mu
    third = 2.0 * given.query_hessian_lipschitz * a**2 + 4.0 / 3.0 * given.third_lipschitz * a**3
    steep = flat + 2.0 * given.hessian_lipschitz * a
    product = 2.0 * a / mu * steep * (flat + given.hessian_lipschitz * a)
    scale = given.regularizer / mu
    return SymmetricConstants(scale * (product + third), scale / mu * steep * third)


def symmetric_bias(
    constants: Constants, query_gradient: Any, perturbation: Any
) -> Float[Array, ""]:
    """A bound on the symmetric difference's error. With d = `nudge_distance`,

    (λ/μ)((L_f + ρd/ν) s + ρ_f d²/2 + M d³/(6ν)),   s = (νL_f d + ρd²/2 + νρ_f d²/2 + M d³/6) / μ.

    At most C2 ν² + C3 ν³ up to ν_max; as ν → 0 no smaller factor of ν² will do. Arguments as for
    `nudge_distance`.

    >>> from metagrad.task_constants import convex_support
    >>> symmetric_bias(convex_support(2.0, 0.0, 0.0, 4.0, 0.0, 0.0), 4.0, 0.25).item()
    2.0
    """  # noqa: D415
    given = _smooth(constants)
    d, nu = nudge_distance(given, query_gradient, perturbation), perturbation
    # Half the sum and half the difference of the two nudges' third-order remainders are below it.
    third = nu * given.query_hessian_lipschitz * d**2 / 2.0 + given.third_lipschitz * d**3 / 6.0
    bend = given.hessian_lipschitz * d**2 / 2.0
    midpoint = (nu * given.query_smoothness * d + bend + third) / given.strong_convexity
    slope = given.query_smoothness + given.hessian_lipschitz * d / nu
    return given.regularizer / given.strong_convexity * (slope * midpoint + third / nu)


def first_order_bias(constants: Constants, query_gradient: Any) -> Float[Array, ""]:
    """How wrong ∇f(φ_0) is, FO-MAML's meta-gradient: ||H⁻¹ ∇²f̂(φ_0) ∇f(φ_0)|| is at most this.

    g times the larger of L / (λ + L) and l / (λ - l), with l = min(L, max(λ - μ, 0)) the most
    that f̂ can curve downward. No perturbation or inner accuracy is in it.

    >>> from metagrad.task_constants import convex_support
    >>> first_order_bias(convex_support(2.0, 6.0, 1.0, 4.0), 4.0).item()
    3.0
    """
    given = checked(constants)
    checks.require_nonnegative("query_gradient", query_gradient)
    lam = given.regularizer
    down = jnp.minimum(given.smoothness, jnp.maximum(lam - given.strong_convexity, 0.0))
    factor = jnp.maximum(given.smoothness / (lam + given.smoothness), down / (lam - down))
    return factor * checks.as_float("query_gradient", query_gradient)
