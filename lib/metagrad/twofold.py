"""Numbers held as a sum of two floats, for the one place where a single float is too coarse.

After t steps an error in 1 - βλ is multiplied by 2t: at t = 10⁶ the rounding of one product
would cost ten digits. Here 1 - βλ is computed from products and sums whose rounding errors are
kept, so that about twice as many digits are right.

Every product below is exact. So it makes no difference whether a compiler fuses a product and a
sum into one operation, as XLA does.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Twofold(NamedTuple):
    """The number high + low, where high is the sum rounded to one float."""

    high: Float[Array, "..."]
    low: Float[Array, "..."]


def two_sum(x: Float[Array, "..."], y: Float[Array, "..."]) -> Twofold:
    """The sum x + y without error: the rounded sum, and what rounding took. Source: Knuth, 1969.

    >>> two_sum(jnp.float64(1.0), jnp.float64(1e-20)).low.item()
    1e-20
    """
    total = x + y
    part = total - x
    return Twofold(total, (x - (total - part)) + (y - part))


def split(x: Float[Array, "..."]) -> Twofold:
    """Two halves of the digits of x, so that products of halves are exact. Source: Dekker, 1971.

    Args:
        x: below 10³⁰⁰ in float64; the result is NaN where 2²⁷ x is out of range.

    >>> half = split(jnp.float64(0.1))
    >>> half.high.item().hex(), half.low.item().hex()
    ('0x1.9999998000000p-4', '0x1.99999a0000000p-32')
    """
    half_the_digits = (jnp.finfo(x.dtype).nmant + 2) // 2
    shifted = x + 2.0**half_the_digits * x
    high = shifted - (shifted - x)
    return Twofold(high, x - high)


def one_minus_product(x: Any, y: Any) -> Twofold:
    """1 - x y, with an error of about 10⁻³² (1 + |x y|) in float64.

    Args:
        x: an array of floats.
        y: one of the same dtype, of a shape that fits.

    >>> made = one_minus_product(jnp.float64(0.1), jnp.float64(10.0))  # 0.1 is not quite 1/10
    >>> made.high.item(), 1 - 0.1 * 10.0
    (-5.551115123125783e-17, 0.0)
    """
    x, y = split(x), split(y)
    # The constant comes second: XLA would "simplify" (1 + a) - 1 to a.
    total = two_sum(-x.high * y.high, jnp.ones_like(x.high * y.high))
    for product in (x.high * y.low, x.low * y.high, x.low * y.low):
        step = two_sum(total.high, -product)
        total = Twofold(step.high, total.low + step.low)
    return two_sum(*total)


def absolute(x: Twofold) -> Twofold:
    """The absolute value.

    >>> absolute(Twofold(jnp.float64(-1.0), jnp.float64(1e-20))).low.item()
    -1e-20
    """
    sign = jnp.where(x.high < 0, -1.0, 1.0).astype(x.high.dtype)
    return Twofold(sign * x.high, sign * x.low)


def log_ratio(x: Twofold, y: Twofold) -> Float[Array, "..."]:
    """log(x / y) of positive numbers, with a small relative error also where x is close to y.

    >>> near = Twofold(jnp.float64(1.0), jnp.float64(1e-20))
    >>> log_ratio(near, Twofold(jnp.float64(1.0), jnp.float64(0.0))).item()
    1e-20
    """
    difference = two_sum(x.high, -y.high)
    share = (difference.high + (difference.low + (x.low - y.low))) / y.high
    near = jnp.abs(share) <= 0.25  # XLA's log1p is off by 3e-14 around -0.4
    ratio = x.high / y.high
    in_range = (ratio > 0) & jnp.isfinite(ratio)
    far = jnp.where(
        in_range, jnp.log(jnp.where(in_range, ratio, 1.0)), jnp.log(x.high) - jnp.log(y.high)
    )
    return jnp.where(near, jnp.log1p(jnp.where(near, share, 0.0)), far)
