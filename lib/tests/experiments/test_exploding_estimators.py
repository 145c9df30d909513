"""The stored estimates against what they must be on average, and small cases by hand."""

import itertools

import numpy as np
import pytest

import experiments
from experiments.exploding_estimators import (
    SETTINGS,
    estimates,
    methods,
    network_truth,
    quadratic_truths,
)
from metagrad import truncated

RESULT = experiments.load("exploding_estimators")
QUADRATIC, NETWORK = (SETTINGS["cases"][name] for name in ("quadratic", "network"))
WINDOW = SETTINGS["window"]
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
each_length = pytest.mark.parametrize("place", range(len(SETTINGS["steps"])))


def entry(case, place):
    found = RESULT[case][place]
    assert found["steps"] == SETTINGS["steps"][place]
    return found


def assert_on_average(row, expected):
    """Twice as wide as the 95% intervals, of which there are dozens."""
    mean, low, high = row["mean"]
    assert abs(mean - expected) <= high - low


def truncated_mean(steps):
    """On a quadratic a window that has run s of t steps keeps s/t of the derivative."""
    spectrum, beta = np.array(QUADRATIC["eigenvalues"]), QUADRATIC["step_size"]
    t = np.arange(1, steps + 1)
    kept = (t - 1) % WINDOW + 1
    powers = (1 - beta * spectrum)[None] ** (2 * t - 1)[:, None]
    return np.mean(-kept * (powers @ spectrum**2) / spectrum.size)


def persistent_mean(steps):
    """The derivative of the mean loss where each window has a draw of its own."""
    spectrum = np.array(QUADRATIC["eigenvalues"])

    def moment(p):
        factors = 1 - (QUADRATIC["step_size"] + QUADRATIC["sigma"] * NODES[:, None]) * spectrum
        weights = WEIGHTS / np.sqrt(2 * np.pi)
        return weights @ factors**p, -p * spectrum * (weights @ factors ** (p - 1))

    total = 0.0
    whole, whole_slope = moment(2 * WINDOW)
    for t in range(1, steps + 1):
        before, own = divmod(t - 1, WINDOW)
        part, part_slope = moment(2 * (own + 1))
        # max: with no window before, the first summand is 0 whatever its power.
        slope = before * whole ** max(before - 1, 0) * whole_slope * part
        slope = slope + whole**before * part_slope
        total += np.sum(0.5 * spectrum * slope) / spectrum.size
    return total / steps


@each_length
def test_means_on_the_quadratic_are_as_computed(place):
    found = entry("quadratic", place)
    rows, steps = found["methods"], found["steps"]
    np.testing.assert_allclose(
        [found["exact"], found["smoothed"]], quadratic_truths(QUADRATIC, steps), rtol=1e-4
    )
    assert_on_average(rows["forward"], found["exact"])
    assert_on_average(rows["truncated"], truncated_mean(steps))
    assert_on_average(rows["evolution"], found["smoothed"])
    assert_on_average(rows["persistent"], persistent_mean(steps))
    assert all(row["not_finite"] == 0 for row in rows.values())


def test_on_the_quadratic_nothing_is_cured():
    """Every unbiased mean grows with the run, and truncation keeps an ever smaller share."""
    first, last = entry("quadratic", 0), entry("quadratic", -1)
    for name in ("forward", "truncated", "evolution", "persistent"):
        assert last["methods"][name]["mean"][1] > 1000 * first["methods"][name]["mean"][2]
        assert last["methods"][name]["right_sign"] == 1.0
    kept = [e["methods"]["truncated"]["mean"][0] / e["exact"] for e in (first, last)]
    assert kept[0] < 0.3 and kept[1] < 0.3 * kept[0]
    assert 0.99 < last["methods"]["clipped"]["mean"][0] <= 1.0


def test_in_the_chaotic_run_the_exact_derivative_is_noise():
    spreads = [e["methods"]["forward"]["spread"] for e in RESULT["network"]]
    for before, after in itertools.pairwise(spreads):
        assert after > 1000 * before
    for place in range(len(SETTINGS["steps"])):
        rows = entry("network", place)["methods"]
        for name in ("forward", "clipped"):  # and clipping what is noise leaves noise
            assert 0.35 < rows[name]["right_sign"] < 0.65
        assert abs(rows["clipped"]["mean"][0]) <= 0.1


@each_length
def test_in_the_chaotic_run_windows_are_biased_and_evolution_is_not(place):
    found = entry("network", place)
    rows, truth = found["methods"], found["smoothed"]
    assert found["smoothed_error"] < 0.01 * truth
    for name in ("evolution", "persistent"):
        assert_on_average(rows[name], truth)
        assert rows[name]["spread"] < 0.5
    for name in ("truncated", "evolution, windows"):
        assert rows[name]["mean"][2] < truth  # both ask for a smaller step size
        assert rows[name]["spread"] < rows["evolution"]["spread"]
        assert rows[name]["right_sign"] == 1.0


def test_the_cost_is_the_same():
    for entries in RESULT.values():
        for found in entries:
            for name, (_, cost) in methods(0.1, WINDOW, 1.0).items():
                spent = found["methods"][name]["starts"] * cost
                assert SETTINGS["budget"] - cost < spent <= SETTINGS["budget"]


def test_the_truth_of_the_quadratic_by_differences():
    case = {"step_size": 2.1, "sigma": 0.05, "eigenvalues": [0.3, 1.0]}

    def mean_loss(beta, steps=3):
        factors = 1 - np.asarray(beta)[..., None] * np.array(case["eigenvalues"])
        losses = [factors ** (2 * t) @ case["eigenvalues"] for t in range(1, steps + 1)]
        return 0.5 * np.mean(losses, axis=0) / 2

    def smooth(beta):
        return WEIGHTS @ mean_loss(beta + case["sigma"] * NODES) / np.sqrt(2 * np.pi)

    for found, f in zip(quadratic_truths(case, 3), (mean_loss, smooth), strict=True):
        np.testing.assert_allclose(found, (f(2.1 + 1e-5) - f(2.1 - 1e-5)) / 2e-5, rtol=1e-8)


def test_the_truth_of_the_network_by_another_quadrature():
    points, weights = np.polynomial.legendre.leggauss(40)
    starts = 0.75 + 0.55 * points

    def mean_loss(beta, steps=3):
        x, total = starts, 0.0
        for _ in range(steps):
            x = x + beta * x * (1 - x**2)
            total += 0.25 * weights @ (x**2 - 1) ** 2
        return total / steps

    values = np.array([mean_loss(1.6 + 0.03 * node) for node in NODES])
    expected = WEIGHTS @ (values * NODES) / (0.03 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(network_truth(NETWORK, 3, 1001, 401), expected, rtol=1e-4)


def test_estimates_are_means_over_fresh_starts():
    """A network, one step, a window of one: the derivative is ℓ'(x_1) x_0 (1 - x_0²)."""
    made = estimates(NETWORK, 1, truncated(1), 50, 40, 3)
    assert made.shape == (40,) and np.unique(made).size == 40
    points, weights = np.polynomial.legendre.leggauss(40)
    x = 0.75 + 0.55 * points
    last = x + 1.6 * x * (1 - x**2)
    each = 2 * last * (last**2 - 1) * x * (1 - x**2)
    mean = 0.5 * weights @ each
    deviation = (0.5 * weights @ (each - mean) ** 2) ** 0.5
    assert abs(made.mean() - mean) < 5 * deviation / (50 * 40) ** 0.5
    assert 0.5 < made.std() / (deviation / 50**0.5) < 1.5
