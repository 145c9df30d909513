"""Optimism for games, as optax transformations, and a loop that plays them.

Gradient descent spirals outward on a bilinear game; optimism, which acts on a guess of the next
gradient, turns it inward. Under noise the last gradient is a poor guess, and Omega guesses with an
average of the past ones. Both methods go along

    u_t = g_t + o (g_t - m_{t-1}),   m_t = d m_{t-1} + (1 - d) g_t,   m_0 = g_1,

with the optimism o and the decay d; optimistic gradient descent has d = 0, so that m_t = g_t.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

from metagrad import checks
from metagrad.games import Field
from metagrad.unroll import prepend, unroll


class OmegaState(NamedTuple):
    """The average m of the gradients seen, and whether there has been one, bool, shape ()."""

    average: Any
    begun: Bool[Array, ""]


def omega(step_size: Any, optimism: Any = 1.0, decay: Any = 0.9) -> optax.GradientTransformation:
    """Omega: optimism with an exponential moving average of past gradients.

    Source: Ramirez, Sukumaran, Bertrand and Gidel, 2024; the start m_0 = g_1 as in their code.

    Args:
        step_size: positive.
        optimism: o, at least 0; 0 for gradient descent.
        decay: d, between 0 and 1; 0 for optimistic gradient descent. With 1, m stays g_1.

    Returns:
        An optax transformation; the gradients may be any pytree of arrays.

    >>> method = omega(1.0, optimism=1.0, decay=0.5)
    >>> moves, state = [], method.init(0.0)
    >>> for gradient in (4.0, 3.0, 3.0):
    ...     move, state = method.update(jnp.float64(gradient), state)
    ...     moves.append(float(move))
    >>> moves  # m is 4, 4 and 3.5
    [-4.0, -2.0, -2.5]
    """
    checks.require_positive("step_size", step_size)
    checks.require_nonnegative("optimism", optimism)
    checks.require_in("decay", decay, 0, 1)

    def init(parameters):
        return OmegaState(jax.tree.map(jnp.zeros_like, parameters), jnp.array(False))

    def update(gradients, state, parameters=None):
        del parameters
        average = jax.tree.map(lambda g, m: jnp.where(state.begun, m, g), gradients, state.average)
        moves = jax.tree.map(lambda g, m: -step_size * (g + optimism * (g - m)), gradients, average)
        average = jax.tree.map(lambda g, m: decay * m + (1.0 - decay) * g, gradients, average)
        return moves, OmegaState(average, jnp.array(True))

    return optax.GradientTransformation(init, update)


def optimistic_gradient_descent(
    step_size: Any, optimism: Any = 1.0
) -> optax.GradientTransformation:
    """Optimistic gradient descent: expect the last change of the gradient once more.

    The same as `optax.optimistic_gradient_descent(step_size, alpha=1.0, beta=optimism)`.
    Source: Daskalakis, Ilyas, Syrgkanis and Zeng, 2018, after Popov, 1980.

    Args:
        step_size: positive.
        optimism: at least 0.
    """
    return omega(step_size, optimism, decay=0.0)


class GameRun(NamedTuple):
    """A run of T steps.

    Attributes:
        points: z_0, ..., z_T, like the start, with a new axis 0 of length T + 1.
        gradients: what the field returned at z_0, ..., z_{T-1}; axis 0 has length T.
    """

    points: Any
    gradients: Any


class _State(NamedTuple):
    point: Any
    gradient: Any
    inner: Any


def play(
    field: Field,
    start: Any,
    transformation: optax.GradientTransformation,
    inner_steps: int,
    key: Any = None,
) -> GameRun:
    """Both players follow the field with the same method, at the same time.

    Args:
        field: maps (point, key) to a gradient like the point; see `metagrad.games`.
        start: z_0, any pytree of arrays.
        transformation: the method: `omega`, `optax.sgd`, ...
        inner_steps: T, at least 1.
        key: a JAX random key where the field needs one; every step gets one of its own.

    Returns:
        A `GameRun` of T steps.

    >>> from metagrad.games import Players, bilinear_game, full_field
    >>> start = Players(jnp.ones(1), jnp.zeros(1))
    >>> run = play(full_field(bilinear_game([[1.0]])), start, optax.sgd(0.5), 2)
    >>> run.points.x.tolist(), run.points.y.tolist()
    ([[1.0], [1.0], [0.75]], [[0.0], [0.5], [1.0]])
    """
    start = checks.float_tree("start", start)

    def key_of(t):
        return None if key is None else jax.random.fold_in(key, t)

    checks.require_same_tree("field", jax.eval_shape(lambda z: field(z, key_of(1)), start), start)

    def step(state, t):
        gradient = field(state.point, key_of(t))
        moves, inner = transformation.update(gradient, state.inner, state.point)
        return _State(optax.apply_updates(state.point, moves), gradient, inner)

    first = _State(start, start, transformation.init(start))  # the gradient is overwritten
    states = unroll(step, first, inner_steps)[1]
    return GameRun(prepend(start, states.point), states.gradient)
