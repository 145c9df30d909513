"""How the cost grows: with the dimension, the width, and the number of meta-parameters.

Growth with the length of the run is in the main tables. These runs compare our methods only.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import maml, step_sizes
from benchmarks.timing import Job, jax_job
from metagrad import forward, meta_gradient, reverse

DIMENSIONS = (5, 20, 80, 320)
DIMENSION_STEPS = 100
WIDTHS = (10, 20, 40, 80, 160)
WIDTH_STEPS = 20
NUMBERS = (1, 2, 3, 4, 8, 16, 32)
NUMBERS_STEPS = 1000


def dimension_jobs(dimension: int) -> list[Job]:
    """Work (a) on a quadratic of another dimension."""
    data = step_sizes.problem(dimension)
    return step_sizes.our_jobs(data, DIMENSION_STEPS, ("forward()", "reverse()", "checkpointed()"))


def width_jobs(width: int) -> list[Job]:
    """Work (b) with another width of the network."""
    return maml.our_jobs(WIDTH_STEPS, width)


def schedule(method: Any) -> Callable:
    """Derivatives to m step sizes, which a run uses in turn, for 128 starts."""
    data = step_sizes.problem()
    loss, step = step_sizes.pieces(data)

    def gradient(schedule: Any, starts: Any) -> Any:
        def one(start: Any) -> Any:
            return meta_gradient(
                loss,
                lambda x, w, t: step(x, w[t % w.size], t),
                schedule,
                start,
                NUMBERS_STEPS,
                method=method,
            ).gradient

        return jax.vmap(one)(starts)

    return gradient


def number_jobs(numbers: int) -> list[Job]:
    """Forward against reverse with m meta-parameters."""
    starts = np.random.default_rng(2).normal(size=(step_sizes.COUNT, step_sizes.DIMENSION))
    steps = jnp.linspace(0.5, 1.5, numbers)
    return [
        jax_job("forward()", schedule(forward()), steps, starts),
        jax_job("reverse()", schedule(reverse()), steps, starts),
    ]


SWEEPS = {
    "dimension": (DIMENSIONS, dimension_jobs),
    "width": (WIDTHS, width_jobs),
    "meta_parameters": (NUMBERS, number_jobs),
}
