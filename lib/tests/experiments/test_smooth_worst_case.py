"""The stored bounds, checked without the solver that found them."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import experiments
from experiments.common.performance_estimation import lines, slack, solve, surplus, vectors
from experiments.quadratic_worst_case import METHODS, schedule
from experiments.smooth_worst_case import SETTINGS, step_matrix
from metagrad import averaged_meta_learning
from metagrad.problems import huber, log_cosh
from metagrad.weights import nesterov_hints, nesterov_weights, power_weights

RESULT = experiments.load("smooth_worst_case")
TABLE = RESULT["methods"]
STEPS = np.array(SETTINGS["inner_steps"])
CERTIFIED = SETTINGS["certified_steps"]
TRAP = ["growing, no hint, step 1/4", "growing, no hint, step 1/2", "growing, no hint, step 1"]

# Bounds D² / (2 β_T A_T) that the chapters prove, L = D = 1.
PROVED = {
    "constant, no hint": 1 / (2 * STEPS),
    "constant, hint": 1 / STEPS,
    "growing, no hint, decreasing step": 1 / (STEPS + 1),
    "growing, hint": 4 / (STEPS * (STEPS + 1)),
    "fast growing, hint": np.array(
        [0.5 / sum(schedule(METHODS["fast growing, hint"], T).weights) for T in STEPS]
    ),
    "exact Nesterov": np.array([0.5 / nesterov_weights(int(T))[-1] ** 2 for T in STEPS]),
}


def huber_loss(name, count):
    """The loss on Huber's function whose kink the method reaches exactly; see the docstring.

    On a slope s all averages are x_0 - c_t s. With s = 1 / (2c + 1), c the largest c_t, no
    average leaves the linear zone |x| >= s, where f = s (|x| - s / 2).
    """
    travel = step_matrix(schedule(METHODS[name], count)).sum(axis=1)
    s = 1 / (2 * travel.max() + 1)
    return s * (1 - travel[-1] * s) - s**2 / 2


def recorded(name):
    certificate = TABLE[name]["certificate"]
    basis = np.array([certificate["start"], *certificate["gradients"]])
    return basis, np.array(certificate["values"]), np.array(certificate["multipliers"])


@pytest.mark.parametrize("name", METHODS)
def test_the_duality_gap_is_small_and_the_solver_content(name):
    columns = TABLE[name]
    gaps = np.array(columns["upper"]) - np.array(columns["lower"])
    assert (gaps >= -1e-9).all() and (gaps <= 5e-8).all()
    assert (np.array(columns["violations"]) <= 1e-6).all()
    assert RESULT["solver"]["status"] == "Solved" and RESULT["solver"]["name"] == "Clarabel"


@pytest.mark.parametrize("name", METHODS)
def test_the_stored_example_is_smooth_and_convex_and_attains_the_lower_bound(name):
    basis, values, _ = recorded(name)
    steps = step_matrix(schedule(METHODS[name], CERTIFIED))
    assert np.linalg.norm(basis[0]) <= 1 + 1e-7
    assert surplus(steps, basis @ basis.T, values).min() >= -3e-7
    position = list(STEPS).index(CERTIFIED)
    assert values[-1] == pytest.approx(TABLE[name]["lower"][position], abs=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_the_stored_multipliers_prove_the_upper_bound(name):
    _, _, multipliers = recorded(name)
    assert multipliers.min() >= 0
    steps = step_matrix(schedule(METHODS[name], CERTIFIED))
    position = list(STEPS).index(CERTIFIED)
    flat = multipliers[~np.eye(CERTIFIED + 1, dtype=bool)]
    balance, matrix = slack(steps, TABLE[name]["upper"][position], flat)
    assert abs(balance).max() <= 1e-8
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-7


def interpolant(points, gradients, values):
    """A convex function with 1-Lipschitz gradient through this data, as (value, gradient).

    f(x) = min over α in the simplex of |x - Σ α_i (x_i - g_i)|² / 2 + Σ α_i (f_i - |g_i|² / 2):
    a minimum over α of a function convex in (x, α), with the gradient x - Σ α_i (x_i - g_i).
    """
    corners = points - gradients
    heights = values - 0.5 * np.sum(gradients**2, axis=1)

    def function(x):
        def objective(alpha):
            gap = x - alpha @ corners
            return 0.5 * gap @ gap + alpha @ heights, heights - corners @ gap

        found = scipy.optimize.minimize(
            objective,
            np.full(len(values), 1 / len(values)),
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * len(values),
            constraints={
                "type": "eq",
                "fun": lambda alpha: alpha.sum() - 1,
                "jac": lambda alpha: np.ones_like(alpha),
            },
            options={"ftol": 1e-15, "maxiter": 500},
        )
        return found.fun, x - found.x @ corners

    return function


@pytest.mark.parametrize("name", TRAP)
def test_the_trap_run_on_a_real_function_falls_into_it(name):
    basis, values, _ = recorded(name)
    steps = step_matrix(schedule(METHODS[name], CERTIFIED))
    points = basis[0] - steps @ basis[1:]
    origin = np.zeros((1, basis.shape[1]))
    function = interpolant(
        np.concatenate([origin, points]),
        np.concatenate([origin, basis[1:]]),
        np.concatenate([[0.0], values]),
    )
    seen = np.zeros_like(points)
    for t in range(CERTIFIED):
        value, seen[t] = function(basis[0] - steps[t] @ seen)
    assert value == pytest.approx(TABLE[name]["lower"][list(STEPS).index(CERTIFIED)], abs=1e-5)
    assert function(origin[0])[0] == pytest.approx(0.0, abs=1e-6)


def test_gradient_descent_has_the_value_of_drori_and_teboulle():
    """L D² / (4N + 2) after N = T - 1 steps."""
    np.testing.assert_allclose(TABLE["gradient descent"]["lower"], 1 / (4 * STEPS - 2), atol=1e-8)


def test_constant_weights_without_a_hint_sit_on_their_bound():
    np.testing.assert_allclose(TABLE["constant, no hint"]["lower"], 1 / (2 * STEPS), atol=1e-8)


@pytest.mark.parametrize("name", PROVED)
def test_no_value_exceeds_the_proved_bound(name):
    assert (np.array(TABLE[name]["lower"]) <= PROVED[name] + 1e-8).all()


def test_increasing_steps_stay_under_the_bound_that_nobody_has_proved():
    lower = np.array(TABLE["growing, hint, increasing step"]["lower"])
    assert (lower <= 2 / (STEPS**2 - 1) + 1e-8).all()


@pytest.mark.parametrize("name", [name for name in METHODS if name not in TRAP])
def test_hubers_function_is_the_worst(name):
    expected = [huber_loss(name, int(T)) for T in STEPS]
    np.testing.assert_allclose(TABLE[name]["lower"], expected, atol=2e-8)


@pytest.mark.parametrize("name", TRAP)
def test_the_trap_has_worse_functions_than_hubers_and_they_grow_worse(name):
    """T² times the worst loss tends to a constant on quadratics, and grows here."""
    steps, lower = np.array(TABLE[name]["inner_steps"]), np.array(TABLE[name]["lower"])
    assert lower[-1] > 1.5 * huber_loss(name, int(steps[-1]))
    scaled = steps**2 * lower
    assert scaled[-1] > 1.5 * scaled[list(steps).index(16)]
    quadratics = steps**2 * np.array(TABLE[name]["quadratics"])
    assert (np.abs(np.diff(quadratics[4:])) < 0.05 * quadratics[-1]).all()


def test_a_small_step_does_not_save_the_trap():
    """From T = 32 to T = 64 the worst loss itself does not fall, at a quarter of the step 1 / L."""
    columns = TABLE[TRAP[0]]
    worst = dict(zip(columns["inner_steps"], columns["lower"], strict=True))
    assert worst[64] > worst[48] and worst[64] > worst[32]


@pytest.mark.parametrize("name", METHODS)
def test_quadratics_are_never_worse_than_all_smooth_functions(name):
    quadratics, lower = np.array(TABLE[name]["quadratics"]), np.array(TABLE[name]["lower"])
    assert (quadratics <= lower + 1e-8).all()


@pytest.mark.parametrize(
    ("name", "weights", "hints"),
    [
        ("constant, hint", power_weights(12, 0.0), power_weights(12, 0.0)),
        ("growing, no hint, step 1/4", power_weights(12, 1.0), None),
        ("exact Nesterov", nesterov_weights(12), nesterov_hints(nesterov_weights(12))),
    ],
)
def test_the_step_matrix_is_the_method_of_the_library(name, weights, hints):
    """Also on a loss that is not quadratic."""
    run = averaged_meta_learning(
        log_cosh(jnp.array([1.0, 0.3])),
        np.array([3.0, -1.0]),
        weights,
        METHODS[name]["step_size"],
        hints,
    )
    steps = step_matrix(schedule(METHODS[name], 12))
    expected = np.array([3.0, -1.0]) - steps @ np.asarray(run.gradients)
    np.testing.assert_allclose(run.averages, expected, rtol=1e-12, atol=1e-14)


def test_the_library_on_hubers_function_attains_the_stored_value():
    for T, lower in zip(STEPS, TABLE["constant, no hint"]["lower"], strict=True):
        loss = huber(1.0, 1 / float(T))
        run = averaged_meta_learning(loss, 1.0, power_weights(int(T), 0.0), 1.0)
        assert float(loss(run.averages[-1])) == pytest.approx(lower, abs=1e-8)


def test_lines_hold_for_a_true_function_and_fail_for_a_false_one():
    """Gradient descent on x² / 2 from 1; with 3 x² / 2 its steps the gradient is too steep."""
    steps = np.tril(np.ones((4, 4)), -1) * 0.5
    for curvature, holds in ((1.0, True), (3.0, False)):
        points = np.ones(4)
        for t in range(1, 4):
            points[t] = points[t - 1] - 0.5 * curvature * points[t - 1]
        basis = np.concatenate([[1.0], curvature * points])[:, None]
        left = surplus(steps, basis @ basis.T, curvature * points**2 / 2)
        assert (left.min() >= -1e-14) == holds
    assert lines(steps).pairs.shape == (20, 2)


def test_vectors_have_the_gram_matrix():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(6, 3))
    found = vectors(true @ true.T, 1e-9)
    assert found.shape == (6, 3)
    np.testing.assert_allclose(found @ found.T, true @ true.T, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_solver_finds_the_value_for_gradient_descent(count):
    pytest.importorskip("clarabel", reason="the solver is in the extra `experiments`")
    solution = solve(np.tril(np.ones((count + 1, count + 1)), -1), [1e-8])
    assert solution.lower == pytest.approx(1 / (4 * count + 2), abs=1e-7)
    assert solution.upper == pytest.approx(1 / (4 * count + 2), abs=1e-7)


def test_a_tolerance_out_of_reach_is_an_error():
    pytest.importorskip("clarabel", reason="the solver is in the extra `experiments`")
    with pytest.raises(RuntimeError, match="Clarabel reports"):
        solve(np.tril(np.ones((4, 4)), -1), [1e-30])
