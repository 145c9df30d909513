"""The inner solve: adapt to a task without leaving the start too far behind.

Every method of meta-learning here adapts θ by minimizing, more or less exactly,

    ν f(φ) + f̂(φ) + (λ/2) ||φ - θ||²   over φ,

with f̂ the support loss, f the query loss and λ the regularizer. The perturbation ν is 0 for all
methods but one family, see `metagrad.perturbed`; K-step MAML has λ = 0 as well.

A *solve function* maps (objective, start, inner_steps, inner_step_size, strong_convexity) to a
`Solution`. There are three, `solve`, `sampled_solve` and `newton_solve`, and `checked` makes
one that refuses a step that is too large; methods take any of them as their argument `solve`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.linear import dense
from metagrad.renormalization import norm
from metagrad.runs import times
from metagrad.task_estimates import Parameters, all_finite
from metagrad.tasks import Task


class Solution(NamedTuple):
    """Where a solve ended.

    Attributes:
        point: the last parameters.
        residual_norm: the norm of the objective's gradient there, shape ().
        distance_bound: residual_norm / strong_convexity, which the distance to the minimizer
            does not exceed; inf where no positive constant was given. Shape ().
    """

    point: Parameters
    residual_norm: Float[Array, ""]
    distance_bound: Float[Array, ""]


SolveFunction = Callable[[Callable, Any, int, Any, Any], Solution]


def as_dtype_of(tree: Any, number: Any) -> Float[Array, ""]:
    """A number in the dtype of a pytree of arrays, so that it changes the dtype of nothing.

    >>> as_dtype_of(jnp.ones(2, jnp.float32), 0.5).dtype
    dtype('float32')
    """
    return jnp.asarray(number, jax.tree.leaves(tree)[0].dtype)


def is_plain_zero(number: Any) -> bool:
    """Whether a factor is the Python number 0, so that its term can be left out altogether.

    >>> is_plain_zero(0.0), is_plain_zero(jnp.zeros(()))
    (True, False)
    """
    return isinstance(number, int | float) and number == 0


def perturbed_objective(
    task: Task, theta: Any, regularizer: Any, perturbation: Any = 0.0
) -> Callable[..., Float[Array, ""]]:
    """The inner problem φ -> ν f(φ) + f̂(φ) + (λ/2) ||φ - θ||².

    Args:
        task: the losses f̂ and f.
        theta: θ, any pytree of arrays.
        regularizer: λ. Where it is the Python number 0, the last term is left out.
        perturbation: ν, of either sign. Where it is the Python number 0, f is left out.

    Returns:
        The objective. A second argument, if given, is handed on to both losses, see
        `sampled_solve`.

    >>> task = Task(lambda x: x**2, lambda x: 10.0 * x)
    >>> float(perturbed_objective(task, jnp.array(1.0), 4.0, 0.5)(3.0))  # 5 · 3 + 9 + 2 · 4
    32.0
    """

    def objective(phi, *step):
        total = task.support(phi, *step)
        if not is_plain_zero(perturbation):
            total = as_dtype_of(theta, perturbation) * task.query(phi, *step) + total
        if not is_plain_zero(regularizer):
            squares = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), phi, theta)
            total = total + 0.5 * as_dtype_of(theta, regularizer) * sum(jax.tree.leaves(squares))
        return total

    return objective


def descend(
    objective: Callable,
    start: Any,
    inner_steps: int,
    inner_step_size: Any,
    *,
    sampled: bool = False,
    checkpointed: bool = False,
) -> Parameters:
    """The point after K steps φ ← φ - α ∇objective(φ).

    Args:
        objective: maps parameters to one number; with `sampled`, (parameters, k) to one.
        start: where to begin, any pytree of arrays.
        inner_steps: K, at least 1.
        inner_step_size: α.
        sampled: whether the objective takes the number of the step, k = 1, ..., K, an int32.
        checkpointed: whether reverse mode computes each step again, rather than keep what it
            needs of it.

    >>> float(descend(lambda x: x**2, jnp.array(8.0), 3, 0.25))
    1.0
    """
    checks.require_steps("inner_steps", inner_steps)
    size = as_dtype_of(start, inner_step_size)

    def step(point, k):
        slopes = jax.grad(objective)(point, k) if sampled else jax.grad(objective)(point)
        return jax.tree.map(lambda x, slope: x - size * slope, point, slopes), None

    if checkpointed:
        # A scan's body is compiled apart from its transpose: XLA cannot merge the two.
        step = jax.checkpoint(step, prevent_cse=False)
    return jax.lax.scan(step, start, times(inner_steps))[0]


def solution(objective: Callable, point: Any, strong_convexity: Any = None) -> Solution:
    """A `Solution`: the point with its residual and what this says about the distance.

    If objective - (μ/2) ||·||² is convex then ||φ - φ*|| <= ||∇objective(φ)|| / μ.

    Args:
        objective: maps parameters to one number.
        point: φ, any pytree of arrays.
        strong_convexity: μ, or None if it is not known.

    >>> [float(x) for x in solution(lambda x: 2.0 * x**2, jnp.array(3.0), 4.0)]
    [3.0, 12.0, 3.0]
    >>> float(solution(lambda x: 2.0 * x**2, jnp.array(3.0)).distance_bound)
    inf
    """
    residual_norm = norm(jax.grad(objective)(point))
    bound = jnp.full_like(residual_norm, jnp.inf)
    if strong_convexity is not None:
        mu = jnp.asarray(strong_convexity, residual_norm.dtype)
        bound = jnp.where(mu > 0, residual_norm / jnp.where(mu > 0, mu, 1.0), bound)
    return Solution(point, residual_norm, bound)


def solve(
    objective: Callable,
    start: Any,
    inner_steps: int,
    inner_step_size: Any,
    strong_convexity: Any = None,
) -> Solution:
    """Gradient descent with a constant step: what the papers use.

    Args:
        objective: maps parameters to one number.
        start: where to begin, any pytree of arrays of one floating-point dtype.
        inner_steps: K, at least 1.
        inner_step_size: α. It converges where α times the largest curvature stays below 2.
        strong_convexity: μ of the objective, or None if it is not known.

    Raises:
        ValueError, TypeError: if inner_steps is not a whole number of at least 1.

    >>> [float(x) for x in solve(lambda x: x**2, jnp.array(8.0), 3, 0.25, 2.0)]
    [1.0, 2.0, 1.0]
    """
    point = descend(objective, start, inner_steps, inner_step_size)
    return solution(objective, point, strong_convexity)


def sampled_solve(
    objective: Callable,
    start: Any,
    inner_steps: int,
    inner_step_size: Any,
    strong_convexity: Any = None,
) -> Solution:
    """Stochastic gradient descent: like `solve`, with losses that take the number of the step.

    A loss is called as loss(φ, k) in step k, where it may see a mini-batch only or draw from
    `jax.random.fold_in(key, k)`, and as loss(φ) everywhere else, where it is the full loss. Two
    solves of one task draw the same random numbers, therefore: a difference of the two does not
    hold their noise divided by the perturbation.

    >>> def noisy(x, k=None):
    ...     return x**2 + (0.0 if k is None else jnp.where(k == 1, 2.0, -2.0) * x)
    >>> [float(x) for x in sampled_solve(noisy, jnp.array(8.0), 2, 0.25)][:2]  # 8, 3.5, 2.25
    [2.25, 4.5]
    """
    point = descend(objective, start, inner_steps, inner_step_size, sampled=True)
    return solution(objective, point, strong_convexity)


def newton_solve(
    objective: Callable,
    start: Any,
    inner_steps: int,
    inner_step_size: Any = 1.0,
    strong_convexity: Any = None,
) -> Solution:
    """Newton's method, with the whole matrix of second derivatives: exact in a few steps.

    For small problems, where the inner solve is to be no source of error.

    Args:
        objective: maps parameters to one number.
        start: where to begin, any pytree of arrays of one floating-point dtype.
        inner_steps: how many, at least 1; each costs as many products as there are parameters.
        inner_step_size: the share of Newton's step that is taken, usually 1.
        strong_convexity: μ of the objective, or None if it is not known.

    >>> float(newton_solve(lambda x: 3.0 * (x - 1.0) ** 2, jnp.array(8.0), 1).point)
    1.0
    """
    checks.require_steps("inner_steps", inner_steps)
    flat, unravel = ravel_pytree(start)
    slope = jax.grad(lambda flat: objective(unravel(flat)))
    size = as_dtype_of(start, inner_step_size)

    def step(flat, _):
        move, _ = dense()(lambda v: jax.jvp(slope, (flat,), (v,))[1], slope(flat))
        return flat - size * move, None

    flat = jax.lax.scan(step, flat, length=inner_steps)[0]
    return solution(objective, unravel(flat), strong_convexity)


def largest_curvature(
    loss: Callable, parameters: Any, iterations: int = 30, key: jax.Array | None = None
) -> Float[Array, ""]:
    """A lower bound on the largest second derivative of a loss at a point, by power iteration.

    The largest Rayleigh quotient vᵀHv / vᵀv on the way: never more than the largest eigenvalue of
    the Hessian H, to rounding, and close to it after many iterations unless an eigenvalue below 0
    is larger in size. One product with H an iteration.

    Args:
        loss: maps parameters to one number.
        parameters: the point, any pytree of arrays of one floating-point dtype.
        iterations: how many, at least 1.
        key: where to draw the first direction from; None for always the same one.

    >>> bowl = lambda x: 0.5 * jnp.sum(jnp.array([1.0, 9.0]) * x**2)
    >>> round(float(largest_curvature(bowl, jnp.zeros(2))), 9)
    9.0
    """
    checks.require_steps("iterations", iterations)
    flat, unravel = ravel_pytree(parameters)
    slope = jax.grad(lambda flat: loss(unravel(flat)))
    first = jax.random.normal(jax.random.key(0) if key is None else key, flat.shape, flat.dtype)

    def step(carry, _):
        v, largest = carry
        image = jax.jvp(slope, (flat,), (v,))[1]
        size = norm(image)
        v_next = jnp.where(size > 0, image / jnp.where(size > 0, size, 1.0), v)
        return (v_next, jnp.maximum(largest, jnp.sum(v * image))), None

    carry = (first / norm(first), jnp.full((), -jnp.inf, flat.dtype))
    return jax.lax.scan(step, carry, length=iterations)[0][1]


def require_stable_step(
    objective: Callable, parameters: Any, inner_step_size: Any, iterations: int = 30
) -> Float[Array, ""]:
    """Refuse a step of gradient descent that is too large for the curvature at a point.

    Args:
        objective: maps parameters to one number.
        parameters: the point, any pytree of arrays of one floating-point dtype.
        inner_step_size: α.
        iterations: of `largest_curvature`, whose result is returned.

    Raises:
        ValueError: if α times the curvature is above 2; only where the numbers are known.

    >>> float(require_stable_step(lambda x: 5.0 * x**2, jnp.array(1.0), 0.1))
    10.0
    """
    curvature = largest_curvature(objective, parameters, iterations)
    if checks.is_known((curvature, inner_step_size)) and inner_step_size * curvature > 2:
        raise ValueError(
            "inner_step_size must be at most 2 / curvature for gradient descent to converge, got "
            f"{inner_step_size!r} where the inner problem has the curvature {curvature:.6g}; "
            f"use less than {2 / curvature:.6g}"
        )
    return curvature


def checked(solve: SolveFunction = solve, iterations: int = 30) -> SolveFunction:
    """A solve function that refuses a step too large for the curvature where it ended.

    The curvature is that at the start if the end is not finite. Costs `iterations` products with
    the Hessian. Where the numbers are not known, as under `jax.jit` or `jax.vmap`, the point it
    returns is NaN in place of the error.

    Args:
        solve: the solve function to check, one that takes gradient steps.
        iterations: of `largest_curvature`, at least 1.

    >>> checked()(lambda x: 5.0 * x**2, jnp.array(1.0), 3, 0.25)
    Traceback (most recent call last):
        ...
    ValueError: inner_step_size must be at most 2 / curvature for gradient descent to converge, \
got 0.25 where the inner problem has the curvature 10; use less than 0.2
    """
    checks.require_steps("iterations", iterations)

    def checked_solve(objective, start, inner_steps, inner_step_size, strong_convexity=None):
        found = solve(objective, start, inner_steps, inner_step_size, strong_convexity)
        ended = all_finite(found.point)
        at = jax.tree.map(lambda x, y: jnp.where(ended, x, y), found.point, start)
        curvature = require_stable_step(objective, at, inner_step_size, iterations)
        stable = as_dtype_of(start, inner_step_size) * curvature <= 2
        return found._replace(
            point=jax.tree.map(lambda x: jnp.where(stable, x, jnp.nan), found.point)
        )

    return checked_solve
