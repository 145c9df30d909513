"""Train-by-train and train-by-validation on random least squares, at the paper's d = 1000.

Both tune one step size of gradient descent, by a search over a grid: for the smallest mean loss
over training tasks. Train-by-train descends on all n samples of a task and looks at the loss on
these; train-by-validation descends on the first half and looks at the loss on the other half.
Then both step sizes are used on fresh tasks, with all n samples. One series varies the noise at
n = d / 2, the other the number of samples at noise 1.

From Wang, Yuan, Wu and Ge, 2021: d, n and the truncation at 40 σ from the text; t = 40, the range
of the grid and the use with n samples from the authors' code. The lists of noises and of other
sample sizes are ours, since the paper's are not known. Ours, too: tasks are the same for all step
sizes (the authors draw new ones for each), the grid is twice as fine, and the loss on fresh
samples of a new task is its mean, (||w - w*||² + σ²) / 2, in place of a draw.

Beside each result stands the limit n, d → ∞ at the same d / n, where no random number is left.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.intervals import mean_interval, rounded
from metagrad.least_squares import Task, descend, draw_task, on_sphere, sample_loss
from metagrad.least_squares_tuning import bayes_risk, tuned_by_training, tuned_by_validation
from metagrad.spectra import marchenko_pastur
from metagrad.spectral_tasks import SpectralRun, descend_in_eigenbasis, in_eigenbasis

SETTINGS: dict[str, Any] = {
    "dimension": 1000,
    "steps": 40,
    "truncation": 40.0,  # times σ
    "noises": {  # for each n
        "250": [1.0],
        "500": [0.25, 0.5, 1.0, 2.0, 3.0, 4.0],
        "1000": [1.0],
        "2000": [1.0],
        "4000": [1.0],
    },
    "log10_step_sizes": [-6.0, 0.0, 49],  # first, last, how many
    "seeds": [0, 6],  # first, how many: each tunes and tests anew
    "training_tasks": 8,  # of one seed
    "test_tasks": 5,
    "curve_steps": [1, 2, 3, 5, 7, 10, 14, 20, 28, 40],
    "nodes": 2000,  # of the limit's quadrature
}
METHODS = ("train_by_train", "train_by_validation")


def draw(key: jax.Array, samples: int, dimension: int, noise: Any) -> tuple[Task, jax.Array]:
    """Return a task and the direction in which its truncated runs end."""
    for_task, for_direction = jax.random.split(key)
    return draw_task(for_task, samples, dimension, noise), on_sphere(for_direction, dimension)


def objectives(
    key: jax.Array,
    noise: Any,
    step_sizes: jax.Array,
    *,
    samples: int,
    dimension: int,
    steps: int,
    truncation: float,
) -> tuple[jax.Array, jax.Array]:
    """Return the two losses of one task at each step size, shape (step sizes,) each."""
    task, direction = draw(key, samples, dimension, noise)
    radius = truncation * noise
    spectral, half = in_eigenbasis(task, direction), samples // 2

    def by_train(step_size):
        return descend_in_eigenbasis(spectral, step_size, steps, radius).train_loss

    def by_validation(step_size):
        inputs, targets = task.inputs[:half], task.targets[:half]
        point = descend(inputs, targets, step_size, steps, radius, direction).point
        return sample_loss(task.inputs[half:], task.targets[half:], point)

    return jax.vmap(by_train)(step_sizes), jax.vmap(by_validation)(step_sizes)


def outcomes(
    key: jax.Array,
    noise: Any,
    chosen: jax.Array,
    *,
    samples: int,
    dimension: int,
    curve_steps: list[int],
    truncation: float,
) -> SpectralRun:
    """Use the chosen step sizes on one task; fields of shape (chosen, curve steps)."""
    task, direction = draw(key, samples, dimension, noise)
    spectral = in_eigenbasis(task, direction)

    def use(step_size):
        runs = [
            descend_in_eigenbasis(spectral, step_size, count, truncation * noise)
            for count in curve_steps
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)

    return jax.vmap(use)(chosen)


def limit(ratio: Any, noise: Any, *, steps: int, nodes: int) -> dict[str, Any]:
    """Return what both methods come to for n, d → ∞ with infinitely many training tasks."""
    spectrum = marchenko_pastur(ratio, nodes)
    halved = marchenko_pastur(2.0 * ratio, nodes)
    tuned = {
        "train_by_train": tuned_by_training(spectrum, noise, steps),
        "train_by_validation": tuned_by_validation(halved, noise, steps, deployed=spectrum),
    }
    found: dict[str, Any] = {"bayes_error": bayes_risk(spectrum, noise)}
    for method, made in tuned.items():
        found[method] = {
            "step_size": made.step_size,
            "train_rmse": jnp.sqrt(2.0 * made.train_loss),
            "test_rmse": jnp.sqrt(made.risk + noise**2),
            "error": made.risk,
        }
    return found


def run(
    *,
    dimension: int,
    steps: int,
    truncation: float,
    noises: dict[str, list[float]],
    log10_step_sizes: list,
    seeds: list[int],
    training_tasks: int,
    test_tasks: int,
    curve_steps: list[int],
    nodes: int,
) -> dict[str, Any]:
    """Tune and test both methods for each number of samples and each noise.

    Returns:
        `grid`, the step sizes; `curve_steps`; and `rows`, one for each `samples` and `noise`:
        for both methods the tuned `step_sizes` of all seeds; `train_rmse`, `test_rmse`, `error`
        (||w - w*||²) after all steps, [mean, low, high] (95% intervals over seeds);
        `test_range`, the smallest and largest test RMSE of any task; `truncated`, how many tests
        ended frozen, of `tests`; `objective`, the mean loss at each step size of the grid (over
        seeds and tasks); and `train_curve`, `test_curve`, the mean RMSEs after `curve_steps`.
        `lead` is the test RMSE of train-by-train minus that of train-by-validation, seed by
        seed [mean, low, high]; `classical_error` is dσ²/n; `limit` as from the function `limit`.
    """
    grid = jnp.logspace(*log10_step_sizes)
    common = {"dimension": dimension, "truncation": truncation}
    expected = jax.jit(functools.partial(limit, steps=steps, nodes=nodes))
    rows = []
    for size, levels in noises.items():
        given: dict[str, Any] = {"samples": int(size), **common}
        # Noises share the inputs of a task, and so one eigendecomposition.
        of_noises = jax.jit(
            jax.vmap(functools.partial(objectives, **given, steps=steps), (None, 0, None))
        )
        test = jax.jit(
            jax.vmap(functools.partial(outcomes, **given, curve_steps=curve_steps), (None, 0, 0))
        )
        sigma = jnp.asarray(levels)
        losses, used, chosen = [], [], []
        for seed in range(seeds[0], sum(seeds)):
            keys = jax.random.split(jax.random.key(seed), (training_tasks + test_tasks,))
            tuning = [np.stack(of_noises(key, sigma, grid), 1) for key in keys[:training_tasks]]
            losses.append(np.mean(tuning, axis=0))  # (noises, methods, grid)
            chosen.append(np.asarray(grid)[losses[-1].argmin(axis=-1)])
            tests = [test(key, sigma, chosen[-1]) for key in keys[training_tasks:]]
            used.append(jax.tree.map(lambda *leaves: np.stack(leaves), *tests))
        ends = jax.tree.map(lambda *leaves: np.stack(leaves), *used)  # (seeds, tasks, noises, ...)
        for index, noise in enumerate(levels):
            row: dict[str, Any] = {"samples": int(size), "noise": noise}
            row["classical_error"] = dimension * noise**2 / int(size)
            exact = expected(dimension / int(size), noise)
            row["limit"] = jax.tree.map(lambda number: float(f"{number:.5g}"), exact)
            measured = {}
            for place, method in enumerate(METHODS):
                train = np.sqrt(2.0 * ends.train_loss[:, :, index, place])
                error = ends.error[:, :, index, place]
                tested = np.sqrt(error + noise**2)
                measured[method] = tested[:, :, -1].mean(axis=1)
                row[method] = {
                    "step_sizes": rounded([float(each[index, place]) for each in chosen]),
                    "train_rmse": rounded(mean_interval(train[:, :, -1].mean(axis=1))),
                    "test_rmse": rounded(mean_interval(measured[method])),
                    "error": rounded(mean_interval(error[:, :, -1].mean(axis=1))),
                    "test_range": rounded([tested[:, :, -1].min(), tested[:, :, -1].max()]),
                    "truncated": int(ends.truncated[:, :, index, place, -1].sum()),
                    "tests": tested[:, :, -1].size,
                    "objective": rounded(np.mean(losses, axis=0)[index, place].tolist(), 4),
                    "train_curve": rounded(train.mean(axis=(0, 1)).tolist(), 4),
                    "test_curve": rounded(tested.mean(axis=(0, 1)).tolist(), 4),
                }
            gap = measured["train_by_train"] - measured["train_by_validation"]
            row["lead"] = rounded(mean_interval(gap))
            rows.append(row)
    return {"grid": rounded(np.asarray(grid).tolist()), "curve_steps": curve_steps, "rows": rows}
