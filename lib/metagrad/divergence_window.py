"""When plain gradient descent really fails on the cosine valley: far away, in a window of steps.

Far away a step of size η on the objective of `metagrad.cosine_valley` multiplies θ with about
1 - ηλ²/((a + λ) h(p)), while the phase of p changes wildly. The mean of the logarithm of that
factor, over all phases alike, is the *Lyapunov exponent*: where it is positive, one expects to
escape. That is an expectation: we have no proof that the phases come out alike. All of this is
ours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.cosine_valley import Valley, checked_valley, like

HALVINGS = 60


def far_field_factor(valley: Valley, outer_step_size: Any, solution: Any) -> Array:
    """1 - ηλ²/((a + λ) h(p)): what one step θ - ηF' multiplies a large θ with, up to O(1/θ).

    Args:
        valley: the numbers of the example.
        outer_step_size: η, a number or an array.
        solution: p, a number, or an array like η.

    >>> far_field_factor(Valley(0.0, -0.5, 1.0), 3.0, 0.0).item()  # 1 - 3 / 1.5
    -1.0
    """
    p = checks.as_float("solution", solution)
    a, b, lam = like(valley, p)
    h = a + lam - b * jnp.cos(p)
    return 1.0 - outer_step_size * lam**2 / ((a + lam) * h)


def _mean_log(total: Array, wave: Array, offset: Array) -> Array:
    """The mean over all phases p of (A - b cos p) log|c - b cos p|, A and b given, c the offset."""
    inside = jnp.abs(offset) <= jnp.abs(wave)
    root = jnp.sqrt(jnp.where(inside, 0.0, offset**2 - wave**2))
    size = 0.5 * jnp.where(inside, jnp.abs(wave), jnp.abs(offset) + root)
    # Without waves and with c = 0 the logarithm is -∞, as it should be.
    return total * jnp.log(size) + jnp.where(inside, offset, offset - jnp.sign(offset) * root)


def lyapunov_exponent(valley: Valley, outer_step_size: Any) -> Array:
    """The mean of log|1 - ηλ²/((a + λ) h)| over phases of θ, all alike, in closed form.

    A phase of θ has the density h/(2π(a + λ)) in p. With A = a + λ, c = A - ηλ²/A and

    I(c) = mean of h log|c - b cos p| = A log(max(|b|, |c| + √(c² - b²))/2) + c - sign(c) √(c² - b²)

    (the roots are left out where |c| <= |b|), it is (I(c) - I(A)) / A. It is negative below one η,
    see `divergence_window`, and positive above. Our derivation.

    Args:
        valley: the numbers of the example.
        outer_step_size: η, positive, a number or an array.

    >>> without_waves = lyapunov_exponent(Valley(0.0, 0.0, 1.0), 3.0)  # log|1 - 3|
    >>> without_waves.round(12).item() == jnp.log(2.0).round(12).item()
    True
    """
    checks.require_positive("outer_step_size", outer_step_size)
    eta = checks.as_float("outer_step_size", outer_step_size)
    a, b, lam = like(valley, eta)
    total = a + lam
    offset = total - eta * lam**2 / total
    return (_mean_log(total, b, offset) - _mean_log(total, b, total)) / total


class DivergenceWindow(NamedTuple):
    """Steps of plain gradient descent at which far and near disagree, if `low` < `high`.

    Attributes:
        low: where the Lyapunov exponent changes its sign: above, one expects to escape from far.
        high: 2/F''(0): below it, descent converges from nearby.
    """

    low: Float[Array, ""]
    high: Float[Array, ""]


def divergence_window(valley: Valley) -> DivergenceWindow:
    """Between which steps gradient descent escapes from far away, and converges from nearby.

    low = A (A + (u + b²/u)/2) / λ², where A log(u/U) = b² (1/u + 1/U), A = a + λ and
    U = A + √(A² - b²); and high = 2 (A - b)²/λ². With b > 0 the window is empty.

    >>> [round(end.item(), 3) for end in divergence_window(Valley(0.0, -0.9, 1.0))]
    [2.745, 7.22]
    """
    a, b, lam = checked_valley(valley)
    total = a + lam
    top = total + jnp.sqrt(total**2 - b**2)

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        left = total * middle < b**2 * (jnp.exp(-middle) + 1.0) / top
        return jnp.where(left, middle, low), jnp.where(left, high, middle)

    # In s = log(u/U); at s = 2b²/(AU) the right side is below the left one.
    ends = (jnp.zeros_like(total), 2.0 * b**2 / (total * top))
    u = top * jnp.exp(jax.lax.fori_loop(0, HALVINGS, halve, ends)[1])
    low = total * (total + 0.5 * (u + b**2 / u)) / lam**2
    return DivergenceWindow(low, 2.0 * (total - b) ** 2 / lam**2)
