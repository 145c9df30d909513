"""What a task's losses are known to obey: the constants that every bound is made of.

The inner problem of a task is min_φ ν f(φ) + f̂(φ) + (λ/2) ||φ - θ||², with support loss f̂, query
loss f, regularizer λ and nudge ν of either sign (0 in the problem that is meant). Its solution is
unique, and every bound holds, as long as it is strongly convex.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from metagrad import checks


class Constants(NamedTuple):
    """What a task's losses obey everywhere (or on a ball that holds every point in question).

    Attributes:
        regularizer: λ, positive.
        smoothness: L >= ||∇²f̂||.
        hessian_lipschitz: ρ, a Lipschitz constant of ∇²f̂.
        third_lipschitz: M, one of ∇³f̂. Only symmetric differences need it; else it may be None.
        query_smoothness: L_f, positive, a Lipschitz constant of ∇f.
        query_hessian_lipschitz: ρ_f, one of ∇²f. None where M may be.
        strong_convexity: μ > 0 with ∇²f̂ + λI >= μI; at most λ + L.
    """

    regularizer: Any
    smoothness: Any
    hessian_lipschitz: Any
    third_lipschitz: Any
    query_smoothness: Any
    query_hessian_lipschitz: Any
    strong_convexity: Any


def checked(constants: Constants) -> Constants:
    """The same constants, once it is known that they can be those of a task.

    Raises:
        ValueError: if one is out of range; with a nonconvex f̂, if λ is too small for it.
    """
    checks.require_positive("regularizer", constants.regularizer)
    checks.require_nonnegative("smoothness", constants.smoothness)
    checks.require_nonnegative("hessian_lipschitz", constants.hessian_lipschitz)
    checks.require_positive("query_smoothness", constants.query_smoothness)
    for name in ("third_lipschitz", "query_hessian_lipschitz"):
        if getattr(constants, name) is not None:
            checks.require_nonnegative(name, getattr(constants, name))
    checks.require_positive("strong_convexity", constants.strong_convexity)
    most = constants.regularizer + constants.smoothness
    name = "regularizer + smoothness"
    checks.require_at_most("strong_convexity", constants.strong_convexity, name, most)
    return constants


def convex_support(
    regularizer: Any,
    smoothness: Any,
    hessian_lipschitz: Any,
    query_smoothness: Any,
    third_lipschitz: Any = None,
    query_hessian_lipschitz: Any = None,
) -> Constants:
    """The constants of a task whose support loss is convex: μ = λ.

    >>> float(convex_support(2.0, 5.0, 1.0, 3.0).strong_convexity)
    2.0
    """
    return checked(
        Constants(
            regularizer,
            smoothness,
            hessian_lipschitz,
            third_lipschitz,
            query_smoothness,
            query_hessian_lipschitz,
            regularizer,
        )
    )


def nonconvex_support(
    regularizer: Any,
    smoothness: Any,
    hessian_lipschitz: Any,
    query_smoothness: Any,
    third_lipschitz: Any = None,
    query_hessian_lipschitz: Any = None,
) -> Constants:
    """The constants of a task whose support loss may be nonconvex: μ = λ - L.

    Raises:
        ValueError: unless λ is above L: the inner problem could have many solutions.

    >>> float(nonconvex_support(5.0, 2.0, 1.0, 3.0).strong_convexity)
    3.0
    """
    if checks.is_known((regularizer, smoothness)):
        if not np.all(np.asarray(regularizer) > np.asarray(smoothness)):
            raise ValueError(
                f"regularizer must be above smoothness = {smoothness!r} where the support loss "
                f"may be nonconvex, got {regularizer!r}"
            )
    made = convex_support(
        regularizer,
        smoothness,
        hessian_lipschitz,
        query_smoothness,
        third_lipschitz,
        query_hessian_lipschitz,
    )
    return made._replace(strong_convexity=regularizer - smoothness)


def largest_perturbation(constants: Constants) -> Float[Array, ""]:
    """ν_max = μ / (2 L_f): up to it the nudged problem is (μ/2)-strongly convex, for both signs.

    >>> largest_perturbation(convex_support(2.0, 5.0, 1.0, 4.0)).item()
    0.25
    """
    given = checked(constants)
    return checks.as_float("perturbation", given.strong_convexity / (2.0 * given.query_smoothness))


def remaining_convexity(constants: Constants, perturbation: Any) -> Float[Array, ""]:
    """μ - ν L_f, how strongly convex the nudged problem still is; the number may be negative.

    Raises:
        ValueError: if the perturbation is negative, or known and so large that nothing remains.

    >>> remaining_convexity(convex_support(2.0, 5.0, 1.0, 4.0), 0.25).item()
    1.0
    """
    given = checked(constants)
    checks.require_nonnegative("perturbation", perturbation)
    left = given.strong_convexity - perturbation * given.query_smoothness
    if checks.is_known(left) and not left > 0:
        raise ValueError(
            "perturbation must be below strong_convexity / query_smoothness = "
            f"{given.strong_convexity / given.query_smoothness!r}, got {perturbation!r}"
        )
    return checks.as_float("perturbation", left)
