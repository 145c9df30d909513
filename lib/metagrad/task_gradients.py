"""One signature for every way to get the meta-gradient of a task.

A *method* maps a task and the start θ to an estimate; it is a plain function made by one of the
makers below.

    maml               exact for K steps, by reverse mode (`metagrad.unrolled_maml`)
    fo_maml            the query gradient at the adapted parameters (`metagrad.unrolled_maml`)
    reptile            where K steps on the support loss lead (`metagrad.unrolled_maml`)
    imaml              exact for the regularized problem (`metagrad.implicit_maml`)
    proximal_reptile   the gradient of the Moreau envelope (`metagrad.implicit_maml`)
    hf_maml            one-step MAML, Hessian by differences (`metagrad.one_step_maml`)
    fo_muml            the envelope, solved to a relative accuracy (`metagrad.one_step_maml`)
    fo_b_maml          differences of perturbed solutions (`metagrad.perturbed`)
    contrastive        the same by the contrastive rule (`metagrad.perturbed`)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metagrad import checks
from metagrad.difference_rules import SYMMETRIC, DifferenceRule
from metagrad.implicit_maml import imaml, proximal_reptile
from metagrad.one_step_maml import fo_muml, hf_maml
from metagrad.perturbed import contrastive, fo_b_maml
from metagrad.task_estimates import Method, Parameters, TaskEstimate
from metagrad.tasks import Family, Task, number_of_tasks
from metagrad.unrolled_maml import fo_maml, maml, reptile

__all__ = [
    "GradientCount",
    "MeanEstimate",
    "Method",
    "TaskEstimate",
    "contrastive",
    "fo_b_maml",
    "fo_maml",
    "fo_muml",
    "gradient_counts",
    "hf_maml",
    "imaml",
    "maml",
    "mean_gradient",
    "proximal_reptile",
    "reptile",
    "task_gradient",
]


def task_gradient(task: Task, theta: Any, method: Method) -> TaskEstimate:
    """The meta-gradient of one task: how the query loss after adapting changes with the start.

    Args:
        task: the losses.
        theta: θ, any pytree of numbers and arrays of one floating-point dtype.
        method: how, made by one of the makers of this module.

    Raises:
        ValueError: if theta is not finite or holds no array; if a loss cannot take it, as where
            their shapes do not match.
        TypeError: if theta's arrays differ in dtype; if a loss does not return one number.

    >>> task = Task(lambda x: x**2, lambda x: 3.0 * x)
    >>> found = task_gradient(task, 8.0, maml(3, 0.25))
    >>> float(found.adapted), float(found.value), float(found.gradient)
    (1.0, 3.0, 0.375)
    """
    return method(task, _checked(task, theta))


def _checked(task: Task, theta: Any) -> Parameters:
    """Theta as arrays, once it and the task's losses fit together."""
    theta = checks.float_tree("theta", theta)
    checks.require_leaves("theta", theta)
    checks.require_one_dtype("theta", theta)
    for name, loss in task._asdict().items():
        try:
            jax.eval_shape(loss, theta)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(theta)]
            raise ValueError(
                f"theta must be parameters that task.{name} can take, got arrays of the shapes "
                f"{shapes}, of which it said: {error}"
            ) from error
        checks.require_scalar_loss(f"task.{name}", loss, theta)
    return theta


class MeanEstimate(NamedTuple):
    """The average over a family of n tasks.

    Attributes:
        value: the mean of the tasks' values, shape ().
        gradient: the mean of their gradients, like theta.
        finite: whether every task's estimate is finite, shape ().
        tasks: the estimates, a `TaskEstimate` whose arrays have a new axis 0 of length n.
    """

    value: Float[Array, ""]
    gradient: Parameters
    finite: Bool[Array, ""]
    tasks: TaskEstimate


def mean_gradient(family: Family, theta: Any, method: Method) -> MeanEstimate:
    """The meta-gradient of a family: the mean over its tasks, all computed side by side.

    The numbers of a single task are not known then: what `task_gradient` would answer with an
    error about a value is a gradient of NaN here, and finite is False.

    Args:
        family: n tasks. A mini-batch of them is the family with some of the data.
        theta: θ, any pytree of numbers and arrays of one floating-point dtype.
        method: how, made by one of the makers of this module.

    Raises:
        ValueError, TypeError: as `task_gradient` does; if the family's data has no axis of tasks.

    >>> family = Family(lambda x, b: (x - b) ** 2, lambda x, b: x * b, jnp.array([1.0, 3.0]))
    >>> found = mean_gradient(family, 1.0, fo_maml(1, 0.5))
    >>> float(found.gradient), found.tasks.adapted.tolist()
    (2.0, [1.0, 3.0])
    """
    number_of_tasks(family)

    def one(data):
        # The losses may take the number of the step as well, see `metagrad.inner`.
        task = Task(
            lambda phi, *step: family.support(phi, data, *step),
            lambda phi, *step: family.query(phi, data, *step),
        )
        return task_gradient(task, theta, method)

    tasks = jax.vmap(one)(family.data)
    gradient = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), tasks.gradient)
    return MeanEstimate(jnp.mean(tasks.value), gradient, jnp.all(tasks.finite), tasks)


class GradientCount(NamedTuple):
    """What one meta-gradient of one task costs, without its value and its residual.

    Attributes:
        support: gradients of the support loss.
        query: gradients of the query loss.
        products: products of the support loss's Hessian with a vector.
    """

    support: int
    query: int
    products: int


def gradient_counts(
    inner_steps: int,
    cg_steps: int = 5,
    rule: DifferenceRule = SYMMETRIC,
    checkpointed: bool = True,
) -> dict[str, GradientCount]:
    """What each method costs by the name of its maker, K steps for each of its solves.

    HF-MAML takes one step, whatever K; for FO-MuML K stands for the steps that it takes. A
    product costs a small multiple of a gradient. A solve's residual, where it is used, is one
    more gradient.

    Args:
        inner_steps: K, at least 1.
        cg_steps: of `imaml`, at least 1.
        rule: of `fo_b_maml` and `contrastive`.
        checkpointed: whether `maml` computes each step again.

    >>> gradient_counts(10)["fo_b_maml"], gradient_counts(10)["imaml"].products
    (GradientCount(support=20, query=20, products=0), 5)
    """
    checks.require_steps("inner_steps", inner_steps)
    checks.require_steps("cg_steps", cg_steps)
    k = inner_steps
    perturbed = k * sum(node != 0 for node in rule.nodes)
    differences = GradientCount(k * len(rule.nodes), perturbed, 0)
    return {
        "maml": GradientCount(2 * k if checkpointed else k, 1, k),
        "fo_maml": GradientCount(k, 1, 0),
        "reptile": GradientCount(k, 0, 0),
        "imaml": GradientCount(k, 1, cg_steps),
        "proximal_reptile": GradientCount(k, 0, 0),
        "hf_maml": GradientCount(3, 1, 0),
        "fo_muml": GradientCount(k + 1, 0, 0),
        "fo_b_maml": differences,
        "contrastive": differences,
    }
