"""Work (a): the derivative of the final loss to the step size, for many step sizes at once.

Gradient descent x ← x - β A x from x_0 on the quadratic f(x) = x·A x / 2. A has curvatures from
1/100 to 1, so every β below 2 is stable. In the eigenbasis, with curvature λ and c = x_0's
coordinate, f(x_T) = Σ λ c² (1 - βλ)^{2T} / 2, whose derivative in β is the reference.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import Job, jax_job
from metagrad import checkpointed, finite_differences, forward, meta_gradient, reverse

CONDITION = 100.0
DIMENSION = 20
COUNT = 128
LENGTHS = (10, 100, 1000, 10000)
UNIT = "the loss alone"


class Problem(NamedTuple):
    """The numbers that every implementation gets.

    Attributes:
        matrix: A, shape (n, n), symmetric.
        start: x_0, shape (n,).
        step_sizes: shape (128,), between 0.05 and 1.9, in random order, so that the first few
            are a fair sample.
    """

    matrix: np.ndarray
    start: np.ndarray
    step_sizes: np.ndarray


def problem(dimension: int = DIMENSION) -> Problem:
    """Draw the problem."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    curvatures = np.geomspace(1 / CONDITION, 1.0, dimension)
    matrix = (basis * curvatures) @ basis.T
    step_sizes = rng.permutation(np.linspace(0.05, 1.9, COUNT))
    return Problem((matrix + matrix.T) / 2, rng.normal(size=dimension), step_sizes)


def closed_form(data: Problem, inner_steps: int) -> np.ndarray:
    """The derivative at each step size, shape (128,)."""
    curvatures, basis = np.linalg.eigh(data.matrix)
    energy = (curvatures * (basis.T @ data.start)) ** 2
    factors = 1 - data.step_sizes[:, None] * curvatures
    return -inner_steps * np.sum(energy * factors ** (2 * inner_steps - 1), axis=1)


def pieces(data: Problem) -> tuple[Callable, Callable]:
    """`loss` and `step`, as `meta_gradient` takes them."""
    matrix = jnp.asarray(data.matrix)

    def loss(x: Any, step_size: Any) -> Any:
        del step_size
        return 0.5 * x @ (matrix @ x)

    def step(x: Any, step_size: Any, t: Any) -> Any:
        del t
        return x - step_size * (matrix @ x)

    return loss, step


def loss_alone(data: Problem, inner_steps: int) -> Callable:
    """The final losses and nothing else: what a derivative is measured by."""
    loss, step = pieces(data)

    def one(step_size: Any) -> Any:
        x, _ = jax.lax.scan(
            lambda x, _: (step(x, step_size, None), None),
            jnp.asarray(data.start),
            length=inner_steps,
        )
        return loss(x, step_size)

    return jax.vmap(one)


def ours(method: Any, data: Problem, inner_steps: int) -> Callable:
    """The derivatives by a method of the library."""
    loss, step = pieces(data)

    def one(step_size: Any) -> Any:
        found = meta_gradient(
            loss, step, step_size, jnp.asarray(data.start), inner_steps, method=method
        )
        return found.gradient

    return jax.vmap(one)


METHODS = {
    "forward()": forward,
    "reverse()": reverse,
    "checkpointed()": checkpointed,
    "finite_differences()": finite_differences,
}


def our_jobs(data: Problem, inner_steps: int, names: Any = tuple(METHODS)) -> list[Job]:
    """The unit, and the methods of the library."""
    jobs = [jax_job(UNIT, loss_alone(data, inner_steps), data.step_sizes, derivative=False)]
    for name in names:
        jobs.append(jax_job(name, ours(METHODS[name](), data, inner_steps), data.step_sizes))
    return jobs
