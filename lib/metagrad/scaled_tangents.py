"""The derivative of any run in one direction, however far out of the range of floats it is.

A run's tangent, the derivative X_t u of its state, may explode or vanish where the states
themselves stay moderate: in a chaotic run it grows like e^{γt}, in one that converges it shrinks.
Here it is carried as a vector of norm 1 and a logarithm.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.renormalization import divide, norm
from metagrad.runs import Run, State, times
from metagrad.stepsize import SignedLog


class ScaledTangent(NamedTuple):
    """The derivative of a run in one direction u, in logarithms.

    Attributes:
        state: x_T.
        value: F(w) = loss(x_T, w).
        derivative: that of F in the direction u.
        tangent: the derivative X_T u of x_T, divided by its norm; like the state. 0 if it is 0.
        log_norms: log ||X_t u|| for t = 1, ..., T, shape (T,); -inf where it is 0. Their slope
            is the rate at which the run forgets, or (where it is positive) the Lyapunov exponent.
    """

    state: State
    value: Float[Array, ""]
    derivative: SignedLog
    tangent: State
    log_norms: Float[Array, " steps"]


def _log(size: Float[Array, ""]) -> Float[Array, ""]:
    zero = size == 0  # and not "> 0": the logarithm of NaN is NaN, not that of 0
    return jnp.where(zero, -jnp.inf, jnp.log(jnp.where(zero, 1.0, size)))


def _sum(log_scale: Float[Array, ""], x: Any, y: Any) -> tuple[Any, Float[Array, ""]]:
    """e^{log_scale} x + y for pytrees x and y: as a pytree of norm 1, and the log of its norm.

    The larger of the two sets the scale in between, so that no summand exceeds 1.
    """
    logs = log_scale + _log(norm(x)), _log(norm(y))
    top = jnp.maximum(*logs)
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    # A scale of a vector that is 0 may be anything: it is not to be multiplied by it.
    first = jnp.where(jnp.isneginf(logs[0]), 0.0, jnp.exp(log_scale - top))
    second = jnp.where(jnp.isneginf(logs[1]), 0.0, jnp.exp(-top))
    total = jax.tree.map(lambda x, y: first * x + second * y, x, y)
    size = norm(total)
    return divide(total, jnp.where(size > 0, size, 1.0)), top + _log(size)


def scaled_tangent(run: Run, meta_parameters: Any, direction: Any) -> ScaledTangent:
    """Forward accumulation, X_t u = J_t X_{t-1} u + B_t u, with a running logarithm of its scale.

    The states are not rescaled: they, and the loss, must stay in range. (Where both leave it, and
    the step is homogeneous, use `metagrad.renormalization`.) The derivative of (1/T) log loss(x_T)
    is derivative / (T value).

    Args:
        run: the run, with `every_step` False.
        meta_parameters: w.
        direction: u, like w: which way the meta-parameters move.

    Returns:
        A `ScaledTangent`.

    Raises:
        TypeError: if the direction is not like w.
        ValueError: if the run takes the mean of all losses: each has a tangent of its own.

    >>> import math
    >>> from metagrad.runs import make_run
    >>> logistic_map = lambda x, w, t: w * x * (1.0 - x)  # chaotic for w = 4, exponent log 2
    >>> run = make_run(lambda x, w: x, logistic_map, 4.0, jnp.array(0.3), 100_000)
    >>> exponent = scaled_tangent(run, 4.0, 1.0).log_norms[-1] / 100_000
    >>> round(exponent.item(), 3), round(math.log(2.0), 3)
    (0.693, 0.693)
    """
    w = checks.float_tree("meta_parameters", meta_parameters)
    direction = checks.float_tree("direction", direction)
    checks.require_like("direction", direction, "meta_parameters", w)
    if run.every_step:
        raise ValueError("run must have every_step=False: each loss has a tangent of its own")
    no_direction = jax.tree.map(jnp.zeros_like, direction)

    def by_parts(function, state, tangent):
        """A function of (state, w), and its derivatives along the tangent and along u."""
        still = jax.tree.map(jnp.zeros_like, state)
        value, carried = jax.jvp(function, (state, w), (tangent, no_direction))
        return value, carried, jax.jvp(function, (state, w), (still, direction))[1]

    def step(carry, t):
        state, tangent, log_norm = carry
        state, carried, added = by_parts(lambda x, w: run.step(x, w, t), state, tangent)
        tangent, log_norm = _sum(log_norm, carried, added)
        return (state, tangent, log_norm), log_norm

    state, tangent = jax.jvp(run.start, (w,), (direction,))
    nothing = jax.tree.map(jnp.zeros_like, tangent)
    tangent, log_norm = _sum(jnp.zeros_like(norm(tangent)), nothing, tangent)
    (state, tangent, log_norm), log_norms = jax.lax.scan(
        step, (state, tangent, log_norm), times(run.inner_steps)
    )
    value, carried, added = by_parts(run.loss, state, tangent)
    slope, log_size = _sum(log_norm, carried, added)
    return ScaledTangent(state, value, SignedLog(slope, log_size), tangent, log_norms)
