"""Intervals cover what they say they cover, on samples whose truth is known."""

import doctest
import math

import numpy as np
import pytest

from experiments.common import intervals
from experiments.common.intervals import mean_interval, median_interval, ratio_interval, rounded


def coverage(interval, draw, truth, runs=4000):
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(runs):
        _, low, high = interval(draw(rng))
        inside += low <= truth <= high
    return inside / runs


def test_the_mean_interval_covers_a_normal_mean_95_times_in_100():
    found = coverage(mean_interval, lambda rng: rng.normal(3.0, 2.0, 5), 3.0)
    assert found == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("size", "rank"), [(6, 1), (11, 2), (20, 6)])
def test_the_median_interval_covers_a_skewed_median_at_least_95_times_in_100(size, rank):
    """Between the values of the k-th rank from both ends: all but P(fewer than k heads) twice."""
    missed = 2 * sum(math.comb(size, heads) for heads in range(rank)) / 2**size
    assert missed <= 0.05 < missed + 2 * math.comb(size, rank) / 2**size
    found = coverage(median_interval, lambda rng: rng.exponential(1.0, size), np.log(2.0))
    assert found == pytest.approx(1 - missed, abs=0.012)


def test_the_ratio_interval_covers_a_constant_ratio():
    def interval(pair):
        return ratio_interval(*pair)

    def draw(rng):
        bottom = rng.lognormal(size=8)
        return 2.0 * bottom * rng.lognormal(0.0, 0.3, 8), bottom

    assert coverage(interval, draw, 2.0) == pytest.approx(0.95, abs=0.015)


def test_infinite_values_are_ranked():
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, np.inf])[2] == np.inf


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="two or more finite"):
        mean_interval([1.0])
    with pytest.raises(ValueError, match="two or more finite"):
        mean_interval([1.0, np.inf])
    with pytest.raises(ValueError, match="NaN"):
        median_interval([np.nan] * 7)
    with pytest.raises(ValueError, match="six"):
        median_interval([1.0] * 5)
    with pytest.raises(ValueError, match="bottom must be positive"):
        ratio_interval([1.0, 2.0], [1.0, 0.0])


def test_rounded_keeps_significant_digits():
    assert rounded([123456.7, 1.234567e-9], 3) == [123000.0, 1.23e-9]


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(intervals).failed == 0
