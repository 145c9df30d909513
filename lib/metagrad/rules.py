"""Update rules φ(x, w): the new point, given the old point x and the meta-parameters w.

`translation` and `proposal` ignore the loss; `affine` gives the proposal a metric of its own. The
others move x along a gradient that w scales. They are made from a loss, and the rule takes the
data on which the loss is measured as further arguments: with loss(x, data), φ(x, w, data).

Only the gradient's *scaling* is learned: a rule differentiates its loss at x, and x does not
depend on w within a step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from metagrad import checks

UpdateRule = Callable[..., Any]


def translation(x: jax.Array, w: jax.Array) -> jax.Array:
    """The simplest update rule: move x by the learned vector w.

    >>> translation(jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])).tolist()
    [1.5, 1.0]
    """
    return x + w


def proposal(x: jax.Array, w: jax.Array) -> jax.Array:
    """Go to the learned point w, from wherever: φ(x, w) = w. Its Jacobian is the identity.

    >>> proposal(jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])).tolist()
    [0.5, -1.0]
    """
    del x
    return w


def affine(matrix: Any, offset: Any = None) -> UpdateRule:
    """The rule φ(x, w) = c + B w, or x + B w where no c is given. Its Jacobian is B.

    Args:
        matrix: B, shape (n, d).
        offset: c, shape (n,); None to start from x.

    Returns:
        The rule; it takes x of shape (n,) and w of shape (d,).

    >>> affine([[2.0], [0.0]], [1.0, 1.0])(jnp.zeros(2), jnp.array([3.0])).tolist()
    [7.0, 1.0]
    """
    matrix = checks.as_float("matrix", matrix)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"matrix must have shape (n, d), got shape {matrix.shape}")
    if offset is not None:
        checks.require_vector("offset", offset, matrix.shape[0])
        offset = checks.as_float("offset", offset)

    def rule(x, w):
        checks.require_shape("w", w, matrix.shape[1:])
        return (x if offset is None else offset) + matrix @ w

    return rule


def element_wise(loss: Callable[..., Any], link: Callable[[Any], Any] | None = None) -> UpdateRule:
    """A step size for every number: φ(x, w) = x - w * ∇f(x), product entry by entry.

    Args:
        loss: maps a point (and, if wanted, data) to one number.
        link: a function applied to each array of w before it multiplies; `jax.numpy.exp` keeps
            the step sizes positive while w takes any value. None for w itself.

    Returns:
        The rule; x is any pytree of arrays, and each array of w is a number or like that of x.

    >>> from metagrad.problems import quadratic
    >>> rule = element_wise(quadratic([1.0, 2.0]))
    >>> rule(jnp.array([4.0, 4.0]), jnp.array([0.5, 0.25])).tolist()
    [2.0, 2.0]
    """

    def rule(x, w, *data):
        step_sizes = w if link is None else jax.tree.map(link, w)
        gradient = jax.grad(loss)(x, *data)
        return jax.tree.map(lambda x, s, g: x - s * g, x, step_sizes, gradient)

    return rule


# In the increment form of *Optimistic Meta-Gradients* "Meta-Momentum" is w * ∇f(x). (So we remember
# its figure caption; the sign is ours.) As a rule for the next point that is `element_wise`.
meta_momentum = element_wise


def meta_adagrad(loss: Callable[..., Any]) -> UpdateRule:
    """Learn AdaGrad's denominator: φ(x, w) = x - ∇f(x) / √w, entry by entry, for w > 0.

    The rule is not affine in w, and where two successive gradients agree in sign the meta-loss is
    not convex in w: the guarantees of `metagrad.guarantees` do not cover it.

    Args:
        loss: maps a point (and, if wanted, data) to one number.

    Returns:
        The rule; x is any pytree of arrays and w is like it, with positive entries. Keep w
        positive with `metagrad.ftrl.box`: outside a known w is refused, a traced one gives NaN.

    >>> from metagrad.problems import quadratic
    >>> rule = meta_adagrad(quadratic([1.0, 2.0]))
    >>> rule(jnp.array([4.0, 4.0]), jnp.array([4.0, 16.0])).tolist()
    [2.0, 2.0]
    """

    def rule(x, w, *data):
        for leaf in jax.tree.leaves(w):
            checks.require_positive("w", leaf)
        gradient = jax.grad(loss)(x, *data)
        return jax.tree.map(lambda x, w, g: x - g / jnp.sqrt(w), x, w, gradient)

    return rule


def full_matrix(loss: Callable[..., Any]) -> UpdateRule:
    """Learn a whole preconditioner: φ(x, w) = x - w ∇f(x) with a matrix w.

    Args:
        loss: maps a point (and, if wanted, data) to one number.

    Returns:
        The rule; it takes x of shape (n,) and w of shape (n, n).

    >>> from metagrad.problems import quadratic
    >>> rule = full_matrix(quadratic([1.0, 2.0]))
    >>> rule(jnp.array([4.0, 4.0]), jnp.array([[1.0, 0.0], [0.0, 0.5]])).tolist()
    [0.0, 0.0]
    """

    def rule(x, w, *data):
        checks.require_shape("w", w, (*jnp.shape(x), *jnp.shape(x)))
        return x - w @ jax.grad(loss)(x, *data)

    return rule
