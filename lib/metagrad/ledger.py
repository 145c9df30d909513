"""The online-to-batch identity as an exact account of what a run's last average has cost.

Symbols as in `metagrad.weights`; B_f(y, x) = f(y) - f(x) - <∇f(x), y - x> is the Bregman
divergence: how far f at y lies above its tangent at x. It is not negative where f is convex.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from metagrad import checks
from metagrad.problems import Loss


@runtime_checkable
class Averages(Protocol):
    """What the ledger reads of a run: x̄_t, x_t, ∇f(x̄_t) and α_t, axis 0 of length T.

    Runs of `metagrad.averaged`, `metagrad.optimistic` and `metagrad.convex_bootstrap` have them.
    """

    @property
    def averages(self) -> jax.Array: ...  # noqa: D102
    @property
    def iterates(self) -> jax.Array: ...  # noqa: D102
    @property
    def gradients(self) -> jax.Array: ...  # noqa: D102
    @property
    def weights(self) -> jax.Array: ...  # noqa: D102


class Ledger(NamedTuple):
    """The entries of the online-to-batch identity.

    sum(regret_terms) - sum(bregman_to_minimizer) - sum(bregman_between) = total_weight * gap.

    Attributes:
        regret_terms: α_t <∇f(x̄_t), x_t - x*>, shape (T,).
        bregman_to_minimizer: α_t B_f(x*, x̄_t), shape (T,).
        bregman_between: A_{t-1} B_f(x̄_{t-1}, x̄_t), shape (T,); the first is 0.
        gap: f(x̄_T) - f(x*), shape ().
        total_weight: A_T, shape ().
    """

    regret_terms: jax.Array
    bregman_to_minimizer: jax.Array
    bregman_between: jax.Array
    gap: jax.Array
    total_weight: jax.Array


def online_to_batch(loss: Loss, minimizer: Any, run: Averages) -> Ledger:
    """What the last average's excess loss is made of, exactly.

    A_T (f(x̄_T) - f(x*)) = Σ α_t <∇f(x̄_t), x_t - x*> - Σ α_t B_f(x*, x̄_t)
                           - Σ A_{t-1} B_f(x̄_{t-1}, x̄_t)

    for every differentiable f and every x*; where f is convex no Bregman term is negative.
    Source: after Cutkosky, 2019; the proof in the book is ours.

    Args:
        loss: f, maps a point to one number.
        minimizer: x*, an array like one iterate; any point may be compared with.
        run: a run of an averaged form on the same loss, see `Averages`.

    Returns:
        A `Ledger`.

    >>> from metagrad.averaged import averaged_meta_learning
    >>> from metagrad.problems import quadratic
    >>> run = averaged_meta_learning(quadratic(1.0), 8.0, jnp.ones(2), 0.5)
    >>> ledger = online_to_batch(quadratic(1.0), 0.0, run)
    >>> ledger.regret_terms.tolist(), ledger.bregman_to_minimizer.tolist()
    ([64.0, 24.0], [32.0, 18.0])
    >>> ledger.bregman_between.tolist(), float(ledger.gap * ledger.total_weight)
    ([0.0, 2.0], 36.0)
    """
    minimizer = checks.as_float("minimizer", minimizer)
    checks.require_shape("minimizer", minimizer, run.averages.shape[1:])
    before = jnp.concatenate([run.averages[:1], run.averages[:-1]])
    totals = jnp.cumsum(run.weights)
    best = loss(minimizer)
    values = jax.vmap(loss)(run.averages)
    values_before = jnp.concatenate([values[:1], values[:-1]])

    def inner(gradients, vectors):
        return jax.vmap(lambda g, v: jnp.sum(g * v))(gradients, vectors)

    def from_minimizer(points):
        return jax.vmap(lambda x: x - minimizer)(points)

    to_minimizer = best - values + inner(run.gradients, from_minimizer(run.averages))
    between = values_before - values - inner(run.gradients, before - run.averages)
    return Ledger(
        regret_terms=run.weights * inner(run.gradients, from_minimizer(run.iterates)),
        bregman_to_minimizer=run.weights * to_minimizer,
        bregman_between=(totals - run.weights) * between,
        gap=values[-1] - best,
        total_weight=totals[-1],
    )
