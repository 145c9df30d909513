"""What becomes of plain gradient descent on the cosine valley, step by step and start by start.

Each start is called, by where its run ends,

- arrived, if it lies within `near` of the minimum 0,
- left, if it has been farther than `far` on the way; the run is stopped there,
- neither otherwise: a cycle, a bounded wandering, or an excursion that is not over yet.

Descent is chaotic here, so single runs differ from machine to machine; the shares do not, much.
Beside the fates, the mean logarithm of |θ'/θ| over far points, which the closed form of
`metagrad.divergence_window.lyapunov_exponent` is to predict.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metagrad.cosine_valley import Valley, valley_gradient
from metagrad.divergence_window import divergence_window, lyapunov_exponent

SETTINGS: dict[str, Any] = {
    "seed": 0,
    "valleys": {  # curvature, wave, regularizer; the step sizes tried
        "convex": [[1.0, -1.0, 1.0], [3.9, 6.0, 8.0, 8.4, 8.6, 8.8, 9.0, 9.5, 12.0, 15.0, 17.9]],
        "other sign": [[1.0, 1.0, 1.0], [1.0, 1.9, 3.9, 6.0, 8.8, 9.0, 9.5, 12.0]],
        "nonconvex": [[0.0, -0.9, 1.0], [0.19, 2.0, 2.5, 2.6, 2.7, 2.76, 3.0, 5.0, 7.0]],
    },
    "starts": 200,
    "between": [20.0, 200.0],
    "outer_steps": 6000,
    "near": 1e-6,
    "far": 1e12,
    "far_points": 4000,
    "far_steps": 4,
}


def fates(
    valley: Valley, step_size: float, starts: np.ndarray, steps: int, near: float, far: float
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each run arrives, and whether it leaves."""

    def step(carry, _):
        theta, gone = carry
        moved = theta - step_size * valley_gradient(valley, theta)
        gone = gone | (jnp.abs(moved) > far)
        return (jnp.where(gone, theta, moved), gone), None

    first = jnp.asarray(starts), jnp.zeros(len(starts), bool)
    end, gone = jax.jit(lambda c: jax.lax.scan(step, c, None, length=steps)[0])(first)
    return np.asarray(~gone & (jnp.abs(end) < near)), np.asarray(gone)


def growth(valley: Valley, step_size: float, starts: np.ndarray, steps: int) -> tuple[float, float]:
    """The mean of log |θ'/θ| over the steps from far starts, and its standard error."""

    def step(theta, _):
        moved = theta - step_size * valley_gradient(valley, theta)
        return moved, jnp.log(jnp.abs(moved / theta))

    logs = jax.jit(lambda t: jax.lax.scan(step, t, None, length=steps)[1])(jnp.asarray(starts))
    of_runs = np.mean(np.asarray(logs), axis=0)
    return float(np.mean(of_runs)), float(np.std(of_runs) / np.sqrt(len(of_runs)))


def run(
    *,
    seed: int,
    valleys: dict,
    starts: int,
    between: list,
    outer_steps: int,
    near: float,
    far: float,
    far_points: int,
    far_steps: int,
) -> dict[str, Any]:
    """Try every step size of every valley.

    Returns:
        For each valley: `window`, its two ends; `rows`, for each step size the shares that
        arrived and left, the exponent by the closed form, and the measured one with its error.
    """
    rng = np.random.default_rng(seed)
    low, high = between
    begin = rng.uniform(low, high, starts)
    distant = 10.0 ** rng.uniform(6.0, 7.0, far_points)
    made: dict[str, Any] = {}
    for name, (numbers, step_sizes) in valleys.items():
        valley = Valley(*numbers)
        rows = []
        for step_size in step_sizes:
            arrived, left = fates(valley, step_size, begin, outer_steps, near, far)
            mean, error = growth(valley, step_size, distant, far_steps)
            rows.append(
                {
                    "step_size": step_size,
                    "arrived": float(np.mean(arrived)),
                    "left": float(np.mean(left)),
                    "exponent": float(lyapunov_exponent(valley, step_size)),
                    "measured": mean,
                    "error": error,
                }
            )
        made[name] = {"window": [float(end) for end in divergence_window(valley)], "rows": rows}
    return made
