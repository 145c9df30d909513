"""The sandwich, the surrogates' gradients, and their smoothness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same
from perturbed_cases import inner, query, query_gradient_norm, random_tasks, solve_all

from metagrad.surrogate_bounds import surrogate_gap, surrogate_smoothness
from metagrad.task_constants import Constants, largest_perturbation

CASES = 150


def values(p, c, theta, nu):
    """(M_ν - M_0)/ν and (M_{-ν} - M_0)/(-ν)."""

    nus = (nu, 0.0 * nu, -nu)
    solutions = solve_all(p, c, theta, nus)
    plus, middle, minus = (inner(p, c, theta, nu)(x) for nu, x in zip(nus, solutions, strict=True))
    return jnp.stack([(plus - middle) / nu, (minus - middle) / (-nu)]), solutions


def measured(p, c, theta, other, share):
    nu = share * largest_perturbation(c)
    (low, high), solutions = values(p, c, theta, nu)
    slopes = jax.jacfwd(lambda theta: values(p, c, theta, nu)[0])(theta)
    others = solve_all(p, c, other, (nu, 0.0 * nu, -nu))
    differences = [
        (forward, symmetric)
        for plus, middle, minus in (solutions, others)
        for forward, symmetric in [
            (-c.regularizer * (plus - middle) / nu, -c.regularizer * (plus - minus) / (2 * nu))
        ]
    ]
    objective = query(p, solutions[1])
    gap = surrogate_gap(c, query_gradient_norm(p, solutions[1]), nu)
    smooth = surrogate_smoothness(c, nu)
    ratios = [
        jnp.linalg.norm(here - there) / (constant * jnp.linalg.norm(theta - other))
        for here, there, constant in zip(*differences, smooth, strict=True)
    ]
    ends = query(p, solutions[0]), query(p, solutions[2])
    scale = c.regularizer / c.strong_convexity * c.regularizer / nu
    return low, objective, high, gap, ends, differences[0], slopes, ratios, smooth, scale


def test_random_problems():
    losses, constants = random_tasks(CASES, 3)
    rng = np.random.default_rng(4)
    shares = 10.0 ** -rng.uniform(0.0, 1.5, CASES)
    shares[:20] = 1.0
    theta = rng.normal(size=(CASES, 3)) * 3.0
    other = theta + rng.normal(size=(CASES, 3)) * 10.0 ** -rng.uniform(-1, 2, (CASES, 1))
    found = jax.jit(jax.vmap(measured))(
        losses, constants, *map(jnp.asarray, (theta, other, shares))
    )
    low, objective, high, gap, ends, differences, slopes, ratios, smooth, scale = found

    rounding = 1e-9 * (1 + np.abs(objective))
    assert np.all(objective - gap - rounding <= low) and np.all(low <= objective + rounding)
    assert np.all(objective - rounding <= high) and np.all(high <= objective + gap + rounding)
    # The query losses of the nudged solutions are farther out on either side.
    assert np.all(ends[0] <= low + rounding) and np.all(high <= ends[1] + rounding)
    assert np.max((objective - low) / gap) > 0.3 and np.max((high - objective) / gap) > 0.3

    # The differences are the gradients of the surrogates, by automatic differentiation.
    forward, symmetric = (np.asarray(difference) for difference in differences)
    assert_same(slopes[:, 0], forward, 1e-7)
    assert_same(0.5 * (slopes[:, 0] + slopes[:, 1]), symmetric, 1e-7)

    for ratio in ratios:
        assert np.all(ratio <= 1 + 1e-9) and np.max(ratio) > 0.01
    assert np.all(smooth.forward <= 2 * scale * (1 + 1e-12))
    assert np.all(smooth.symmetric <= scale * (1 + 1e-12))


def test_the_gap_is_attained():
    lam, mu, flat, g, nu = 3.0, 1.5, 2.0, 0.7, 0.3
    for sign in (1, -1):
        # f = gφ ∓ L_f φ²/2 and f̂'' = μ - λ with φ_0 = 0: all is quadratic, F = M_0 = 0.
        phi = -sign * nu * g / (mu - nu * flat)
        value = sign * nu * (g * phi - sign * flat * phi**2 / 2) + mu * phi**2 / 2
        gap = surrogate_gap(Constants(lam, 5.0, 0.0, 0.0, flat, 0.0, mu), g, nu)
        assert_same(abs(value / nu), gap)


def test_the_smoothness_is_attained():
    """f̂'' is L at φ_0 = 0 and μ - λ at both nudged solutions, and f curves down (or up) by L_f."""
    lam, steep, mu, flat, nu = 3.0, 5.0, 1.5, 2.0, 0.3
    smooth = surrogate_smoothness(Constants(lam, steep, 1e9, 0.0, flat, 0.0, mu), nu)
    first, nudged = lam / (lam + steep), lam / (mu - nu * flat)  # dφ/dθ
    assert_same(smooth.forward, lam * (nudged - first) / nu)
    assert_same(smooth.symmetric, lam * (nudged - lam / (lam + steep + nu * flat)) / (2 * nu))


def test_traced_perturbations_beyond_the_range_prove_nothing():
    c = Constants(2.0, 5.0, 1.0, 1.0, 4.0, 1.0, 2.0)
    made = jax.jit(lambda nu: (surrogate_gap(c, 1.0, nu), *surrogate_smoothness(c, nu)))(0.5)
    assert all(number == jnp.inf for number in made)
    assert surrogate_gap(c, jnp.float32(1.0), 0.1).dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: surrogate_gap(c, 1.0, 0.5), r"perturbation must be below .* = 0.5, got 0.5"),
        (lambda c: surrogate_gap(c, -1.0, 0.1), r"query_gradient must be at least 0, got -1.0"),
        (lambda c: surrogate_gap(c, 1.0, 0.0), r"perturbation must be positive, got 0.0"),
        (lambda c: surrogate_smoothness(c, 0.0), r"perturbation must be positive, got 0.0"),
        (lambda c: surrogate_smoothness(c, 0.6), r"perturbation must be below .* = 0.5, got 0.6"),
        (
            lambda c: surrogate_smoothness(c._replace(regularizer=-1.0), 0.1),
            r"regularizer must be positive, got -1.0",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(Constants(2.0, 5.0, 1.0, 1.0, 4.0, 1.0, 2.0))
