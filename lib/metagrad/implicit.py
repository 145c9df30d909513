"""Implicit differentiation: the derivative of where a run ends, without the way there.

If x* solves optimality(x, w) = 0 then, by the implicit function theorem, x* moves with w as

    Dx* = -(D_x optimality)⁻¹ D_w optimality,

and the meta-gradient needs one linear system with the transposed matrix.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.linear import SolveInfo, Solver, dense
from metagrad.runs import Estimate, Method, Parameters, Run, State, estimate, objective


class ImplicitInfo(NamedTuple):
    """What implicit differentiation sees.

    Attributes:
        optimality_norm: ||optimality(x_T, w)||, shape (): how far the run stopped from a
            fixed point. The theorem speaks about 0.
        solve: what the linear solver met.
        final_state: x_T.
    """

    optimality_norm: Float[Array, ""]
    solve: SolveInfo
    final_state: State


def implicit(
    solver: Solver | None = None,
    optimality: Callable[[Any, Any], Any] | None = None,
    regularizer: Any = 0.0,
) -> Method:
    """Differentiate at x_T as if it were a fixed point, by the implicit function theorem.

    ∇F = ∂_w loss - (D_w optimality)ᵀ v   where   (D_x optimality + ρ I)ᵀ v = ∂_x loss.

    Exact when x_T solves optimality(x, w) = 0 and ρ = 0; the info says how far from it the run
    stopped. The start plays no part. Source: Domke, 2012; Rajeswaran et al., 2019.

    Args:
        solver: `dense()` (the default), `conjugate_gradient(steps)` for a symmetric positive
            definite system, or `neumann(terms)` for a step that contracts.
        optimality: maps (state, w) to a pytree like the state, zero at the fixed point; for
            the minimizer of a loss, its gradient. None for x - step(x, w, T).
        regularizer: ρ, at least 0: added to the system's diagonal.

    Raises:
        ValueError: if the regularizer is negative or leaves a system that is not positive
            definite to `conjugate_gradient`; if the system is not symmetric there; if a
            Neumann series grows; with `every_step`. Under `jax.jit`, where the numbers are
            not known, the last three give a gradient of NaN, and finite is False.

    >>> from metagrad.estimators import meta_gradient
    >>> def step(x, w, t):  # its fixed point is x = 2 w
    ...     return 0.5 * x + w
    >>> run = (lambda x, w: x**2, step, 3.0, jnp.array(6.0), 1)
    >>> float(meta_gradient(*run, method=implicit()).gradient)
    24.0
    """
    solver = dense() if solver is None else solver
    checks.require_nonnegative("regularizer", regularizer)

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        del key
        if run.every_step:
            raise ValueError("every_step must be False with implicit(): only x_T is a fixed point")
        value, state = objective(run, w)
        checks.require_one_dtype("start", state)
        flat, unravel = ravel_pytree(state)

        def residual(flat, w):
            x = unravel(flat)
            if optimality is None:
                moved = run.step(x, w, jnp.int32(run.inner_steps))
                return flat - ravel_pytree(moved)[0]
            result = optimality(x, w)
            checks.require_same_tree("optimality", result, x)
            return ravel_pytree(result)[0]

        error, pull = jax.vjp(residual, flat, w)
        right, direct = jax.grad(lambda flat, w: run.loss(unravel(flat), w), (0, 1))(flat, w)
        v, met = solver(lambda v: pull(v)[0] + regularizer * v, right)
        gradient = jax.tree.map(lambda a, b: a - b, direct, pull(v)[1])
        info = ImplicitInfo(jnp.linalg.norm(error), met, state)
        gradient = _refuse_unsolved(gradient, info, regularizer)
        return estimate(value, gradient, info)

    return method


def _refuse_unsolved(gradient: Parameters, info: ImplicitInfo, regularizer: Any) -> Parameters:
    """The gradient if the solver could solve its system; else an error, or NaN under jit.

    NaN without an error where the run itself diverged: then no system was there to be solved.
    """
    met = info.solve
    positive = met.smallest_curvature > 0
    symmetric = met.asymmetry <= jnp.sqrt(jnp.finfo(met.asymmetry.dtype).eps)
    shrinks = met.residual_norm <= met.residual_norms[0]
    posed = jnp.isfinite(info.optimality_norm) & jnp.isfinite(met.residual_norms[0])
    if checks.is_known((info, regularizer)) and posed:
        if not positive:
            raise ValueError(
                "regularizer must leave a positive definite system to conjugate_gradient(), got "
                f"{regularizer!r}, with which it met the curvature {met.smallest_curvature:.6g}; "
                f"more than {regularizer - met.smallest_curvature:.6g} is needed"
            )
        if not symmetric:
            raise ValueError(
                "solver must fit the system: conjugate_gradient() needs a symmetric one, got an "
                f"asymmetry of {met.asymmetry:.3g}; use dense() or neumann()"
            )
        if not shrinks:
            raise ValueError(
                "solver must reduce the residual, got one that grew it from "
                f"{met.residual_norms[0]:.3g} to {met.residual_norm:.3g}; neumann() needs a step "
                "that contracts, or a smaller step_size"
            )
    usable = positive & symmetric & shrinks
    return jax.tree.map(lambda leaf: jnp.where(usable, leaf, jnp.nan), gradient)
