"""The mean risk of stochastic gradient descent on least squares, without drawing anything.

Stochastic descent looks at one sample in each step, drawn with replacement. Given the inputs, its
mean loss and its mean squared distance to the hidden parameter are a linear recursion for the
second moments of the residuals. The means are over the order, the noise, and the parameter w*
with E[w* w*ᵀ] = I/d. With n <= d, where the samples can be fitted. Nothing is truncated.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metagrad import checks


class StochasticRisk(NamedTuple):
    """Means after s = 0, ..., t steps; infinite where a diverging run exceeds all floats.

    Attributes:
        risk: of ||w_s - w*||², shape (t + 1,).
        train_loss: of (1/2n) ||y - X w_s||², shape (t + 1,).
    """

    risk: Float[Array, " times"]
    train_loss: Float[Array, " times"]


def stochastic_risk(inputs: Any, step_size: Any, steps: int, noise: Any) -> StochasticRisk:
    """Means along a run of w ← w - β x_i (⟨w, x_i⟩ - y_i) from 0, i uniform in each step.

    With G = X Xᵀ and e_i the unit vectors, the residuals follow r ← r - β r_i G e_i. So their
    second moments N = E[r rᵀ] follow N ← N - (β/n)(G N + N G) + (β²/n) G diag(N) G, from
    N = G/d + σ² I; and their mean follows r ← (I - βG/n) r, as in plain gradient descent.

    Args:
        inputs: X, shape (n, d), of full rank, n <= d; numbers, not traced.
        step_size: β, at least 0, a number.
        steps: t, at least 1.
        noise: σ, at least 0.

    Raises:
        ValueError: if n > d, or the rank is not full, or nearly not.

    >>> made = stochastic_risk(jnp.array([[2.0, 0.0]]), 0.25, 3, 1.0)
    >>> made.risk.tolist(), made.train_loss.tolist()  # one sample: solved in one step
    ([1.0, 0.75, 0.75, 0.75], [1.5, 0.0, 0.0, 0.0])
    """
    checks.require_nonnegative("step_size", step_size)
    checks.require_steps("steps", steps)
    checks.require_nonnegative("noise", noise)
    inputs = np.asarray(inputs, float)
    if inputs.ndim != 2 or 0 in inputs.shape or inputs.shape[0] > inputs.shape[1]:
        raise ValueError(f"inputs must have shape (n, d) with n <= d, got shape {inputs.shape}")
    if not np.linalg.cond(inputs) < 1e5:
        raise ValueError("inputs must have full rank, and a condition number below 10⁵")
    samples, dimension = inputs.shape
    gram = jnp.asarray(inputs @ inputs.T)
    inverse = jnp.asarray(np.linalg.inv(inputs @ inputs.T))  # not on a page: these are numbers

    def measure(moments, mean):
        fitted = noise**2 * (jnp.trace(inverse) - 2.0 * jnp.sum(inverse * mean))
        risk = 1.0 - samples / dimension + fitted + jnp.sum(inverse * moments)
        loss = 0.5 * jnp.trace(moments) / samples
        # Once a diverging run has left the range of floats, inf - inf follows.
        return StochasticRisk(*(jnp.where(jnp.isnan(x), jnp.inf, x) for x in (risk, loss)))

    def step(state, _):
        moments, mean = state
        pulled = step_size / samples * (gram @ moments)
        kicks = (gram * jnp.diagonal(moments)[None, :]) @ gram
        moments = moments - pulled - pulled.T + step_size**2 / samples * kicks
        mean = mean - step_size / samples * (gram @ mean)
        return (moments, mean), measure(moments, mean)

    eye = jnp.eye(samples, dtype=inputs.dtype)
    start = gram / dimension + noise**2 * eye, eye
    along = jax.lax.scan(step, start, None, length=steps)[1]
    return jax.tree.map(
        lambda first, rest: jnp.concatenate([first[None], rest]), measure(*start), along
    )
