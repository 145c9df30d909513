"""Truncated backpropagation: the derivative through the last steps only.

It costs the memory of one window, and what it leaves out makes it biased.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from metagrad import checks
from metagrad.runs import Estimate, Method, Parameters, Run, State, estimate
from metagrad.windows import Window, first_window, over_windows


class TruncatedInfo(NamedTuple):
    """What truncated backpropagation sees.

    Attributes:
        window_gradients: what each window adds to the gradient, like w with a new axis 0; one
            entry per window with `every_step`, else one entry, for the last window.
        final_state: x_T.
    """

    window_gradients: PyTree[Float[Array, "windows ..."]]
    final_state: State


def truncated(length: int) -> Method:
    """Reverse accumulation within windows of `length` steps, each from a state taken as given.

    Without `every_step` this is the derivative through the last `length` steps. The value is
    exact, the gradient is not, unless the window covers the run.
    Source: Williams and Peng, 1990.

    Args:
        length: steps of a window, from 1 to inner_steps; the first window is the shorter one.

    Raises:
        ValueError: if the length is below 1 or above inner_steps.

    >>> from metagrad.estimators import meta_gradient
    >>> run = (lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)  # F = 4 w⁶
    >>> [float(meta_gradient(*run, method=truncated(k)).gradient) for k in (1, 2, 3)]
    [0.25, 0.5, 0.75]
    """
    checks.require_steps("length", length)

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        del key
        first = first_window("length", length, run.inner_steps)
        windows = over_windows(run, w, first, length, _backward, lambda count: jnp.zeros(count))
        gradient = jax.tree.map(lambda g: jnp.sum(g, axis=0), windows.gradient)
        info = TruncatedInfo(windows.gradient, windows.state)
        return estimate(jnp.sum(windows.value), gradient, info)

    return method


def _backward(f: Any, w: Any, _: Any) -> Window:
    (value, state), gradient = jax.value_and_grad(f, has_aux=True)(w)
    return Window(value, gradient, state)
