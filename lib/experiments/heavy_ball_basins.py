"""From which starts does heavy ball converge on a convex loss that is not quadratic?

The loss is the one of Lessard, Recht and Packard (2016): f'' is 25, then 1 between 1 and 2, then
25 again. The pair (step size, momentum) = (1/9, 4/9) is the best for every quadratic with
eigenvalues in [1, 25]; on this loss it runs into a cycle of length 3 from many starts.
Each start is at rest (x_{-1} = x_0) and is called, by the last points of its run,

- converged, if they lie within `tolerance` of the minimizer 0,
- diverged, if one of them is infinite, NaN, or larger than `far`,
- cycling, if they repeat within `tolerance` after `longest_period` steps or fewer,
- undecided otherwise: a slow run, or a cycle that is longer or none.
"""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metagrad.momentum import heavy_ball
from metagrad.problems import lessard_recht_packard

SETTINGS: dict[str, Any] = {
    "tuned_step_size": 1 / 9,
    "tuned_momentum": 4 / 9,
    "starts": [-4.0, 4.0, 4001],  # first, last, how many
    "map_starts": [-4.0, 4.0, 161],
    "map_step_sizes": [0.005, 0.16, 32],
    "map_momenta": [0.0, 0.93, 32],
    "inner_steps": 4000,
    "tolerance": 1e-8,
    "far": 1e6,
    "longest_period": 24,
}

FATES = ("converged", "cycling", "diverged", "undecided")


def fates_of(
    points: jax.Array, tolerance: float, far: float, longest_period: int
) -> tuple[jax.Array, jax.Array]:
    """Say what became of runs.

    Args:
        points: the iterates, shape (runs, steps); at least 2 * longest_period steps.
        tolerance: what counts as equal.
        far: what counts as gone.
        longest_period: the longest cycle looked for.

    Returns:
        An index into `FATES` for each run, and the length of its cycle (0 where it has none);
        both of shape (runs,).
    """
    last = points[:, -2 * longest_period :]
    diverged = ~jnp.all(jnp.abs(last) < far, axis=1)
    converged = jnp.all(jnp.abs(last) < tolerance, axis=1)
    early = last[:, :longest_period]
    repeats = jnp.stack(
        [
            jnp.all(jnp.abs(last[:, p : p + longest_period] - early) < tolerance, axis=1)
            for p in range(1, longest_period + 1)
        ]
    )
    cycling = jnp.any(repeats, axis=0) & ~converged & ~diverged
    fate = jnp.where(converged, 0, jnp.where(diverged, 2, jnp.where(cycling, 1, 3)))
    return fate, jnp.where(cycling, jnp.argmax(repeats, axis=0) + 1, 0)


def intervals(starts: np.ndarray, inside: np.ndarray) -> list[list[float]]:
    """List the stretches of neighboring starts that lie inside: [first, last] of each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return [
        [round(float(starts[a]), 6), round(float(starts[b - 1]), 6)]
        for a, b in edges.reshape(-1, 2)
    ]


def run(
    *,
    tuned_step_size: float,
    tuned_momentum: float,
    starts: list,
    map_starts: list,
    map_step_sizes: list,
    map_momenta: list,
    inner_steps: int,
    tolerance: float,
    far: float,
    longest_period: int,
) -> dict[str, Any]:
    """Scan the starts for the tuned pair, then fewer starts for a map of pairs.

    Returns:
        `tuned`: the share of each fate, the intervals of starts that cycle, the lengths of the
        cycles and the points of one; `map`: for each fate the share of the starts, one row for
        each momentum and one column for each step size.
    """
    loss = lessard_recht_packard()

    @jax.jit
    def runs(x0s, step_size, momentum):
        return jax.vmap(lambda x0: heavy_ball(loss, x0, step_size, momentum, inner_steps))(x0s)

    @jax.jit
    def fates(x0s, step_size, momentum):
        points = runs(x0s, step_size, momentum)[:, -2 * longest_period :]
        return fates_of(points, tolerance, far, longest_period)

    def shares(fate):
        return [float(np.mean(np.asarray(fate) == i)) for i in range(len(FATES))]

    x0s = np.linspace(*starts)
    fate, period = map(np.asarray, fates(x0s, tuned_step_size, tuned_momentum))
    cycling = x0s[fate == 1]
    if cycling.size == 0:
        raise ValueError(
            f"tuned_step_size, tuned_momentum = {tuned_step_size}, {tuned_momentum}: no start "
            "cycles; the experiment needs a pair with which some do"
        )
    cycle = np.asarray(runs(cycling[:1], tuned_step_size, tuned_momentum))[0, -int(period.max()) :]
    lengths = Counter(period[fate == 1].tolist())

    x0s_map = np.linspace(*map_starts)
    step_sizes, momenta = np.linspace(*map_step_sizes), np.linspace(*map_momenta)
    table = np.array(
        [[shares(fates(x0s_map, b, mu)[0]) for b in step_sizes] for mu in momenta]
    )  # shape (momenta, step sizes, fates)
    return {
        "tuned": {
            "shares": dict(zip(FATES, shares(fate), strict=True)),
            "cycling_starts": intervals(x0s, fate == 1),
            "cycle_lengths": {str(length): count for length, count in sorted(lengths.items())},
            "cycle": np.roll(cycle, -int(np.argmin(cycle))).tolist(),
        },
        "map": {
            "step_sizes": step_sizes.round(6).tolist(),
            "momenta": momenta.round(6).tolist(),
            "shares": {name: table[..., i].round(4).tolist() for i, name in enumerate(FATES)},
        },
    }
