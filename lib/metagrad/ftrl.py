"""Follow the regularized leader (FTRL): the meta-learner with a guarantee.

Round t offers a linear loss <v_t, w> (v_t is the meta-gradient times its weight). The learner
plays, before it sees v_t, with a guess h_t of it (the hint),

    w_t = argmin over W of <v_1 + ... + v_{t-1} + h_t, w> + ||w - w_0||² / (2 β_t)
        = Π_W(w_0 - β_t (v_1 + ... + v_{t-1} + h_t)),    Π_W the Euclidean projection.

Against every u in W, if β_t does not increase, its regret is at most

    ||u - w_0||² / (2 β_T) + Σ β_t ||v_t - h_t||² / 2 - Σ ||w_t - u_{t-1}||² / (2 β_{t-1}),

where u_t = Π_W(w_0 - β_t (v_1 + ... + v_t)) is what it would have played without a hint, u_0 = w_0
and β_0 = β_1. Source: after Rakhlin and Sridharan, 2013; the proof in the book is ours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.learner import leader
from metagrad.projections import Projection
from metagrad.unroll import unroll


class FtrlRun(NamedTuple):
    """T rounds; arrays (T, *w0.shape), except that constant step sizes have shape (T,).

    Attributes:
        parameters: w_1, ..., w_T.
        lazy: u_0, ..., u_{T-1}: the same without hints, formed with β_{t-1} in place of β_t.
        gradients: v_1, ..., v_T.
        hints: h_1, ..., h_T.
        step_sizes: β_1, ..., β_T.
        center: w_0, shape w0.shape.
    """

    parameters: Float[Array, "rounds ..."]
    lazy: Float[Array, "rounds ..."]
    gradients: Float[Array, "rounds ..."]
    hints: Float[Array, "rounds ..."]
    step_sizes: Float[Array, "rounds ..."]
    center: Float[Array, "..."]


def lazy_iterates(w0: Any, gradients: Any, step_sizes: Any, project: Projection | None) -> Any:
    """u_0, ..., u_{T-1}, shape (T, *w0.shape), with β_0 = β_1."""
    before = jnp.cumsum(gradients, axis=0) - gradients
    sizes = jnp.concatenate([step_sizes[:1], step_sizes[:-1]])
    points = jax.vmap(lambda size, total: w0 - size * total)(sizes, before)
    return points if project is None else jax.vmap(project)(points)


def ftrl(
    w0: Any,
    gradients: Any,
    meta_step_size: Any,
    hints: Any = None,
    *,
    project: Projection | None = None,
    allow_increasing: bool = False,
) -> FtrlRun:
    """Play a given sequence of linear losses.

    Args:
        w0: w_0, an array in W: the center of the regularizer.
        gradients: v_1, ..., v_T (weights included), shape (T, *w0.shape).
        meta_step_size: β, positive: a number, an array of shape (T,) that does not increase, or
            `adagrad`.
        hints: h_1, ..., h_T (weights included), shape (T, *w0.shape); None for no hints.
        project: Π_W, for instance `ball` or `box`; None for W = everything.
        allow_increasing: let β_t increase; the bound then has the extra terms of `Regret`.

    Returns:
        An `FtrlRun`.

    >>> run = ftrl(0.0, jnp.array([1.0, 3.0]), 0.5, hints=jnp.array([0.0, 1.0]))
    >>> run.parameters.tolist()
    [0.0, -1.0]
    """
    w0 = checks.as_float("w0", w0)
    gradients = checks.as_float("gradients", gradients)
    if gradients.shape[1:] != w0.shape or gradients.ndim != w0.ndim + 1 or not len(gradients):
        raise ValueError(
            f"gradients must have shape (T, *w0.shape) with w0.shape = {w0.shape}, "
            f"got shape {gradients.shape}"
        )
    hints = jnp.zeros_like(gradients) if hints is None else checks.as_float("hints", hints)
    checks.require_shape("hints", hints, gradients.shape)
    learner = leader(w0, meta_step_size, len(gradients), project, allow_increasing)

    def step(carry, t):
        w, size, state = learner.play(carry[2], hints[t - 1], t)
        return w, size, learner.learn(state, gradients[t - 1], hints[t - 1])

    start = learner.init()
    w, size, _ = learner.play(start, hints[0], 1)  # for their shapes
    parameters, sizes, _ = unroll(step, (w, size, start), len(gradients))[1]
    lazy = lazy_iterates(w0, gradients, sizes, project)
    return FtrlRun(parameters, lazy, gradients, hints, sizes, w0)


class Regret(NamedTuple):
    """Both sides of the regret bound, term by term.

    regret <= bound = distance_term + sum(error_terms) + sum(growth_terms) - sum(movement_terms).

    Attributes:
        regret: Σ <v_t, w_t - u>, shape ().
        distance_term: ||u - w_0||² / (2 β_T), shape ().
        error_terms: β_t ||v_t - h_t||² / 2, shape (T,).
        growth_terms: (1/β_{t-1} - 1/β_t)_+ ||w_t - w_0||² / 2, shape (T,); all 0 where β_t does
            not increase.
        movement_terms: ||w_t - u_{t-1}||² / (2 β_{t-1}), shape (T,).
        bound: shape ().
    """

    regret: Float[Array, ""]
    distance_term: Float[Array, ""]
    error_terms: Float[Array, " rounds"]
    growth_terms: Float[Array, " rounds"]
    movement_terms: Float[Array, " rounds"]
    bound: Float[Array, ""]


def regret(run: FtrlRun, comparator: Any) -> Regret:
    """The regret of a run against a fixed point, beside its bound.

    With AdaGrad's step sizes the terms are sums over the entries of w, each with its own β.

    Args:
        run: a run of `ftrl`.
        comparator: u, a point of W like w_0.

    >>> run = ftrl(0.0, jnp.array([1.0, 3.0]), 0.5, hints=jnp.array([0.0, 1.0]))
    >>> account = regret(run, -2.0)
    >>> float(account.regret), float(account.bound)
    (5.0, 5.0)
    """
    comparator = checks.as_float("comparator", comparator)
    checks.require_shape("comparator", comparator, run.center.shape)
    ndim = run.parameters.ndim
    sizes = run.step_sizes.reshape(run.step_sizes.shape + (1,) * (ndim - run.step_sizes.ndim))
    before = jnp.concatenate([sizes[:1], sizes[:-1]])

    def over_entries(values):
        return jnp.sum(values, axis=tuple(range(1, ndim)))

    growth = jnp.maximum(1.0 / before - 1.0 / sizes, 0.0)
    distance = jnp.sum((comparator - run.center) ** 2 / (2.0 * sizes[-1]))
    errors = over_entries(sizes * (run.gradients - run.hints) ** 2) / 2.0
    growths = over_entries(growth * (run.parameters - run.center[None]) ** 2) / 2.0
    movements = over_entries((run.parameters - run.lazy) ** 2 / before) / 2.0
    return Regret(
        regret=jnp.sum(run.gradients * (run.parameters - comparator[None])),
        distance_term=distance,
        error_terms=errors,
        growth_terms=growths,
        movement_terms=movements,
        bound=distance + jnp.sum(errors) + jnp.sum(growths) - jnp.sum(movements),
    )
