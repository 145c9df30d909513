"""Step sizes for each coordinate, learned online: with a hint or without, axis-aligned or rotated.

The loss is a quadratic bowl in n dimensions with eigenvalues from 1/κ to 1, the rule is
φ(x, w) = x - w * ∇f(x), and w is learned by `metagrad.optimistic` from w_0 = 1/L = 1, where the
rule is gradient descent. Each eigenvector of a large eigenvalue is turned by an angle towards one
of a small eigenvalue, or all of them are random. `averaged` uses α_t = t and averages, `last` uses
α_t = 1 and the last point. The hint is the gradient just seen; it costs no further gradient:
every method here takes one gradient in each step.

The scale of the meta step size is tuned for every method and orientation, on starts (and random
orientations) of their own: the scale with the least mean total loss f(x_1) + ... + f(x_T). What is
stored is measured on other starts, where a scale that was safe so far may blow up: hence medians.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.intervals import median_interval, rounded
from metagrad.learner import adagrad
from metagrad.momentum import gradient_descent, nesterov
from metagrad.optimistic import optimistic_meta_learning
from metagrad.problems import quadratic_from_matrix
from metagrad.rules import element_wise
from metagrad.weights import power_weights

SETTINGS: dict[str, Any] = {
    "size": 10,
    "condition": 1e3,
    "orientations": [0, 5, 10, 20, 30, 45, "random"],  # degrees
    "inner_steps": 200,
    "log10_scales": [-2.0, 4.0, 49],  # first, last, how many
    "tuning_seeds": 60,
    "seeds": 60,
}

LEARNERS = ("averaged, adaptive", "last, adaptive", "averaged, constant", "last, constant")


def turned_basis(size: int, degrees: float) -> np.ndarray:
    """Turn axis i towards axis n + 1 - i by an angle, for i <= n / 2; returns columns (n, n)."""
    basis = np.eye(size)
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    for i in range(size // 2):
        j = size - 1 - i
        basis[i, i] = basis[j, j] = cos
        basis[j, i], basis[i, j] = sin, -sin
    return basis


def problems(
    size: int, condition: float, orientation: float | str, seeds: range
) -> tuple[jax.Array, jax.Array]:
    """Return matrices (seeds, n, n) and starts on the unit sphere (seeds, n)."""
    eigenvalues = np.logspace(-np.log10(condition), 0.0, size)
    matrices, starts = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        start = rng.normal(size=size)
        if orientation == "random":
            basis, corner = np.linalg.qr(rng.normal(size=(size, size)))
            basis = basis * np.sign(np.diag(corner))  # makes the distribution uniform
        else:
            basis = turned_basis(size, float(orientation))
        matrices.append(basis * eigenvalues @ basis.T)
        starts.append(start / np.linalg.norm(start))
    return jnp.asarray(np.stack(matrices)), jnp.asarray(np.stack(starts))


def learned_losses(learner: str, hint: bool, inner_steps: int, scale, matrix, start) -> jax.Array:
    """Return f(x_1), ..., f(x_T) with learned step sizes."""
    average, adaptive = learner.startswith("averaged"), learner.endswith("adaptive")
    loss = quadratic_from_matrix(matrix)
    weights = power_weights(inner_steps, 1.0 if average else 0.0)
    run = optimistic_meta_learning(
        loss,
        element_wise(loss),
        start,
        jnp.ones_like(start),
        weights,
        adagrad(scale) if adaptive else scale,
        weights if hint else None,
        average=average,
    )
    return jax.vmap(loss)(run.averages)


def baseline_losses(name: str, inner_steps: int, matrix, start) -> jax.Array:
    """Return f(x_1), ..., f(x_T) of gradient descent or Nesterov's method with step 1/L = 1."""
    loss = quadratic_from_matrix(matrix)
    if name == "gradient descent":
        points = gradient_descent(loss, start, 1.0, inner_steps)
    else:
        points = nesterov(loss, start, 1.0, inner_steps).points
    return jax.vmap(loss)(points[1:])


def totals_of(losses: np.ndarray) -> np.ndarray:
    """Return f(x_1) + ... + f(x_T) of each run, infinity where it overflows; shape (seeds,)."""
    totals = losses.sum(axis=-1)
    return np.where(np.isfinite(totals), totals, np.inf)


def summary(losses: np.ndarray) -> dict[str, Any]:
    """Return medians of the total and the last loss, and how many runs blew up.

    f is at most 1/2 at the start: a total of more than T / 2 is that of a run that blew up.
    """
    totals = totals_of(losses)
    finals = np.where(np.isfinite(totals), losses[:, -1], np.inf)
    return {
        "total": rounded(median_interval(totals)),
        "final": rounded(median_interval(finals)),
        "blown_up": int(np.sum(totals > losses.shape[1] / 2)),
    }


def ratio_of(top: np.ndarray, bottom: np.ndarray) -> list[float]:
    """Return the median ratio of two totals of the same runs; two that overflow are a tie."""
    tie = np.isinf(top) & np.isinf(bottom)
    ratios = np.where(tie, 1.0, top) / np.where(tie, 1.0, bottom)
    return rounded(median_interval(ratios))


def run(
    *,
    size: int,
    condition: float,
    orientations: list[float | str],
    inner_steps: int,
    log10_scales: list,
    tuning_seeds: int,
    seeds: int,
) -> dict[str, Any]:
    """Tune and measure every method at every orientation.

    Returns:
        For each orientation and method: medians over seeds with 95% intervals [median, low, high]
        of the `total` and the `final` loss, the number of runs that have `blown_up`, and for
        learned step sizes the tuned `scale`. And `hint_ratio`, for each learner the total with
        the hint over the total without it from the same start [median, low, high].
    """
    scales = np.logspace(*log10_scales)

    def batched(learner: str, hint: bool):
        def losses(scale, matrix, start):
            return learned_losses(learner, hint, inner_steps, scale, matrix, start)

        return jax.jit(jax.vmap(losses, (None, 0, 0)))

    runs = {
        (learner, hint): batched(learner, hint) for learner in LEARNERS for hint in (False, True)
    }
    table: dict[str, Any] = {}
    for orientation in orientations:
        tuning = problems(size, condition, orientation, range(tuning_seeds))
        fresh = problems(size, condition, orientation, range(tuning_seeds, tuning_seeds + seeds))
        rows: dict[str, Any] = {}
        for name in ("gradient descent", "nesterov"):
            baseline = jax.vmap(lambda *data, name=name: baseline_losses(name, inner_steps, *data))
            rows[name] = summary(np.asarray(baseline(*fresh)))
        totals: dict[tuple[str, bool], np.ndarray] = {}
        for (learner, hint), losses in runs.items():
            tuned = [totals_of(np.asarray(losses(scale, *tuning))).mean() for scale in scales]
            scale = scales[int(np.argmin(tuned))]
            found = np.asarray(losses(scale, *fresh))
            totals[learner, hint] = totals_of(found)
            name = f"{learner}, {'hint' if hint else 'no hint'}"
            rows[name] = {**summary(found), "scale": float(f"{scale:.4g}")}
        ratios = {
            learner: ratio_of(totals[learner, True], totals[learner, False]) for learner in LEARNERS
        }
        table[str(orientation)] = {"methods": rows, "hint_ratio": ratios}
    return {"orientations": table, "gradients_per_run": inner_steps}
