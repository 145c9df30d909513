"""Three exact ways to differentiate a run: backward, backward with less memory, and forward.

All three return the derivative of the program, to rounding. They differ in what they cost:

    method            time, in runs            memory, in states
    reverse()         about 3 to 5             T
    checkpointed()    one more than reverse    about 2 √T
    forward()         1 + (numbers in w)       1 + (numbers in w)
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metagrad import checks
from metagrad.runs import (
    Estimate,
    Method,
    Parameters,
    Run,
    State,
    advance_all,
    estimate,
    objective,
    outcome,
    times,
    zero_loss,
)


class ExactInfo(NamedTuple):
    """What the exact methods see.

    Attributes:
        final_state: x_T.
    """

    final_state: State


def reverse() -> Method:
    """Reverse accumulation (backpropagation): all states are kept, then read backward.

    Source: Linnainmaa, 1970; Griewank and Walther, 2008, chapter 3.

    >>> from metagrad.estimators import meta_gradient
    >>> run = (lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)  # F = 4 w⁶
    >>> float(meta_gradient(*run, method=reverse()).gradient)
    0.75
    """

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        del key
        (value, state), gradient = jax.value_and_grad(lambda w: objective(run, w), has_aux=True)(w)
        return estimate(value, gradient, ExactInfo(state))

    return method


def checkpointed(segment: int | None = None) -> Method:
    """Reverse accumulation that keeps one state per segment and computes the others again.

    Source: Griewank and Walther, 2008, chapter 12; Chen et al., 2016 (the √T rule).

    Args:
        segment: steps from one kept state to the next, from 1 to inner_steps; None for about
            √T, where the kept states and the states of one segment are equally many.

    Raises:
        ValueError: if the segment is below 1 or longer than the run.

    >>> from metagrad.estimators import meta_gradient
    >>> run = (lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)  # F = 4 w⁶
    >>> float(meta_gradient(*run, method=checkpointed()).gradient)
    0.75
    """
    if segment is not None:
        checks.require_steps("segment", segment)

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        del key
        size = math.isqrt(run.inner_steps) if segment is None else segment
        checks.require_at_most("segment", size, "inner_steps", run.inner_steps)

        @jax.checkpoint
        def part(carry, w, ts):
            return advance_all(run, carry, w, ts)

        def segments(w):
            state = run.start(w)
            carry = (state, zero_loss(run, state, w))
            ts = times(run.inner_steps)
            count, rest = divmod(run.inner_steps, size)
            if rest:
                carry = part(carry, w, ts[:rest])
            carry = jax.lax.scan(
                lambda carry, ts: (part(carry, w, ts), None),
                carry,
                ts[rest:].reshape(count, size),
            )[0]
            return outcome(run, carry, w), carry[0]

        (value, state), gradient = jax.value_and_grad(segments, has_aux=True)(w)
        return estimate(value, gradient, ExactInfo(state))

    return method


def forward() -> Method:
    """Forward accumulation: the derivative of the state travels along with the state.

    One pass for each number in w, all side by side, and nothing is kept.
    Source: Wengert, 1964; Griewank and Walther, 2008, chapter 3.

    >>> from metagrad.estimators import meta_gradient
    >>> run = (lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)  # F = 4 w⁶
    >>> float(meta_gradient(*run, method=forward()).gradient)
    0.75
    """

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        del key

        if sum(leaf.size for leaf in jax.tree.leaves(w)) == 1:
            # A batch of one direction would cost more than the direction alone.
            one = jax.tree.map(jnp.ones_like, w)
            value, slope, state = jax.jvp(lambda w: objective(run, w), (w,), (one,), has_aux=True)
            gradient = jax.tree.map(lambda leaf: jnp.full_like(leaf, slope), w)
            return estimate(value, gradient, ExactInfo(state))

        def outputs(w):
            value, state = objective(run, w)
            return value, (value, state)

        gradient, (value, state) = jax.jacfwd(outputs, has_aux=True)(w)
        return estimate(value, gradient, ExactInfo(state))

    return method
