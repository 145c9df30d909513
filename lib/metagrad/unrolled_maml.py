"""K-step MAML and the two shortcuts that drop its second derivatives.

Adapting is K gradient steps on the support loss, φ_0 = θ and φ_k = φ_{k-1} - α ∇f̂(φ_{k-1}), and

    ∇F(θ) = (I - α ∇²f̂(φ_0)) ... (I - α ∇²f̂(φ_{K-1})) ∇f(φ_K)   for   F(θ) = f(φ_K).

FO-MAML drops the product; Reptile drops the query loss as well. With a regularizer the steps
descend f̂(φ) + (λ/2) ||φ - θ||² instead, the problem of `metagrad.implicit_maml`, and for large K
MAML and FO-MAML become those of its exact solution.
"""

from typing import Any

import jax

from metagrad import checks
from metagrad.inner import SolveFunction, as_dtype_of, descend, perturbed_objective, solution, solve
from metagrad.task_estimates import Method, TaskEstimate, task_estimate
from metagrad.tasks import Task


def _check(inner_steps: int, inner_step_size: Any, regularizer: Any) -> None:
    checks.require_steps("inner_steps", inner_steps)
    checks.require_positive("inner_step_size", inner_step_size)
    checks.require_nonnegative("regularizer", regularizer)


def maml(
    inner_steps: int,
    inner_step_size: Any,
    *,
    regularizer: Any = 0.0,
    checkpointed: bool = True,
    sampled: bool = False,
) -> Method:
    """MAML: reverse mode through all K steps. Exact for the K-step objective.

    Source: Finn, Abbeel and Levine, 2017.

    Args:
        inner_steps: K, at least 1.
        inner_step_size: α, positive.
        regularizer: λ, at least 0.
        checkpointed: whether to keep the parameters of each step only and compute the rest of it
            again: more gradients, less memory, the same result.
        sampled: whether the losses take the number of the step, see `inner.sampled_solve`.

    >>> import jax.numpy as jnp
    >>> task = Task(lambda x: x**2, lambda x: 3.0 * x)
    >>> float(maml(3, 0.25)(task, jnp.array(8.0)).gradient)  # 3 / 2³
    0.375
    """
    _check(inner_steps, inner_step_size, regularizer)

    def method(task: Task, theta: Any) -> TaskEstimate:
        def outcome(theta):
            objective = perturbed_objective(task, theta, regularizer)
            options = {"sampled": sampled, "checkpointed": checkpointed}
            point = descend(objective, theta, inner_steps, inner_step_size, **options)
            return task.query(point), point

        (value, point), gradient = jax.value_and_grad(outcome, has_aux=True)(theta)
        met = solution(perturbed_objective(task, theta, regularizer), point)
        return task_estimate(value, gradient, point, met.residual_norm, met.distance_bound)

    return method


def fo_maml(
    inner_steps: int,
    inner_step_size: Any,
    *,
    regularizer: Any = 0.0,
    solve: SolveFunction = solve,
) -> Method:
    """First-order MAML: ∇f(φ_K), as if the adapted parameters moved along with θ.

    Source: Finn, Abbeel and Levine, 2017.

    Args:
        inner_steps: K, at least 1.
        inner_step_size: α, positive.
        regularizer: λ, at least 0.
        solve: the solve function, see `metagrad.inner`.

    >>> import jax.numpy as jnp
    >>> task = Task(lambda x: x**2, lambda x: 3.0 * x)
    >>> float(fo_maml(3, 0.25)(task, jnp.array(8.0)).gradient)
    3.0
    """
    _check(inner_steps, inner_step_size, regularizer)

    def method(task: Task, theta: Any) -> TaskEstimate:
        objective = perturbed_objective(task, theta, regularizer)
        met = solve(objective, theta, inner_steps, inner_step_size, None)
        value, gradient = jax.value_and_grad(task.query)(met.point)
        return task_estimate(value, gradient, met.point, met.residual_norm, met.distance_bound)

    return method


def reptile(inner_steps: int, inner_step_size: Any, *, solve: SolveFunction = solve) -> Method:
    """Reptile: (θ - φ_K) / α, the sum of the inner gradients; no query loss at all.

    A step of size ε α along it takes θ the share ε of the way to φ_K.
    Source: Nichol, Achiam and Schulman, 2018.

    Args:
        inner_steps: K, at least 1.
        inner_step_size: α, positive.
        solve: the solve function, see `metagrad.inner`.

    >>> import jax.numpy as jnp
    >>> task = Task(lambda x: x**2, lambda x: 3.0 * x)
    >>> float(reptile(3, 0.25)(task, jnp.array(8.0)).gradient)  # (8 - 1) · 4
    28.0
    """
    _check(inner_steps, inner_step_size, 0.0)

    def method(task: Task, theta: Any) -> TaskEstimate:
        met = solve(task.support, theta, inner_steps, inner_step_size, None)
        size = as_dtype_of(theta, inner_step_size)
        gradient = jax.tree.map(lambda x, y: (x - y) / size, theta, met.point)
        value = task.query(met.point)
        return task_estimate(value, gradient, met.point, met.residual_norm, met.distance_bound)

    return method
