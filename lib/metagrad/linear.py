"""Solvers of a linear system M v = b that see M only through products with vectors.

Each maker returns a solver: a function (matvec, b) to (v, info). What a solver met on its way
(residual, curvature, symmetry) is returned, not hidden; whoever uses v looks at it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks

Vector = Float[Array, " n"]


class SolveInfo(NamedTuple):
    """What a solver met.

    Attributes:
        residual_norm: ||b - M v||, shape ().
        residual_norms: the same after 0, 1, ... steps; of length 2 for `dense`.
        smallest_curvature: the smallest pᵀM p / pᵀp over the directions p that were searched;
            inf where none was. Not positive: M is not positive definite.
        asymmetry: |uᵀM v - vᵀM u| for u = b and v = M b, as a share of ||M b||²; 0 where the
            solver does not need a symmetric M. Above rounding: M is not symmetric.
    """

    residual_norm: Float[Array, ""]
    residual_norms: Float[Array, " steps"]
    smallest_curvature: Float[Array, ""]
    asymmetry: Float[Array, ""]


Matvec = Callable[[Vector], Vector]
Solver = Callable[[Matvec, Vector], tuple[Vector, SolveInfo]]


def dense() -> Solver:
    """Form M column by column and factorize it: any invertible M, n products, n² memory.

    >>> v, info = dense()(lambda v: jnp.array([2.0, 4.0]) * v, jnp.array([2.0, 2.0]))
    >>> v.tolist()
    [1.0, 0.5]
    """

    def solve(matvec: Matvec, b: Vector) -> tuple[Vector, SolveInfo]:
        columns = jax.vmap(matvec)(jnp.eye(b.shape[0], dtype=b.dtype))
        v = jnp.linalg.solve(columns.T, b)
        norms = jnp.stack([jnp.linalg.norm(b), jnp.linalg.norm(b - matvec(v))])
        infinite, zero = jnp.full((), jnp.inf, b.dtype), jnp.zeros((), b.dtype)
        return v, SolveInfo(norms[-1], norms, infinite, zero)

    return solve


def conjugate_gradient(steps: int) -> Solver:
    """Conjugate gradients: M symmetric and positive definite, one product a step.

    Exact after n steps but for rounding; the info says whether M was what it must be.
    Source: Hestenes and Stiefel, 1952.

    Args:
        steps: how many, at least 1.

    >>> solve = conjugate_gradient(2)
    >>> v, info = solve(lambda v: jnp.array([2.0, 4.0]) * v, jnp.array([2.0, 2.0]))
    >>> v.round(12).tolist(), info.asymmetry.tolist()
    ([1.0, 0.5], 0.0)
    """
    checks.require_steps("steps", steps)

    def solve(matvec: Matvec, b: Vector) -> tuple[Vector, SolveInfo]:
        def step(carry, _):
            v, residual, direction, smallest = carry
            image = matvec(direction)
            size, squared = jnp.vdot(direction, direction), jnp.vdot(residual, residual)
            searching = squared > (jnp.finfo(b.dtype).eps ** 2) * jnp.vdot(b, b)
            curvature = jnp.vdot(direction, image)
            smallest = jnp.where(
                searching,
                jnp.minimum(smallest, curvature / jnp.where(size > 0, size, 1.0)),
                smallest,
            )
            # Once the residual is rounding, the quotients below would be 0 / 0: stand still.
            pace = jnp.where(searching, squared / jnp.where(searching, curvature, 1.0), 0.0)
            v = v + pace * direction
            new_residual = residual - pace * image
            turn = jnp.vdot(new_residual, new_residual) / jnp.where(searching, squared, 1.0)
            direction = new_residual + turn * direction
            carry = (v, new_residual, direction, smallest)
            return carry, jnp.linalg.norm(new_residual)

        start = (jnp.zeros_like(b), b, b, jnp.full((), jnp.inf, b.dtype))
        (v, _, _, smallest), norms = jax.lax.scan(step, start, length=steps)
        norms = jnp.concatenate([jnp.linalg.norm(b)[None], norms])
        image = matvec(b)
        size = jnp.vdot(image, image)
        asymmetry = jnp.abs(jnp.vdot(b, matvec(image)) - size) / jnp.where(size > 0, size, 1.0)
        residual_norm = jnp.linalg.norm(b - matvec(v))  # the recurrence's own may drift from it
        return v, SolveInfo(residual_norm, norms, smallest, asymmetry)

    return solve


def neumann(terms: int, step_size: float = 1.0) -> Solver:
    """The Neumann series v = s Σ_{k < terms} (I - s M)ᵏ b: one product a term.

    It converges where I - s M shrinks every vector in the long run. With M = I - Jᵀ, for a
    step with Jacobian J, and s = 1 its terms are those of backpropagation through `terms`
    steps that all sit at the fixed point. Source: Lorraine et al., 2020.

    Args:
        terms: how many, at least 1.
        step_size: s, positive.

    >>> solve = neumann(3)
    >>> v, info = solve(lambda v: 0.5 * v, jnp.array([1.0]))
    >>> v.tolist(), info.residual_norms.tolist()
    ([1.75], [1.0, 0.5, 0.25, 0.125])
    """
    checks.require_steps("terms", terms)
    checks.require_positive("step_size", step_size)

    def solve(matvec: Matvec, b: Vector) -> tuple[Vector, SolveInfo]:
        # The residual b - M v after k terms is (I - s M)ᵏ b, the next term without its s.
        def step(carry, _):
            v, residual = carry
            v = v + step_size * residual
            residual = residual - step_size * matvec(residual)
            return (v, residual), jnp.linalg.norm(residual)

        (v, _), norms = jax.lax.scan(step, (jnp.zeros_like(b), b), length=terms)
        norms = jnp.concatenate([jnp.linalg.norm(b)[None], norms])
        infinite, zero = jnp.full((), jnp.inf, b.dtype), jnp.zeros((), b.dtype)
        return v, SolveInfo(norms[-1], norms, infinite, zero)

    return solve
