"""Inner solves that stop early: the total error, the best perturbation, the scale-free one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same
from perturbed_cases import (
    descent,
    inner,
    meta_gradient,
    query_gradient_norm,
    random_tasks,
    solve_all,
)

from metagrad.inexact_bounds import (
    best_forward,
    best_symmetric,
    forward_error,
    same_start_floor,
    solution_distance,
    symmetric_error,
)
from metagrad.perturbation_bounds import (
    forward_bias,
    forward_constant,
    symmetric_bias,
    symmetric_constants,
)
from metagrad.scale_free_bounds import (
    scale_free_forward,
    scale_free_perturbation,
    scale_free_symmetric,
)
from metagrad.task_constants import Constants, convex_support, largest_perturbation

CASES = 150
norm = jnp.linalg.norm


def unit(vector):
    return vector / norm(vector)


def differences(c, nu, plus, middle, minus):
    return -c.regularizer * (plus - middle) / nu, -c.regularizer * (plus - minus) / (2.0 * nu)


def worst_errors(c, nu, distance, exact, solutions):
    """The errors of both estimates if each solve errs by δ in the direction that is worst."""
    plus, middle, minus = solutions
    found = []
    for estimate in differences(c, nu, plus, middle, minus):
        error = estimate - exact
        more = unit(error) * distance  # plus falls behind by it, the other one gets ahead
        found.append((plus - more, middle + more, minus + more))
    forward = differences(c, nu, *found[0])[0] - exact
    return norm(forward), norm(differences(c, nu, *found[1])[1] - exact)


def measured(p, c, theta, distance, noise):
    """Errors beside bounds: with the best perturbations, and with the scale-free ones."""
    phi = solve_all(p, c, theta, [0.0 * distance])[0]
    exact = meta_gradient(p, c, theta, phi)
    g = query_gradient_norm(p, phi)
    forward, symmetric = best_forward(c, g, distance), best_symmetric(c, g, distance)
    reach, reference = c.regularizer * distance**0.5, 1.0 * jnp.ones_like(g)
    wide = c.regularizer * distance ** (1 / 3)
    nus = (
        forward.perturbation,
        symmetric.perturbation,
        scale_free_perturbation(c, g, reach),
        scale_free_perturbation(c, g, wide, reference),
    )
    solutions = solve_all(p, c, theta, [*nus, *(-nu for nu in nus)])
    errors = [
        worst_errors(c, nu, distance, exact, (solutions[k], phi, solutions[k + 4]))
        for k, nu in enumerate(nus)
    ]
    size = norm(exact)
    plain = scale_free_forward(c, reach, distance)
    fair = scale_free_symmetric(c, wide, reference, distance)
    bounds = [
        (forward_error(c, g, nus[0], distance), forward.error),
        (symmetric_error(c, g, nus[1], distance), symmetric.error),
        (plain.at_rest + plain.growth * size, jnp.inf),
        (fair.at_rest + fair.growth * size, jnp.inf),
    ]
    # The certificate, at a point near the nudged solution.
    nu = nus[0]
    near = solutions[0] + noise
    residual = norm(jax.grad(inner(p, c, theta, nu))(near))
    certificate = norm(noise), solution_distance(c, residual, nu)
    actual = [errors[0][0], errors[1][1], errors[2][0], errors[3][1]]
    return actual, bounds, certificate, nus


def test_bounds_hold_over_random_problems():
    rng = np.random.default_rng(6)
    compiled = jax.jit(jax.vmap(measured))
    for scale in (1.0, 300.0):  # the second one with steep query losses
        losses, constants = random_tasks(CASES, 5, scale)
        theta = jnp.asarray(rng.normal(size=(CASES, 3)) * 3.0)
        distance = jnp.asarray(10.0 ** -rng.uniform(1.0, 6.0, CASES))
        noise = jnp.asarray(rng.normal(size=(CASES, 3)) * 10.0 ** -rng.uniform(0, 3, (CASES, 1)))
        actual, bounds, certificate, nus = compiled(losses, constants, theta, distance, noise)
        for errors, (tight, loose) in zip(actual, bounds, strict=True):
            assert np.all(np.isfinite(errors))
            assert np.all(errors <= tight * (1 + 1e-9))
            assert np.all(tight <= loose * (1 + 1e-9))
        assert np.max(actual[0] / bounds[0][0]) > 0.3 and np.max(actual[1] / bounds[1][0]) > 0.3
        assert np.all(certificate[0] <= certificate[1] * (1 + 1e-9))
        assert np.max(certificate[0] / certificate[1]) > 0.3
        for nu in nus:
            assert np.all(
                nu <= constants.strong_convexity / (2 * constants.query_smoothness) + 1e-15
            )


def test_the_total_errors_are_attained():
    """f curves down by L_f, f̂ as little as it may, and the solves err in the worst direction."""
    lam, mu, flat, g, delta = 3.0, 1.5, 2.0, 0.7, 0.01
    c = Constants(lam, 5.0, 0.0, 0.0, flat, 0.0, mu)
    nu = 0.3
    moved = -nu * g / (mu - nu * flat)  # φ_0 = 0
    error = -lam * ((moved - delta) - delta) / nu - lam * g / mu
    assert_same(forward_error(c, g, nu, delta), error)
    extra = symmetric_error(c, g, nu, delta) - symmetric_bias(c, g, nu)
    assert_same(extra, -lam * ((moved - delta) - (delta - moved)) / (2 * nu) + lam * moved / nu)
    assert_same(solution_distance(c, (mu - nu * flat) * delta, nu), delta)


SMOOTH = Constants(2.0, 5.0, 1.0, 0.5, 4.0, 0.3, 1.5)


def test_the_choice_is_the_minimum_and_has_the_right_exponents():
    g, most = 2.0, float(largest_perturbation(SMOOTH))
    c1 = forward_constant(SMOOTH, g)
    c2, c3 = symmetric_constants(SMOOTH, g)
    deltas = 10.0 ** np.arange(-12.0, -3.0)
    grid = most * np.exp(-np.linspace(0, 16, 20001))
    forward, symmetric = [], []
    for delta in deltas:
        one, two = best_forward(SMOOTH, g, delta), best_symmetric(SMOOTH, g, delta)
        assert_same(one.error, np.min(c1 * grid + 2 * 2.0 * delta / grid), 1e-5)
        least = np.min((c2 + c3 * most) * grid**2 + 2.0 * delta / grid)
        assert_same(two.error, least, 1e-5)
        assert not one.capped and not two.capped
        assert_same(one.error, 2 * (2 * 2.0 * c1 * delta) ** 0.5, 1e-12)
        forward.append(one.error), symmetric.append(two.error)
    for errors, exponent in ((forward, 1 / 2), (symmetric, 2 / 3)):
        assert_same(np.diff(np.log(errors)) / np.log(10.0), np.full(8, exponent), 1e-9)


def test_the_choice_where_it_is_capped():
    for best, factor in ((best_forward, 8.0), (best_symmetric, 3.0)):
        for g in (0.0, 1e-9):  # without a bias, the largest perturbation is the best one
            made = best(SMOOTH, g, 0.1)
            assert made.capped and made.perturbation == largest_perturbation(SMOOTH)
            limit = factor * 2.0 * 4.0 * 0.1 / 1.5
            assert limit / (2 + 1e-6) <= made.error <= limit
    assert best_forward(SMOOTH, jnp.float32(1.0), 1e-6).error.dtype == jnp.float32
    assert best_symmetric(SMOOTH, jnp.float32(1.0), 1e-6).error.dtype == jnp.float32


def test_scale_free_errors_shrink_with_the_accuracy():
    """Like its square root with r = √δ, and like its power 2/3 with r = δ^{1/3}."""
    for made, exponent in (
        (lambda d: scale_free_forward(SMOOTH, d**0.5, d), 1 / 2),
        (lambda d: scale_free_symmetric(SMOOTH, d ** (1 / 3), 1.0, d), 2 / 3),
    ):
        for one, other in zip(made(1e-15), made(1e-18), strict=True):
            assert_same(np.log(one / other) / np.log(1e3), exponent, 1e-3)
    c = convex_support(2.0, 5.0, 1.0, 4.0)
    assert scale_free_perturbation(c, 0.0, 1.0) == largest_perturbation(c) == 0.25
    assert scale_free_perturbation(c, 0.5, 1.0, 8.0) == 0.125


def same_start(p, c, theta, offset, share, steps):
    """Errors of K common steps from a common start beside their bounds."""
    nu = share * largest_perturbation(c)
    phi = solve_all(p, c, theta, [0.0 * nu])[0]
    exact = meta_gradient(p, c, theta, phi)
    start = phi + offset
    signed = jnp.stack([nu, 0.0 * nu, -nu])
    ends = jax.vmap(lambda nu: descent(p, c, theta, nu, start, steps, spare=0.0))(signed)
    g = query_gradient_norm(p, phi)
    distance = norm(offset)
    largest = g + c.query_smoothness * distance
    step = 1.0 / (c.regularizer + c.smoothness)
    floor = same_start_floor(c, g, distance, step, steps)
    errors = [norm(found - exact) for found in differences(c, nu, *ends)]
    bounds = [floor + bias(c, largest, nu) for bias in (forward_bias, symmetric_bias)]
    # The naive bound counts what each solve still lacks, divided by ν.
    lacking = norm(ends[1] - phi)
    return errors, bounds, floor, c.regularizer * lacking / nu


def test_a_common_start_needs_no_division_by_the_perturbation():
    rng = np.random.default_rng(8)
    losses, constants = random_tasks(CASES, 7)
    theta, offset = (jnp.asarray(rng.normal(size=(CASES, 3))) for _ in range(2))
    shares = 10.0 ** -rng.uniform(0.0, 4.0, CASES)
    shares[:30] = 1e-5
    # The longer the runs, the less each lacks; at this ν the naive bound is far off at first.
    for steps, share_of_naive in ((1, 0.01), (12, 0.5)):
        run = jax.jit(jax.vmap(lambda p, c, t, o, s, k=steps: same_start(p, c, t, o, s, k)))
        errors, bounds, floor, naive = run(losses, constants, theta, offset, jnp.asarray(shares))
        for error, bound in zip(errors, bounds, strict=True):
            assert np.all(error <= bound * (1 + 1e-9))
            assert np.max(error[:30] / bound[:30]) > 0.05
        assert np.median(floor[:30] / naive[:30]) < share_of_naive


def test_the_floor_is_attained():
    lam, mu, flat, g, eta, steps, nu = 3.0, 1.5, 2.0, 0.7, 0.1, 7, 1e-7
    c = Constants(lam, 5.0, 0.0, 0.0, flat, 0.0, mu)
    ends = []
    for signed in (nu, 0.0):  # f̂'' + λ = μ, φ_0 = 0, f = gφ + L_f φ²/2, start at -0.4
        p = -0.4
        for _ in range(steps):
            p -= eta * (signed * (g + flat * p) + mu * p)
        ends.append(p)
    error = abs(-lam * (ends[0] - ends[1]) / nu - lam * g / mu)
    assert_same(same_start_floor(c, g, 0.4, eta, steps), error, 1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solution_distance(SMOOTH, -1.0), r"residual must be at least 0, got -1.0"),
        (lambda: solution_distance(SMOOTH, 1.0, 0.4), r"perturbation must be below"),
        (lambda: forward_error(SMOOTH, 1.0, 0.1, -1.0), r"distance must be at least 0"),
        (lambda: symmetric_error(SMOOTH, 1.0, 0.1, jnp.nan), r"distance must be finite"),
        (lambda: best_forward(SMOOTH, 1.0, 0.0), r"distance must be positive, got 0.0"),
        (lambda: best_symmetric(SMOOTH, 1.0, 0.0), r"distance must be positive, got 0.0"),
        (lambda: scale_free_perturbation(SMOOTH, -1.0, 1.0), r"query_gradient must be at least 0"),
        (lambda: scale_free_perturbation(SMOOTH, 1.0, 0.0), r"reach must be positive"),
        (lambda: scale_free_perturbation(SMOOTH, 1.0, 1.0, -1.0), r"reference must be at least 0"),
        (lambda: scale_free_forward(SMOOTH, 0.0, 0.1), r"reach must be positive"),
        (lambda: scale_free_forward(SMOOTH, 1.0, -0.1), r"distance must be at least 0"),
        (lambda: scale_free_symmetric(SMOOTH, 1.0, 0.0, 0.1), r"reference must be positive"),
        (
            lambda: scale_free_symmetric(convex_support(2.0, 5.0, 1.0, 4.0), 1.0, 1.0, 0.1),
            r"third_lipschitz must be given for a symmetric difference",
        ),
        (
            lambda: same_start_floor(SMOOTH, 1.0, 1.0, 0.2, 3),
            r"inner_step_size must be at most 1 / \(regularizer \+ smoothness\) = 0.14",
        ),
        (lambda: same_start_floor(SMOOTH, 1.0, 1.0, 0.1, 0), r"inner_steps must be an integer"),
        (lambda: same_start_floor(SMOOTH, 1.0, -1.0, 0.1, 3), r"start_distance must be at least 0"),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
