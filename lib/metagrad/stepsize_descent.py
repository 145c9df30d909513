"""Tuning a step size on a quadratic: the best one, and meta-gradient descent towards it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.quadratic_terms import problem, terms
from metagrad.unroll import prepend, unroll

# Halvings of (1/L, 1/α): from a condition number of 10²⁰ to the last digit of a float64.
HALVINGS = 120


def best_step_size(eigenvalues: Any, coefficients: Any, steps: Any) -> Float[Array, ""]:
    """The constant step size β* that minimizes the loss after t steps, by bisection.

    It is unique and lies between 1/L and 1/α, the extreme eigenvalues that have a nonzero
    coefficient. For t = 1 it is the exact line search; as t grows it tends to 2 / (L + α), not
    always from one side.

    Args:
        eigenvalues: λ_1, ..., λ_d, positive, shape (d,).
        coefficients: c_1, ..., c_d, shape (d,); not 0 at two different eigenvalues at least.
        steps: t, a whole number of at least 1; it may be traced.

    Returns:
        β*, shape (), to rounding. It is piecewise constant for `jax.grad`.

    Raises:
        ValueError: if the eigenvalues with a nonzero coefficient are all equal: the loss is then
            0 at β = 1/λ.

    >>> best_step_size([1.0, 4.0], [1.0, 0.25], 1).item()  # Σ c²λ² / Σ c²λ³ = 2/5
    0.4
    >>> best_step_size([1.0, 3.0], [1.0, 1.0], 10**6).round(6).item()
    0.5
    """
    given = problem(0.0, eigenvalues, coefficients, steps)
    present = given.coefficients != 0
    if checks.is_known((given.eigenvalues, present)):
        found = np.unique(np.asarray(given.eigenvalues)[np.asarray(present)])
        if found.size < 2:
            raise ValueError(
                "eigenvalues must hold two different numbers with a nonzero coefficient, got "
                f"{found.tolist()}"
            )
    low = 1.0 / jnp.max(jnp.where(present, given.eigenvalues, 0.0))
    high = 1.0 / jnp.min(jnp.where(present, given.eigenvalues, jnp.inf))

    def halve(ends, _):
        low, high = ends
        middle = 0.5 * (low + high)
        made = terms(given._replace(step_size=middle))
        rising = jnp.sum(given.eigenvalues * (made.ratios * made.powers)) < 0
        return (jnp.where(rising, low, middle), jnp.where(rising, middle, high)), None

    low, high = jax.lax.scan(halve, (low, high), None, length=HALVINGS)[0]
    return 0.5 * (low + high)


class StepSizeRun(NamedTuple):
    """What meta-gradient descent went through.

    Attributes:
        step_sizes: β_0, ..., β_K, shape (K + 1,).
        meta_gradients: F'(β_0), ..., F'(β_{K-1}), shape (K,). They may be wrong, infinite or NaN
            where the function given computes them so; then the step sizes say so, too.
    """

    step_sizes: Float[Array, " points"]
    meta_gradients: Float[Array, " meta_steps"]


def tune_step_size(
    meta_gradient: Callable[[Any], Any],
    step_size: Any,
    meta_steps: int,
    *,
    meta_step_size: Any = 1.0,
) -> StepSizeRun:
    """Meta-gradient descent on a step size, with a decaying step, and a reset at zero.

    β_k = max(0, β_{k-1} - μ_k F'(β_{k-1})),   μ_k = meta_step_size / √k.

    On the log objective of a quadratic it converges from any start, see
    `metagrad.stepsize_bounds`. Its slopes are about 2α and 2L, so that meta_step_size = 1 suits
    eigenvalues up to 1; for others use about 1/L². Source: Wang, Yuan, Wu and Ge, 2021.

    Args:
        meta_gradient: F', maps a step size to a number. Any F' will do: a naive or a clipped one,
            or one that is not computed well.
        step_size: β_0, at least 0.
        meta_steps: K, at least 1.
        meta_step_size: the number in front of 1/√k, at least 0.

    Returns:
        A `StepSizeRun`.

    >>> run = tune_step_size(lambda b: 2.0 * (b - 1.0), 3.0, 2, meta_step_size=1.0)
    >>> run.step_sizes.tolist()[:2], run.meta_gradients.tolist()[:1]  # 3 - 4 < 0: back to 0
    ([3.0, 0.0], [4.0])
    """
    checks.require_nonnegative("step_size", step_size)
    checks.require_shape("step_size", step_size, ())
    checks.require_nonnegative("meta_step_size", meta_step_size)
    checks.require_steps("meta_steps", meta_steps)
    step_size = checks.as_float("step_size", step_size)
    checks.require_scalar_loss("meta_gradient", meta_gradient, step_size)

    def step(state, k):
        beta, _ = state
        gradient = meta_gradient(beta)
        move = meta_step_size * gradient / jnp.sqrt(k.astype(beta.dtype))
        return jnp.maximum(0.0, beta - move), gradient

    start = (step_size, jnp.zeros_like(step_size))  # the 0 is overwritten by the first step
    betas, gradients = unroll(step, start, meta_steps)[1]
    return StepSizeRun(prepend(step_size, betas), gradients)
