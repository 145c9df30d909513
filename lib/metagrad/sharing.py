"""Forward accumulation for a schedule: contiguous steps share one value.

A schedule has a meta-parameter for every step, w = (w_1, ..., w_T), and forward accumulation
would carry T tangents along. Divide the steps into K windows of contiguous steps and ask only how
F changes when all values of a window change together: K tangents do. A window's share of the
answer, its mean, stands for each of its steps. That is the orthogonal projection of ∇F onto the
schedules that are constant in each window.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from metagrad import checks
from metagrad.runs import Estimate, Method, Parameters, Run, State, estimate, objective


class SharedInfo(NamedTuple):
    """What forward accumulation with sharing sees.

    Attributes:
        window_gradient: the derivative of F in the value that a window shares: the sum of the
            partial derivatives of its steps; like w, with K in the place of T.
        final_state: x_T.
    """

    window_gradient: Parameters
    final_state: State


def window_of_step(inner_steps: int, windows: int) -> Int[np.ndarray, " steps"]:
    """The window, from 0 to K - 1, of each of T steps; lengths differ by at most 1.

    Args:
        inner_steps: T, at least 1.
        windows: K, from 1 to T.

    Raises:
        ValueError: if either is below 1, or there are more windows than steps.

    >>> window_of_step(5, 2)
    array([0, 0, 0, 1, 1])
    """
    checks.require_steps("inner_steps", inner_steps)
    checks.require_steps("windows", windows)
    checks.require_at_most("windows", windows, "inner_steps", inner_steps)
    return np.arange(inner_steps) * windows // inner_steps


def shared(windows: int) -> Method:
    """Forward accumulation with sharing: one tangent for each window of a schedule.

    The run's meta-parameters w hold one value for each step: the first axis of every array is T.
    The gradient that comes back is the mean of ∇F over each window, in every place of the window.
    It is ∇F itself with T windows, and where ∇F is constant in each window.

    Source: Micaelli and Storkey, 2021, for the idea; that it is a projection is our remark.

    Args:
        windows: K, from 1 to inner_steps; cost and memory are those of 1 + K runs for each
            number that w holds per step.

    Raises:
        ValueError: if an array of w does not have inner_steps as its first axis; if there are
            more windows than steps.

    >>> from metagrad.estimators import meta_gradient
    >>> def step(x, w, t):  # F = x_4 = w_1 + 2 w_2 + 3 w_3 + 4 w_4
    ...     return x + jnp.arange(1.0, 5.0)[t - 1] * w[t - 1]
    >>> run = (lambda x, w: x, step, jnp.ones(4), jnp.array(0.0), 4)
    >>> meta_gradient(*run, method=shared(2)).gradient.tolist()
    [1.5, 1.5, 3.5, 3.5]
    """
    checks.require_steps("windows", windows)

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        del key
        window = window_of_step(run.inner_steps, windows)
        lengths = np.bincount(window)
        for leaf in jax.tree.leaves(w):
            if leaf.shape[:1] != (run.inner_steps,):
                raise ValueError(
                    "meta_parameters must hold one value for each step with shared(): the first "
                    f"axis must be inner_steps = {run.inner_steps}, got shape {leaf.shape}"
                )

        def moved(change):
            schedule = jax.tree.map(lambda leaf, by: leaf + by[window], w, change)
            value, state = objective(run, schedule)
            return value, (value, state)

        def mean_in_place(total):
            mean = total / lengths.reshape(-1, *[1] * (total.ndim - 1)).astype(total.dtype)
            return mean[window]

        still = jax.tree.map(lambda leaf: jnp.zeros((windows, *leaf.shape[1:]), leaf.dtype), w)
        totals, (value, state) = jax.jacfwd(moved, has_aux=True)(still)
        return estimate(value, jax.tree.map(mean_in_place, totals), SharedInfo(totals, state))

    return method
