"""Where heavy ball converges on a quadratic, and how fast, one eigenvalue at a time.

Along an eigenvector with eigenvalue λ, heavy ball is x_{t+1} = p x_t - μ x_{t-1} with
p = 1 + μ - βλ. Its fate is that of the two roots of z² - p z + μ: they are complex, of size √μ,
where p² < 4μ, and real otherwise. Everything here is in real arithmetic.

The functions work elementwise: numbers, or arrays of one shape.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metagrad import checks


class Roots(NamedTuple):
    """The two roots of z² - p z + μ, the one of larger size first.

    Attributes:
        real: their real parts, shape (2, ...).
        imaginary: their imaginary parts, shape (2, ...).
    """

    real: jax.Array
    imaginary: jax.Array


def _check(step_size: Any, momentum: Any, eigenvalue: Any) -> tuple[jax.Array, jax.Array]:
    """The checked coefficients p and μ of the recurrence."""
    checks.require_positive("step_size", step_size)
    checks.require_in("momentum", momentum, 0, 1)
    checks.require_nonnegative("eigenvalue", eigenvalue)
    step_size = checks.as_float("step_size", step_size)
    momentum = checks.as_float("momentum", momentum)
    eigenvalue = checks.as_float("eigenvalue", eigenvalue)
    return 1.0 + momentum - step_size * eigenvalue, momentum


def _sqrt(value: jax.Array) -> jax.Array:
    """The square root, and 0 (with derivative 0, not infinite) where the value is not positive."""
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1.0)), 0.0)


def heavy_ball_roots(step_size: Any, momentum: Any, eigenvalue: Any) -> Roots:
    """The roots z of z² - (1 + μ - βλ) z + μ, which decide what heavy ball does.

    Args:
        step_size: β, positive.
        momentum: μ, between 0 and 1.
        eigenvalue: λ, at least 0.

    Returns:
        The `Roots`.

    >>> roots = heavy_ball_roots(2.0, 0.25, 1.0)
    >>> roots.real.tolist(), roots.imaginary.round(6).tolist()
    ([-0.375, -0.375], [0.330719, -0.330719])
    """
    p, mu = _check(step_size, momentum, eigenvalue)
    discriminant = p**2 - 4.0 * mu
    # The larger root is a sum of two numbers of one sign; the product of the roots is μ. So
    # neither root suffers from cancellation.
    larger = 0.5 * (p + jnp.where(p < 0, -1.0, 1.0) * _sqrt(discriminant))
    smaller = jnp.where(larger == 0, 0.0, mu / jnp.where(larger == 0, 1.0, larger))
    complex_pair = discriminant < 0
    half = 0.5 * _sqrt(-discriminant)
    return Roots(
        real=jnp.where(complex_pair, 0.5 * p, jnp.stack([larger, smaller])),
        imaginary=jnp.stack([half, -half]),
    )


def heavy_ball_rate(step_size: Any, momentum: Any, eigenvalue: Any) -> jax.Array:
    """The factor by which heavy ball shrinks the error per step, in the long run.

    It is the size of the larger root, the spectral radius of [[1 + μ - βλ, -μ], [1, 0]]:
    √μ where (1 + μ - βλ)² < 4μ, else (|1 + μ - βλ| + √((1 + μ - βλ)² - 4μ)) / 2.

    Args:
        step_size: β, positive.
        momentum: μ, between 0 and 1.
        eigenvalue: λ, at least 0.

    Returns:
        The rate; below 1 exactly where `is_stable`. Where the roots nearly coincide it changes
        like a square root, so that rounding of 1e-16 in p moves it by up to 1e-8.

    >>> float(heavy_ball_rate(1.0, 0.25, 1.0)), float(heavy_ball_rate(3.0, 0.0, 1.0))
    (0.5, 2.0)
    """
    p, mu = _check(step_size, momentum, eigenvalue)
    discriminant = p**2 - 4.0 * mu
    return jnp.where(discriminant < 0, _sqrt(mu), 0.5 * (jnp.abs(p) + _sqrt(discriminant)))


def is_stable(step_size: Any, momentum: Any, eigenvalue: Any) -> jax.Array:
    """Whether heavy ball converges on this eigenvalue: 0 < βλ < 2 (1 + μ) and μ < 1.

    Both roots lie inside the unit circle exactly when |μ| < 1 and |p| < 1 + μ: the conditions
    of Jury for a polynomial of degree 2.

    Args:
        step_size: β, positive.
        momentum: μ, between 0 and 1.
        eigenvalue: λ, at least 0.

    Returns:
        A Boolean array.

    >>> bool(is_stable(2.9, 0.5, 1.0)), bool(is_stable(3.0, 0.5, 1.0))
    (True, False)
    """
    _check(step_size, momentum, eigenvalue)
    scaled = jnp.multiply(step_size, eigenvalue)
    return (scaled > 0) & (scaled < 2.0 * (1.0 + momentum)) & (jnp.asarray(momentum) < 1)


def max_stable_step_size(momentum: Any, largest_eigenvalue: Any) -> jax.Array:
    """The step size 2 (1 + μ) / L from which on heavy ball no longer converges.

    >>> float(max_stable_step_size(0.5, 10.0))
    0.3
    """
    checks.require_in("momentum", momentum, 0, 1)
    checks.require_positive("largest_eigenvalue", largest_eigenvalue)
    momentum = checks.as_float("momentum", momentum)
    return 2.0 * (1.0 + momentum) / checks.as_float("largest_eigenvalue", largest_eigenvalue)


class OptimalHeavyBall(NamedTuple):
    """The coefficients with the smallest worst rate over a spectrum, and that rate."""

    step_size: jax.Array
    momentum: jax.Array
    rate: jax.Array


def optimal_heavy_ball(smallest: Any, largest: Any) -> OptimalHeavyBall:
    """The best constant coefficients for all quadratics with eigenvalues in [m, L].

    β = 4 / (√L + √m)² and μ = rate², rate = (√L - √m) / (√L + √m). Source: Polyak, 1964.

    Args:
        smallest: m, positive.
        largest: L, at least m.

    Returns:
        The step size, the momentum and the rate.

    Raises:
        ValueError: if m is not positive, or above L.

    >>> [float(number) for number in optimal_heavy_ball(1.0, 9.0)]
    [0.25, 0.25, 0.5]
    """
    checks.require_positive("smallest", smallest)
    checks.require_at_least("largest", largest, "smallest", smallest)
    low = jnp.sqrt(checks.as_float("smallest", smallest))
    high = jnp.sqrt(checks.as_float("largest", largest))
    rate = (high - low) / (high + low)
    return OptimalHeavyBall(step_size=4.0 / (high + low) ** 2, momentum=rate**2, rate=rate)


def heavy_ball_closed_form(
    x0: Any, step_size: Any, momentum: Any, eigenvalue: Any, inner_steps: int
) -> jax.Array:
    """Heavy ball's points on f(x) = λx²/2, by a formula instead of a run.

    x_t = x_0 (U_t - μ U_{t-1}), with U_t = z_1^t + z_1^{t-1} z_2 + ... + z_2^t for the roots
    z_1, z_2: (z_1^{t+1} - z_2^{t+1}) / (z_1 - z_2), or √μ^t sin((t+1)θ) / sin θ for roots
    √μ exp(±iθ), or (t+1) z^t for a double root. At an exact double root the value is right, but
    not the derivative that `jax.grad` finds. Source: our derivation.

    Args:
        x0: the start, a number; started at rest.
        step_size: β, positive, a number.
        momentum: μ, between 0 and 1, a number.
        eigenvalue: λ, at least 0, a number.
        inner_steps: T, at least 1.

    Returns:
        The points x_0, ..., x_T, shape (T + 1,).

    >>> heavy_ball_closed_form(8.0, 0.25, 0.25, 1.0, 2).tolist()  # a double root, z = 1/2
    [8.0, 6.0, 4.0]
    """
    checks.require_steps("inner_steps", inner_steps)
    x0 = checks.as_float("x0", x0)
    p, mu = _check(step_size, momentum, eigenvalue)
    arguments = {"step_size": step_size, "momentum": momentum, "eigenvalue": eigenvalue, "x0": x0}
    for name, value in arguments.items():
        checks.require_shape(name, value, ())
    counts = jnp.arange(1, inner_steps + 2, dtype=x0.dtype)  # t + 1 for t = 0, ..., T
    discriminant = p**2 - 4.0 * mu
    spread = _sqrt(jnp.abs(discriminant))

    # Real roots: z_1 (1, q, q², ...) summed, with q = z_2 / z_1 = 1 - s. The form with log1p and
    # expm1 stays accurate as s -> 0, where the quotient of differences would be 0/0.
    larger = 0.5 * (jnp.abs(p) + spread)
    s = jnp.where(larger > 0, spread / jnp.where(larger > 0, larger, 1.0), 1.0)
    geometric = jnp.where(
        s > 0, -jnp.expm1(counts * jnp.log1p(-s)) / jnp.where(s > 0, s, 1.0), counts
    )
    # Complex roots: the angle is measured from the nearer end of the real axis.
    angle = jnp.arctan2(spread, jnp.abs(p))
    sine = jnp.where(spread > 0, jnp.sin(angle), 1.0)
    wave = jnp.where(spread > 0, jnp.sin(counts * angle) / sine, counts)

    is_complex = discriminant < 0
    size = jnp.where(is_complex, _sqrt(mu), larger)
    sign = jnp.where(p < 0, -1.0, 1.0)  # both roots have the sign of p
    terms = (sign * size) ** (counts - 1.0) * jnp.where(is_complex, wave, geometric)
    before = jnp.concatenate([jnp.zeros_like(terms[:1]), terms[:-1]])
    return x0 * (terms - mu * before)
