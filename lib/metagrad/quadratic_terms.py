"""The terms c_i² λ_i a_i^{2t} of a quadratic's loss after t steps, the largest divided out.

A part of `metagrad.stepsize`, which says what they are for.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from metagrad import checks
from metagrad.twofold import Twofold, absolute, log_ratio, one_minus_product


class Problem(NamedTuple):
    """What every function of `metagrad.stepsize` is given, checked, as floats of one dtype."""

    step_size: Float[Array, ""]
    eigenvalues: Float[Array, " modes"]
    coefficients: Float[Array, " modes"]
    steps: Float[Array, ""]


def problem(step_size: Any, eigenvalues: Any, coefficients: Any, steps: Any) -> Problem:
    """The arguments, checked.

    Args:
        step_size: β, at least 0, shape ().
        eigenvalues: λ_1, ..., λ_d, positive, shape (d,).
        coefficients: c_1, ..., c_d, shape (d,).
        steps: t, a whole number of at least 1; it may be traced.

    Raises:
        ValueError: if a number or a shape is not as said, or β, λ or βλ is too large for the
            float (4 · 10²⁹² in float64).

    >>> problem(0.1, [1, 2], [0.6, 0.8], 3).eigenvalues.tolist()
    [1.0, 2.0]
    """
    checks.require_nonnegative("step_size", step_size)
    checks.require_shape("step_size", step_size, ())
    checks.require_positive("eigenvalues", eigenvalues)
    eigenvalues = checks.as_float("eigenvalues", eigenvalues)
    checks.require_vector("eigenvalues", eigenvalues)
    coefficients = checks.as_float("coefficients", coefficients).astype(eigenvalues.dtype)
    checks.require_vector("coefficients", coefficients, eigenvalues.shape[0])
    checks.require_shape("steps", steps, ())
    count = checks.as_float("steps", steps)
    if checks.is_known(steps) and not (np.asarray(steps) >= 1 and np.asarray(steps) % 1 == 0):
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    step_size = checks.as_float("step_size", step_size).astype(eigenvalues.dtype)
    _require_range(step_size, eigenvalues)
    return Problem(step_size, eigenvalues, coefficients, count.astype(eigenvalues.dtype))


def _require_range(step_size: Any, eigenvalues: Any) -> None:
    """The products of `metagrad.twofold` need some room below the largest float."""
    if not checks.is_known((step_size, eigenvalues)):
        return
    numbers = jnp.finfo(eigenvalues.dtype)
    limit = float(numbers.max) * float(numbers.eps)
    top = float(jnp.max(eigenvalues))
    if max(float(step_size), top) > limit or float(step_size) > limit / max(top, 1.0):
        raise ValueError(
            f"step_size, eigenvalues and their products must be at most {limit:.1g} for "
            f"{eigenvalues.dtype}, got a step size of {step_size} and an eigenvalue of {top}"
        )


class Terms(NamedTuple):
    """The terms c_i² λ_i a_i^{2t} with a_i = 1 - βλ_i, relative to the largest, number m.

    Attributes:
        ratios: a_i / |a_m|, shape (d,).
        powers: c_i² λ_i |a_i|^{2t-2} / (c_m² λ_m |a_m|^{2t-2}), shape (d,).
        size: |a_m|.
        log_size: log |a_m|, with a small relative error also where |a_m| is close to 1.
        log_weight: log(c_m² λ_m).
        vanished: whether a run in floating point has the loss 0: wherever c_i is not 0, βλ_i
            rounds to 1.
    """

    ratios: Float[Array, " modes"]
    powers: Float[Array, " modes"]
    size: Float[Array, ""]
    log_size: Float[Array, ""]
    log_weight: Float[Array, ""]
    vanished: Bool[Array, ""]


def terms(given: Problem) -> Terms:
    """The terms. Logarithms of 0 are taken of 1 instead, and masked, so that derivatives exist.

    Args:
        given: from `problem`.

    >>> made = terms(problem(0.5, [1.0, 3.0, 4.0], [1.0, 1.0, 1.0], 2))  # a = 1/2, -1/2, -1
    >>> made.ratios.tolist(), made.powers.round(12).tolist()
    ([0.5, -0.5, -1.0], [0.0625, 0.1875, 1.0])
    """
    step_size, eigenvalues, coefficients, steps = given
    a = one_minus_product(step_size, eigenvalues)
    weighs, moves = coefficients != 0, a.high != 0
    logs = 2.0 * jnp.log(jnp.abs(jnp.where(weighs, coefficients, 1.0))) + jnp.log(eigenvalues)
    size = absolute(a)
    size = Twofold(jnp.where(moves, size.high, 1.0), size.low)
    # Which term is the largest need not be exact: any that is nearly as large would do.
    rough = jnp.where(weighs & moves, logs + 2.0 * steps * jnp.log(size.high), -jnp.inf)
    m = jnp.argmax(rough)
    leading = Twofold(size.high[m], size.low[m])
    exponents = logs - logs[m] + (2.0 * steps - 2.0) * log_ratio(size, leading)
    # Where a_i = 0, |a_i|^{2t-2} is 1 for t = 1 and 0 for larger t.
    exponents = jnp.where(moves, exponents, jnp.where(steps == 1, logs - logs[m], -jnp.inf))
    eps = float(jnp.finfo(eigenvalues.dtype).eps)
    rounds_to_zero = (a.high >= -0.5 * eps) & (a.high <= 0.25 * eps)
    return Terms(
        ratios=a.high / leading.high,
        powers=jnp.exp(jnp.where(weighs, exponents, -jnp.inf)),
        size=leading.high,
        log_size=log_ratio(leading, Twofold(jnp.ones_like(step_size), jnp.zeros_like(step_size))),
        log_weight=logs[m],
        vanished=jnp.all(~weighs | rounds_to_zero),
    )


def require_loss(made: Terms) -> None:
    """The loss must not be zero, where this is known.

    >>> require_loss(terms(problem(0.5, [2.0, 2.0], [1.0, 1.0], 3)))
    Traceback (most recent call last):
        ...
    ValueError: the loss is exactly zero, and its logarithm has no derivative: every eigenvalue \
with a nonzero coefficient has 1 - step_size * eigenvalue == 0 in floating point
    """
    if checks.is_known(made.vanished) and made.vanished:
        raise ValueError(
            "the loss is exactly zero, and its logarithm has no derivative: every eigenvalue with "
            "a nonzero coefficient has 1 - step_size * eigenvalue == 0 in floating point"
        )
