"""Outer descent: many outer steps along given meta-gradients, and a record of them.

Nothing overflows on the way: a run that leaves a large ball is frozen, and says so. What is proved
about such runs is in `metagrad.outer_bounds`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from metagrad import checks
from metagrad.renormalization import norm
from metagrad.unroll import prepend


class Descent(NamedTuple):
    """What a run went through.

    Attributes:
        parameters: θ_0, ..., θ_T, each leaf with a new axis 0 of length T + 1.
        gradient_norms: ||ĝ_0||, ..., ||ĝ_{T-1}||, of the meta-gradients as given, shape (T,). One
            may be infinite or NaN: then the run has diverged there.
        diverged: at each step, whether the run has left the ball by then, shape (T,). From there on
            the parameters stay where they last were inside.
    """

    parameters: Any
    gradient_norms: Float[Array, " steps"]
    diverged: Bool[Array, " steps"]


def descend(
    gradient: Callable[..., Any],
    meta_parameters: Any,
    outer_step: optax.GradientTransformation,
    outer_steps: int,
    *,
    key: jax.Array | None = None,
    radius: Any = 1e8,
) -> Descent:
    """Outer steps from θ_0, frozen before the first one that would leave ||θ|| <= radius.

    Args:
        gradient: maps θ to a meta-gradient like θ; with a key it maps (θ, a key of its own).
        meta_parameters: θ_0, an array or a pytree of arrays, ||θ_0|| at most the radius.
        outer_step: from `metagrad.outer_steps`, or any optax transformation that returns what is to
            be added to θ.
        outer_steps: T, at least 1.
        key: None, or a `jax.random.key` to draw the noise of each step from.
        radius: positive.

    Returns:
        A `Descent`. A meta-gradient that is not finite counts as leaving.

    Raises:
        TypeError: if `gradient` does not return a pytree like θ.

    >>> from metagrad.outer_steps import plain
    >>> run = descend(lambda x: 2.0 * x, jnp.array(4.0), plain(0.25), 2)
    >>> run.parameters.tolist(), run.gradient_norms.tolist(), bool(run.diverged[-1])
    ([4.0, 2.0, 1.0], [8.0, 4.0], False)
    >>> run = descend(lambda x: 2.0 * x, jnp.array(4.0), plain(2.0), 3, radius=40.0)
    >>> run.parameters.tolist(), run.diverged.tolist()  # the third one would go to -108
    ([4.0, -12.0, 36.0, 36.0], [False, False, True])
    """
    theta = checks.float_tree("meta_parameters", meta_parameters)
    checks.require_leaves("meta_parameters", theta)
    checks.require_one_dtype("meta_parameters", theta)
    checks.require_steps("outer_steps", outer_steps)
    checks.require_positive("radius", radius)
    checks.require_at_most("the norm of meta_parameters", norm(theta), "radius", radius)
    if key is not None:
        checks.require_key(key, "the noise of the meta-gradients")
    draw = (lambda t: ()) if key is None else (lambda t: (jax.random.fold_in(key, t),))
    checks.require_same_tree("gradient", jax.eval_shape(gradient, theta, *draw(0)), theta)

    def step(carry, t):
        theta, state, out = carry
        found = gradient(theta, *draw(t))
        updates, new_state = outer_step.update(found, state, theta)
        moved = optax.apply_updates(theta, updates)
        out = out | ~(norm(found) < jnp.inf) | ~(norm(moved) <= radius)  # NaN is not below

        def keep(old, new):
            return jax.tree.map(lambda one, other: jnp.where(out, one, other), old, new)

        theta = keep(theta, moved)
        return (theta, keep(state, new_state), out), (theta, norm(found), out)

    carry = (theta, outer_step.init(theta), jnp.zeros((), bool))
    _, (thetas, norms, out) = jax.lax.scan(step, carry, jnp.arange(outer_steps, dtype=jnp.int32))
    return Descent(prepend(theta, thetas), norms, out)
