"""Learning a step size by meta-gradient descent, for several lengths of the run and first guesses.

The first experiment of Wang, Yuan, Wu and Ge, 2021: gradient descent for t steps on a quadratic
with 20 coordinates, and 1000 meta-steps of size μ / √k with a reset at zero. Each meta-gradient
is computed in five ways: that of the loss itself ("naive"), and that of its logarithm over t
exactly ("stable"), by backpropagation in single and in double precision, and by backpropagation
in double precision with the inner gradients taken as constants ("first order").

Two kinds of problems. "authors", from the authors' code: H = XᵀX with X of shape (20, 20), start
and X standard normal, μ = 1/100. Its smallest eigenvalue is close to 0, and 1/100 is large for
its largest, so that the iterates may still chatter at the end. "normalized": H = XXᵀ / L with X
of shape (20, 40), as in the paper's text, but divided by the largest eigenvalue, a start of
norm 1, and the theorem's μ = 1. All runs are computed in the eigenbasis.

In the authors' TensorFlow version inner gradients are constants, too. It also replaces
meta-gradients that are not finite by 0 and clips; here nothing is repaired: NaN stays NaN.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.intervals import rounded
from metagrad import meta_gradient, reverse
from metagrad.renormalization import log_loss
from metagrad.stepsize import log_meta_gradient, naive_meta_gradient
from metagrad.stepsize_descent import best_step_size, tune_step_size

SETTINGS: dict[str, Any] = {
    "dimension": 20,
    "kinds": {
        "authors": {"columns": 20, "meta_step_size": 0.01, "first": [0.001, 0.01, 0.1, 1.0]},
        "normalized": {"columns": 40, "meta_step_size": 1.0, "first": [0.1, 1.0, 6.0]},
    },
    "steps": [10, 20, 40, 80, 160, 320],
    "meta_steps": 1000,
    "seeds": [0, 5],  # first, how many
    "close": 0.05,  # a relative error of the last step size up to which a run counts as arrived
    "curve": {"kind": "authors", "steps": 80, "first": 0.1},  # that of the paper's figure 1
    "curve_points": 40,
    "best_for": [1, 2, 3, 5, 10, 20, 40, 80, 160, 320, 1000, 10000, 100000],
}


def problem(kind: str, seed: int, dimension: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a problem: eigenvalues and the start's coefficients, shape (dimension,) each."""
    for_matrix, for_start = jax.random.split(jax.random.key(seed))
    matrix = np.asarray(jax.random.normal(for_matrix, (dimension, columns)))
    eigenvalues, basis = np.linalg.eigh(matrix @ matrix.T)
    coefficients = basis.T @ np.asarray(jax.random.normal(for_start, (dimension,)))
    if kind == "normalized":
        eigenvalues = eigenvalues / eigenvalues[-1]
        coefficients = coefficients / np.linalg.norm(coefficients)
    return eigenvalues, coefficients


def by_backpropagation(dtype: Any, first_order: bool) -> Callable[..., Any]:
    """Return a function of (step size, eigenvalues, coefficients, steps): the derivative."""

    def slope(step_size, eigenvalues, coefficients, steps):
        spectrum, start = eigenvalues.astype(dtype), coefficients.astype(dtype)

        def step(x, step_size, t):
            gradient = spectrum * x
            return x - step_size * (jax.lax.stop_gradient(gradient) if first_order else gradient)

        loss = log_loss(lambda x, w: 0.5 * jnp.sum(spectrum * x**2), steps)
        return meta_gradient(
            loss, step, step_size.astype(dtype), start, steps, method=reverse()
        ).gradient

    return slope


def naive(step_size: Any, eigenvalues: Any, coefficients: Any, steps: int) -> Any:
    """Return the derivative of the loss itself, as a number: it may be infinite, or 0."""
    found = naive_meta_gradient(step_size, eigenvalues, coefficients, steps)
    return found.sign * jnp.exp(found.log_size)


METHODS = {
    "naive": naive,
    "stable": log_meta_gradient,
    "backpropagation, float32": by_backpropagation(jnp.float32, False),
    "backpropagation, float64": by_backpropagation(jnp.float64, False),
    "first order, float64": by_backpropagation(jnp.float64, True),
}


def tuner(
    method: Callable[..., Any], steps: int, meta_steps: int, meta_step_size: float
) -> Callable[..., Any]:
    """Return a function of (eigenvalues, coefficients, first guesses): tune all of them.

    It returns step sizes and meta-gradients, with the axes (guess, problem, meta-step).
    """

    def tune(eigenvalues, coefficients, first):
        def slope(step_size):
            return method(step_size, eigenvalues, coefficients, steps)

        return tune_step_size(slope, first, meta_steps, meta_step_size=meta_step_size)

    return jax.jit(jax.vmap(jax.vmap(tune, (0, 0, None)), (None, None, 0)))


def summary(betas: np.ndarray, slopes: np.ndarray, best: np.ndarray, close: float) -> dict:
    """Count what became of runs, one for each problem.

    Args:
        betas: the step sizes, shape (problems, meta_steps + 1).
        slopes: the meta-gradients, shape (problems, meta_steps).
        best: the best step sizes, shape (problems,).
        close: what counts as arrived.

    Returns:
        `errors`, |β_K - β*| / β* for each problem, None where it is not finite; `arrived`, how
        many are `close`; `not_finite` and `exactly_zero`, the runs that met such a meta-gradient;
        `zeros`, the share of all meta-gradients that are exactly 0; `first_close`, the median
        over the arrived runs of the first k from which on they stay close, None if none arrived.
    """
    relative = np.abs(betas / best[:, None] - 1.0)
    outside = ~(relative <= close)  # NaN is outside
    arrived = ~outside[:, -1]
    last_outside = np.where(outside, np.arange(betas.shape[1]), -1).max(axis=1)
    return {
        "errors": [rounded([e], 3)[0] if np.isfinite(e) else None for e in relative[:, -1]],
        "arrived": int(arrived.sum()),
        "not_finite": int((~np.isfinite(slopes)).any(axis=1).sum()),
        "exactly_zero": int((slopes == 0).any(axis=1).sum()),
        "zeros": rounded([float(np.mean(slopes == 0))], 3)[0],
        "first_close": float(np.median(last_outside[arrived] + 1)) if arrived.any() else None,
    }


def run(
    *,
    dimension: int,
    kinds: dict[str, dict],
    steps: list[int],
    meta_steps: int,
    seeds: list[int],
    close: float,
    curve: dict[str, Any],
    curve_points: int,
    best_for: list[int],
) -> dict[str, Any]:
    """Tune the step size in each way.

    Returns:
        For each kind: `extremes`, the smallest and largest eigenvalue of each problem; `best`,
        for each problem the best step sizes for runs of `best_for` steps, and `limit`, what they
        tend to, 2 / (smallest + largest); and `runs`, a list with `steps`, `first` (the first
        guess) and `methods`, a `summary` for each way. `curve` has the step sizes of the first
        problem after `meta_steps`, for each way, None where they are not finite.
    """
    places = np.unique(np.geomspace(1, meta_steps + 1, curve_points).round().astype(int)) - 1
    found: dict[str, Any] = {"curve": {"meta_steps": places.tolist(), **curve, "methods": {}}}
    for kind, options in kinds.items():
        drawn = [
            problem(kind, seed, dimension, options["columns"])
            for seed in range(seeds[0], sum(seeds))
        ]
        eigenvalues, coefficients = (jnp.asarray(part) for part in zip(*drawn, strict=True))
        tuned = jax.jit(jax.vmap(jax.vmap(best_step_size, (None, None, 0)), (0, 0, None)))
        best = np.asarray(tuned(eigenvalues, coefficients, jnp.asarray(best_for)))
        exact = np.asarray(tuned(eigenvalues, coefficients, jnp.asarray(steps)))
        runs: list[dict] = []
        for place, count in enumerate(steps):
            rows: list[dict] = [
                {"steps": count, "first": beta, "methods": {}} for beta in options["first"]
            ]
            for name, method in METHODS.items():
                dtype = jnp.float32 if "float32" in name else jnp.float64
                tune = tuner(method, count, meta_steps, options["meta_step_size"])
                made = tune(eigenvalues, coefficients, jnp.asarray(options["first"], dtype))
                for row, betas, slopes in zip(rows, *map(np.asarray, made), strict=True):
                    row["methods"][name] = summary(
                        betas.astype(float), slopes, exact[:, place], close
                    )
                    if (kind, count, row["first"]) == tuple(curve.values()):
                        found["curve"]["methods"][name] = [
                            rounded([beta])[0] if np.isfinite(beta) else None
                            for beta in betas[0, places].tolist()
                        ]
            runs += rows
        found[kind] = {
            "extremes": [rounded([float(e[0]), float(e[-1])]) for e in eigenvalues],
            "best_for": best_for,
            "best": [rounded(row.tolist(), 6) for row in best],
            "limit": rounded([2.0 / float(e[0] + e[-1]) for e in eigenvalues], 6),
            "runs": runs,
        }
    return found
