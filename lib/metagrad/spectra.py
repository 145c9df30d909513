"""The exact risk of gradient descent on least squares, from the spectrum of the inputs alone.

With H = XᵀX / n, descent from 0 with step size β reaches after t steps, along each eigenvector of
H, the share g = 1 - (1 - βλ)^t of the least squares solution; ridge regression with penalty k
the share λ / (λ + k). Given X, the mean over w* (uniform on the sphere) and the noise depends on
the eigenvalues and on the shares only. For large n and d with d/n → γ the eigenvalues follow the
law of Marchenko and Pastur, 1967. Nothing here is truncated.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.twofold import one_minus_product


class Spectrum(NamedTuple):
    """The nonzero eigenvalues of XᵀX / n.

    Attributes:
        eigenvalues: λ, positive, shape (r,).
        weights: the share of each among them, adding up to 1, shape (r,).
        ratio: γ = d / n.
    """

    eigenvalues: Float[Array, " modes"]
    weights: Float[Array, " modes"]
    ratio: Float[Array, ""]


def spectrum_of(inputs: Any) -> Spectrum:
    """That of a given matrix X of shape (n, d), with full rank.

    >>> spectrum_of(jnp.array([[2.0, 0.0, 0.0], [0.0, 4.0, 0.0]])).eigenvalues.tolist()
    [2.0, 8.0]
    """
    inputs = checks.as_float("inputs", inputs)
    if inputs.ndim != 2 or 0 in inputs.shape:
        raise ValueError(f"inputs must have shape (n, d), got shape {inputs.shape}")
    samples, dimension = inputs.shape
    gram = inputs @ inputs.T if samples < dimension else inputs.T @ inputs
    eigenvalues = jnp.linalg.eigvalsh(gram / samples)
    ratio = jnp.asarray(dimension / samples, inputs.dtype)
    return Spectrum(eigenvalues, jnp.full_like(eigenvalues, 1.0 / eigenvalues.size), ratio)


def marchenko_pastur(ratio: Any, nodes: int = 200) -> Spectrum:
    """The limit for n, d → ∞ with d/n → γ, as nodes and weights of a quadrature.

    The density of the nonzero eigenvalues is √((b - λ)(λ - a)) / (2π λ min(1, γ)) between
    a = (√γ - 1)² and b = (√γ + 1)². With Gauss's rule for √(1 - u²) (Chebyshev, second kind)
    means of smooth functions are exact to rounding at 200 nodes, unless γ is close to 1.

    Args:
        ratio: γ, positive.
        nodes: at least 1.

    >>> limit = marchenko_pastur(2.0)
    >>> jnp.sum(limit.weights * limit.eigenvalues).round(12).item()  # the mean, max(1, γ)
    2.0
    """
    checks.require_positive("ratio", ratio)
    checks.require_shape("ratio", ratio, ())
    checks.require_steps("nodes", nodes)
    ratio = checks.as_float("ratio", ratio)
    angles = jnp.pi * jnp.arange(1, nodes + 1, dtype=ratio.dtype) / (nodes + 1)
    eigenvalues = 1.0 + ratio + 2.0 * jnp.sqrt(ratio) * jnp.cos(angles)
    weights = 2.0 * ratio * jnp.sin(angles) ** 2 / (nodes + 1) / eigenvalues
    return Spectrum(eigenvalues, weights / jnp.minimum(ratio, 1.0), ratio)


def descent_shares(step_size: Any, steps: Any, eigenvalues: Any) -> Float[Array, " modes"]:
    """The shares 1 - (1 - βλ)^t that t steps of gradient descent learn, along each eigenvector.

    Args:
        step_size: β, at least 0, a number.
        steps: t, a whole number of at least 1; it may be traced.
        eigenvalues: λ, shape (r,).

    Returns:
        The shares, shape (r,); out of range where βλ > 2 and t is large.

    >>> descent_shares(0.5, 2, jnp.array([1.0, 2.0, 6.0])).tolist()
    [0.75, 1.0, -3.0]
    """
    checks.require_nonnegative("step_size", step_size)
    eigenvalues = checks.as_float("eigenvalues", eigenvalues)
    step_size = checks.as_float("step_size", step_size).astype(eigenvalues.dtype)
    steps = jnp.asarray(steps).astype(eigenvalues.dtype)
    factor = one_minus_product(step_size, eigenvalues).high
    small = step_size * eigenvalues < 0.25  # there 1 - (1 - βλ)^t would cancel
    slow = -jnp.expm1(steps * jnp.log1p(jnp.where(small, -step_size * eigenvalues, 0.0)))
    size = jnp.abs(jnp.where(factor == 0.0, 1.0, factor))
    sign = jnp.where((factor < 0) & (steps % 2.0 == 1.0), -1.0, 1.0)
    power = jnp.where(factor == 0.0, 0.0, sign * jnp.exp(steps * jnp.log(size)))
    return jnp.where(small, slow, 1.0 - power)


def flow_shares(time: Any, eigenvalues: Any) -> Float[Array, " modes"]:
    """1 - e^{-τλ}: the limit of many small steps, with τ = βt.

    >>> flow_shares(0.0, jnp.ones(2)).tolist()
    [0.0, 0.0]
    """
    checks.require_nonnegative("time", time)
    return -jnp.expm1(-time * checks.as_float("eigenvalues", eigenvalues))


def ridge_shares(penalty: Any, eigenvalues: Any) -> Float[Array, " modes"]:
    """λ / (λ + k): ridge regression, min ||y - Xw||² / n + k ||w||². The best k is σ² γ.

    >>> ridge_shares(1.0, jnp.array([1.0, 3.0])).tolist()
    [0.5, 0.75]
    """
    checks.require_nonnegative("penalty", penalty)
    eigenvalues = checks.as_float("eigenvalues", eigenvalues)
    return eigenvalues / (eigenvalues + penalty)


def _counts(spectrum: Spectrum) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The number of nonzero eigenvalues, as a share of d and of n."""
    return jnp.minimum(1.0, 1.0 / spectrum.ratio), jnp.minimum(1.0, spectrum.ratio)


def risk(shares: Any, spectrum: Spectrum, noise: Any) -> Float[Array, ""]:
    """The mean of ||w - w*||², given X:  1 - (1/d) Σ [1 - (1 - g)²] + (σ²/n) Σ g² / λ.

    The mean loss on fresh samples, which train-by-validation minimizes, is (risk + σ²) / 2.

    Args:
        shares: g, shape (r,), for the eigenvalues of the spectrum.
        spectrum: from `spectrum_of` or `marchenko_pastur`.
        noise: σ, at least 0.

    >>> limit = marchenko_pastur(2.0)
    >>> zero, all_of_it = jnp.zeros(200), jnp.ones(200)
    >>> [risk(g, limit, 1.0).round(12).item() for g in (zero, all_of_it)]  # 1 - 1/γ + σ²/(γ - 1)
    [1.0, 1.5]
    """
    checks.require_nonnegative("noise", noise)
    of_dimension, of_samples = _counts(spectrum)
    learned = of_dimension * jnp.sum(spectrum.weights * shares * (2.0 - shares))
    fitted = of_samples * jnp.sum(spectrum.weights * shares**2 / spectrum.eigenvalues)
    return 1.0 - learned + noise**2 * fitted


def train_loss(shares: Any, spectrum: Spectrum, noise: Any) -> Float[Array, ""]:
    """The mean of (1/2n) ||y - X w||² on the training samples, given X. Arguments as for `risk`.

    >>> train_loss(jnp.zeros(200), marchenko_pastur(0.5), 2.0).round(12).item()  # (1 + σ²) / 2
    2.5
    """
    checks.require_nonnegative("noise", noise)
    of_dimension, of_samples = _counts(spectrum)
    each = of_dimension * spectrum.eigenvalues + of_samples * noise**2
    left = jnp.sum(spectrum.weights * each * (1.0 - shares) ** 2)
    return 0.5 * (left + noise**2 * (1.0 - of_samples))
