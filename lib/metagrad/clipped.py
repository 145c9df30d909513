"""Clipping: a meta-gradient that is too long is shortened, and keeps its direction.

It bounds what one meta-step can do. It does not make a meta-gradient that explodes right, and it
does nothing for one that vanishes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.exact import reverse
from metagrad.renormalization import norm
from metagrad.runs import Estimate, Method, Parameters, Run, estimate


class ClippedInfo(NamedTuple):
    """What clipping sees.

    Attributes:
        norm: the norm of the meta-gradient before clipping, over all its leaves.
        inner: the `info` of the method that is clipped.
    """

    norm: Float[Array, ""]
    inner: Any


def clipped(limit: Any, method: Method | None = None) -> Method:
    """Another method's gradient g, as g · min(1, limit / ||g||).

    Where it clips, the direction is right and the length is not: the estimate is biased, and a
    mean of clipped estimates has neither the direction nor the length of the mean of them. A g
    that is infinite or NaN has no direction; it is not clipped to one, but stays as it is (or
    becomes NaN), and `finite` says so. The value is that of the method.
    Source: Pascanu, Mikolov and Bengio, 2013.

    Args:
        limit: the largest norm let through, positive.
        method: what to clip; None for `reverse()`.

    Raises:
        TypeError: if the meta-parameters are of several dtypes.
        ValueError: if the limit is not positive.

    >>> from metagrad.estimators import meta_gradient
    >>> run = (lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)  # F = 4 w⁶
    >>> [meta_gradient(*run, method=clipped(limit)).gradient.item() for limit in (0.5, 1.0)]
    [0.5, 0.75]
    """
    checks.require_positive("limit", limit)
    checks.require_shape("limit", limit, ())

    def method_clipped(run: Run, w: Parameters, key: Any) -> Estimate:
        checks.require_one_dtype("meta_parameters", w)
        found = (reverse() if method is None else method)(run, w, key)
        size = norm(found.gradient)
        bound = jnp.asarray(limit, size.dtype)
        # Dividing by an infinite norm would make finite numbers 0.
        factor = jnp.where(jnp.isinf(size), jnp.nan, bound / jnp.maximum(bound, size))
        gradient = jax.tree.map(lambda leaf: factor * leaf, found.gradient)
        return estimate(found.value, gradient, ClippedInfo(size, found.info))

    return method_clipped
