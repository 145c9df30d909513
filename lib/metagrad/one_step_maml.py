"""Two first-order methods with a theory of their own: HF-MAML and FO-MuML.

HF-MAML is one-step MAML whose one Hessian-vector product is a difference of two gradients.
FO-MuML minimizes the mean of the tasks' Moreau envelopes with inner solves of low accuracy, the
first step of which is that of FO-MAML.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from metagrad import checks
from metagrad.inner import as_dtype_of, perturbed_objective, solution
from metagrad.renormalization import norm
from metagrad.task_estimates import Method, TaskEstimate, task_estimate
from metagrad.tasks import Task


def hf_maml(inner_step_size: Any, spacing: Any) -> Method:
    """Hessian-free MAML: φ = θ - α ∇f̂(θ), v = ∇f(φ), and v - α [∇f̂(θ + εv) - ∇f̂(θ - εv)]/(2ε).

    It differs from one-step MAML by at most (α/2) ρ ε ||v||², for a Hessian of f̂ that is
    ρ-Lipschitz. Source: Fallah, Mokhtari and Ozdaglar, 2020; the bound is our derivation.

    Args:
        inner_step_size: α, positive.
        spacing: ε, positive: the two gradients are taken ε ||v|| away from θ.

    >>> task = Task(lambda x: x**2, lambda x: 3.0 * x)
    >>> round(float(hf_maml(0.25, 0.01)(task, jnp.array(8.0)).gradient), 9)  # 3 (1 - 2/4)
    1.5
    """
    checks.require_positive("inner_step_size", inner_step_size)
    checks.require_positive("spacing", spacing)

    def method(task: Task, theta: Any) -> TaskEstimate:
        size, half = as_dtype_of(theta, inner_step_size), as_dtype_of(theta, spacing)
        slope = jax.grad(task.support)

        def moved(point, by, direction):
            return jax.tree.map(lambda x, y: x + by * y, point, direction)

        point = moved(theta, -size, slope(theta))
        value, v = jax.value_and_grad(task.query)(point)
        above, below = slope(moved(theta, half, v)), slope(moved(theta, -half, v))
        product = jax.tree.map(lambda x, y: (x - y) / (2 * half), above, below)
        met = solution(task.support, point)
        return task_estimate(
            value, moved(v, -size, product), point, met.residual_norm, met.distance_bound
        )

    return method


class FoMumlInfo(NamedTuple):
    """How the inner solve of FO-MuML ended.

    Attributes:
        steps: how many it took, shape ().
        accurate: whether it reached its accuracy, shape (). If not, steps is max_steps.
    """

    steps: Int[Array, ""]
    accurate: Bool[Array, ""]


def fo_muml(
    regularizer: Any,
    inner_step_size: Any,
    accuracy: Any,
    max_steps: int,
    *,
    strong_convexity: Any = None,
) -> Method:
    """FO-MuML: ∇f̂(z) for a z that solves ∇f̂(z) + λ (z - θ) = 0 to a relative accuracy only.

    Gradient steps from θ end as soon as ||∇f̂(z) + λ (z - θ)|| <= accuracy ||∇f̂(z)||. With
    α = 1/λ the first of them leads to the adapted parameters of FO-MAML. There is one loss for
    each task, its support loss here: the query loss plays no part. Source: Mishchenko, Hanzely
    and Richtárik, 2023; the paper compares the residual with the gradient of the envelope, which
    is not known, and so this stopping rule is ours.

    Args:
        regularizer: λ, positive; 1/λ is the paper's inner step α.
        inner_step_size: of the solve, positive.
        accuracy: above 0 and below 1.
        max_steps: where to give up, at least 1.
        strong_convexity: μ of the inner problem, or None if not known.

    >>> task = Task(lambda x: 0.5 * x**2, lambda x: 3.0 * x)
    >>> found = fo_muml(1.0, 0.5, 1e-3, 100)(task, jnp.array(2.0))
    >>> round(float(found.gradient), 9), int(found.info.steps)
    (1.0, 1)
    """
    checks.require_positive("regularizer", regularizer)
    checks.require_positive("inner_step_size", inner_step_size)
    checks.require_steps("max_steps", max_steps)
    checks.require_positive("accuracy", accuracy)
    if checks.is_known(accuracy) and accuracy >= 1:
        raise ValueError(f"accuracy must be below 1, or no step is ever taken, got {accuracy!r}")

    def method(task: Task, theta: Any) -> TaskEstimate:
        size, share = as_dtype_of(theta, inner_step_size), as_dtype_of(theta, accuracy)
        lam, slope = as_dtype_of(theta, regularizer), jax.grad(task.support)

        def residual(z, slopes):
            return jax.tree.map(lambda x, y, g: g + lam * (x - y), z, theta, slopes)

        def accurate(z, slopes):
            return norm(residual(z, slopes)) <= share * norm(slopes)

        def goes_on(carry):
            z, slopes, steps = carry
            return ~accurate(z, slopes) & (steps < max_steps)

        def step(carry):
            z, slopes, steps = carry
            z = jax.tree.map(lambda x, r: x - size * r, z, residual(z, slopes))
            return z, slope(z), steps + 1

        first = theta, slope(theta), jnp.int32(0)
        z, slopes, steps = jax.lax.while_loop(goes_on, step, first)
        met = solution(perturbed_objective(task, theta, regularizer), z, strong_convexity)
        return task_estimate(
            task.query(z), slopes, z, met.residual_norm, met.distance_bound,
            FoMumlInfo(steps, accurate(z, slopes)),
        )  # fmt: skip

    return method
