"""The slopes and limits that the chapters take from this experiment, against theory."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

import experiments
from experiments.quadratic_worst_case import METHODS, final_losses, schedule, worst_curvature
from metagrad import averaged_meta_learning, nesterov
from metagrad.problems import quadratic
from metagrad.weights import nesterov_hints, nesterov_weights, power_weights

RESULT = experiments.load("quadratic_worst_case")
TABLE = RESULT["methods"]
STEPS = np.array(RESULT["inner_steps"])

FAST = {  # method -> slope that the theory gives
    "gradient descent": -1,
    "constant, no hint": -1,
    "constant, hint": -1,
    "growing, no hint, decreasing step": -1,
    "growing, no hint, step 1/4": -2,
    "growing, no hint, step 1/2": -2,
    "growing, no hint, step 1": -2,
    "growing, hint": -2,
    "growing, hint, increasing step": -2,
    "fast growing, hint": -2,
    "exact Nesterov": -2,
}


def peak(function):
    """The maximum over z >= 0 of a function whose first peak is its highest."""
    grid = np.linspace(1e-6, 30.0, 30001)
    best = grid[np.argmax(function(grid))]
    found = scipy.optimize.minimize_scalar(
        lambda z: -function(z), bounds=(best - 0.01, best + 0.01), method="bounded"
    )
    return -found.fun


BESSEL = peak(lambda z: scipy.special.j1(z) ** 2)


@pytest.mark.parametrize("name", METHODS)
def test_the_slope_is_the_one_that_theory_gives(name):
    assert TABLE[name]["slope"] == pytest.approx(FAST[name], abs=0.03)


def test_gradient_descent_has_the_closed_form():
    """max_q q (1 - q)^{2(T-1)} / 2 is at q = 1 / (2T - 1)."""
    q = 1 / (2 * STEPS - 1)
    losses = TABLE["gradient descent"]["worst_losses"]
    np.testing.assert_allclose(losses, q * (1 - q) ** (2 * STEPS - 2) / 2, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("gradient descent", 1 / (4 * np.e)),
        # With α_t = 1 the average tends to 2 J_1(z) / z, z = 2 √(βqT): T f to J_1(z)² / 2β.
        ("constant, no hint", BESSEL / 2),
        ("constant, hint", BESSEL / 2 / 0.5),
        # With α_t = t it solves x̄'' + 3 x̄' / t + 2βq x̄ = 0, so x̄ = 2 J_1(z) / z with
        # z = t √(2βq), and T² f tends to J_1(z)² / β.
        ("growing, no hint, step 1/4", BESSEL / 0.25),
        ("growing, no hint, step 1/2", BESSEL / 0.5),
        ("growing, no hint, step 1", BESSEL),
        ("growing, hint", BESSEL / 0.25),
        ("growing, hint, increasing step", BESSEL / 0.5),
        ("fast growing, hint", BESSEL / 0.5),  # α_t is about t / 2, as if β were 1/2
        ("exact Nesterov", BESSEL / 0.5),
    ],
)
def test_the_scaled_loss_is_near_its_limit(name, limit):
    assert TABLE[name]["scaled"] == pytest.approx(limit, rel=2e-3)


def test_the_decreasing_step_has_its_own_limit():
    """With β_t = 1/t, x̄ as a function of z = T q solves (z² x̄ / 2)'' = 1 - z x̄.

    Its power series has the coefficients a_0 = 1 and a_k = -2 a_{k-1} / ((k+1)(k+2)).
    """
    k = np.arange(1, 60)
    coefficients = np.concatenate([[1.0], np.cumprod(-2.0 / ((k + 1) * (k + 2)))])

    def scaled(z):
        return z * np.polynomial.polynomial.polyval(z, coefficients) ** 2 / 2

    assert TABLE["growing, no hint, decreasing step"]["scaled"] == pytest.approx(
        peak(scaled), rel=1e-3
    )


@pytest.mark.parametrize(
    ("name", "weights", "hints"),
    [
        ("constant, no hint", power_weights(30, 0.0), None),
        ("constant, hint", power_weights(30, 0.0), power_weights(30, 0.0)),
        ("growing, no hint, step 1", power_weights(30, 1.0), None),
        ("growing, hint", power_weights(30, 1.0), power_weights(30, 1.0)),
        ("exact Nesterov", nesterov_weights(30), nesterov_hints(nesterov_weights(30))),
    ],
)
def test_the_closed_recursion_is_the_method_of_the_library(name, weights, hints):
    curvatures = jnp.array([1e-3, 0.2, 1.0])
    averages = averaged_meta_learning(
        quadratic(curvatures), jnp.ones(3), weights, METHODS[name]["step_size"], hints
    ).averages
    expected = 0.5 * curvatures * averages[-1] ** 2
    found = final_losses(schedule(METHODS[name], 30), curvatures)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-18)


def test_exact_nesterov_is_nesterov():
    """x̄_T is the look-ahead point of Nesterov's method as usually written, step size 1 / L."""
    curvatures = jnp.array([1e-3, 0.2, 0.9])
    lookahead = nesterov(quadratic(curvatures), jnp.ones(3), 1.0, 30).lookahead
    found = final_losses(schedule(METHODS["exact Nesterov"], 30), curvatures)
    expected = 0.5 * curvatures * lookahead[-1] ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-30)


def test_the_lagged_weights_squared_are_the_sums_before():
    weights = np.asarray(schedule(METHODS["fast growing, hint"], 50).weights)
    np.testing.assert_allclose(weights[1:] ** 2, np.cumsum(weights)[:-1], rtol=1e-13)


@pytest.mark.parametrize("name", ["constant, no hint", "growing, hint", "exact Nesterov"])
def test_no_random_curvature_is_worse(name):
    numbers = schedule(METHODS[name], 64)
    worst, _ = worst_curvature(numbers, 4, 4096, 3)
    rng = np.random.default_rng(0)
    curvatures = jnp.asarray(np.concatenate([rng.uniform(size=5000), rng.uniform(size=5000) ** 4]))
    losses = final_losses(numbers, curvatures)
    assert losses.max() <= worst * (1 + 1e-9)
    assert worst == pytest.approx(TABLE[name]["worst_losses"][5], rel=1e-8)


def test_a_method_with_an_unknown_part_is_refused():
    for part in ("weights", "hint", "step_size"):
        with pytest.raises(ValueError, match=f"{part} must be one of .*'linear'"):
            schedule({**METHODS["growing, hint"], part: "linear"}, 4)
