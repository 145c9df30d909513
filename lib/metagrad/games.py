"""Games: one player minimizes over x what the other maximizes over y.

A *field* maps (point, key) to the gradient of the first player and minus that of the second, so
that both go downhill along it; the key is for noise. `metagrad.omega` plays on such fields.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks


class Players(NamedTuple):
    """A point of a game: x, shape (n,), is to minimize and y, shape (k,), to maximize."""

    x: Float[Array, " n"]
    y: Float[Array, " k"]


Field = Callable[[Players, Any], Players]


class QuadraticGame(NamedTuple):
    """The mean over m samples of xᵀP_i x / 2 + xᵀB_i y - yᵀQ_i y / 2 + p_iᵀx - q_iᵀy.

    Attributes:
        curvature_x: P_i, symmetric and positive semidefinite, shape (m, n, n).
        coupling: B_i, shape (m, n, k).
        curvature_y: Q_i, symmetric and positive semidefinite, shape (m, k, k).
        bias_x: p_i, shape (m, n).
        bias_y: q_i, shape (m, k).
    """

    curvature_x: Float[Array, "samples n n"]
    coupling: Float[Array, "samples n k"]
    curvature_y: Float[Array, "samples k k"]
    bias_x: Float[Array, "samples n"]
    bias_y: Float[Array, "samples k"]


def bilinear_game(coupling: Any, convexity: Any = 0.0) -> QuadraticGame:
    """One sample: xᵀB y + convexity (||x||² - ||y||²) / 2, with its saddle point at the origin.

    Args:
        coupling: B, shape (n, k).
        convexity: at least 0; 0 for the bilinear game itself.

    >>> field = full_field(bilinear_game([[2.0]], convexity=1.0))
    >>> gradient = field(Players(jnp.array([3.0]), jnp.array([5.0])), None)
    >>> gradient.x.tolist(), gradient.y.tolist()
    ([13.0], [-1.0])
    """
    coupling = checks.as_float("coupling", coupling)
    if coupling.ndim != 2 or 0 in coupling.shape:
        raise ValueError(f"coupling must have shape (n, k), got shape {coupling.shape}")
    checks.require_nonnegative("convexity", convexity)
    n, k = coupling.shape
    return QuadraticGame(
        curvature_x=convexity * jnp.eye(n, dtype=coupling.dtype)[None],
        coupling=coupling[None],
        curvature_y=convexity * jnp.eye(k, dtype=coupling.dtype)[None],
        bias_x=jnp.zeros((1, n), coupling.dtype),
        bias_y=jnp.zeros((1, k), coupling.dtype),
    )


def random_game(key: Any, samples: int, size: int, convexity: Any = 0.0) -> QuadraticGame:
    """A stochastic game: couplings and biases drawn anew for every sample.

    B_i = identity + noise of variance 1/size in each entry; p_i, q_i normal of variance 1/size;
    P_i = Q_i = convexity times the identity.

    Args:
        key: a JAX random key.
        samples: m, at least 1.
        size: n = k, at least 1.
        convexity: at least 0; 0 for a stochastic bilinear game.
    """
    checks.require_steps("samples", samples)
    checks.require_steps("size", size)
    checks.require_nonnegative("convexity", convexity)
    coupling_key, x_key, y_key = jax.random.split(key, 3)
    spread = size**-0.5
    curvature = jnp.broadcast_to(convexity * jnp.eye(size), (samples, size, size))
    noise = jax.random.normal(coupling_key, (samples, size, size))
    return QuadraticGame(
        curvature_x=curvature,
        coupling=jnp.eye(size)[None] + spread * noise,
        curvature_y=curvature,
        bias_x=spread * jax.random.normal(x_key, (samples, size)),
        bias_y=spread * jax.random.normal(y_key, (samples, size)),
    )


def game_value(game: QuadraticGame, point: Players) -> Float[Array, ""]:
    """The game's value at a point: the mean over its samples, shape ()."""
    one = jax.tree.map(lambda values: jnp.mean(values, axis=0), game)
    x, y = point
    quadratic = 0.5 * (x @ one.curvature_x @ x - y @ one.curvature_y @ y) + x @ one.coupling @ y
    return quadratic + one.bias_x @ x - one.bias_y @ y


def full_field(game: QuadraticGame) -> Field:
    """The field of the whole game; it ignores its key."""

    def field(point, key):
        del key
        gradient = jax.grad(game_value, argnums=1)(game, point)
        return Players(gradient.x, -gradient.y)

    return field


def _require_key(key: Any) -> None:
    if key is None:
        raise ValueError("key must be a JAX random key where the field is random, got None")


def sampled_field(game: QuadraticGame, batch: int = 1) -> Field:
    """The field of `batch` samples drawn with replacement."""
    checks.require_steps("batch", batch)
    samples = game.bias_x.shape[0]

    def field(point, key):
        _require_key(key)
        drawn = jax.random.randint(key, (batch,), 0, samples)
        return full_field(jax.tree.map(lambda values: values[drawn], game))(point, None)

    return field


def noisy(field: Field, scale: Any) -> Field:
    """The field plus normal noise: independent, mean 0, standard deviation `scale` per entry."""
    checks.require_nonnegative("scale", scale)

    def noised(point, key):
        _require_key(key)
        field_key, *keys = jax.random.split(key, 3)
        gradient = field(point, field_key)
        return Players(
            *(
                values + scale * jax.random.normal(key, values.shape, values.dtype)
                for values, key in zip(gradient, keys, strict=True)
            )
        )

    return noised


def saddle_point(game: QuadraticGame) -> Players:
    """Where the mean field vanishes.

    Raises:
        ValueError: if there is no such point, or more than one.

    >>> point = saddle_point(random_game(jax.random.key(0), 3, 2, convexity=1.0))
    >>> gradient = full_field(random_game(jax.random.key(0), 3, 2, convexity=1.0))(point, None)
    >>> bool(jnp.all(jnp.abs(gradient.x) < 1e-14))
    True
    """
    one = jax.tree.map(lambda values: jnp.mean(values, axis=0), game)
    matrix = jnp.block([[one.curvature_x, one.coupling], [-one.coupling.T, one.curvature_y]])
    if checks.is_known(matrix) and jnp.linalg.matrix_rank(matrix) < matrix.shape[0]:
        raise ValueError("game must have exactly one saddle point, got a singular mean field")
    solution = jnp.linalg.solve(matrix, -jnp.concatenate([one.bias_x, one.bias_y]))
    n = one.bias_x.shape[0]
    return Players(solution[:n], solution[n:])
