"""The objective that a difference with a fixed perturbation descends, and how good it is.

With the value M_ν(θ) = min_φ ν f(φ) + f̂(φ) + (λ/2)||φ - θ||², whose gradient is λ (θ - φ_ν),

    forward difference = ∇ (M_ν - M_0) / ν,     symmetric difference = ∇ (M_ν - M_{-ν}) / (2ν),

exactly. The two halves hold the objective F = f(φ_0) between them:

    F - gap <= (M_ν - M_0) / ν <= F <= (M_{-ν} - M_0) / (-ν) <= F + gap.

Constants and symbols are those of `metagrad.task_constants`; the derivations are ours.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.task_constants import Constants, remaining_convexity


def surrogate_gap(constants: Constants, query_gradient: Any, perturbation: Any) -> Float[Array, ""]:
    """How far either half of the sandwich is from F at most: ν g² / (2 (μ - ν L_f)).

    Attained where f curves by L_f away from F's side, and f̂ by as little as it may.

    Args:
        constants: of the task.
        query_gradient: g = ||∇f(φ_0)||, at least 0, shape ().
        perturbation: ν, positive, below μ / L_f; where it is traced and is not, the gap is
            infinite.

    >>> from metagrad.task_constants import convex_support
    >>> surrogate_gap(convex_support(2.0, 5.0, 1.0, 4.0), 4.0, 0.25).item()
    2.0
    """
    checks.require_nonnegative("query_gradient", query_gradient)
    checks.require_positive("perturbation", perturbation)
    size = checks.as_float("query_gradient", query_gradient)
    left = remaining_convexity(constants, perturbation).astype(size.dtype)
    gap = perturbation * size**2 / (2.0 * jnp.where(left > 0, left, 1.0))
    return jnp.where(left > 0, gap, jnp.inf)


class SurrogateSmoothness(NamedTuple):
    """Lipschitz constants of the gradients of the two surrogates, shape () each.

    Attributes:
        forward: of (M_ν - M_0) / ν.
        symmetric: of (M_ν - M_{-ν}) / (2ν).
    """

    forward: Float[Array, ""]
    symmetric: Float[Array, ""]


def surrogate_smoothness(constants: Constants, perturbation: Any) -> SurrogateSmoothness:
    """For a fixed ν > 0 the surrogates are smooth, in the usual sense, though F may not be.

    forward (λ²/ν)(1/(μ - νL_f) - 1/(λ + L)),
    symmetric (λ²/(2ν))(1/(μ - νL_f) - 1/(λ + L + νL_f)):

    at most 2λ²/(μν) and λ²/(μν) up to ν_max. Plain gradient descent with a step of one over it
    always decreases the surrogate: a step of O(ν). Arguments as for `surrogate_gap`.

    >>> from metagrad.task_constants import convex_support
    >>> made = surrogate_smoothness(convex_support(2.0, 6.0, 1.0, 4.0), 0.25)
    >>> made.forward.item(), round(made.symmetric.item(), 3)
    (14.0, 7.111)
    """
    checks.require_positive("perturbation", perturbation)
    left = remaining_convexity(constants, perturbation)
    most = constants.regularizer + constants.smoothness
    steepest = jnp.where(left > 0, 1.0 / jnp.where(left > 0, left, 1.0), jnp.inf)
    scale = constants.regularizer**2 / perturbation
    flattest = 1.0 / (most + perturbation * constants.query_smoothness)
    return SurrogateSmoothness(scale * (steepest - 1.0 / most), 0.5 * scale * (steepest - flattest))
