"""Persistent evolution strategies: window by window, and yet unbiased.

Truncated evolution strategies forget what a window's perturbation does to later windows. Here
each pair keeps its own two states from window to window, and each window's loss is weighted by
the sum of all the perturbations that its states have felt.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from metagrad import checks
from metagrad.evolution import Pairs, mean_and_error, perturbations, shifted, weighted
from metagrad.runs import (
    Estimate,
    Method,
    Parameters,
    Run,
    advance_all,
    estimate,
    outcome,
    times,
    zero_loss,
)
from metagrad.windows import first_window, stack_windows


class PersistentState(NamedTuple):
    """What a pair carries from one window to the next; a new axis 0 counts the pairs.

    Attributes:
        above: the states that felt +ε.
        below: the states that felt -ε.
        felt: the sum of the perturbations so far, like w.
    """

    above: Pairs
    below: Pairs
    felt: Pairs


class PersistentInfo(NamedTuple):
    """What persistent evolution strategies see.

    Attributes:
        pair_gradients: the estimate from each pair alone, like w with a new axis 0, (pairs, ...).
        standard_error: that of the gradient, from the spread of the pairs; like w. It is inf
            for a single pair.
        window_gradients: what each window adds, like w with a new axis 0; one entry per window
            with `every_step`, else one entry, for the last window.
        particles: the states of all pairs after the run.
    """

    pair_gradients: Pairs
    standard_error: Parameters
    window_gradients: PyTree[Float[Array, "windows ..."]]
    particles: PersistentState


def begin(run: Run, w: Parameters, draws: Pairs) -> PersistentState:
    """The particles at x_0; the first window's draws perturb the start, too."""
    above = jax.vmap(lambda draw: run.start(shifted(w, draw, 1)))(draws)
    below = jax.vmap(lambda draw: run.start(shifted(w, draw, -1)))(draws)
    return PersistentState(above, below, jax.tree.map(jnp.zeros_like, draws))


def advance_window(
    run: Run, w: Parameters, particles: PersistentState, draws: Pairs, ts: Int[Array, " steps"]
) -> tuple[PersistentState, Float[Array, " pairs"], Float[Array, " pairs"]]:
    """Run all pairs through the steps ts with the parameters w ± draws.

    A meta-learner that moves w after each window calls this with its newest w.

    Args:
        run: the run.
        w: the meta-parameters.
        particles: from `begin` or from the window before.
        draws: σ ε for this window, like w with a new axis 0 of length pairs.
        ts: the times of the window's steps, shape (k,).

    Returns:
        The particles after the window, and what the window adds to F for the two halves of
        each pair, shape (pairs,) each; without run.every_step, the loss at its end.
    """

    def half(states, sign):
        def one(state, draw):
            moved = shifted(w, draw, sign)
            carry = (state, zero_loss(run, state, moved))
            carry = advance_all(run, carry, moved, ts)
            return carry[0], outcome(run, carry, moved)

        return jax.vmap(one)(states, draws)

    above, outcomes_above = half(particles.above, 1)
    below, outcomes_below = half(particles.below, -1)
    felt = jax.tree.map(lambda a, b: a + b, particles.felt, draws)
    return PersistentState(above, below, felt), outcomes_above, outcomes_below


def persistent_evolution_strategies(sigma: Any, pairs: int, truncation: int) -> Method:
    """Persistent evolution strategies (PES): unbiased across windows, for a smoothed objective.

    The smoothed objective is the mean of F when each window i runs with its own w + σ ε_i.
    The gradient is the mean over pairs of  Σ_i (F_i⁺ - F_i⁻) ξ_i / (2 σ²),  where F_i is what
    window i adds to F and ξ_i = σ (ε_1 + ... + ε_i).
    Source: Vicol, Metz and Sohl-Dickstein, 2021.

    Args:
        sigma: σ, positive.
        pairs: how many, at least 1.
        truncation: steps of a window, from 1 to inner_steps; the first window is the shorter.

    Raises:
        TypeError: if `meta_gradient` gets no key.
        ValueError: if σ is not positive, or the truncation longer than the run.

    >>> from metagrad.estimators import meta_gradient
    >>> run = (lambda x, w: 3.0 * x, lambda x, w, t: x + w, 0.0, jnp.array(0.0), 2)  # F = 6 w
    >>> method = persistent_evolution_strategies(0.5, 1000, truncation=1)
    >>> pes = meta_gradient(*run, method=method, key=jax.random.key(0))
    >>> bool(jnp.abs(pes.gradient - 6.0) < 4 * pes.info.standard_error)
    True
    """
    checks.require_positive("sigma", sigma)
    checks.require_steps("pairs", pairs)
    checks.require_steps("truncation", truncation)

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        checks.require_key(key, "persistent_evolution_strategies()")
        first = first_window("truncation", truncation, run.inner_steps)
        count = (run.inner_steps - first) // truncation
        ts = times(run.inner_steps)
        keys = jax.random.split(key, count + 1)

        def window(particles, ts, draws):
            particles, above, below = advance_window(run, w, particles, draws, ts)
            gradients = weighted(above - below, particles.felt, sigma)
            return particles, (jnp.mean(above + below) / 2, gradients)

        def body(particles, item):
            ts, key = item
            return window(particles, ts, perturbations(key, w, sigma, pairs))

        draws = perturbations(keys[0], w, sigma, pairs)
        particles, opening = window(begin(run, w, draws), ts[:first], draws)
        particles, rest = jax.lax.scan(
            body, particles, (ts[first:].reshape(count, truncation), keys[1:])
        )
        values, gradients = stack_windows(opening, rest)  # (windows,) and (windows, pairs, ...)
        if not run.every_step:  # the loss at the end of an earlier window does not count
            values, gradients = jax.tree.map(lambda leaf: leaf[-1:], (values, gradients))
        pair_gradients = jax.tree.map(lambda g: jnp.sum(g, axis=0), gradients)
        gradient, standard_error = mean_and_error(pair_gradients)
        by_window = jax.tree.map(lambda g: jnp.mean(g, axis=1), gradients)
        info = PersistentInfo(pair_gradients, standard_error, by_window, particles)
        return estimate(jnp.sum(values), gradient, info)

    return method
