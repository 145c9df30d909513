"""Finite differences: two runs for each meta-parameter, and no derivative at all.

The oldest check of every other method, and the least exact: its error is of order h² from the
curve and of order 1/h from rounding.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from metagrad import checks
from metagrad.runs import Estimate, Method, Parameters, Run, State, estimate, objective


class DifferencesInfo(NamedTuple):
    """What finite differences see.

    Attributes:
        spacing: h for each meta-parameter, like w.
        final_state: x_T.
    """

    spacing: Parameters
    final_state: State


def finite_differences(spacing: Any = None) -> Method:
    """Central differences: [F(w + h e_i) - F(w - h e_i)] / (2 h) for each number in w.

    Args:
        spacing: h, positive, one number for all; None for ε^(1/3) max(1, |w_i|), with ε the
            rounding unit of w's dtype, which balances the two errors of a function of scale 1.

    Raises:
        ValueError: if the spacing is not positive.

    >>> from metagrad.estimators import meta_gradient
    >>> run = (lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 1)  # F = 4 w²
    >>> float(meta_gradient(*run, method=finite_differences(0.25)).gradient)
    4.0
    """
    if spacing is not None:
        checks.require_positive("spacing", spacing)

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        del key
        checks.require_one_dtype("meta_parameters", w)
        flat, unravel = ravel_pytree(w)
        if spacing is None:
            h = jnp.finfo(flat.dtype).eps ** (1 / 3) * jnp.maximum(jnp.abs(flat), 1.0)
        else:
            h = jnp.full(flat.shape, spacing, flat.dtype)
        value, state = objective(run, w)
        offsets = jnp.diag(h)
        values = jax.vmap(lambda offset: objective(run, unravel(flat + offset))[0])
        above, below = values(offsets), values(-offsets)
        gradient = unravel(((above - below) / (2 * h)).astype(flat.dtype))
        return estimate(value, gradient, DifferencesInfo(unravel(h), state))

    return method
