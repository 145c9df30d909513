"""Implicit MAML, and Reptile's counterpart: methods of the regularized inner problem.

With φ(θ) the minimizer of f̂(φ) + (λ/2) ||φ - θ||², the implicit function theorem gives for
F(θ) = f(φ(θ)) the meta-gradient

    (I + ∇²f̂(φ)/λ) ∇F(θ) = ∇f(φ),

one linear system, whatever way led to φ. `metagrad.perturbed` gets the same without the system.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from metagrad import checks
from metagrad.inner import SolveFunction, as_dtype_of, perturbed_objective, solve
from metagrad.linear import SolveInfo, conjugate_gradient
from metagrad.task_estimates import Method, TaskEstimate, task_estimate
from metagrad.tasks import Task


class ImplicitMamlInfo(NamedTuple):
    """What implicit MAML saw.

    Attributes:
        solve: what conjugate gradients met in the system (1 + damping) I + ∇²f̂/λ. Where its
            smallest curvature is not positive, the gradient is NaN.
    """

    solve: SolveInfo


def imaml(
    regularizer: Any,
    inner_steps: int,
    inner_step_size: Any,
    cg_steps: int,
    *,
    damping: Any = 0.0,
    solve: SolveFunction = solve,
    strong_convexity: Any = None,
) -> Method:
    """iMAML: any inner solve, then conjugate gradients with Hessian-vector products.

    Exact for an exact inner solve, damping 0 and as many steps as there are parameters.
    Source: Rajeswaran, Finn, Kakade and Levine, 2019. (Their public code divides the Hessian by
    λ + 10 and takes 5 steps.)

    Args:
        regularizer: λ, positive.
        inner_steps: K, at least 1.
        inner_step_size: α, positive.
        cg_steps: of conjugate gradients, at least 1.
        damping: at least 0, added to the system's diagonal; biased if positive.
        solve: the solve function, see `metagrad.inner`.
        strong_convexity: μ of the inner problem, or None if not known.

    Raises:
        ValueError: if conjugate gradients meet a curvature that is not positive: the regularizer
            is below the most negative curvature of the support loss. They may miss one. Where
            the numbers are not known, the gradient is NaN and finite False.

    >>> task = Task(lambda x: 0.5 * x**2, lambda x: 3.0 * x)
    >>> found = imaml(1.0, 60, 0.5, 1)(task, jnp.array(2.0))
    >>> round(float(found.gradient), 9), round(float(found.adapted), 9)
    (1.5, 1.0)
    """
    checks.require_positive("regularizer", regularizer)
    checks.require_steps("inner_steps", inner_steps)
    checks.require_positive("inner_step_size", inner_step_size)
    checks.require_nonnegative("damping", damping)
    solve_system = conjugate_gradient(cg_steps)

    def method(task: Task, theta: Any) -> TaskEstimate:
        objective = perturbed_objective(task, theta, regularizer)
        met = solve(objective, theta, inner_steps, inner_step_size, strong_convexity)
        flat, unravel = ravel_pytree(met.point)
        lam, extra = as_dtype_of(theta, regularizer), as_dtype_of(theta, damping)
        slope = jax.grad(lambda flat: task.support(unravel(flat)))

        def matvec(v):
            return (1 + extra) * v + jax.jvp(slope, (flat,), (v,))[1] / lam

        value, right = jax.value_and_grad(lambda flat: task.query(unravel(flat)))(flat)
        v, system = solve_system(matvec, right)
        positive = system.smallest_curvature > 0
        # A solve that diverged left no system: then finite says so, and there is no error.
        posed = jnp.all(jnp.isfinite(flat)) & jnp.isfinite(system.smallest_curvature)
        if checks.is_known((positive, posed, lam, extra)) and posed and not positive:
            curvature = lam * (system.smallest_curvature - 1 - extra)
            raise ValueError(
                "regularizer must exceed the most negative curvature of the support loss, got "
                f"{regularizer!r} where conjugate gradients met the curvature {curvature:.6g}; "
                f"more than {-curvature / (1 + extra):.6g} is needed"
            )
        gradient = unravel(jnp.where(positive, v, jnp.nan))
        return task_estimate(
            value, gradient, met.point, met.residual_norm, met.distance_bound,
            ImplicitMamlInfo(system),
        )  # fmt: skip

    return method


def proximal_reptile(
    regularizer: Any,
    inner_steps: int,
    inner_step_size: Any,
    *,
    solve: SolveFunction = solve,
    strong_convexity: Any = None,
) -> Method:
    """Proximal Reptile: λ (θ - φ), the gradient of the Moreau envelope of the support loss.

    The query loss plays no part in it. Source: Zhou et al., 2019.

    Args:
        regularizer: λ, positive.
        inner_steps: K, at least 1.
        inner_step_size: α, positive.
        solve: the solve function, see `metagrad.inner`.
        strong_convexity: μ of the inner problem, or None if not known.

    >>> task = Task(lambda x: 0.5 * x**2, lambda x: 3.0 * x)
    >>> round(float(proximal_reptile(1.0, 60, 0.5)(task, jnp.array(2.0)).gradient), 9)
    1.0
    """
    checks.require_positive("regularizer", regularizer)
    checks.require_steps("inner_steps", inner_steps)
    checks.require_positive("inner_step_size", inner_step_size)

    def method(task: Task, theta: Any) -> TaskEstimate:
        objective = perturbed_objective(task, theta, regularizer)
        met = solve(objective, theta, inner_steps, inner_step_size, strong_convexity)
        lam = as_dtype_of(theta, regularizer)
        gradient = jax.tree.map(lambda x, y: lam * (x - y), theta, met.point)
        value = task.query(met.point)
        return task_estimate(value, gradient, met.point, met.residual_norm, met.distance_bound)

    return method
