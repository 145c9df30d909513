"""Estimators of an exploding meta-gradient, at equal cost: their bias and their spread.

Two runs whose exact derivative in the step size β explodes with the number T of steps.

* "quadratic": gradient descent on Σ λ_i x_i² / 2 past its edge of stability. The states
  themselves diverge.
* "network": gradient descent on (x² - 1)² / 2, the loss of a network with two equal weights:
  x ← x + β x (1 - x²). At the β used it is chaotic; the states stay below √2.

The start is random, and F(β) is the mean loss over all steps and over starts. An estimate spends
a budget of steps: it is the mean over as many random starts as the budget allows, each with the
method's own draws. A step costs 1, and so does the adjoint or the tangent of a step. So the
exact derivative costs 2 T (forward and reverse mode are the same number; forward mode needs no
memory), and so does a pair of evolution strategies. Clipping is done start by start, before the
mean.

Two truths. F'(β), known on the quadratic. And the derivative of the smoothed objective E F(β + σε),
which is what evolution strategies are after: exact on the quadratic, by quadrature for the network.
(Persistent evolution strategies smooth each window by a draw of its own, which is a third one.)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.intervals import mean_interval, rounded
from metagrad import (
    clipped,
    evolution_strategies,
    forward,
    meta_gradient,
    persistent_evolution_strategies,
    truncated,
)

SETTINGS: dict[str, Any] = {
    "cases": {
        "quadratic": {
            "step_size": 2.1, "sigma": 0.01, "eigenvalues": [0.05, 0.1, 0.2, 0.4, 1.0],
        },
        "network": {"step_size": 1.6, "sigma": 0.03, "starts": [0.2, 1.3]},
    },
    "steps": [16, 32, 64],
    "window": 4,
    "limit": 1.0,  # of clipping
    "budget": 128,  # runs of T steps without a derivative
    "repeats": 400,  # estimates of each kind
    "quadrature": [1001, 601],  # for the network: starts, places in β
    "seed": 0,
}  # fmt: skip


def methods(sigma: float, window: int, limit: float) -> dict[str, tuple[Any, int]]:
    """Return the methods, and how many times T steps one start costs."""
    return {
        "forward": (forward(), 2),
        "truncated": (truncated(window), 2),
        "clipped": (clipped(limit, forward()), 2),
        "evolution": (evolution_strategies(sigma, 1), 2),
        # These windows begin from the run with β itself, which is one more run.
        "evolution, windows": (evolution_strategies(sigma, 1, truncation=window), 3),
        "persistent": (persistent_evolution_strategies(sigma, 1, window), 2),
    }


def pieces(case: dict[str, Any]) -> tuple[Callable, Callable, Callable]:
    """Return `loss` and `step`, as `meta_gradient` takes them, and a function that draws a start.

    The quadratic's start is uniform on the unit sphere, the network's between two numbers.
    """
    if "eigenvalues" in case:
        spectrum = jnp.asarray(case["eigenvalues"])

        def sphere(key):
            point = jax.random.normal(key, spectrum.shape)
            return point / jnp.linalg.norm(point)

        return (
            lambda x, w: 0.5 * jnp.sum(spectrum * x**2),
            lambda x, w, t: x - w * (spectrum * x),
            sphere,
        )
    low, high = case["starts"]
    return (
        lambda x, w: 0.5 * (x**2 - 1.0) ** 2,
        lambda x, w, t: x + w * x * (1.0 - x**2),
        lambda key: jax.random.uniform(key, (), minval=low, maxval=high),
    )


def quadratic_truths(case: dict[str, Any], steps: int) -> tuple[float, float]:
    """Return F' and the smoothed one: (1/T) Σ_t -t Σ λ² E (1 - (β + σε)λ)^(2t-1) / d."""
    spectrum, beta, sigma = (
        np.asarray(case[name]) for name in ("eigenvalues", "step_size", "sigma")
    )
    # Gauss and Hermite's rule with n nodes is exact for polynomials of degree 2n - 1.
    nodes, weights = np.polynomial.hermite_e.hermegauss(min(steps + 1, 100))
    t = np.arange(1, steps + 1)[:, None, None]

    def slope(betas):
        factors = 1.0 - betas[None, :, None] * spectrum
        each = np.sum(spectrum**2 * factors ** (2 * t - 1), axis=2) / spectrum.size
        return np.mean(-t[:, :, 0] * each, axis=0)

    smoothed = weights @ slope(beta + sigma * nodes) / np.sqrt(2.0 * np.pi)
    return float(slope(beta[None])[0]), float(smoothed)


def network_truth(case: dict[str, Any], steps: int, starts: int, places: int) -> float:
    """Return the smoothed derivative, E F(β + σε) ε / σ, by the midpoint and trapezoid rules."""
    low, high = case["starts"]
    first = low + (high - low) * (np.arange(starts) + 0.5) / starts
    epsilon = np.linspace(-6.0, 6.0, places)
    beta = case["step_size"] + case["sigma"] * epsilon[:, None]
    states, total = np.broadcast_to(first, (places, starts)), np.zeros(places)
    for _ in range(steps):
        states = states + beta * states * (1.0 - states**2)
        total += np.mean(0.5 * (states**2 - 1.0) ** 2, axis=1)
    weights = np.exp(-0.5 * epsilon**2)
    return float(np.sum(weights * epsilon * total) / (weights.sum() * steps * case["sigma"]))


def estimates(case: dict, steps: int, method: Any, starts: int, repeats: int, seed: int) -> Any:
    """Return estimates, each the mean over so many starts, shape (repeats,)."""
    loss, step, draw = pieces(case)

    def one(key):
        for_start, for_method = jax.random.split(key)
        return meta_gradient(
            loss, step, case["step_size"], draw(for_start), steps,
            method=method, key=for_method, every_step=True,
        ).gradient  # fmt: skip

    keys = jax.random.split(jax.random.key(seed), (repeats, starts))
    return np.asarray(jax.jit(lambda k: jnp.mean(jax.vmap(jax.vmap(one))(k), axis=1))(keys))


def run(
    *,
    cases: dict[str, dict],
    steps: list[int],
    window: int,
    limit: float,
    budget: int,
    repeats: int,
    quadrature: list[int],
    seed: int,
) -> dict[str, Any]:
    """Measure all methods.

    Returns:
        For each case a list with an entry for each T: `steps`; `exact`, F' (None where it is not
        known); `smoothed`; `smoothed_error`, how much a coarser quadrature differs (0 where
        none is used); and `methods`, for each: `starts`, how many runs an estimate averages;
        `mean` of the estimates [mean, low, high]; `spread`, their standard deviation;
        `rms_error`, root mean square distance from `smoothed`; `right_sign`, the share of
        estimates with the sign of `smoothed`; `not_finite`, how many were NaN or infinite.
        The others are None if any was not finite.
    """
    found: dict[str, Any] = {}
    for name, case in cases.items():
        found[name] = []
        for count in steps:
            exact, error = None, 0.0
            if "eigenvalues" in case:
                exact, truth = quadratic_truths(case, count)
            else:
                truth = network_truth(case, count, *quadrature)
                error = abs(truth - network_truth(case, count, *(n // 2 for n in quadrature)))
            rows = {}
            for label, (method, cost) in methods(case["sigma"], window, limit).items():
                starts = budget // cost
                made = estimates(case, count, method, starts, repeats, seed)
                bad = int((~np.isfinite(made)).sum())
                rows[label] = {
                    "starts": starts,
                    "mean": None if bad else rounded(mean_interval(made)),
                    "spread": None if bad else rounded([made.std(ddof=1)])[0],
                    "rms_error": None if bad else rounded([np.mean((made - truth) ** 2) ** 0.5])[0],
                    "right_sign": None if bad else float(np.mean(np.sign(made) == np.sign(truth))),
                    "not_finite": bad,
                }
            numbers = [None if x is None else rounded([x])[0] for x in (exact, truth, error)]
            keys = ("exact", "smoothed", "smoothed_error")
            entry = {"steps": count, **dict(zip(keys, numbers, strict=True)), "methods": rows}
            found[name].append(entry)
    return found
