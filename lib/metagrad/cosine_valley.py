"""A valley whose smoothness has no bound, in one dimension and in closed form.

Support loss f̂(p) = a p²/2 + b cos p, query loss f(p) = p²/2, regularizer λ, with |b| < a + λ. Both
are smooth, with bounded derivatives of every order from the second on, and convex if a >= |b|.
With the inner solution p as the parameter of the curve, and h = a + λ - b cos p, the objective is
explicit:

    θ = p + (a p - b sin p) / λ,   F = p²/2,   F' = λp/h,   F'' = λ²/h² - λ² b p sin p / h³,

and |F''| has no bound. That the objective of iMAML need not be smooth was shown, by an example that
we have not seen, by Mishchenko, Hanzely and Richtárik, 2023; this one, and what follows, is ours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from metagrad import checks
from metagrad.task_constants import Constants
from metagrad.tasks import Task

# Newton's steps: enough for every |b| / (a + λ) up to 1 - 10⁻⁹, where the first thirty each take a
# third off; at 0.9 seven suffice.
NEWTON_STEPS = 45


class Valley(NamedTuple):
    """The numbers of the example.

    Attributes:
        curvature: a.
        wave: b, with |b| < a + λ.
        regularizer: λ, positive.
    """

    curvature: Any
    wave: Any
    regularizer: Any


def checked_valley(valley: Valley) -> Valley:
    """The same numbers, as floats.

    Raises:
        ValueError: if λ is not positive, or |b| is not below a + λ.

    >>> checked_valley(Valley(1, 0, 2)).curvature
    Array(1., dtype=float64)
    """
    checks.require_positive("regularizer", valley.regularizer)
    given = Valley(*(checks.as_float(name, getattr(valley, name)) for name in Valley._fields))
    if checks.is_known(valley):
        a, b, lam = (np.asarray(number) for number in valley)
        if not np.all(np.abs(b) < a + lam):
            raise ValueError(
                f"wave must be less than curvature + regularizer = {float(a + lam)!r} in size, "
                f"got {valley.wave!r}"
            )
    return given


def like(valley: Valley, numbers: Array) -> Valley:
    """The checked numbers of a valley as arrays of the shape and dtype of others.

    >>> like(Valley(1.0, 0.5, 2.0), jnp.zeros(2, jnp.float32)).wave
    Array([0.5, 0.5], dtype=float32)
    """
    given = checked_valley(valley)
    return Valley(*(jnp.full_like(numbers, number) for number in given))


def valley_task(valley: Valley) -> Task:
    """Its support and query loss, for parameters of shape ().

    >>> task = valley_task(Valley(1.0, 0.5, 1.0))
    >>> float(task.support(jnp.array(0.0))), float(task.query(jnp.array(2.0)))
    (0.5, 2.0)
    """
    checked_valley(valley)

    def support(p):
        a, b, _ = like(valley, p)
        return 0.5 * a * p**2 + b * jnp.cos(p)

    return Task(support, lambda p: 0.5 * p**2)


def valley_constants(valley: Valley) -> Constants:
    """L = |a| + |b|, ρ = M = |b|, L_f = 1, ρ_f = 0 and μ = a + λ - |b|: none can be improved.

    >>> valley_constants(Valley(1.0, -0.5, 1.0)).strong_convexity.item()
    1.5
    """
    a, b, lam = checked_valley(valley)
    size = jnp.abs(b)
    one = jnp.ones_like(a)
    return Constants(lam, jnp.abs(a) + size, size, size, one, 0.0 * one, a + lam - size)


class ValleyPoint(NamedTuple):
    """A point of the curve; all like p.

    Attributes:
        meta_parameter: θ.
        value: F(θ).
        gradient: F'(θ).
        curvature: F''(θ).
    """

    meta_parameter: Array
    value: Array
    gradient: Array
    curvature: Array


def valley_point(valley: Valley, solution: Any) -> ValleyPoint:
    """θ, F, F' and F'' where the inner solution is p.

    Args:
        valley: the numbers of the example.
        solution: p, a number or an array.

    >>> [float(x) for x in valley_point(Valley(1.0, 0.0, 1.0), 2.0)]
    [4.0, 2.0, 1.0, 0.25]
    """
    p = checks.as_float("solution", solution)
    a, b, lam = like(valley, p)
    h = a + lam - b * jnp.cos(p)
    slope = lam * p / h
    theta = p + (a * p - b * jnp.sin(p)) / lam
    return ValleyPoint(theta, 0.5 * p**2, slope, (lam**2 - lam * b * jnp.sin(p) * slope) / h**2)


def valley_solution(valley: Valley, meta_parameter: Any) -> Array:
    """The inner solution p at θ, to rounding: Kepler's equation p - (b/(a+λ)) sin p = λθ/(a+λ).

    Reduced to 0 <= p <= π and b >= 0 its left side is convex and increasing, so that Newton's
    method started on the right goes down to p and cannot miss it. The number of steps is fixed.

    Args:
        valley: the numbers of the example.
        meta_parameter: θ, a number or an array.

    >>> there = valley_point(Valley(0.0, -0.9, 1.0), jnp.array([-3.0, 0.5, 40.0]))
    >>> valley_solution(Valley(0.0, -0.9, 1.0), there.meta_parameter).round(12).tolist()
    [-3.0, 0.5, 40.0]
    """
    theta = checks.as_float("meta_parameter", meta_parameter)
    a, b, lam = like(valley, theta)
    mean, wave = lam / (a + lam) * theta, jnp.abs(b) / (a + lam)
    # With b < 0, p - π solves the equation with |b|, and the mean less π on the right.
    shift = jnp.where(b < 0, jnp.pi, 0.0).astype(theta.dtype)
    mean = mean - shift
    turns = 2.0 * jnp.pi * jnp.round(mean / (2.0 * jnp.pi))
    sign = jnp.where(mean < turns, -1.0, 1.0)
    rest = sign * (mean - turns)

    def newton(_, p):
        return p - (p - wave * jnp.sin(p) - rest) / (1.0 - wave * jnp.cos(p))

    start = jnp.minimum(rest + wave, jnp.pi)
    return sign * jax.lax.fori_loop(0, NEWTON_STEPS, newton, start) + turns + shift


def valley_gradient(valley: Valley, meta_parameter: Any) -> Array:
    """F'(θ), the exact meta-gradient. Arguments as for `valley_solution`.

    >>> valley_gradient(Valley(1.0, 0.0, 1.0), 4.0).item()
    1.0
    """
    return valley_point(valley, valley_solution(valley, meta_parameter)).gradient
