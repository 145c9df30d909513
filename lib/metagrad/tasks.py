"""A task of meta-learning: one loss to adapt on, another one that judges what came of it.

A task holds a *support* loss f̂, which the inner solve sees, and a *query* loss f, which it does
not. Meta-learning looks for a start θ from which adapting to f̂ does well on f, on average over
tasks. A family holds n tasks that differ in their data only, so that `jax.vmap` runs them side
by side.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks


class Task(NamedTuple):
    """One task.

    Attributes:
        support: f̂, maps parameters (any pytree) to one number; what the inner solve descends.
        query: f, maps parameters to one number; what the adapted parameters are judged by.
    """

    support: Callable[[Any], Float[Array, ""]]
    query: Callable[[Any], Float[Array, ""]]


class Family(NamedTuple):
    """Several tasks that share their form and differ in their data.

    Attributes:
        support: maps (parameters, the data of one task) to one number.
        query: maps (parameters, the data of one task) to one number.
        data: a pytree of arrays, the first axis of each the number of tasks n.
    """

    support: Callable[[Any, Any], Float[Array, ""]]
    query: Callable[[Any, Any], Float[Array, ""]]
    data: Any


def number_of_tasks(family: Family) -> int:
    """How many tasks a family holds.

    Raises:
        ValueError: if it holds none, or its arrays disagree about their first axis.

    >>> number_of_tasks(Family(None, None, {"center": jnp.zeros((3, 2)), "weight": jnp.ones(3)}))
    3
    """
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(family.data)]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "family.data must hold arrays with one first axis, the number of tasks, at least 1; "
            f"got the shapes {shapes}"
        )
    return lengths.pop()


def with_data(family: Family, data: Any) -> Task:
    """The task of a family that has this data, given without the axis of tasks.

    >>> family = Family(lambda x, b: (x - b) ** 2, lambda x, b: (x + b) ** 2, jnp.array([1.0]))
    >>> task = with_data(family, jnp.array(2.0))
    >>> float(task.support(3.0)), float(task.query(3.0))
    (1.0, 25.0)
    """
    return Task(
        lambda parameters: family.support(parameters, data),
        lambda parameters: family.query(parameters, data),
    )


def task(family: Family, index: int) -> Task:
    """The task at a place of the family, from 0 to n - 1.

    Raises:
        ValueError: if there is no task at that place.

    >>> family = Family(lambda x, b: (x - b) ** 2, lambda x, b: x, jnp.array([1.0, 5.0]))
    >>> float(task(family, 1).support(3.0))
    4.0
    """
    checks.require_in("index", index, 0, number_of_tasks(family) - 1)
    return with_data(family, jax.tree.map(lambda leaf: leaf[index], family.data))
