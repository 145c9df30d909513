"""Truncated gradient descent on a least squares task, in the eigenbasis of its inputs.

The same runs as those of `metagrad.least_squares.descend`, but a step costs r = min(n, d)
products in place of 2nd, after one eigendecomposition. A search over many step sizes at d = 1000
is then a matter of seconds.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metagrad import checks
from metagrad.least_squares import Task


class SpectralTask(NamedTuple):
    """A task along the eigenvectors v_i of XᵀX / n with nonzero eigenvalues, i = 1, ..., r.

    Attributes:
        eigenvalues: λ_i, shape (r,).
        solution: the least squares solution of least norm, shape (r,).
        parameter: ⟨v_i, w*⟩, shape (r,).
        direction: ⟨v_i, u⟩ for the direction u of truncated runs, shape (r,).
        unseen: the part of ||w*||² outside of the v_i.
        overlap: ⟨u, w*⟩.
        misfit: (1/2n) ||y - X w||² at the solution: 0 if n <= d.
    """

    eigenvalues: Float[Array, " modes"]
    solution: Float[Array, " modes"]
    parameter: Float[Array, " modes"]
    direction: Float[Array, " modes"]
    unseen: Float[Array, ""]
    overlap: Float[Array, ""]
    misfit: Float[Array, ""]


def in_eigenbasis(task: Task, direction: Any) -> SpectralTask:
    """A task, seen along the eigenvectors.

    Args:
        task: with inputs of full rank.
        direction: u, where truncated runs are put, a unit vector of shape (d,).

    >>> task = Task(jnp.array([[2.0, 0.0]]), jnp.array([3.0]), jnp.array([0.6, 0.8]))
    >>> made = in_eigenbasis(task, jnp.array([0.0, 1.0]))
    >>> made.eigenvalues.item(), made.solution.item() ** 2, made.unseen.round(12).item()
    (4.0, 2.25, 0.64)
    """
    inputs, targets, parameter = task
    checks.require_vector("direction", direction, inputs.shape[1])
    direction = checks.as_float("direction", direction)
    samples, dimension = inputs.shape
    if samples <= dimension:
        eigenvalues, left = jnp.linalg.eigh(inputs @ inputs.T / samples)
        rows = left.T @ inputs / jnp.sqrt(samples * eigenvalues)[:, None]  # the v_i
    else:
        eigenvalues, right = jnp.linalg.eigh(inputs.T @ inputs / samples)
        rows = right.T
    solution = rows @ (inputs.T @ targets) / (samples * eigenvalues)
    left_over = targets - inputs @ (rows.T @ solution)
    seen = rows @ parameter
    return SpectralTask(
        eigenvalues=eigenvalues,
        solution=solution,
        parameter=seen,
        direction=rows @ direction,
        unseen=jnp.sum((parameter - rows.T @ seen) ** 2),
        overlap=direction @ parameter,
        misfit=0.5 * jnp.mean(left_over**2),
    )


class SpectralRun(NamedTuple):
    """Where a run ended.

    Attributes:
        train_loss: (1/2n) ||y - X w_t||².
        error: ||w_t - w*||². The loss on fresh samples is (error + σ²) / 2 on average.
        truncated: whether the run was frozen on the way.
    """

    train_loss: Float[Array, ""]
    error: Float[Array, ""]
    truncated: Bool[Array, ""]


def descend_in_eigenbasis(
    task: SpectralTask, step_size: Any, steps: int, radius: Any
) -> SpectralRun:
    """Gradient descent for t steps from 0, frozen at radius · u once ||w|| >= radius.

    Args:
        task: from `in_eigenbasis`.
        step_size: β, at least 0, a number.
        steps: t, at least 1.
        radius: positive; 40 σ in the paper.

    >>> task = Task(jnp.eye(2), jnp.array([4.0, 8.0]), jnp.array([0.6, 0.8]))
    >>> task = in_eigenbasis(task, jnp.array([0.0, 1.0]))
    >>> descend_in_eigenbasis(task, 1.0, 2, 40.0).train_loss.item()  # y - w = (1, 2)
    1.25
    >>> bool(descend_in_eigenbasis(task, 1.0, 2, 6.0).truncated)
    True
    """
    checks.require_nonnegative("step_size", step_size)
    checks.require_steps("steps", steps)
    checks.require_positive("radius", radius)
    end = radius * task.direction

    def step(state, _):
        point, truncated = state
        moved = point + step_size * task.eigenvalues * (task.solution - point)
        truncated = truncated | (jnp.sum(moved**2) >= radius**2)
        return (jnp.where(truncated, end, moved), truncated), None

    start = jnp.zeros_like(task.solution), jnp.zeros((), bool)
    point, truncated = jax.lax.scan(step, start, None, length=steps)[0]
    excess = 0.5 * jnp.sum(task.eigenvalues * (task.solution - point) ** 2)
    length = jnp.sum(task.parameter**2) + task.unseen
    error = jnp.where(
        truncated,  # the direction also has a part outside of the eigenvectors
        radius**2 - 2.0 * radius * task.overlap + length,
        jnp.sum((point - task.parameter) ** 2) + task.unseen,
    )
    return SpectralRun(task.misfit + excess, error, truncated)
