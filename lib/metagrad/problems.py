"""Losses to minimize: each maker returns a function f that maps a point x to a number.

`quadratic` is a bowl with a given spectrum, `huber` a bowl inside and a cone outside, `logistic`
a classifier's loss on data. `log_cosh` is smooth and convex but not quadratic,
`piecewise_quadratic` changes its curvature at breakpoints, `rosenbrock` is not convex.

The maker's numbers may be traced: a slider may move an eigenvalue or a kink.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metagrad import checks

Loss = Callable[[Any], jax.Array]


def quadratic(eigenvalues: Any, *, rotation: Any = None, minimizer: Any = None) -> Loss:
    """A quadratic bowl f(x) = (x - x*)ᵀ Q (x - x*) / 2 with the given spectrum.

    Args:
        eigenvalues: those of Q, each at least 0; shape (n,), or () for a loss of one number.
        rotation: None for Q = diag(eigenvalues); for n = 2 also an angle in radians, by which
            the eigenvectors are turned counterclockwise from the axes.
        minimizer: the point x*, with the shape of `eigenvalues`; None for the origin.

    Returns:
        The loss; it takes x with the shape of `eigenvalues`.

    Raises:
        ValueError: if an eigenvalue is negative, or a shape is wrong.

    >>> f = quadratic([1.0, 10.0])
    >>> float(f(jnp.array([2.0, 1.0])))
    7.0
    """
    checks.require_nonnegative("eigenvalues", eigenvalues)
    eigenvalues = checks.as_float("eigenvalues", eigenvalues)
    if eigenvalues.ndim:
        checks.require_vector("eigenvalues", eigenvalues)
    if rotation is not None:
        checks.require_shape("eigenvalues (with a rotation)", eigenvalues, (2,))
        rotation = checks.as_float("rotation", rotation)
        checks.require_shape("rotation", rotation, ())
    if minimizer is not None:
        minimizer = checks.as_float("minimizer", minimizer)
        checks.require_shape("minimizer", minimizer, eigenvalues.shape)

    def loss(x):
        checks.require_shape("x", x, eigenvalues.shape)
        offset = x if minimizer is None else x - minimizer
        if rotation is not None:  # coordinates along the eigenvectors
            cos, sin = jnp.cos(rotation), jnp.sin(rotation)
            offset = jnp.stack(
                [cos * offset[0] + sin * offset[1], cos * offset[1] - sin * offset[0]]
            )
        return 0.5 * jnp.sum(eigenvalues * offset**2)

    return loss


def quadratic_from_matrix(matrix: Any, *, minimizer: Any = None) -> Loss:
    """A quadratic bowl f(x) = (x - x*)ᵀ Q (x - x*) / 2 for a given matrix Q.

    Args:
        matrix: Q, shape (n, n), symmetric and positive semidefinite (checked to rounding).
        minimizer: the point x*, shape (n,); None for the origin.

    Returns:
        The loss; it takes x of shape (n,).

    Raises:
        ValueError: if Q is not square, symmetric and positive semidefinite.

    >>> f = quadratic_from_matrix([[2.0, 1.0], [1.0, 2.0]])
    >>> float(f(jnp.array([1.0, -1.0])))
    1.0
    """
    checks.require_symmetric_positive("matrix", matrix)
    matrix = checks.as_float("matrix", matrix)
    if minimizer is not None:
        minimizer = checks.as_float("minimizer", minimizer)
        checks.require_shape("minimizer", minimizer, matrix.shape[:1])

    def loss(x):
        checks.require_shape("x", x, matrix.shape[:1])
        offset = x if minimizer is None else x - minimizer
        return 0.5 * jnp.sum(offset * (matrix @ offset))

    return loss


def huber(curvature: Any = 1.0, half_width: Any = 1.0) -> Loss:
    """The Huber loss: a bowl for |x| <= half_width, straight lines outside, summed over x.

    Its slope never exceeds curvature * half_width. Source: Huber, 1964.

    Args:
        curvature: the second derivative inside, positive.
        half_width: the distance from 0 to the kink in the slope, positive.

    Returns:
        The loss; it takes x of any shape.

    >>> f = huber(curvature=2.0, half_width=0.5)
    >>> float(f(0.5)), float(f(3.0)), float(jax.grad(f)(3.0))
    (0.25, 2.75, 1.0)
    """
    checks.require_positive("curvature", curvature)
    checks.require_positive("half_width", half_width)

    def loss(x):
        distance = jnp.abs(x)
        inside = 0.5 * curvature * x**2
        outside = curvature * half_width * (distance - 0.5 * half_width)
        return jnp.sum(jnp.where(distance <= half_width, inside, outside))

    return loss


def logistic(features: Any, labels: Any, l2: Any = 0.0) -> Loss:
    """The mean logistic loss of a linear classifier, with an optional ridge.

    f(x) = mean_i log(1 + exp(-y_i aᵢᵀx)) + (l2/2) ||x||², computed without overflow.

    Args:
        features: the rows aᵢ, shape (m, n).
        labels: the classes y_i, shape (m,), each -1 or +1.
        l2: the ridge coefficient, at least 0.

    Returns:
        The loss; it takes x of shape (n,).

    Raises:
        ValueError: if a label is neither -1 nor +1, or a shape is wrong.

    >>> f = logistic(jnp.eye(2), jnp.array([1.0, -1.0]))
    >>> float(jnp.exp(f(jnp.zeros(2))))
    2.0
    """
    features = checks.as_float("features", features)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features must have shape (m, n), got shape {features.shape}")
    checks.require_vector("labels", labels, features.shape[0])
    if checks.is_known(labels) and not np.all(np.isin(np.asarray(labels), (-1, 1))):
        raise ValueError(f"labels must each be -1 or +1, got {labels!r}")
    checks.require_nonnegative("l2", l2)
    labels = checks.as_float("labels", labels)

    def loss(x):
        checks.require_shape("x", x, features.shape[1:])
        margins = labels * (features @ x)
        return jnp.mean(jnp.logaddexp(0.0, -margins)) + 0.5 * l2 * jnp.sum(x**2)

    return loss


def log_cosh(scales: Any) -> Loss:
    """A smooth convex valley f(x) = Σ_i s_i log cosh x_i: not quadratic, with no kink.

    Coordinate i has curvature s_i at the origin and slope ±s_i far away.

    Args:
        scales: the numbers s_i, positive; shape (n,), or () for a loss of one number.

    Returns:
        The loss; it takes x with the shape of `scales`.

    >>> f = log_cosh([1.0, 4.0])
    >>> float(f(jnp.zeros(2)))
    0.0
    """
    checks.require_positive("scales", scales)
    scales = checks.as_float("scales", scales)

    def loss(x):
        checks.require_shape("x", x, scales.shape)
        # Near the minimizer logaddexp(x, -x) - log 2 would be all rounding error.
        near = jnp.log1p(jnp.sinh(jnp.clip(x, -1.0, 1.0)) ** 2) / 2.0
        far = jnp.logaddexp(x, -x) - jnp.log(2.0)
        return jnp.sum(scales * jnp.where(jnp.abs(x) < 1.0, near, far))

    return loss


def piecewise_quadratic(breakpoints: Any, curvatures: Any) -> Loss:
    """A 1-D convex loss whose second derivative is piecewise constant, with f'(0) = f(0) = 0.

    f' is continuous; f'' is curvatures[j] between breakpoints[j-1] and breakpoints[j].

    Args:
        breakpoints: where the curvature changes, strictly increasing; shape (k,).
        curvatures: one for each of the k + 1 pieces, from left to right, each at least 0.

    Returns:
        The loss; it takes one number, x of shape () or (1,).

    Raises:
        ValueError: if the breakpoints do not increase, or a curvature is negative.

    >>> f = piecewise_quadratic([1.0, 2.0], [25.0, 1.0, 25.0])
    >>> [float(jax.grad(f)(x)) for x in (1.0, 2.0, 3.0)]
    [25.0, 26.0, 51.0]
    """
    checks.require_vector("breakpoints", breakpoints)
    checks.require_increasing("breakpoints", breakpoints)
    breakpoints = checks.as_float("breakpoints", breakpoints)
    checks.require_vector("curvatures", curvatures, breakpoints.shape[0] + 1)
    checks.require_nonnegative("curvatures", curvatures)
    curvatures = checks.as_float("curvatures", curvatures)
    # On piece j, f(x) = c_j x²/2 + d_j x + e_j. Equal slopes and values on both sides of
    # breakpoint b fix how d and e jump there; f'(0) = f(0) = 0 fixes the constants.
    jumps = curvatures[:-1] - curvatures[1:]
    zero = jnp.zeros(1, curvatures.dtype)
    slopes = jnp.concatenate([zero, jnp.cumsum(jumps * breakpoints)])
    values = jnp.concatenate([zero, -0.5 * jnp.cumsum(jumps * breakpoints**2)])
    home = jnp.sum(breakpoints <= 0)
    slopes, values = slopes - slopes[home], values - values[home]

    def loss(x):
        if jnp.size(x) != 1:
            raise ValueError(f"x must have shape () or (1,), got shape {jnp.shape(x)}")
        position = jnp.reshape(x, ())
        piece = jnp.sum(position >= breakpoints)
        return (0.5 * curvatures[piece] * position + slopes[piece]) * position + values[piece]

    return loss


def lessard_recht_packard() -> Loss:
    """The convex 1-D loss, 1 <= f'' <= 25, on which optimally tuned heavy ball cycles for ever.

    f'(x) = 25x below 1, x + 24 between 1 and 2, 25x - 24 above 2.
    Source: Lessard, Recht and Packard, 2016 (SIAM Journal on Optimization), section 4.6.

    >>> float(jax.grad(lessard_recht_packard())(-1.0))
    -25.0
    """
    return piecewise_quadratic([1.0, 2.0], [25.0, 1.0, 25.0])


def rosenbrock(a: Any = 1.0, b: Any = 100.0) -> Loss:
    """The curved valley f(x) = (a - x_0)² + b (x_1 - x_0²)²: smooth, not convex.

    The minimum is at (a, a²). Source: Rosenbrock, 1960.

    Args:
        a: where the minimum lies along the valley.
        b: how steep the walls are, positive.

    Returns:
        The loss; it takes x of shape (2,).

    >>> float(rosenbrock()(jnp.array([1.0, 1.0]))), float(rosenbrock()(jnp.zeros(2)))
    (0.0, 1.0)
    """
    checks.require_positive("b", b)

    def loss(x):
        checks.require_shape("x", x, (2,))
        return (a - x[0]) ** 2 + b * (x[1] - x[0] ** 2) ** 2

    return loss
