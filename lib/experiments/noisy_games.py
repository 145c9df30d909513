"""Two games under noise: gradient descent-ascent, optimistic gradient descent, and Omega.

The games are xᵀBy + c (|x|² - |y|²) / 2 with a diagonal B: bilinear for c = 0, strongly
convex-concave for c > 0. The saddle point is the origin, every run starts at distance 1 from it,
and each gradient carries independent normal noise. A run is judged by its squared distance to the
saddle point, averaged over its last `judged_steps` steps: staying at the start scores 1. All
methods take one gradient in each step.

The step size is tuned for every game, noise and method: of the same grid, the one with the least
mean score over seeds of their own. What is stored is measured on other seeds. On the bilinear
game gradient descent-ascent moves away at any step size, and tuning takes the smallest.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.intervals import mean_interval, ratio_interval, rounded
from metagrad.games import Players, bilinear_game, full_field, noisy
from metagrad.omega import omega, play

SETTINGS: dict[str, Any] = {
    "games": {"bilinear": 0.0, "strongly convex-concave": 0.2},  # the number c
    "couplings": [0.5, 0.625, 0.75, 0.875, 1.0],  # the diagonal of B
    "noises": [0.0, 0.01, 0.1, 0.5],  # standard deviation of each entry of a gradient
    "methods": {  # the transformation u_t = g_t + optimism (g_t - m_{t-1}); see metagrad.omega
        "descent-ascent": {"optimism": 0.0, "decay": 0.0},
        "optimistic": {"optimism": 1.0, "decay": 0.0},
        "omega": {"optimism": 1.0, "decay": 0.9},
    },
    "log10_step_sizes": [-3.0, 0.0, 19],  # first, last, how many
    "inner_steps": 1000,
    "judged_steps": 100,
    "tuning_seeds": [0, 12],  # first, how many
    "seeds": [1000, 30],
    "curve_points": 20,
}


def squared_distances(
    convexity: float,
    couplings: jax.Array,
    noise: float,
    method: dict[str, float],
    step_size: Any,
    inner_steps: int,
    seed: Any,
) -> jax.Array:
    """Return |x_t|² + |y_t|² for t = 0, ..., T, from a random start at distance 1."""
    field = noisy(full_field(bilinear_game(jnp.diag(couplings), convexity)), noise)
    start_key, noise_key = jax.random.split(jax.random.key(seed))
    direction = jax.random.normal(start_key, (2, couplings.shape[0]))
    direction = direction / jnp.linalg.norm(direction)
    start = Players(direction[0], direction[1])
    points = play(field, start, omega(step_size, **method), inner_steps, noise_key).points
    return jnp.sum(points.x**2, axis=1) + jnp.sum(points.y**2, axis=1)


def run(
    *,
    games: dict[str, float],
    couplings: list[float],
    noises: list[float],
    methods: dict[str, dict[str, float]],
    log10_step_sizes: list,
    inner_steps: int,
    judged_steps: int,
    tuning_seeds: list[int],
    seeds: list[int],
    curve_points: int,
) -> dict[str, Any]:
    """Tune and measure every method on every game at every noise.

    Returns:
        `steps`, the steps of the curves; and for each game, noise and method: the tuned
        `step_size`, the `score` over seeds [mean, low, high] (95% intervals), and the `curve`, the
        mean squared distance at `steps`. `ratios` has the scores of optimistic and Omega over
        that of descent-ascent and of Omega over optimistic, seed by seed [geometric mean, low,
        high].
    """
    diagonal = jnp.asarray(couplings)
    step_sizes = np.logspace(*log10_step_sizes)
    steps = np.unique(np.geomspace(1, inner_steps, curve_points).round().astype(int))
    tuning = jnp.arange(tuning_seeds[0], sum(tuning_seeds))
    fresh = jnp.arange(seeds[0], sum(seeds))
    table: dict[str, Any] = {}
    for game, convexity in games.items():
        table[game] = {}
        for noise in noises:
            rows: dict[str, Any] = {}
            scores: dict[str, np.ndarray] = {}
            for name, method in methods.items():

                def distances(step_size, seed, convexity=convexity, noise=noise, method=method):
                    return squared_distances(
                        convexity, diagonal, noise, method, step_size, inner_steps, seed
                    )

                def score(step_size, seed, distances=distances):
                    return jnp.mean(distances(step_size, seed)[-judged_steps:])

                tuned = jax.jit(jax.vmap(jax.vmap(score, (None, 0)), (0, None)))
                means = np.asarray(tuned(jnp.asarray(step_sizes), tuning)).mean(axis=1)
                best = step_sizes[int(np.argmin(np.where(np.isfinite(means), means, np.inf)))]
                found = np.asarray(jax.jit(jax.vmap(distances, (None, 0)))(best, fresh))
                scores[name] = found[:, -judged_steps:].mean(axis=1)
                rows[name] = {
                    "step_size": float(f"{best:.5g}"),
                    "score": rounded(mean_interval(scores[name])),
                    "curve": rounded(found[:, steps].mean(axis=0).tolist(), 4),
                }
            pairs = (("optimistic", "descent-ascent"), ("omega", "descent-ascent"))
            ratios = {
                f"{top} / {bottom}": rounded(ratio_interval(scores[top], scores[bottom]))
                for top, bottom in (*pairs, ("omega", "optimistic"))
            }
            table[game][str(noise)] = {"methods": rows, "ratios": ratios}
    return {"steps": steps.tolist(), "games": table}
