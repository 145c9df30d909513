"""Where each method of meta-learning comes to rest on a family of quadratic tasks.

What a method takes for the meta-gradient is affine in the start θ, a `Field`, and vanishes at one
point. Only `maml` is the gradient of the meta-loss F(θ) = mean_i f_i(φ_i(θ)): with the notation of
`metagrad.quadratic_families`,

    MAML             mean_i R_i C_i (φ_i(θ) - e_i)
    FO-MAML          mean_i C_i (φ_i(θ) - e_i)
    FO-B-MAML        mean_i λ (A_i + λI + νC_i)⁻¹C_i (φ_i(θ) - e_i),  φ_i the exact inner solution
    Reptile          mean_i (θ - φ_i(θ))
    joint training   mean_i C_i (θ - e_i)

All formulas are our derivation.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metagrad import checks
from metagrad.quadratic_families import (
    Gain,
    as_matrices,
    identities,
    proximal,
    require_definite,
    shifted_by,
)
from metagrad.tasks import Family


class Field(NamedTuple):
    """The affine map θ -> matrix θ - offset; shapes (d, d) and (d,), or () and () on the line."""

    matrix: Float[Array, "..."]
    offset: Float[Array, "..."]


def maml(family: Family, inner: Gain) -> Field:
    """∇F, the gradient of the meta-loss: bilevel MAML (iMAML) or K-step MAML, by `inner`.

    Its matrix is the Hessian of F: mean_i R_i C_i R_i.

    Args:
        family: from `quadratics`.
        inner: from `proximal` or `descent`.

    >>> from metagrad.quadratic_families import two_quadratics
    >>> family, inner = two_quadratics(), proximal(1.0)
    >>> [round(rest_point(of(family, inner)).item(), 5) for of in (maml, fo_maml, reptile)]
    [0.26471, 0.64286, 0.64286]
    >>> round(rest_point(joint_training(family)).item(), 5)
    0.9
    """
    a, b, c, e = as_matrices(family)
    response = _response(a, inner)
    return _field(family, response, response, b, c, e)


def fo_maml(family: Family, inner: Gain) -> Field:
    """First-order MAML, mean_i ∇f_i(φ_i(θ)): MAML without the factor R_i; see `fo_maml_error`."""
    a, b, c, e = as_matrices(family)
    return _field(family, identities(a), _response(a, inner), b, c, e)


def reptile(family: Family, inner: Gain) -> Field:
    """Reptile, mean_i (θ - φ_i(θ)); proximal Reptile is λ times that. It never sees f_i."""
    a, b, *_ = as_matrices(family)
    return _lowered(family, inner(a) @ a, b)


def joint_training(family: Family) -> Field:
    """mean_i ∇f_i(θ): one point that is good for the query losses without being adapted."""
    _, _, c, e = as_matrices(family)
    return _lowered(family, c, e)


def fo_b_maml(
    family: Family, regularizer: Any, perturbation: Any, difference: str = "forward"
) -> Field:
    """FO-B-MAML with exact inner solves, -λ (φ_{i,ν} - φ_i) / ν or its symmetric form.

    With H = A + λI this is λ (H + νC)⁻¹C (φ_i - e_i), and the symmetric form is the mean of it
    and of the same at -ν: no difference of close numbers is formed, so ν may be tiny.

    Args:
        family: from `quadratics`.
        regularizer: λ, as in `proximal`.
        perturbation: ν, positive, and below `perturbation_limit` for the symmetric form.
        difference: "forward" or "symmetric".

    Raises:
        ValueError: if a perturbed problem has no minimum, or `difference` is neither.

    >>> from metagrad.quadratic_families import two_quadratics
    >>> rest_point(fo_b_maml(two_quadratics(), 1.0, 0.1)).round(5).item()
    0.25749
    """
    if difference not in ("forward", "symmetric"):
        raise ValueError(f"difference must be 'forward' or 'symmetric', got {difference!r}")
    checks.require_positive("perturbation", perturbation)
    a, b, c, e = as_matrices(family)
    response = _response(a, proximal(regularizer))
    shifted = shifted_by(a, regularizer)
    factors = []
    for nu in (perturbation,) if difference == "forward" else (perturbation, -perturbation):
        perturbed = shifted + nu * c
        require_definite("perturbation", perturbation, f"A_i + λI + ({nu}) C_i", perturbed)
        factors.append(regularizer * jnp.linalg.inv(perturbed))
    factor = sum(factors[1:], factors[0]) / len(factors)
    return _field(family, factor, response, b, c, e)


def perturbation_limit(family: Family, regularizer: Any) -> Float[Array, ""]:
    """The ν at which the first problem f̂_i - ν f_i + (λ/2) ||φ - θ||² stops being convex.

    It is 1 / max_i of the largest eigenvalue of H_i⁻¹C_i, and infinite if no f_i curves upward.

    >>> from metagrad.quadratic_families import two_quadratics
    >>> perturbation_limit(two_quadratics(), 1.0).round(5).item()  # 10 / 9
    1.11111
    """
    a, _, c, _ = as_matrices(family)
    shifted = shifted_by(a, regularizer)
    require_definite("regularizer", regularizer, "A_i + λI", shifted)
    root = jnp.linalg.cholesky(shifted)
    half = jax.scipy.linalg.solve_triangular(root, c, lower=True)
    white = jax.scipy.linalg.solve_triangular(root, jnp.swapaxes(half, 1, 2), lower=True)
    steepest = jnp.max(jnp.linalg.eigvalsh(white))
    return jnp.where(steepest > 0, 1 / jnp.where(steepest > 0, steepest, 1.0), jnp.inf)


# Where they come to rest.


def value(field: Field, theta: Any) -> Float[Array, "..."]:
    """The field at θ: what the method takes for the meta-gradient there, with the shape of θ."""
    theta = checks.as_float("theta", theta)
    checks.require_shape("theta", theta, field.offset.shape)
    return jnp.dot(field.matrix, theta) - field.offset


def rest_point(field: Field) -> Float[Array, "..."]:
    """Where the field vanishes; not finite if its matrix is singular."""
    if field.offset.ndim == 0:
        return field.offset / field.matrix
    return jnp.linalg.solve(field.matrix, field.offset)


def fo_maml_error(family: Family, inner: Gain) -> Float[Array, "..."]:
    """∇F where FO-MAML rests: what no step size, nor more steps, can remove.

    There the query gradients g_i = ∇f_i(φ_i) average to zero, so that for every matrix R

        ∇F = mean_i (R_i - R) g_i :

    FO-MAML is right if and only if the R_i and the g_i are uncorrelated over tasks. So it is for
    one task, and for tasks that share their support curvature: see `shares_support_curvature`.

    >>> from metagrad.quadratic_families import two_quadratics
    >>> round(fo_maml_error(two_quadratics(), proximal(1.0)).item(), 4)
    0.0643
    """
    return value(maml(family, inner), rest_point(fo_maml(family, inner)))


def shares_support_curvature(family: Family) -> Bool[Array, ""]:
    """Whether all A_i are equal, which makes FO-MAML rest where MAML does.

    It needs an R_i that is invertible, as that of `proximal` always is. Query losses may differ.

    >>> from metagrad.quadratic_families import two_quadratics
    >>> bool(shares_support_curvature(two_quadratics()))
    False
    """
    curvature = family.data.curvature
    return jnp.all(curvature == jnp.broadcast_to(curvature[:1], curvature.shape))


# Small parts.


def _response(a, inner):
    return identities(a) - inner(a) @ a


def _field(family, factor, response, b, c, e):
    """mean_i of factor_i C_i (φ_i(θ) - e_i), where φ_i(θ) = response_i (θ - b_i) + b_i."""
    slopes = factor @ c
    pull = jnp.einsum("nij,nj->ni", response, b) - b + e
    matrix = jnp.mean(slopes @ response, axis=0)
    return _shaped(family, matrix, jnp.mean(jnp.einsum("nij,nj->ni", slopes, pull), axis=0))


def _lowered(family, slopes, centers):
    """mean_i of slopes_i (θ - centers_i)."""
    offset = jnp.mean(jnp.einsum("nij,nj->ni", slopes, centers), axis=0)
    return _shaped(family, jnp.mean(slopes, axis=0), offset)


def _shaped(family, matrix, offset):
    if family.data.curvature.ndim == 1:
        return Field(matrix[0, 0], offset[0])
    return Field(matrix, offset)
