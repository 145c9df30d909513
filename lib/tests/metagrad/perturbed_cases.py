"""Random tasks with known constants, and their exact solutions, for the tests of the bounds.

The support loss is a|x|²/2 plus waves, with a so large that it is convex in every second case, and
a = 0 otherwise; the query loss is a saddle plus waves.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metagrad.task_constants import Constants


class Losses(NamedTuple):
    """The numbers of one task; a family has them with a new axis 0."""

    bowl: jax.Array
    sizes: jax.Array
    waves: jax.Array
    phases: jax.Array
    saddle: jax.Array
    slope: jax.Array
    query_sizes: jax.Array
    query_waves: jax.Array
    query_phases: jax.Array


def support(p, x):
    return 0.5 * p.bowl * jnp.sum(x**2) + jnp.sum(p.sizes * jnp.cos(p.waves @ x + p.phases))


def query(p, x):
    waves = jnp.sum(p.query_sizes * jnp.cos(p.query_waves @ x + p.query_phases))
    return 0.5 * jnp.sum(p.saddle * x**2) + jnp.sum(p.slope * x) + waves


def random_tasks(number, seed, scale=1.0):
    """Losses and `Constants`, each with an axis of `number` tasks; `scale` multiplies the queries.

    The dimension is 3, but all losses of the first third of the tasks look at one coordinate only,
    and those of the second third at two.
    """
    rng = np.random.default_rng(seed)
    uses = (np.arange(3) <= (np.arange(number) % 3)[:, None]) * 1.0
    shape = (number, 3)

    def waves():
        return (
            rng.normal(size=(number, 3, 3)) * uses[:, None] * rng.uniform(0.3, 2.0, (number, 1, 1))
        )

    def strength(sizes, waves, power):
        return np.sum(np.abs(sizes) * np.linalg.norm(waves, axis=2) ** power, axis=1)

    sizes, support_waves, query_waves = rng.normal(size=shape), waves(), waves()
    query_sizes = scale * rng.normal(size=shape)
    saddle, slope = (scale * rng.normal(size=shape) * uses for _ in range(2))
    convex = np.arange(number) % 2 == 0
    bend = strength(sizes, support_waves, 2)
    bowl = np.where(convex, bend, 0.0)
    smoothness = bowl + bend
    lam = smoothness * rng.uniform(1.3, 4.0, number)
    losses = Losses(
        bowl, sizes, support_waves, rng.uniform(0, 6, shape), saddle, slope,
        query_sizes, query_waves, rng.uniform(0, 6, shape),
    )  # fmt: skip
    constants = Constants(
        regularizer=lam,
        smoothness=smoothness,
        hessian_lipschitz=strength(sizes, support_waves, 3),
        third_lipschitz=strength(sizes, support_waves, 4),
        query_smoothness=np.max(np.abs(saddle), 1) + strength(query_sizes, query_waves, 2),
        query_hessian_lipschitz=strength(query_sizes, query_waves, 3),
        strong_convexity=np.where(convex, lam, lam - smoothness),
    )
    return jax.tree.map(jnp.asarray, (losses, constants))


def inner(p, c, theta, nu):
    """The inner objective whose minimizer is φ_ν."""
    return lambda x: (
        nu * query(p, x) + support(p, x) + 0.5 * c.regularizer * jnp.sum((x - theta) ** 2)
    )


def descent(p, c, theta, nu, start, steps, spare=0.5):
    """Gradient descent on it; by default with the largest step that is safe up to ν_max."""
    slope = jax.grad(inner(p, c, theta, nu))
    step = 1.0 / (c.regularizer + c.smoothness + spare * c.strong_convexity)
    return jax.lax.fori_loop(0, steps, lambda _, x: x - step * slope(x), start)


def solve(p, c, theta, nu):
    """φ_ν to rounding. The last of Newton's steps is the one that is differentiated."""
    x = descent(p, c, theta, nu, theta, 250)

    def newton(theta, nu, x):
        loss = inner(p, c, theta, nu)
        return x - jnp.linalg.solve(jax.hessian(loss)(x), jax.grad(loss)(x))

    x = jax.lax.fori_loop(0, 5, lambda _, x: newton(theta, nu, x), x)
    return newton(theta, nu, jax.lax.stop_gradient(x))


def solve_all(p, c, theta, nus):
    """φ_ν for each of the ν, from one compilation."""
    return jax.vmap(lambda nu: solve(p, c, theta, nu))(jnp.stack(nus))


def meta_gradient(p, c, theta, phi):
    """λ H⁻¹ ∇f(φ_0)."""
    hessian = jax.hessian(inner(p, c, theta, 0.0))(phi)
    return c.regularizer * jnp.linalg.solve(hessian, jax.grad(lambda x: query(p, x))(phi))


def query_gradient_norm(p, x):
    return jnp.linalg.norm(jax.grad(lambda x: query(p, x))(x))
