"""Sinusoids: the regression tasks on which MAML was introduced.

Task i is to fit x -> A_i sin(x - p_i) from a few points, with A_i uniform in [0.1, 5] and p_i in
[0, π], at inputs uniform in [-5, 5]. The query points of a task are new ones from the same curve.
The losses are mean squared errors of a network, in the papers one with two hidden layers of 40
ReLUs and one step of size 0.01 to adapt it.

Source: Finn, Abbeel and Levine, 2017. There, as here, the targets are free of noise.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.tasks import Family

AMPLITUDES = (0.1, 5.0)
PHASES = (0.0, 3.141592653589793)
INPUTS = (-5.0, 5.0)


class Sinusoids(NamedTuple):
    """The data of n tasks.

    Attributes:
        amplitude: A_i, shape (n,).
        phase: p_i, shape (n,).
        inputs: of the support points, shape (n, k, 1).
        targets: A_i sin(inputs - p_i), shape (n, k, 1).
        query_inputs: of the query points, shape (n, q, 1).
        query_targets: likewise, shape (n, q, 1).
    """

    amplitude: Float[Array, " tasks"]
    phase: Float[Array, " tasks"]
    inputs: Float[Array, "tasks support 1"]
    targets: Float[Array, "tasks support 1"]
    query_inputs: Float[Array, "tasks query 1"]
    query_targets: Float[Array, "tasks query 1"]


def draw_sinusoids(
    key: jax.Array,
    tasks: int,
    support_samples: int = 10,
    query_samples: int = 10,
    dtype: Any = None,
) -> Sinusoids:
    """Draw the curves of n tasks, and points on them.

    Args:
        key: one random key; the same key, the same tasks.
        tasks: n, at least 1.
        support_samples: k, at least 1.
        query_samples: q, at least 1.
        dtype: floating-point; None for JAX's default.

    >>> data = draw_sinusoids(jax.random.key(0), 3)
    >>> data.inputs.shape, data.phase.shape
    ((3, 10, 1), (3,))
    """
    checks.require_key(key, "the tasks")
    checks.require_steps("tasks", tasks)
    checks.require_steps("support_samples", support_samples)
    checks.require_steps("query_samples", query_samples)
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be floating-point, got {dtype}")
    amplitude_key, phase_key, input_key = jax.random.split(key, 3)
    amplitude = jax.random.uniform(amplitude_key, (tasks,), dtype, *AMPLITUDES)
    phase = jax.random.uniform(phase_key, (tasks,), dtype, *PHASES)
    shape = (tasks, support_samples + query_samples, 1)
    return sample_curves(
        amplitude, phase, jax.random.uniform(input_key, shape, dtype, *INPUTS), support_samples
    )


def sample_curves(amplitude: Any, phase: Any, inputs: Any, support_samples: int) -> Sinusoids:
    """The tasks with given curves and inputs, such as one whose curve a reader moves.

    Args:
        amplitude: A_i, shape (n,).
        phase: p_i, shape (n,).
        inputs: support points, then query points; shape (n, k + q, 1).
        support_samples: k, at least 1 and less than k + q.

    Raises:
        ValueError: if a shape does not fit, or no point is left for the query.

    >>> data = sample_curves(jnp.array([2.0]), jnp.zeros(1), jnp.zeros((1, 3, 1)), 1)
    >>> data.targets.shape, data.query_targets.shape
    ((1, 1, 1), (1, 2, 1))
    """
    amplitude = checks.as_float("amplitude", amplitude)
    checks.require_vector("amplitude", amplitude)
    phase = checks.as_float("phase", phase)
    checks.require_vector("phase", phase, amplitude.shape[0])
    inputs = checks.as_float("inputs", inputs)
    if inputs.ndim != 3 or (inputs.shape[0], inputs.shape[2]) != (amplitude.shape[0], 1):
        raise ValueError(
            f"inputs must have shape ({amplitude.shape[0]}, points, 1), got {inputs.shape}"
        )
    checks.require_steps("support_samples", support_samples)
    if support_samples >= inputs.shape[1]:
        raise ValueError(
            f"support_samples must be less than the {inputs.shape[1]} points of a task, got "
            f"{support_samples}"
        )
    targets = amplitude[:, None, None] * jnp.sin(inputs - phase[:, None, None])
    k = support_samples
    return Sinusoids(amplitude, phase, inputs[:, :k], targets[:, :k], inputs[:, k:], targets[:, k:])


def sinusoid_family(apply: Callable[[Any, Any], Any], data: Sinusoids) -> Family:
    """The family of mean squared errors of a network on sinusoids.

    Args:
        apply: maps parameters and inputs of shape (m, 1) to outputs of shape (m, 1), such as
            that of `metagrad.small_networks.mlp(1, (40, 40), 1, "relu")`.
        data: from `draw_sinusoids`.

    >>> data = sample_curves(jnp.array([2.0]), jnp.zeros(1), jnp.zeros((1, 2, 1)), 1)
    >>> family = sinusoid_family(lambda level, inputs: level + 0.0 * inputs, data)
    >>> one = jax.tree.map(lambda leaf: leaf[0], data)
    >>> float(family.support(3.0, one))  # (3 - 2 sin 0)²
    9.0
    """

    def error(parameters, inputs, targets):
        outputs = apply(parameters, inputs)
        checks.require_shape("what apply returns", outputs, targets.shape)
        return jnp.mean((outputs - targets) ** 2)

    return Family(
        lambda parameters, data: error(parameters, data.inputs, data.targets),
        lambda parameters, data: error(parameters, data.query_inputs, data.query_targets),
        data,
    )
