"""Random least squares, gradient descent on it with a truncation, and what to tune its step on.

A task is a hidden w* on the unit sphere of ℝᵈ and n samples y = ⟨w*, x⟩ + ξ, x ~ N(0, I),
ξ ~ N(0, σ²). A run descends the loss of the training samples from w = 0. *Train-by-train* judges
the step size by the loss on these very samples, *train-by-validation* by that on fresh ones.
Setting and truncation are those of Wang, Yuan, Wu and Ge, 2021, section 4.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from metagrad import checks


class Task(NamedTuple):
    """Samples of one hidden parameter.

    Attributes:
        inputs: X, shape (n, d).
        targets: y = X w* + ξ, shape (n,).
        parameter: w*, shape (d,).
    """

    inputs: Float[Array, "samples dimension"]
    targets: Float[Array, " samples"]
    parameter: Float[Array, " dimension"]


def on_sphere(key: jax.Array, dimension: int) -> Float[Array, " dimension"]:
    """A point drawn uniformly from the unit sphere.

    >>> bool(abs(jnp.linalg.norm(on_sphere(jax.random.key(0), 5)) - 1.0) < 1e-15)
    True
    """
    checks.require_steps("dimension", dimension)
    point = jax.random.normal(key, (dimension,))
    return point / jnp.linalg.norm(point)


def draw_samples(
    key: jax.Array, parameter: Any, samples: int, noise: Any
) -> tuple[Float[Array, "samples dimension"], Float[Array, " samples"]]:
    """Fresh samples (X, y) of a given parameter: a validation set.

    Args:
        key: a `jax.random.key`.
        parameter: w*, shape (d,).
        samples: n, at least 1.
        noise: σ, at least 0.

    >>> X, y = draw_samples(jax.random.key(0), jnp.array([3.0, 4.0]), 5, 0.0)
    >>> X.shape, y.shape, bool(jnp.all(y == X @ jnp.array([3.0, 4.0])))
    ((5, 2), (5,), True)
    """
    checks.require_key(key, "the samples")
    checks.require_vector("parameter", parameter)
    checks.require_steps("samples", samples)
    checks.require_nonnegative("noise", noise)
    parameter = checks.as_float("parameter", parameter)
    for_inputs, for_noise = jax.random.split(key)
    inputs = jax.random.normal(for_inputs, (samples, parameter.shape[0]), parameter.dtype)
    return inputs, inputs @ parameter + noise * jax.random.normal(
        for_noise, (samples,), parameter.dtype
    )


def draw_task(key: jax.Array, samples: int, dimension: int, noise: Any) -> Task:
    """A random task: w* uniform on the sphere, and n samples of it.

    Args:
        key: a `jax.random.key`.
        samples: n, at least 1.
        dimension: d, at least 1.
        noise: σ, at least 0.

    >>> draw_task(jax.random.key(0), 3, 5, 1.0).inputs.shape
    (3, 5)
    """
    checks.require_key(key, "the task")
    for_parameter, for_samples = jax.random.split(key)
    parameter = on_sphere(for_parameter, dimension)
    return Task(*draw_samples(for_samples, parameter, samples, noise), parameter)


def sample_loss(inputs: Any, targets: Any, point: Any) -> Float[Array, ""]:
    """(1/2n) ||y - X w||²: on training samples the train-by-train loss, on fresh ones the other.

    >>> sample_loss(jnp.eye(2), jnp.array([1.0, 3.0]), jnp.zeros(2)).item()
    2.5
    """
    residuals = targets - inputs @ point
    return 0.5 * jnp.mean(residuals**2)


class Descended(NamedTuple):
    """Where a run ended.

    Attributes:
        point: w_t, shape (d,).
        truncated: whether it was frozen on the way.
    """

    point: Float[Array, " dimension"]
    truncated: Bool[Array, ""]


def descend(
    inputs: Any,
    targets: Any,
    step_size: Any,
    steps: int,
    radius: Any,
    direction: Any,
    *,
    order: Int[Array, " steps"] | None = None,
) -> Descended:
    """Gradient descent for t steps from 0 on the samples' loss, frozen once ||w|| >= radius.

    A run that reaches the radius ends at radius · direction, whatever it would have done. This
    keeps the loss bounded for every step size. The direction must not depend on the samples: one
    that does may fit them, and make divergence look good.

    Args:
        inputs: X, shape (n, d).
        targets: y, shape (n,).
        step_size: β, at least 0, a number.
        steps: t, at least 1.
        radius: positive; 40 σ in the paper.
        direction: a unit vector, shape (d,).
        order: None for the full gradient; or for stochastic descent the sample of each step,
            integers below n, shape (t,): w ← w - β x_i (⟨w, x_i⟩ - y_i).

    Returns:
        A `Descended`.

    >>> X, y, u = jnp.eye(2), jnp.array([4.0, 8.0]), jnp.array([0.0, 1.0])
    >>> descend(X, y, 1.0, 2, 40.0, u).point.tolist()  # halves the distance to y twice
    [3.0, 6.0]
    >>> descend(X, y, 1.0, 2, 6.0, u).point.tolist()
    [0.0, 6.0]
    """
    checks.require_nonnegative("step_size", step_size)
    checks.require_steps("steps", steps)
    checks.require_positive("radius", radius)
    inputs, targets = checks.as_float("inputs", inputs), checks.as_float("targets", targets)
    if inputs.ndim != 2 or 0 in inputs.shape:
        raise ValueError(f"inputs must have shape (n, d), got shape {inputs.shape}")
    checks.require_vector("targets", targets, inputs.shape[0])
    checks.require_vector("direction", direction, inputs.shape[1])
    if order is not None:
        checks.require_shape("order", order, (steps,))
    end = radius * checks.as_float("direction", direction)

    def step(state, row):
        point, truncated = state
        if row is None:
            gradient = inputs.T @ (inputs @ point - targets) / inputs.shape[0]
        else:
            gradient = inputs[row] * (inputs[row] @ point - targets[row])
        moved = point - step_size * gradient
        truncated = truncated | (jnp.sum(moved**2) >= radius**2)
        return (jnp.where(truncated, end, moved), truncated), None

    start = (jnp.zeros(inputs.shape[1], inputs.dtype), jnp.zeros((), bool))
    return Descended(*jax.lax.scan(step, start, order, length=steps)[0])


def random_order(key: jax.Array, samples: int, steps: int) -> Int[Array, " steps"]:
    """The samples that stochastic descent looks at: each drawn uniformly, with replacement.

    >>> random_order(jax.random.key(0), 10, 4).shape
    (4,)
    """
    checks.require_key(key, "the order")
    checks.require_steps("samples", samples)
    checks.require_steps("steps", steps)
    return jax.random.randint(key, (steps,), 0, samples)
