"""What a method of meta-learning returns for one task, and what a method is."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from metagrad.tasks import Task

Parameters: TypeAlias = PyTree[Float[Array, "..."]]


class TaskEstimate(NamedTuple):
    """What a method returns.

    Attributes:
        value: the query loss at the adapted parameters, shape ().
        gradient: the method's estimate of the derivative of the value in theta; like theta.
        adapted: the parameters that theta was adapted to, like theta.
        residual_norm: the norm of the gradient of the method's inner problem at the adapted
            parameters, shape (); the largest one where a method solves several problems.
        certificate: an upper bound on the distance from there to the exact solution of the inner
            problem, shape (); inf where no constant of strong convexity was given, since then
            nothing is known. The largest one where a method solves several problems.
        finite: whether value, gradient and adapted are finite. A solve that diverges, or a
            system that could not be solved, says so here.
        info: what else the method saw, a NamedTuple of its own, or None.
    """

    value: Float[Array, ""]
    gradient: Parameters
    adapted: Parameters
    residual_norm: Float[Array, ""]
    certificate: Float[Array, ""]
    finite: Bool[Array, ""]
    info: Any


# Maps a task and theta, any pytree of arrays of one floating-point dtype, to an estimate.
Method = Callable[[Task, Any], TaskEstimate]


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every number of a pytree is finite.

    >>> bool(all_finite((jnp.ones(2), jnp.array(jnp.nan))))
    False
    """
    leaves = jax.tree.leaves(tree)
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def task_estimate(
    value: Float[Array, ""],
    gradient: Parameters,
    adapted: Parameters,
    residual_norm: Float[Array, ""],
    certificate: Float[Array, ""],
    info: Any = None,
) -> TaskEstimate:
    """A `TaskEstimate`, with `finite` filled in.

    >>> one = jnp.ones(())
    >>> bool(task_estimate(one, one, jnp.array(jnp.inf), one, one).finite)
    False
    """
    finite = all_finite((value, gradient, adapted))
    return TaskEstimate(value, gradient, adapted, residual_norm, certificate, finite, info)
