"""The facts that the chapter takes from this experiment, checked without it."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from experiments.heavy_ball_basins import FATES, fates_of, intervals, run
from metagrad.momentum import heavy_ball
from metagrad.problems import lessard_recht_packard

TUNED = experiments.load("heavy_ball_basins")["tuned"]
MAP = experiments.load("heavy_ball_basins")["map"]


def exact_cycle():
    """Solve for the cycle a -> b -> c -> a with c below 1, b above 2, a below 1, in fractions.

    The recurrence of heavy ball, x'' = x' + (x' - x) 4/9 - f'(x') / 9, is affine on each piece.
    """
    beta, mu = Fraction(1, 9), Fraction(4, 9)

    def row(before, at, after, shift):  # after - (1 + mu) at + mu before + beta (25 at) = shift
        line = [Fraction(0)] * 4
        line[after] += 1
        line[at] += -(1 + mu) + 25 * beta
        line[before] += mu
        line[3] = shift
        return line

    # Points 0, 1, 2 = a, b, c; f'(x) = 25 x, but f'(b) = 25 b - 24.
    rows = [
        row(2, 0, 1, Fraction(0)),
        row(0, 1, 2, 24 * beta),
        row(1, 2, 0, Fraction(0)),
    ]
    for i in range(3):
        pivot = next(k for k in range(i, 3) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(3):
            if k != i:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[3] for row in rows]


def test_the_cycle_is_the_exact_one():
    cycle = exact_cycle()
    assert cycle[0] < 1 < 2 < cycle[1] and cycle[2] < 1  # each point lies on its piece
    np.testing.assert_allclose(TUNED["cycle"], [float(x) for x in cycle], rtol=1e-12)


def test_all_cycles_have_length_three():
    assert list(TUNED["cycle_lengths"]) == ["3"]


def test_stored_intervals_hold_for_starts_between_those_of_the_grid():
    rng = np.random.default_rng(0)
    x0s = rng.uniform(-4, 4, 300)
    edges = np.array(TUNED["cycling_starts"])
    spacing = 8 / 4000
    distance = np.abs(x0s[:, None] - edges.ravel()).min(axis=1)
    x0s = x0s[distance > spacing]  # the grid does not say where between two starts an edge is
    inside = ((x0s[:, None] > edges[:, 0]) & (x0s[:, None] < edges[:, 1])).any(axis=1)
    loss = lessard_recht_packard()
    for x0, cycles in zip(x0s[:40], inside[:40], strict=True):
        points = np.asarray(heavy_ball(loss, x0, 1 / 9, 4 / 9, 3000))
        assert (abs(points[-1]) > 0.5) == cycles, x0
        if cycles:
            np.testing.assert_allclose(points[-1], points[-4], rtol=1e-12)


def test_gradient_descent_converges_from_every_start_below_two_over_the_largest_curvature():
    momenta, step_sizes = np.array(MAP["momenta"]), np.array(MAP["step_sizes"])
    converged = np.array(MAP["shares"]["converged"])
    assert momenta[0] == 0
    assert (converged[0, step_sizes < 2 / 25] == 1).all()


def test_nothing_converges_where_heavy_ball_is_unstable_at_the_minimizer():
    """Beyond β 25 > 2 (1 + μ) only starts that hit 0 exactly could converge."""
    momenta, step_sizes = np.array(MAP["momenta"]), np.array(MAP["step_sizes"])
    unstable = 25 * step_sizes[None, :] > 2 * (1 + momenta[:, None]) + 1e-9
    assert unstable.any()
    # The start 0 is one of 161.
    assert (np.array(MAP["shares"]["converged"])[unstable] <= 1 / 161 + 1e-4).all()


def test_shares_of_the_four_fates_sum_to_one():
    total = sum(np.array(MAP["shares"][name]) for name in FATES)
    np.testing.assert_allclose(total, 1, atol=4e-4)  # four shares, rounded to four digits
    assert sum(TUNED["shares"].values()) == pytest.approx(1, abs=1e-12)


def test_fates_are_told_apart():
    steps = np.arange(40)
    rows = [
        np.full(40, 1e-9),
        np.tile([3.0, 1.0, 2.0, 1.0], 10),
        1e5 * 2.0**steps,
        np.where(steps < 30, 1.0, np.nan),
        0.1 * steps,
    ]
    fate, period = fates_of(jnp.array(rows), 1e-8, 1e6, 8)
    assert [FATES[i] for i in fate] == [
        "converged",
        "cycling",
        "diverged",
        "diverged",
        "undecided",
    ]
    assert period.tolist() == [0, 4, 0, 0, 0]


def test_intervals_are_the_stretches_inside():
    starts = np.arange(6.0)
    inside = np.array([True, True, False, False, True, False])
    assert intervals(starts, inside) == [[0.0, 1.0], [4.0, 4.0]]
    assert intervals(starts, np.zeros(6, bool)) == []


def test_settings_without_a_cycle_are_refused():
    with pytest.raises(ValueError, match="some do"):
        run(
            tuned_step_size=0.01,
            tuned_momentum=0.0,
            starts=[-1.0, 1.0, 3],
            map_starts=[-1.0, 1.0, 3],
            map_step_sizes=[0.01, 0.02, 2],
            map_momenta=[0.0, 0.1, 2],
            inner_steps=400,
            tolerance=1e-8,
            far=1e6,
            longest_period=4,
        )
