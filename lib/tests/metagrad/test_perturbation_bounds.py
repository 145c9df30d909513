"""The bounds on exact differences: over random problems, and where they are attained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same
from perturbed_cases import meta_gradient, query, query_gradient_norm, random_tasks, solve_all

from metagrad.perturbation_bounds import (
    first_order_bias,
    forward_bias,
    forward_constant,
    nudge_distance,
    symmetric_bias,
    symmetric_constants,
)
from metagrad.task_constants import (
    Constants,
    convex_support,
    largest_perturbation,
    nonconvex_support,
    remaining_convexity,
)

CASES = 300


def measured(p, c, theta, share):
    """For one task: errors and distances, each beside a bound and a looser one."""
    nu, condition = share * largest_perturbation(c), c.smoothness / c.strong_convexity
    phi, plus, minus = solve_all(p, c, theta, (0.0 * nu, nu, -nu))
    exact = meta_gradient(p, c, theta, phi)
    g = query_gradient_norm(p, phi)
    forward = -c.regularizer * (plus - phi) / nu
    symmetric = -c.regularizer * (plus - minus) / (2.0 * nu)
    first_order = jax.grad(lambda x: query(p, x))(phi)
    square, cube = symmetric_constants(c, g)
    norm = jnp.linalg.norm
    return {
        "forward": (norm(forward - exact), forward_bias(c, g, nu), forward_constant(c, g) * nu),
        "symmetric": (
            norm(symmetric - exact), symmetric_bias(c, g, nu), square * nu**2 + cube * nu**3,
        ),
        "plus": (norm(plus - phi), nudge_distance(c, g, nu), 2.0 * nu * g / c.strong_convexity),
        "minus": (norm(minus - phi), nudge_distance(c, g, nu), 2.0 * nu * g / c.strong_convexity),
        "first order": (
            norm(first_order - exact), first_order_bias(c, g), condition * g,
        ),
    }  # fmt: skip


def test_bounds_hold_over_random_problems():
    losses, constants = random_tasks(CASES, 0)
    rng = np.random.default_rng(1)
    shares = 10.0 ** -rng.uniform(0.0, 2.0, CASES)
    shares[:20] = 1.0
    theta = jnp.asarray(rng.normal(size=(CASES, 3)) * 3.0)
    found = jax.jit(jax.vmap(measured))(losses, constants, theta, jnp.asarray(shares))
    for name, (actual, bound, loose) in found.items():
        assert np.all(np.isfinite(actual))
        assert np.all(actual <= bound * (1 + 1e-9) + 1e-10), name
        assert np.all(bound <= loose * (1 + 1e-9)), name
    # The random problems come near enough to the bounds to notice one that is wrong by far.
    assert np.max(found["forward"][0] / found["forward"][1]) > 0.05
    assert np.max(found["plus"][0] / found["plus"][1]) > 0.3


def polynomial_error(c, g, nu, symmetric):
    """The error on polynomials whose derivatives at φ_0 = 0 are the constants, with worst signs.

    The constants hold only near 0, up to a share that vanishes with ν.
    """
    h, rho, third = c.strong_convexity, c.hessian_lipschitz, c.third_lipschitz
    flat, bend = c.query_smoothness, c.query_hessian_lipschitz

    def solution(nu):
        p = 0.0
        for _ in range(30):  # Newton
            value = (
                nu * (g + flat * p + bend * p**2 / 2) + h * p - rho * p**2 / 2 - third * p**3 / 6
            )
            p -= value / (nu * (flat + bend * p) + h - rho * p - third * p**2 / 2)
        return p

    other = solution(-nu) if symmetric else 0.0
    difference = -c.regularizer * (solution(nu) - other) / ((2 if symmetric else 1) * nu)
    return abs(difference - c.regularizer * g / h)


WORST = Constants(3.0, 6.0, 0.8, 0.7, 1.5, 1.2, 2.0)


def test_small_perturbations_attain_the_bounds_so_that_no_constant_can_be_left_out():
    g = 2.5
    for symmetric, bias, nu in ((False, forward_bias, 1e-5), (True, symmetric_bias, 1e-3)):
        error, bound = polynomial_error(WORST, g, nu, symmetric), bias(WORST, g, nu)
        assert 0.98 * bound <= error <= bound * 1.02
        names = ["hessian_lipschitz", "query_smoothness"]
        names += ["third_lipschitz", "query_hessian_lipschitz"] * symmetric
        for name in names:
            left_out = WORST._replace(**{name: 1e-9})
            assert bias(left_out, g, nu) < 0.95 * error, name


def test_curving_downward_attains_the_bounds_of_large_perturbations():
    lam, mu, flat, g = 3.0, 1.5, 2.0, 0.7
    c = Constants(lam, 5.0, 0.0, 0.0, flat, 0.0, mu)
    nu = largest_perturbation(c)
    assert_same(nu, mu / (2 * flat))
    moved = -nu * g / (mu - nu * flat)  # f = gφ - L_f φ²/2, f̂'' = μ - λ, φ_0 = 0
    assert_same(nudge_distance(c, g, nu), -moved)
    assert_same(nudge_distance(c, g, nu), 2 * nu * g / mu)
    error = -lam * moved / nu - lam * g / mu
    assert_same(forward_bias(c, g, nu), error)
    assert_same(forward_constant(c, g) * nu, error)
    # Symmetric: not attained, but 2/3 of the bound.
    symmetric = -lam * (moved - nu * g / (mu + nu * flat)) / (2 * nu) - lam * g / mu
    assert_same(symmetric, 2 / 3 * symmetric_bias(c, g, nu))


@pytest.mark.parametrize(("curvature", "mu"), [(5.0, 8.0), (-2.0, 1.0), (5.0, 3.0)])
def test_first_order_bias_is_attained_at_either_end_of_the_curvature(curvature, mu):
    lam, g = 3.0, 0.7
    error = abs(g - lam * g / (lam + curvature))
    assert_same(first_order_bias(Constants(lam, abs(curvature), 0, 0, 1, 0, mu), g), error)
    # Where μ says nothing, it is L that limits how far the loss curves downward.
    assert_same(first_order_bias(Constants(lam, 2.0, 0, 0, 1, 0, 0.1), g), 2.0 * g)


def test_small_query_gradients_and_traced_perturbations():
    c = convex_support(2.0, 5.0, 1.0, 4.0, 1.0, 1.0)
    for bound in (nudge_distance, forward_bias, symmetric_bias):
        assert bound(c, 0.0, 0.1) == 0.0
        traced = jax.jit(lambda nu, bound=bound: bound(c, 1.0, nu))
        assert_same(traced(0.1), bound(c, 1.0, 0.1))
        assert traced(0.5) == jnp.inf and traced(0.7) == jnp.inf  # μ / L_f = 0.5
        assert bound(c, jnp.float32(1.0), 0.1).dtype == jnp.float32
    assert jax.jit(lambda nu: remaining_convexity(c, nu))(0.7) < 0


BASE = Constants(2.0, 5.0, 1.0, 1.0, 4.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regularizer": 0.0}, "regularizer must be positive, got 0.0"),
        ({"smoothness": -1.0}, "smoothness must be at least 0, got -1.0"),
        ({"hessian_lipschitz": -1.0}, "hessian_lipschitz must be at least 0"),
        ({"third_lipschitz": -1.0}, "third_lipschitz must be at least 0"),
        ({"query_smoothness": 0.0}, "query_smoothness must be positive"),
        ({"query_hessian_lipschitz": jnp.nan}, "query_hessian_lipschitz must be finite"),
        ({"strong_convexity": 0.0}, "strong_convexity must be positive"),
        (
            {"strong_convexity": 7.5},
            r"strong_convexity must be at most regularizer \+ smoothness = 7.0",
        ),
    ],
)
def test_impossible_constants_are_refused(change, message):
    bad = BASE._replace(**change)
    for call in (
        lambda: nudge_distance(bad, 1.0, 0.1),
        lambda: forward_constant(bad, 1.0),
        lambda: forward_bias(bad, 1.0, 0.1),
        lambda: symmetric_constants(bad, 1.0),
        lambda: symmetric_bias(bad, 1.0, 0.1),
        lambda: first_order_bias(bad, 1.0),
        lambda: largest_perturbation(bad),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nudge_distance(BASE, 1.0, 0.5), r"perturbation must be below .* = 0.5, got 0.5"),
        (lambda: forward_bias(BASE, 1.0, 0.0), r"perturbation must be positive, got 0.0"),
        (lambda: remaining_convexity(BASE, -0.1), r"perturbation must be at least 0, got -0.1"),
        (lambda: forward_constant(BASE, -1.0), r"query_gradient must be at least 0, got -1.0"),
        (lambda: symmetric_constants(BASE, jnp.inf), r"query_gradient must be finite"),
        (lambda: first_order_bias(BASE, -1.0), r"query_gradient must be at least 0"),
        (
            lambda: symmetric_bias(BASE._replace(third_lipschitz=None), 1.0, 0.1),
            r"third_lipschitz must be given for a symmetric difference, got None",
        ),
        (
            lambda: symmetric_constants(convex_support(2.0, 5.0, 1.0, 4.0, 1.0), 1.0),
            r"query_hessian_lipschitz must be given",
        ),
        (
            lambda: nonconvex_support(2.0, 2.0, 1.0, 4.0),
            r"regularizer must be above smoothness = 2.0 where .* nonconvex, got 2.0",
        ),
        (lambda: convex_support(-1.0, 2.0, 1.0, 4.0), r"regularizer must be positive"),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
