"""The cosine valley: closed forms against mpmath and automatic differentiation; its constants."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from metagrad_cases import assert_same

from metagrad.cosine_valley import (
    Valley,
    valley_constants,
    valley_gradient,
    valley_point,
    valley_solution,
    valley_task,
)
from metagrad.growing_smoothness import bilevel_smoothness, smoothness_ratio
from metagrad.task_constants import checked

VALLEYS = [
    Valley(0.0, -0.9, 1.0), Valley(1.0, 1.0, 1.0), Valley(0.5, 0.8, 2.0), Valley(-0.3, 0.2, 1.0),
    Valley(2.0, 0.0, 1.0),
]  # fmt: skip
POINTS = np.concatenate([np.linspace(-30.0, 30.0, 241), [1e-9, -1e-9, np.pi, -np.pi, 1e5]])
point, solution = jax.jit(valley_point), jax.jit(valley_solution)


@pytest.mark.parametrize("valley", VALLEYS)
def test_the_curve_solves_the_inner_problem(valley):
    task = valley_task(valley)
    here = point(valley, POINTS)
    slope = jax.vmap(jax.grad(task.support))(jnp.asarray(POINTS))
    pull = valley.regularizer * (POINTS - np.asarray(here.meta_parameter))
    assert np.max(np.abs(slope + pull) / (1 + np.abs(POINTS))) < 1e-14
    assert_same(here.value, jax.vmap(task.query)(jnp.asarray(POINTS)))
    # And the way back, to rounding in θ.
    error = np.abs(solution(valley, here.meta_parameter) - POINTS)
    h = valley.curvature + valley.regularizer - valley.wave * np.cos(POINTS)
    assert np.all(error <= 1e-15 * (1 + np.abs(POINTS)) * (4 + 4 * valley.regularizer / h))


def objective(valley, theta):
    return 0.5 * valley_solution(valley, theta) ** 2


slope = jax.grad(objective, 1)
routes = jax.jit(jax.vmap(lambda v, t: (slope(v, t), jax.grad(slope, 1)(v, t)), (None, 0)))


@pytest.mark.parametrize("valley", VALLEYS)
def test_derivatives_by_automatic_differentiation(valley):
    here = point(valley, POINTS)
    found = routes(Valley(*map(float, valley)), here.meta_parameter)
    for made, derivative in zip((here.gradient, here.curvature), found, strict=True):
        assert np.max(np.abs(derivative - made) / (1e-3 + np.abs(made))) < 1e-7
    assert_same(valley_gradient(valley, here.meta_parameter), here.gradient, 1e-9)


def test_values_against_mpmath():
    a, b, lam = mpmath.mpf("0.5"), mpmath.mpf("0.8"), mpmath.mpf(2)
    with mpmath.workdps(40):

        def exactly(theta):
            residual = lambda p: a * p - b * mpmath.sin(p) + lam * (p - theta)  # noqa: E731
            return mpmath.findroot(residual, lam * theta / (a + lam)) ** 2 / 2

        for theta in (-7.3, 0.4, 11.0):
            p = valley_solution(Valley(0.5, 0.8, 2.0), theta)
            made = valley_point(Valley(0.5, 0.8, 2.0), p)
            for number, order in ((made.value, 0), (made.gradient, 1), (made.curvature, 2)):
                exact = mpmath.diff(exactly, mpmath.mpf(theta), order)
                assert_same(number, float(exact), 1e-13)


def test_the_hardest_waves_and_the_farthest_points():
    """|b| / (a + λ) up to 1 - 10⁻⁹, near the point where the inner problem is almost flat."""
    tiny = np.concatenate([[0.0], 10.0 ** np.arange(-12.0, 0.5, 0.25)])
    for gap in (1e-1, 1e-3, 1e-6, 1e-9):
        for sign, flat in ((1.0, 0.0), (-1.0, np.pi)):
            wave = sign * (1 - gap)
            mean = flat + tiny
            p = np.asarray(solution(Valley(0.0, wave, 1.0), mean))
            # Rounding in p - sin p hides the difference of two numbers of about this size.
            assert np.max(np.abs(p - wave * np.sin(p) - mean)) <= 1e-15 * (1 + flat)
            assert np.all(np.diff(p) >= 0)
    far = np.array([1e8, -1e8, 1e12])
    p = np.asarray(solution(Valley(0.0, -0.9, 1.0), far))
    assert np.max(np.abs(p + 0.9 * np.sin(p) - far) / np.abs(far)) < 1e-15
    valley, p = VALLEYS[0], jnp.float32(3.0)
    for number in (solution(valley, p), *point(valley, p), valley_task(valley).support(p)):
        assert number.dtype == jnp.float32


def test_the_objective_is_not_smooth_but_obeys_the_growing_bound():
    valley = Valley(1.0, 1.0, 1.0)  # convex losses
    smooth = bilevel_smoothness(valley_constants(valley))
    steepest = []
    for reach in (10.0, 100.0, 1000.0):
        p = jnp.linspace(-reach, reach, 200001)
        here = point(valley, p)
        steepest.append(np.max(np.abs(here.curvature)))
        assert np.all(
            np.abs(here.curvature) <= smooth.at_rest + smooth.growth * np.abs(here.gradient)
        )
        assert np.min(here.curvature) < -0.1  # F is not convex
        support = jax.vmap(jax.grad(jax.grad(valley_task(valley).support)))(p[:2000])
        assert np.min(support) >= 0
    assert steepest[1] > 9 * steepest[0] and steepest[2] > 9 * steepest[1]
    # At sin p = 1 the growth is |b| λ / h² of the gradient, with h = a + λ: L1 (μ/h)².
    there = valley_point(valley, np.pi / 2 + 2e6 * np.pi)
    assert_same(-there.curvature / there.gradient, smooth.growth * (1.0 / 2.0) ** 2, 1e-6)
    # L0 is attained at 0.
    assert_same(valley_point(valley, 0.0).curvature, smooth.at_rest)

    rng = np.random.default_rng(0)
    pairs = jnp.asarray(rng.uniform(-100, 100, (2, 20000)))
    one, other = point(valley, pairs[0]), point(valley, pairs[1])
    ratios = jax.vmap(lambda *args: smoothness_ratio(smooth, *args))(
        one.gradient, other.gradient, one.meta_parameter, other.meta_parameter
    )
    assert np.max(ratios) <= 1.0


@pytest.mark.parametrize("valley", VALLEYS)
def test_the_constants_are_the_least(valley):
    made = checked(valley_constants(valley))
    p = jnp.linspace(-np.pi, np.pi, 2001)
    derivatives, route = [], valley_task(valley).support
    for _ in range(4):
        route = jax.grad(route)
        derivatives.append(np.asarray(jax.vmap(route)(p)))
    _, second, third, fourth = derivatives
    assert_same(made.strong_convexity, np.min(second) + valley.regularizer, 1e-6)
    for number, derivative in (
        (made.hessian_lipschitz, third), (made.third_lipschitz, fourth),
    ):  # fmt: skip
        assert abs(number - np.max(np.abs(derivative))) < 1e-5
    assert np.max(np.abs(second)) <= made.smoothness + 1e-12
    if valley.curvature >= 0:  # else it is the one at the other end, for one sign of b
        assert_same(made.smoothness, np.max(np.abs(second)), 1e-6)
    assert (made.query_smoothness, made.query_hessian_lipschitz) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("valley", "message"),
    [
        (Valley(1.0, 2.0, 1.0), r"wave must be less than curvature \+ regularizer = 2.0 in size"),
        (Valley(1.0, -2.5, 1.0), r"got -2.5"),
        (Valley(-2.0, 0.0, 1.0), r"wave must be less than curvature \+ regularizer = -1.0"),
        (Valley(1.0, 0.5, 0.0), r"regularizer must be positive, got 0.0"),
        (Valley(jnp.nan, 0.5, 1.0), r"curvature must be finite"),
    ],
)
def test_valleys_without_a_unique_solution_are_refused(valley, message):
    for call in (valley_constants, valley_task, lambda v: valley_point(v, 1.0),
                 lambda v: valley_solution(v, 1.0), lambda v: valley_gradient(v, 1.0)):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call(valley)


def test_points_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="solution must be finite"):
        valley_point(VALLEYS[0], jnp.inf)
    with pytest.raises(ValueError, match="meta_parameter must be finite"):
        valley_solution(VALLEYS[0], jnp.nan)
