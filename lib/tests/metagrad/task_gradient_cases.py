"""Tasks with known answers, and the table of methods, that the tests of task gradients share."""

import jax
import jax.numpy as jnp
import numpy as np

from metagrad.difference_rules import FORWARD, of_order
from metagrad.inner import newton_solve
from metagrad.task_gradients import (
    contrastive,
    fo_b_maml,
    fo_maml,
    fo_muml,
    hf_maml,
    imaml,
    maml,
    proximal_reptile,
    reptile,
)
from metagrad.tasks import Family, Task

# λ = 2, α = 0.1 and five steps, where a method has them: enough for a contract, far from exact.
METHODS = {
    "maml": maml(5, 0.1),
    "maml, kept": maml(5, 0.1, checkpointed=False),
    "fo_maml": fo_maml(5, 0.1),
    "fo_maml, regularized": fo_maml(5, 0.1, regularizer=2.0),
    "reptile": reptile(5, 0.1),
    "imaml": imaml(2.0, 5, 0.1, 3),
    "imaml, damped": imaml(2.0, 5, 0.1, 3, damping=0.5, strong_convexity=2.0),
    "imaml, newton": imaml(2.0, 5, 1.0, 3, solve=newton_solve),
    "proximal_reptile": proximal_reptile(2.0, 5, 0.1),
    "hf_maml": hf_maml(0.1, 1e-2),
    "fo_muml": fo_muml(2.0, 0.1, 0.1, 20),
    "fo_b_maml": fo_b_maml(2.0, 0.05, 5, 0.1),
    "fo_b_maml, bound": fo_b_maml(
        2.0, 0.05, 5, 0.1, rule=FORWARD, strong_convexity=2.0, query_smoothness=9.0
    ),
    "fo_b_maml, fourth order": fo_b_maml(2.0, 0.05, 5, 0.1, rule=of_order(4)),
    "fo_b_maml, warm": fo_b_maml(2.0, 0.05, 5, 0.1, start="warm"),
    "fo_b_maml, scale-free": fo_b_maml(2.0, lambda size: 0.05 / (1.0 + size), 5, 0.1),
    "contrastive": contrastive(2.0, 0.05, 5, 0.1),
}


def quadratic_family(curvatures, centers, query_curvatures=None, query_centers=None):
    """f̂ = (a/2) ||φ - b||² and f = (c/2) ||φ - e||², f = f̂ where c and e are not given."""
    query_curvatures = curvatures if query_curvatures is None else query_curvatures
    query_centers = centers if query_centers is None else query_centers
    data = tuple(
        jnp.asarray(x, float) for x in (curvatures, centers, query_curvatures, query_centers)
    )
    return Family(
        lambda x, d: 0.5 * d[0] * jnp.sum((x - d[1]) ** 2),
        lambda x, d: 0.5 * d[2] * jnp.sum((x - d[3]) ** 2),
        data,
    )


def two_quadratics(**query):
    """The two tasks on which every shortcut rests somewhere else: a = (1, 9), b = (0, 1)."""
    return quadratic_family([1.0, 9.0], [0.0, 1.0], **query)


def logistic_task(seed=0, dimension=4):
    """Mean logistic losses on random points: convex, with third and fourth derivatives."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=dimension)

    def loss(points):
        features = rng.normal(size=(points, dimension)) * np.linspace(0.5, 2.0, dimension)[None, :]
        labels = np.sign(features @ weights + rng.normal(size=points))
        signed = jnp.asarray(labels[:, None] * features)
        return lambda x: jnp.mean(jnp.logaddexp(0.0, -(signed @ x)))

    return Task(loss(8), loss(16)), jnp.asarray(rng.normal(size=dimension))


def implicit_gradient(task, theta, regularizer):
    """λ H⁻¹ ∇f at the minimizer of the inner problem, with NumPy's solver: the oracle."""
    slope, hessian = jax.jit(jax.grad(task.support)), jax.jit(jax.hessian(task.support))
    phi, unit = np.asarray(theta), np.eye(theta.size)
    for _ in range(30):
        system = np.asarray(hessian(phi)) + regularizer * unit
        phi = phi - np.linalg.solve(system, np.asarray(slope(phi)) + regularizer * (phi - theta))
    system = np.asarray(hessian(phi)) + regularizer * unit
    return regularizer * np.linalg.solve(system, np.asarray(jax.grad(task.query)(phi)))
