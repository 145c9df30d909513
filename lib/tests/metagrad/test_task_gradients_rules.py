"""Finite-difference rules, the perturbations that suit them, and the rates that they reach."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_gradient_cases import implicit_gradient, logistic_task

from metagrad.difference_rules import (
    FORWARD,
    SYMMETRIC,
    THREE_POINT,
    amplification,
    difference,
    error_bound,
    from_nodes,
    of_order,
    one_sided,
    optimal_perturbation,
    reach,
    safe_perturbation,
    scale_free_perturbation,
)
from metagrad.inner import newton_solve, perturbed_objective

RULES = [of_order(p) for p in range(1, 8)] + [one_sided(p) for p in range(1, 6)]
RULES += [from_nodes((-2.5, 0.5, 1.0)), from_nodes((1, 3))]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_moments_are_those_of_a_derivative_up_to_the_order_and_not_beyond(rule):
    nodes, weights = np.array(rule.nodes, float), np.array(rule.weights)

    def moment(k):
        return np.sum(weights * nodes**k), np.sum(np.abs(weights * nodes**k))

    for k in range(rule.order + 1):
        value, scale = moment(k)
        assert abs(value - (k == 1)) <= 1e-14 * scale
    value, scale = moment(rule.order + 1)
    assert abs(value) > 1e-3 * scale
    assert np.all(weights != 0) and len(set(rule.nodes)) == len(rule.nodes)


def test_the_rules_of_the_papers():
    assert (FORWARD.nodes, FORWARD.weights, FORWARD.order) == ((0, 1), (-1.0, 1.0), 1)
    assert (SYMMETRIC.nodes, SYMMETRIC.weights) == ((-1, 1), (-0.5, 0.5))
    # `second_order` in the public code of the contrastive rule.
    assert (THREE_POINT.nodes, THREE_POINT.weights) == ((0, 1, 2), (-1.5, 2.0, -0.5))
    fourth = tuple(float(Fraction(w, 12)) for w in (1, -8, 8, -1))
    assert (of_order(4).nodes, of_order(4).weights) == ((-2, -1, 1, 2), fourth)
    assert [rule.order for rule in RULES[:12]] == [*range(1, 8), *range(1, 6)]
    assert reach(from_nodes((-2.5, 0.5, 1.0))) == 2.5


def test_a_difference_is_taken_leaf_by_leaf():
    values = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([[0.0, 1.0], [4.0, 1.0]])}
    found = difference(FORWARD, values, 0.5)
    assert float(found["a"]) == 2.0 and found["b"].tolist() == [8.0, 0.0]
    assert difference(FORWARD, jnp.ones(2, jnp.float32), np.float64(0.5)).dtype == jnp.float32


# -- rates ---------------------------------------------------------------------------------------

TASK, THETA = logistic_task()
LAM = 0.5
EXACT = implicit_gradient(TASK, THETA, LAM)


PERTURBATIONS = jnp.geomspace(1e-5, 0.5, 200)


@jax.jit
@jax.vmap
def solution(nu):
    return newton_solve(perturbed_objective(TASK, THETA, LAM, nu), THETA, 7).point


def points_of(rule, nus):
    """The exact solutions at the nodes, shape (len(nus), nodes, 4); one compilation for all."""
    nodes = [*rule.nodes, 0, 0, 0][:4]
    points = solution((nus[:, None] * jnp.array(nodes, float)[None, :]).ravel())
    return points.reshape(len(nus), 4, -1)[:, : len(rule.nodes)]


def estimates_of(rule, points, nus):
    return -LAM * jax.vmap(lambda p, nu: difference(rule, p, nu))(points, nus)


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        (FORWARD, 1e-3, 1e-2),
        (SYMMETRIC, 3e-3, 3e-2),
        (THREE_POINT, 1e-3, 1e-2),
        (of_order(3), 1e-2, 4e-2),
        (of_order(4), 1e-2, 4e-2),
    ],
    ids=["forward", "symmetric", "three points", "third", "fourth"],
)
def test_the_bias_falls_with_the_order_and_the_inner_accuracy_turns_it(rule, low, high):
    """Slope p in ν with exact solves; then errors δ of the worst sign: exponent p/(p+1) in δ."""
    points = points_of(rule, PERTURBATIONS)
    off = estimates_of(rule, points, PERTURBATIONS) - jnp.asarray(EXACT)[None, :]
    bias = jnp.linalg.norm(off, axis=1, keepdims=True)
    asked = (low <= PERTURBATIONS) & (high >= PERTURBATIONS)
    nus, biases = PERTURBATIONS[asked], bias[asked, 0]
    slope = np.polyfit(np.log(nus), np.log(biases), 1)[0]
    assert abs(slope - rule.order) < 0.03 * rule.order

    # The derivative is multiplied by -λ: errors against the bias, for it to grow.
    worst = jnp.sign(jnp.array(rule.weights))[None, :, None] * (-off / bias)[:, None, :]

    def least(accuracy):
        wrong = estimates_of(rule, points + accuracy * worst, PERTURBATIONS)
        return jnp.min(jnp.linalg.norm(wrong - jnp.asarray(EXACT)[None, :], axis=1))

    accuracies = jnp.geomspace(1e-9, 1e-6, 4)
    errors = jax.jit(jax.vmap(least))(accuracies)
    exponent = np.polyfit(np.log(accuracies), np.log(errors), 1)[0]
    assert abs(exponent - rule.order / (rule.order + 1)) < 0.01

    # The formula for the best ν, with the constant C measured where the slope was.
    constant = float(biases[0] / nus[0] ** rule.order)
    best = optimal_perturbation(rule, LAM, accuracies, constant)
    bound = error_bound(rule, LAM, accuracies, constant, best)
    assert np.allclose(errors, bound, rtol=0.1)
    assert np.allclose(bound, (rule.order + 1) * constant * best**rule.order, rtol=1e-12)


# -- choices of the perturbation -----------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES[:6], ids=str)
def test_the_best_perturbation_minimizes_the_bound(rule):
    rng = np.random.default_rng(1)
    for _ in range(20):
        lam, accuracy, constant = 10.0 ** rng.uniform([-1, -8, -2], [1, -1, 2])
        best = optimal_perturbation(rule, lam, accuracy, constant)
        near = best * 2.0 ** jnp.linspace(-1.0, 1.0, 101)
        bounds = error_bound(rule, lam, accuracy, constant, near)
        assert int(jnp.argmin(bounds)) == 50


def test_the_closed_forms_for_forward_and_symmetric():
    lam, delta, c = 0.7, 1e-4, 3.0
    best = optimal_perturbation(FORWARD, lam, delta, c).item()
    assert best == pytest.approx((2 * lam * delta / c) ** 0.5, rel=1e-14)
    at_best = error_bound(FORWARD, lam, delta, c, best).item()
    assert at_best == pytest.approx(2 * (2 * lam * c * delta) ** 0.5, rel=1e-14)
    best = optimal_perturbation(SYMMETRIC, lam, delta, c).item()
    assert best == pytest.approx((lam * delta / (2 * c)) ** (1 / 3), rel=1e-14)
    at_best = error_bound(SYMMETRIC, lam, delta, c, best).item()
    assert at_best == pytest.approx(3 * c ** (1 / 3) * (lam * delta / 2) ** (2 / 3), rel=1e-14)


def test_the_limit_caps_the_perturbation_and_the_bound_that_is_then_left():
    """ν* > ν_max: at ν_max the error is at most 8 λ L_f δ/μ forward, 3 λ L_f δ/μ symmetric."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        lam, delta, mu, smoothness = 10.0 ** rng.uniform(-1, 1, 4)
        limit = safe_perturbation(mu, smoothness)
        for rule, factor in ((FORWARD, 8.0), (SYMMETRIC, 3.0)):
            order = rule.order
            # So small a constant C that the best ν is beyond the limit.
            most = lam * delta * amplification(rule) / (order * limit.item() ** (order + 1))
            constant = most * rng.uniform(0.01, 1.0)
            nu = optimal_perturbation(rule, lam, delta, constant, limit)
            assert nu.item() == pytest.approx(limit.item(), rel=1e-12)
            left = error_bound(rule, lam, delta, constant, nu).item()
            assert left <= factor * lam * smoothness * delta / mu * (1 + 1e-12)


def test_the_safe_perturbation_leaves_half_of_the_strong_convexity():
    for rule in RULES[:6]:
        nu = safe_perturbation(0.6, 4.0, rule).item()
        assert 0.6 - nu * reach(rule) * 4.0 == pytest.approx(0.3, rel=1e-14)


def test_the_scale_free_perturbation_moves_the_solution_by_the_radius():
    norms = jnp.array([0.0, 0.1, 1.0, 10.0, 1e300])
    found = scale_free_perturbation(norms, 0.1, 0.5)
    assert np.allclose(found, [0.5, 0.5, 0.1, 0.01, 1e-301], rtol=1e-14, atol=0)
    capped = scale_free_perturbation(norms, 0.1, 0.5, reference_norm=4.0)
    assert np.allclose(capped, [0.025, 0.025, 0.025, 0.01, 1e-301], rtol=1e-14, atol=0)
    single = scale_free_perturbation(jnp.float32(4.0), np.float64(0.1), safe_perturbation(1.0, 1.0))
    assert single.dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_nodes((0,)), ValueError, r"nodes must be at least two .* got \(0,\)"),
        (lambda: from_nodes((0, 1, 1.0)), ValueError, "nodes must be .* different"),
        (lambda: from_nodes((0, np.inf)), ValueError, "nodes must be .* finite"),
        (lambda: of_order(0), ValueError, "order must be an integer of at least 1, got 0"),
        (lambda: of_order(2.0), TypeError, "order must be an integer of at least 1, got 2.0"),
        (lambda: one_sided(-1), ValueError, "order must be .* got -1"),
        (
            lambda: difference(FORWARD, jnp.ones(3), 0.1),
            ValueError,
            r"values must have a first axis of length 2, the number of nodes, got shape \(3,\)",
        ),
        (
            lambda: difference(FORWARD, jnp.ones(()), 0.1),
            ValueError,
            r"values must .* got shape \(\)",
        ),
        (lambda: safe_perturbation(0.0, 1.0), ValueError, "strong_convexity must be positive"),
        (lambda: safe_perturbation(1.0, -1.0), ValueError, "query_smoothness must be positive"),
        (lambda: scale_free_perturbation(-1.0, 1.0, 1.0), ValueError, "gradient_norm must be at"),
        (lambda: scale_free_perturbation(1.0, 0.0, 1.0), ValueError, "radius must be positive"),
        (lambda: scale_free_perturbation(1.0, 1.0, 0.0), ValueError, "limit must be positive"),
        (
            lambda: scale_free_perturbation(1.0, 1.0, 1.0, -1.0),
            ValueError,
            "reference_norm must be at least 0",
        ),
        (lambda: optimal_perturbation(FORWARD, 0.0, 1.0, 1.0), ValueError, "regularizer must be"),
        (lambda: optimal_perturbation(FORWARD, 1.0, -1.0, 1.0), ValueError, "accuracy must be"),
        (lambda: optimal_perturbation(FORWARD, 1.0, 1.0, 0.0), ValueError, "error_constant must"),
        (lambda: error_bound(FORWARD, 1.0, 1.0, 1.0, 0.0), ValueError, "perturbation must be pos"),
        (lambda: error_bound(FORWARD, 1.0, 1.0, -1.0, 1.0), ValueError, "error_constant must be"),
        (lambda: error_bound(FORWARD, 1.0, -1.0, 1.0, 1.0), ValueError, "accuracy must be at"),
        (lambda: error_bound(FORWARD, -1.0, 1.0, 1.0, 1.0), ValueError, "regularizer must be"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
