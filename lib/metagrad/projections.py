"""Where the meta-parameters may go: projections to a closed convex set W.

A projection maps w to the nearest point of W in the Euclidean norm.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from metagrad import checks

Projection = Callable[[jax.Array], jax.Array]


def ball(radius: Any, center: Any = 0.0) -> Projection:
    """The projection to the ball ||w - center|| <= radius.

    >>> ball(5.0)(jnp.array([6.0, 8.0])).tolist()
    [3.0, 4.0]
    """
    checks.require_positive("radius", radius)
    center = checks.as_float("center", center)

    def project(w):
        offset = w - center
        squared = jnp.sum(offset**2)
        outside = squared > radius**2
        # The inner `where` keeps 1/0, and its derivative, out of the branch not taken.
        return center + offset * jnp.where(
            outside, radius / jnp.sqrt(jnp.where(outside, squared, 1.0)), 1.0
        )

    return project


def box(low: Any, high: Any) -> Projection:
    """The projection to the box low <= w <= high, entry by entry.

    >>> box(0.0, 1.0)(jnp.array([-1.0, 0.25, 2.0])).tolist()
    [0.0, 0.25, 1.0]
    """
    checks.require_at_least("high", high, "low", low)
    return lambda w: jnp.clip(w, low, high)
