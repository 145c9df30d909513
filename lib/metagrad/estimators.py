"""One signature for every way to get a meta-gradient.

`meta_gradient` takes a run apart into its pieces, and *how to differentiate* is one more
argument, the method: a plain function made by one of the makers below. Each maker has a module
of its own.

    reverse, checkpointed, forward     exact (`metagrad.exact`)
    shared                             exact, averaged over windows (`metagrad.sharing`)
    truncated                          exact within windows (`metagrad.truncated`)
    clipped                            another one, shortened (`metagrad.clipped`)
    implicit                           exact at a fixed point (`metagrad.implicit`)
    evolution_strategies               unbiased for a smoothed objective (`metagrad.evolution`)
    persistent_evolution_strategies    the same, window by window (`metagrad.persistent`)
    finite_differences                 approximate (`metagrad.differences`)
"""

from collections.abc import Callable
from typing import Any

import jax

from metagrad import checks
from metagrad.clipped import clipped
from metagrad.differences import finite_differences
from metagrad.evolution import evolution_strategies
from metagrad.exact import checkpointed, forward, reverse
from metagrad.implicit import implicit
from metagrad.linear import conjugate_gradient, dense, neumann
from metagrad.persistent import persistent_evolution_strategies
from metagrad.runs import Estimate, Method, Run, make_run
from metagrad.sharing import shared
from metagrad.truncated import truncated

__all__ = [
    "Estimate",
    "Method",
    "Run",
    "checkpointed",
    "clipped",
    "conjugate_gradient",
    "dense",
    "evolution_strategies",
    "finite_differences",
    "forward",
    "implicit",
    "make_run",
    "meta_gradient",
    "neumann",
    "persistent_evolution_strategies",
    "reverse",
    "shared",
    "truncated",
]

# From this many steps on, storing them all costs more than computing most of them twice.
LONG_RUN = 100


def meta_gradient(
    loss: Callable,
    step: Callable,
    meta_parameters: Any,
    start: Any,
    inner_steps: int,
    *,
    method: Method | None = None,
    key: jax.Array | None = None,
    every_step: bool = False,
) -> Estimate:
    """The meta-gradient of a run: the derivative of what it achieves in its meta-parameters.

    F(w) = loss(x_T, w)   with   x_t = step(x_{t-1}, w, t)   and   x_0 = start(w).

    Args:
        loss: maps (state, w) to one number.
        step: maps (state, w, t) to the next state, a pytree like the state; t = 1, ..., T is a
            traced int32.
        meta_parameters: w, any pytree of floating-point arrays or numbers.
        start: x_0, any pytree of floating-point arrays; or a function of w that returns one.
        inner_steps: T, at least 1.
        method: how to differentiate; None for `reverse()` in runs of fewer than 100 steps and
            `checkpointed()` in longer ones. Both are exact.
        key: a `jax.random.key`, for the methods that draw random numbers.
        every_step: False: F(w) is the last loss. True: F(w) is the mean of the losses at
            x_1, ..., x_T.

    Returns:
        An `Estimate`. Sweeps over meta-parameters are the caller's `jax.vmap`.

    Raises:
        TypeError: if loss does not return one number, or step not a state like the start.
        ValueError: if inner_steps is below 1, or a number given is not finite.

    >>> import jax.numpy as jnp
    >>> from metagrad import problems
    >>> bowl = problems.quadratic([1.0, 2.0])
    >>> def descend(x, step_size, t):
    ...     return x - step_size * jax.grad(bowl)(x)
    >>> final = meta_gradient(lambda x, _: bowl(x), descend, 0.25, jnp.array([4.0, 4.0]), 2)
    >>> float(final.value), float(final.gradient)
    (3.53125, -29.5)
    """
    run = make_run(loss, step, meta_parameters, start, inner_steps, every_step=every_step)
    if method is None:
        method = reverse() if inner_steps < LONG_RUN else checkpointed()
    return method(run, checks.float_tree("meta_parameters", meta_parameters), key)
