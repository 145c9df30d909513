"""Families of quadratic tasks: the inner solve and the meta-loss have closed forms.

Task i adapts on f̂_i(φ) = (φ - b_i)ᵀA_i(φ - b_i) / 2 and is judged by
f_i(φ) = (φ - e_i)ᵀC_i(φ - e_i) / 2. Each usual inner solve is then linear in the gradient at its
start:

    φ_i(θ) = θ - N_i ∇f̂_i(θ),    R_i = Dφ_i = I - N_i A_i,

with a *gain* N_i that is a function of A_i alone: `proximal` for the exact solution of a
regularized problem, `descent` for K steps. `metagrad.quadratic_fields` says where each method of
meta-learning comes to rest on such a family.

Quantities of one number per task, shape (n,), stand for tasks on the line: θ then has shape ().
All formulas are our derivation; the matrices A_i and C_i are symmetric.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.tasks import Family

Matrices = Float[Array, "tasks d d"]
Gain = Callable[[Matrices], Matrices]


class Quadratics(NamedTuple):
    """The data of n tasks; for tasks on the line every array has shape (n,).

    Attributes:
        curvature: A_i, of the support losses, shape (n, d, d).
        center: b_i, where they are least, shape (n, d).
        query_curvature: C_i, like `curvature`.
        query_center: e_i, like `center`.
    """

    curvature: Float[Array, "tasks ..."]
    center: Float[Array, "tasks ..."]
    query_curvature: Float[Array, "tasks ..."]
    query_center: Float[Array, "tasks ..."]


def _bowl(x, curvature, center):
    checks.require_shape("parameters", x, jnp.shape(center))
    offset = x - center
    if offset.ndim == 0:
        return 0.5 * curvature * offset**2
    return 0.5 * jnp.sum(offset * (curvature @ offset))


def quadratics(
    curvature: Any, center: Any, query_curvature: Any = None, query_center: Any = None
) -> Family:
    """Make a family of quadratic tasks.

    Args:
        curvature: A_i, shape (n, d, d), each symmetric, or (n,) for tasks on the line. It need
            not be positive: a large enough regularizer makes the inner problem convex.
        center: b_i, shape (n, d), or (n,).
        query_curvature: C_i, like `curvature`; None for A_i.
        query_center: e_i, like `center`; None for b_i.

    Returns:
        A family whose `data` is a `Quadratics`.

    Raises:
        ValueError: if a shape does not fit, or a matrix is not symmetric.

    >>> quadratics([1.0, 9.0], [0.0, 1.0]).support(jnp.array(3.0), (1.0, 1.0)).item()
    2.0
    """
    curvature = checks.as_float("curvature", curvature)
    center = checks.as_float("center", center)
    on_the_line = curvature.ndim == 1
    square = curvature.ndim == 3 and curvature.shape[1] == curvature.shape[2]
    if not (on_the_line or square) or 0 in curvature.shape:
        raise ValueError(
            f"curvature must have shape (n, d, d), or (n,) on the line, got {curvature.shape}"
        )
    checks.require_shape("center", center, curvature.shape[: 1 if on_the_line else 2])
    if query_curvature is None:
        query_curvature = curvature
    query_curvature = checks.as_float("query_curvature", query_curvature)
    checks.require_shape("query_curvature", query_curvature, curvature.shape)
    query_center = center if query_center is None else query_center
    query_center = checks.as_float("query_center", query_center)
    checks.require_shape("query_center", query_center, center.shape)
    for name, value in (("curvature", curvature), ("query_curvature", query_curvature)):
        if value.ndim == 3 and checks.is_known(value):
            known = np.asarray(value)
            gap = np.max(np.abs(known - known.swapaxes(1, 2)))
            if gap > 1e-6 * np.max(np.abs(known)):
                raise ValueError(
                    f"{name} must hold symmetric matrices, got one that differs from its "
                    f"transpose by up to {gap:.3g}"
                )
    return Family(
        lambda x, data: _bowl(x, data[0], data[1]),
        lambda x, data: _bowl(x, data[2], data[3]),
        Quadratics(curvature, center, query_curvature, query_center),
    )


def two_quadratics() -> Family:
    """The example of two tasks on the line that disagree: a = (1, 9), b = (0, 1), query = support.

    >>> two_quadratics().data.curvature.tolist(), two_quadratics().data.center.tolist()
    ([1.0, 9.0], [0.0, 1.0])
    """
    return quadratics(jnp.array([1.0, 9.0]), jnp.array([0.0, 1.0]))


# The inner solves.


def proximal(regularizer: Any) -> Gain:
    """The exact solution φ_i of min f̂_i(φ) + (λ/2) ||φ - θ||²: N = (A + λI)⁻¹.

    Args:
        regularizer: λ, positive, and above minus the least eigenvalue of every A_i.

    Raises:
        ValueError: from the gain, if A + λI is not positive definite for some task.
    """
    checks.require_positive("regularizer", regularizer)

    def gain(curvature):
        shifted = shifted_by(curvature, regularizer)
        require_definite("regularizer", regularizer, "A_i + λI", shifted)
        return jnp.linalg.inv(shifted)

    return gain


def descent(inner_step_size: Any, inner_steps: int, regularizer: Any = 0.0) -> Gain:
    """K steps φ <- φ - α (∇f̂(φ) + λ (φ - θ)) from φ = θ: N = α Σ_{k < K} (I - α (A + λI))ᵏ.

    Args:
        inner_step_size: α, positive.
        inner_steps: K, at least 1.
        regularizer: λ, at least 0; 0 is the MAML of Finn et al., 2017.

    >>> descent(0.5, 2)(jnp.ones((1, 1, 1))).item()
    0.75
    """
    checks.require_positive("inner_step_size", inner_step_size)
    checks.require_steps("inner_steps", inner_steps)
    checks.require_nonnegative("regularizer", regularizer)

    def gain(curvature):
        shifted = shifted_by(curvature, regularizer)
        once = inner_step_size * identities(curvature)

        def step(total, _):
            return total - inner_step_size * (shifted @ total) + once, None

        return jax.lax.scan(step, jnp.zeros_like(once), length=inner_steps)[0]

    return gain


# The meta-loss.


def adapted_points(family: Family, theta: Any, inner: Gain) -> Float[Array, "tasks ..."]:
    """φ_i(θ), one row for each task.

    Args:
        family: from `quadratics`.
        theta: the start θ, shape (d,), or () on the line.
        inner: from `proximal` or `descent`.

    >>> adapted_points(two_quadratics(), 1.0, proximal(1.0)).tolist()
    [0.5, 1.0]
    """
    theta = checks.as_float("theta", theta)
    checks.require_shape("theta", theta, jnp.shape(family.data.center)[1:])
    a, b, *_ = as_matrices(family)
    moved = jnp.einsum("nij,njk,nk->ni", inner(a), a, jnp.atleast_1d(theta)[None] - b)
    return (jnp.atleast_1d(theta)[None] - moved).reshape(jnp.shape(family.data.center))


def meta_loss(family: Family, theta: Any, inner: Gain) -> Float[Array, ""]:
    """F(θ) = mean_i f_i(φ_i(θ)); the arguments are those of `adapted_points`.

    >>> meta_loss(two_quadratics(), 1.0, proximal(1.0)).item()  # (1/2) (1/2) (1/2)²
    0.0625
    """
    points = adapted_points(family, theta, inner)
    return jnp.mean(jax.vmap(family.query)(points, family.data))


# Small parts, for `metagrad.quadratic_fields` too.


def as_matrices(family: Family) -> Quadratics:
    """The data as matrices and vectors: those of tasks on the line with d = 1."""
    a, b, c, e = family.data
    if a.ndim == 3:
        return family.data
    return Quadratics(a[:, None, None], b[:, None], c[:, None, None], e[:, None])


def identities(a: Matrices) -> Matrices:
    """An identity for each task, with the shape and dtype of `a`."""
    return jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), a.shape)


def shifted_by(a: Matrices, regularizer: Any) -> Matrices:
    """A_i + λI."""
    return a + regularizer * identities(a)


def require_definite(name: str, given: Any, what: str, matrices: Any) -> None:
    """The argument `name` must leave all matrices positive definite; skipped where traced."""
    if checks.is_known((given, matrices)):
        least = np.linalg.eigvalsh(np.asarray(matrices)).min()
        if not least > 0:
            raise ValueError(
                f"{name} must leave every {what} positive definite, got {given!r}, with which the "
                f"smallest eigenvalue is {least:.3g}"
            )
