"""The fates and exponents that the chapter takes from this experiment, checked without it."""

import math

import numpy as np
import pytest

import experiments
from experiments.divergence_window import SETTINGS, fates, growth
from metagrad.cosine_valley import Valley

RESULT = experiments.load("divergence_window")


def rows(name):
    return {row["step_size"]: row for row in RESULT[name]["rows"]}


def exponent(numbers, eta):
    """The mean over phases, by quadrature."""
    a, v, lam = numbers
    x = (np.arange(1_000_000) + 0.5) * 2 * np.pi / 1_000_000
    h = a + lam - v * np.cos(x)
    return np.mean(h / (a + lam) * np.log(abs(1 - eta * lam**2 / ((a + lam) * h))))


@pytest.mark.parametrize("name", SETTINGS["valleys"])
def test_the_fates_and_the_exponents_are_as_the_chapter_says(name):
    numbers, step_sizes = SETTINGS["valleys"][name]
    a, v, lam = numbers
    low, high = RESULT[name]["window"]
    assert abs(high - 2 * (a + lam - v) ** 2 / lam**2) < 1e-9
    assert exponent(numbers, low * 0.99) < 0 < exponent(numbers, low * 1.01)
    assert list(rows(name)) == step_sizes
    for eta, row in rows(name).items():
        assert abs(row["exponent"] - exponent(numbers, eta)) < 1e-4
        assert abs(row["measured"] - row["exponent"]) < 4 * row["error"] < 0.1
        assert math.isclose(row["arrived"] + row["left"], 1.0) or row["arrived"] + row["left"] < 1
        assert not (eta > high and row["arrived"] > 0)


def test_the_sentences_under_the_table():
    convex, nonconvex = rows("convex"), rows("nonconvex")
    for found, safe in ((convex, (3.9, 6.0, 8.0)), (nonconvex, (0.19, 2.0, 2.5))):
        assert all(found[eta]["arrived"] == 1 for eta in safe)
    # Below the sign change runs do not arrive either, and most have not left.
    for eta in (8.4, 8.6):
        assert convex[eta]["arrived"] == 0 and convex[eta]["left"] < 0.1
    assert convex[9.0]["left"] > 0.9 and convex[9.5]["left"] == convex[15.0]["left"] == 1
    assert 0.8 < convex[12.0]["left"] < 1 and convex[12.0]["arrived"] == 0  # some in cycles
    assert nonconvex[2.7]["exponent"] < 0 < nonconvex[2.7]["left"]
    assert all(nonconvex[eta]["left"] == 1 for eta in (2.76, 3.0, 5.0, 7.0))


def test_a_part_repeated():
    rng = np.random.default_rng(5)
    starts = rng.uniform(*SETTINGS["between"], 50)
    valley = Valley(1.0, -1.0, 1.0)
    for eta, all_arrive in ((6.0, True), (15.0, False)):
        arrived, left = fates(valley, eta, starts, 400, SETTINGS["near"], SETTINGS["far"])
        assert arrived.all() == all_arrive and left.all() == (not all_arrive)
    mean, error = growth(valley, 12.0, 10.0 ** rng.uniform(6, 7, 2000), 3)
    assert abs(mean - exponent((1.0, -1.0, 1.0), 12.0)) < 4 * error
