"""Work (b): the MAML gradient, averaged over 25 tasks, with respect to the common start.

A task is a sinusoid a sin(x + p): 10 points to adapt on (support), 10 to be judged on (query).
A tanh network 1-40-40-1 takes K gradient steps on the support loss; the meta-objective is the
query loss after them. The reference is our `reverse()` in float64; everything timed is float32.
With the inner step 0.01 that the literature uses, one task's gradient explodes at K = 100 and no
two programs agree; with 0.001 the gradient is stable, and a wrong one shows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from benchmarks.timing import Job, jax_job
from metagrad import checkpointed, meta_gradient, reverse

WIDTH = 40
TASKS = 25
POINTS = 10
STEP_SIZE = 0.001
LENGTHS = (1, 5, 20, 100)
UNIT = "Reptile"


class Tasks(NamedTuple):
    """Inputs and outputs, each of shape (tasks, points, 1)."""

    support_x: np.ndarray
    support_y: np.ndarray
    query_x: np.ndarray
    query_y: np.ndarray


def network(width: int = WIDTH, dtype: Any = np.float32) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the three layers."""
    rng = np.random.default_rng(0)
    shapes = ((1, width), (width, width), (width, 1))
    return [
        ((rng.normal(size=s) / np.sqrt(s[0])).astype(dtype), np.zeros(s[1], dtype)) for s in shapes
    ]


def sinusoids(dtype: Any = np.float32) -> Tasks:
    """Draw the tasks: amplitudes 0.1 to 5, phases 0 to π, inputs -5 to 5."""
    rng = np.random.default_rng(1)
    amplitudes = rng.uniform(0.1, 5.0, (TASKS, 1, 1))
    phases = rng.uniform(0.0, np.pi, (TASKS, 1, 1))
    support, query = rng.uniform(-5.0, 5.0, (2, TASKS, POINTS, 1))
    arrays = (
        support,
        amplitudes * np.sin(support + phases),
        query,
        amplitudes * np.sin(query + phases),
    )
    return Tasks(*(array.astype(dtype) for array in arrays))


def error(params: Any, x: Any, y: Any) -> Any:
    """Mean squared error of the network."""
    (w1, b1), (w2, b2), (w3, b3) = params
    hidden = jnp.tanh(x @ w1 + b1)
    hidden = jnp.tanh(hidden @ w2 + b2)
    return jnp.mean((hidden @ w3 + b3 - y) ** 2)


def descend(params: Any, task: Tasks) -> Any:
    """One inner step."""
    gradient = jax.grad(error)(params, task.support_x, task.support_y)
    return jax.tree.map(lambda p, g: p - STEP_SIZE * g, params, gradient)


def adapt(params: Any, task: Tasks, inner_steps: int) -> Any:
    """K inner steps."""
    return jax.lax.scan(lambda p, _: (descend(p, task), None), params, length=inner_steps)[0]


def reptile(params: Any, task: Tasks, inner_steps: int) -> Any:
    """The mean of the K inner gradients."""
    adapted = adapt(params, task, inner_steps)
    return jax.tree.map(lambda p, a: (p - a) / (STEP_SIZE * inner_steps), params, adapted)


def first_order(params: Any, task: Tasks, inner_steps: int) -> Any:
    """FO-MAML: the query gradient where the adaptation ends."""
    return jax.grad(error)(adapt(params, task, inner_steps), task.query_x, task.query_y)


def ours(method: Any) -> Callable:
    """MAML's gradient by a method of the library: the meta-parameters are the start itself."""

    def gradient(params: Any, task: Tasks, inner_steps: int) -> Any:
        return meta_gradient(
            lambda p, _: error(p, task.query_x, task.query_y),
            lambda p, _, t: descend(p, task),
            params,
            lambda w: w,
            inner_steps,
            method=method,
        ).gradient

    return gradient


APPROXIMATIONS = {"Reptile": reptile, "FO-MAML": first_order}
METHODS = {
    "reverse()": ours(reverse()),
    "checkpointed()": ours(checkpointed()),
    "checkpointed(segment=1)": ours(checkpointed(1)),
}


def batched(gradient: Callable, inner_steps: int) -> Callable:
    """The mean over the tasks, as one vector."""

    def mean(params: Any, tasks: Tasks) -> Any:
        each = jax.vmap(lambda task: gradient(params, task, inner_steps))(tasks)
        return ravel_pytree(jax.tree.map(lambda leaf: leaf.mean(0), each))[0]

    return mean


def reference(inner_steps: int, width: int = WIDTH) -> np.ndarray:
    """The gradient in float64, shape (1, numbers in the network)."""
    exact = jax.jit(batched(METHODS["reverse()"], inner_steps))
    # The same float32 numbers, computed with in float64.
    params, tasks = jax.tree.map(np.float64, (network(width), sinusoids()))
    return np.asarray(exact(params, tasks))[None]


def our_jobs(inner_steps: int, width: int = WIDTH) -> list[Job]:
    """The two first-order approximations, and the methods of the library."""
    rows = APPROXIMATIONS | METHODS
    return [
        jax_job(name, batched(gradient, inner_steps), network(width), sinusoids())
        for name, gradient in rows.items()
    ]
