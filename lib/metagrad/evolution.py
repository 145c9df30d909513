"""Evolution strategies: a gradient from values alone, of a smoothed objective.

With ε standard normal, F_σ(w) = E F(w + σ ε) is smooth even where F is not, and
∇F_σ(w) = E[F(w + σ ε) ε] / σ. Each draw is used twice, as +ε and as -ε.
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from metagrad import checks
from metagrad.runs import Estimate, Method, Parameters, Run, State, estimate
from metagrad.windows import Window, first_window, over_windows

Pairs: TypeAlias = PyTree[Float[Array, "pairs ..."]]


class EvolutionInfo(NamedTuple):
    """What evolution strategies see.

    Attributes:
        pair_gradients: the estimate from each pair alone, like w with a new axis 0, (pairs, ...).
        standard_error: that of the gradient, from the spread of the pairs; like w. It is inf
            for a single pair, which says nothing about its spread.
        final_state: x_T, run with w itself.
    """

    pair_gradients: Pairs
    standard_error: Parameters
    final_state: State


def evolution_strategies(sigma: Any, pairs: int, truncation: int | None = None) -> Method:
    """Antithetic evolution strategies: unbiased for the gradient of the smoothed objective.

    The mean over pairs of  [F(w + σ ε) - F(w - σ ε)] ε / (2 σ).  With `truncation` each window
    gets draws of its own and begins from the run with w itself: biased, as `truncated` is.
    The value is the mean of F over all draws, an estimate of F_σ(w).
    Source: Nesterov and Spokoiny, 2017; Salimans et al., 2017.

    Args:
        sigma: σ, the width of the smoothing, positive.
        pairs: how many draws ε, at least 1.
        truncation: steps of a window, from 1 to inner_steps; None for the whole run.

    Raises:
        TypeError: if `meta_gradient` gets no key.
        ValueError: if σ is not positive, or the truncation longer than the run.

    >>> from metagrad.estimators import meta_gradient
    >>> run = (lambda x, w: 3.0 * x, lambda x, w, t: x + w, 0.0, jnp.array(0.0), 2)  # F = 6 w
    >>> es = meta_gradient(*run, method=evolution_strategies(0.5, 1000), key=jax.random.key(0))
    >>> bool(jnp.abs(es.gradient - 6.0) < 4 * es.info.standard_error)
    True
    """
    checks.require_positive("sigma", sigma)
    checks.require_steps("pairs", pairs)
    if truncation is not None:
        checks.require_steps("truncation", truncation)

    def method(run: Run, w: Parameters, key: Any) -> Estimate:
        checks.require_key(key, "evolution_strategies()")
        length = run.inner_steps if truncation is None else truncation

        def differentiate(f, w, key):
            draws = perturbations(key, w, sigma, pairs)
            above = jax.vmap(lambda draw: f(shifted(w, draw, 1))[0])(draws)
            below = jax.vmap(lambda draw: f(shifted(w, draw, -1))[0])(draws)
            gradient = weighted(above - below, draws, sigma)
            return Window(jnp.mean(above + below) / 2, gradient, f(w)[1])

        windows = over_windows(
            run,
            w,
            first_window("truncation", length, run.inner_steps),
            length,
            differentiate,
            lambda count: jax.random.split(key, count),
        )
        pair_gradients = jax.tree.map(lambda g: jnp.sum(g, axis=0), windows.gradient)
        gradient, standard_error = mean_and_error(pair_gradients)
        info = EvolutionInfo(pair_gradients, standard_error, windows.state)
        return estimate(jnp.sum(windows.value), gradient, info)

    return method


def perturbations(key: jax.Array, w: Parameters, sigma: Any, pairs: int) -> Pairs:
    """Draws of σ ε, like w with a new axis 0 of length pairs."""
    leaves, structure = jax.tree.flatten(w)
    keys = jax.random.split(key, len(leaves))
    draws = [
        jnp.asarray(sigma, leaf.dtype) * jax.random.normal(k, (pairs, *leaf.shape), leaf.dtype)
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, draws)


def shifted(w: Parameters, draw: Parameters, sign: int) -> Parameters:
    """The meta-parameters w + sign · draw, leaf by leaf."""
    return jax.tree.map(lambda leaf, d: leaf + sign * d, w, draw)


def weighted(differences: Float[Array, " pairs"], draws: Pairs, sigma: Any) -> Pairs:
    """Each pair's estimate: its difference of values, times its draw of σ ε, over 2 σ².

    The square belongs there because the draws already carry one σ.
    """

    def leaf(d):
        each = differences.reshape(-1, *[1] * (d.ndim - 1)).astype(d.dtype)
        return each * d / (2 * jnp.asarray(sigma, d.dtype) ** 2)

    return jax.tree.map(leaf, draws)


def mean_and_error(pair_gradients: Pairs) -> tuple[Parameters, Parameters]:
    """The mean over axis 0 and its standard error, leaf by leaf."""
    mean = jax.tree.map(lambda g: jnp.mean(g, axis=0), pair_gradients)

    def error(g):
        pairs = g.shape[0]
        if pairs == 1:
            return jnp.full(g.shape[1:], jnp.inf, g.dtype)
        return jnp.std(g, axis=0, ddof=1) / jnp.asarray(pairs, g.dtype) ** 0.5

    return mean, jax.tree.map(error, pair_gradients)
