from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import assert_same, fixed_examples

from metagrad import problems, stability
from metagrad.momentum import heavy_ball


def _eigenvalues(step_size, momentum, eigenvalue):
    """Those of heavy ball's 2 x 2 matrix, from NumPy, larger size first."""
    p = 1 + momentum - step_size * eigenvalue
    roots = np.linalg.eigvals(np.array([[p, -momentum], [1.0, 0.0]]))
    return roots[np.argsort(-np.abs(roots), kind="stable")]


def test_stability_region():
    """Stable exactly where the spectral radius is below 1, and the rate is that radius."""
    rate = jax.jit(stability.heavy_ball_rate)
    for momentum in np.linspace(0.0, 1.0, 33):
        for scaled in np.linspace(0.02, 4.5, 29):
            for eigenvalue in (0.25, 4.0):
                step = scaled / eigenvalue
                roots = _eigenvalues(step, momentum, eigenvalue)
                radius, apart = abs(roots[0]), abs(roots[0] - roots[1])
                # Near a double root NumPy's eigenvalues, too, move like a square root.
                tolerance = min(1e-7, 1e-14 / max(apart, 1e-16))
                assert abs(rate(step, momentum, eigenvalue) - radius) <= tolerance
                if abs(radius - 1) > 1e-12:
                    stable = stability.is_stable(step, momentum, eigenvalue)
                    assert bool(stable) == (radius < 1)
        # Inside the band the rate is √μ, outside it is larger.
        low, high = (1 - np.sqrt(momentum)) ** 2, (1 + np.sqrt(momentum)) ** 2
        for share in (0.1, 0.5, 0.9):
            inside = rate(low + share * (high - low), momentum, 1.0)
            if 0 < momentum:
                assert_same(inside, np.sqrt(momentum))
        assert rate(1.1 * high, momentum, 1.0) > np.sqrt(momentum) + 0.01
        if low > 0.01:
            assert rate(0.9 * low, momentum, 1.0) > np.sqrt(momentum) + 1e-4


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.5, 0.875])
@pytest.mark.parametrize("eigenvalue", [0.5, 1.0, 8.0])
def test_boundary_of_the_region_is_exact(momentum, eigenvalue):
    # These numbers have short binary expansions: the boundary itself is hit without rounding.
    edge = stability.max_stable_step_size(momentum, eigenvalue)
    assert float(edge) == 2 * (1 + momentum) / eigenvalue
    assert float(stability.heavy_ball_rate(edge, momentum, eigenvalue)) == 1.0
    assert not stability.is_stable(edge, momentum, eigenvalue)
    for share, stable in ((1 - 1e-9, True), (1 + 1e-9, False)):
        assert bool(stability.is_stable(share * edge, momentum, eigenvalue)) == stable
        assert bool(stability.heavy_ball_rate(share * edge, momentum, eigenvalue) < 1) == stable


def test_momentum_one_and_eigenvalue_zero_are_not_stable():
    assert not stability.is_stable(1.0, 1.0, 1.0)
    assert not stability.is_stable(1.0, 0.5, 0.0)
    assert float(stability.heavy_ball_rate(1.0, 1.0, 1.0)) == 1.0
    assert float(stability.heavy_ball_rate(1.0, 0.5, 0.0)) == 1.0


def test_runs_shrink_inside_the_region_and_grow_outside():
    run = jax.jit(lambda step, mu: heavy_ball(problems.quadratic(2.0), 1.0, step, mu, 2000))
    for momentum in (0.0, 0.5, 0.9):
        edge = float(stability.max_stable_step_size(momentum, 2.0))
        inside, outside = run(0.98 * edge, momentum), run(1.02 * edge, momentum)
        assert abs(inside[-1]) < 1e-6 < 1e6 < abs(outside[-1])


@fixed_examples
@given(scaled=st.floats(0.001, 5.0), momentum=st.floats(0.0, 1.0))
def test_roots_solve_their_equation(scaled, momentum):
    roots = stability.heavy_ball_roots(scaled, momentum, 1.0)
    larger, smaller = np.asarray(roots.real) + 1j * np.asarray(roots.imaginary)
    # Sum and product determine both roots.
    p = 1 + momentum - scaled
    assert abs(larger + smaller - p) <= 1e-15 * (1 + abs(p))
    assert abs(larger * smaller - momentum) <= 1e-15 * (1 + momentum)
    assert abs(larger) >= abs(smaller) - 1e-15
    assert abs(abs(larger) - stability.heavy_ball_rate(scaled, momentum, 1.0)) <= 1e-15 * (1 + p**2)


def test_small_root_does_not_cancel():
    # For μ = 10⁻³⁰ and p = 1/2 the roots are 1/2 and 2 · 10⁻³⁰ to all digits.
    roots = stability.heavy_ball_roots(0.5, 1e-30, 1.0)
    assert_same(roots.real, [0.5, 2e-30])
    assert abs(roots.real[1] / 2e-30 - 1) < 1e-12


def test_roots_that_are_both_zero():
    roots = stability.heavy_ball_roots(1.0, 0.0, 1.0)
    assert roots.real.tolist() == [0.0, 0.0] and np.all(roots.imaginary == 0.0)


@pytest.mark.parametrize(
    ("smallest", "largest", "step_size", "rate"),
    [(1.0, 9.0, 1 / 4, 1 / 2), (0.25, 2.25, 1.0, 1 / 2), (1.0, 49.0, 1 / 16, 3 / 4)],
)
def test_optimal_coefficients(smallest, largest, step_size, rate):
    # In these examples every number, double roots included, is exact in binary.
    best = stability.optimal_heavy_ball(smallest, largest)
    assert (float(best.step_size), float(best.momentum), float(best.rate)) == (
        step_size,
        rate**2,
        rate,
    )
    eigenvalues = np.linspace(smallest, largest, 41)
    rates = [stability.heavy_ball_rate(step_size, rate**2, value) for value in eigenvalues]
    assert rates[0] == rates[-1] == rate
    assert_same(rates, np.full(41, rate))

    # No other coefficients do better at both ends at once.
    momenta, scales = np.linspace(0.0, 1.0, 101), np.linspace(0.01, 4.0, 200)
    steps = jnp.asarray(scales / largest)[:, None] * jnp.ones((1, 101))
    momenta = jnp.ones((200, 1)) * jnp.asarray(momenta)[None]
    worst = jnp.maximum(
        stability.heavy_ball_rate(steps, momenta, smallest),
        stability.heavy_ball_rate(steps, momenta, largest),
    )
    assert jnp.min(worst) >= rate

    # At the ends the root is double: the error is (1 + t (1 - rate)) rate^t, with its factor t.
    run = heavy_ball(problems.quadratic(smallest), 1.0, step_size, rate**2, 60)
    t = np.arange(61.0)
    assert_same(run, (1 + t * (1 - rate)) * rate**t)


@fixed_examples
@given(
    smallest=st.floats(0.1, 1.0),
    condition=st.floats(1.5, 1e4),
    scaled=st.floats(0.001, 4.0),
    momentum=st.floats(0.0, 1.0),
)
def test_no_coefficients_beat_the_optimal_ones(smallest, condition, scaled, momentum):
    largest = condition * smallest
    best = stability.optimal_heavy_ball(smallest, largest)
    assert_same(best.momentum, best.rate**2)
    assert_same(best.step_size * smallest, (1 - best.rate) ** 2, 1e-10)
    assert_same(best.step_size * largest, (1 + best.rate) ** 2)
    rates = [stability.heavy_ball_rate(scaled / largest, momentum, q) for q in (smallest, largest)]
    assert max(rates) >= best.rate - 1e-12


def test_optimal_coefficients_for_one_curvature_need_one_step():
    best = stability.optimal_heavy_ball(4.0, 4.0)
    assert [float(number) for number in best] == [0.25, 0.0, 0.0]


STEPS = 200


@jax.jit
def _formula_and_run(step_size, momentum, eigenvalue):
    formula = stability.heavy_ball_closed_form(1.5, step_size, momentum, eigenvalue, STEPS)
    loss = problems.quadratic(eigenvalue)
    return formula, heavy_ball(loss, 1.5, step_size, momentum, STEPS)


@pytest.mark.parametrize("eigenvalue", [0.5, 3.0])
def test_closed_form(eigenvalue):
    """The formula gives heavy ball's points, from far inside to the edge of the region."""
    for momentum in np.linspace(0.0, 1.0, 21):
        for share in np.linspace(0.01, 1.0, 25):
            step = share * 2 * (1 + momentum) / eigenvalue
            formula, run = _formula_and_run(step, momentum, eigenvalue)
            # Each entry, as a share of the largest number of the run up to there; the run's own
            # rounding is carried along by its slowest mode.
            reached = np.maximum.accumulate(np.abs(run))
            assert np.max(np.abs(formula - run) / reached) <= 1e-12


def test_closed_form_at_and_next_to_a_double_root():
    # β = λ = 1/2 of the optimal pair for [1, 9]: z = 1/2 twice at λ = 1, z = -1/2 at λ = 9.
    for eigenvalue in (1.0, 9.0):
        for nearby in (0.0, 1e-15, 1e-12, 1e-9, 1e-6, -1e-15, -1e-12, -1e-9, -1e-6):
            formula, run = _formula_and_run(0.25, 0.25, eigenvalue * (1 + nearby))
            assert_same(formula, run)
    t = np.arange(STEPS + 1.0)
    exact = 1.5 * 0.5**t * (1 + 0.5 * t)
    assert_same(_formula_and_run(0.25, 0.25, 1.0)[0], exact)


@pytest.mark.parametrize(
    ("step_size", "momentum", "eigenvalue"),
    [("1/8", "1/2", "1"), ("3/2", "1/4", "1/2"), ("1/4", "0", "3"), ("1", "0", "1")],
)
def test_closed_form_against_exact_fractions(step_size, momentum, eigenvalue):
    beta, mu, lam = (Fraction(text) for text in (step_size, momentum, eigenvalue))
    exact = [Fraction(1), Fraction(1)]
    for _ in range(80):
        exact.append(exact[-1] + mu * (exact[-1] - exact[-2]) - beta * lam * exact[-1])
    formula = stability.heavy_ball_closed_form(1.0, float(beta), float(mu), float(lam), 80)
    assert_same(formula, [float(x) for x in exact[1:]])


def test_closed_form_maps_over_eigenvalues_and_differentiates():
    eigenvalues = jnp.array([0.5, 1.0, 4.0])

    def formulas(step_size):
        return jax.vmap(lambda q: stability.heavy_ball_closed_form(1.0, step_size, 0.5, q, 30))(
            eigenvalues
        )

    def run(step_size):
        loss = problems.quadratic(eigenvalues)
        return heavy_ball(loss, jnp.ones(3), step_size, 0.5, 30).T

    assert_same(jax.jit(formulas)(0.3), run(0.3))
    # Away from double roots the derivative in the step size is that of the run as well.
    assert_same(jax.jit(jax.jacfwd(formulas))(0.3), jax.jit(jax.jacfwd(run))(0.3))


def test_rate_and_region_are_elementwise_and_compile():
    steps, momenta = jnp.array([0.5, 3.5, 3.9]), jnp.array([0.0, 0.5, 0.99])
    rates = jax.jit(stability.heavy_ball_rate)(steps, momenta, jnp.ones(3))
    stable = jax.jit(stability.is_stable)(steps, momenta, jnp.ones(3))
    for index in range(3):
        numbers = float(steps[index]), float(momenta[index]), 1.0
        assert float(rates[index]) == float(stability.heavy_ball_rate(*numbers))
        assert bool(stable[index]) == bool(stability.is_stable(*numbers))
    assert stability.heavy_ball_roots(steps, momenta, 1.0).real.shape == (2, 3)


def test_rate_has_a_derivative_on_both_sides_of_the_double_root():
    # Complex roots: √μ, so 1 / (2 √μ). Real roots without momentum: |1 - βλ|.
    by_momentum = jax.grad(stability.heavy_ball_rate, argnums=1)(1.0, 0.25, 1.0)
    assert float(by_momentum) == 1.0
    assert float(jax.grad(stability.heavy_ball_rate)(0.5, 0.0, 1.0)) == -1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stability.heavy_ball_rate(-1.0, 0.5, 1.0), r"step_size must be positive, got -1"),
        (lambda: stability.heavy_ball_roots(1.0, 1.5, 1.0), r"momentum must lie between 0 and 1"),
        (lambda: stability.is_stable(1.0, 0.5, -1.0), r"eigenvalue must be at least 0, got -1.0"),
        (lambda: stability.max_stable_step_size(-0.1, 1.0), r"momentum must lie between 0 and 1"),
        (lambda: stability.max_stable_step_size(0.5, 0.0), r"largest_eigenvalue must be positive"),
        (lambda: stability.optimal_heavy_ball(0.0, 1.0), r"smallest must be positive, got 0.0"),
        (
            lambda: stability.optimal_heavy_ball(2.0, 1.0),
            r"largest must be at least smallest = 2.0, got 1.0",
        ),
        (
            lambda: stability.heavy_ball_closed_form(1.0, 0.1, 0.5, 1.0, 0),
            r"inner_steps must be .* at least 1, got 0",
        ),
        (
            lambda: stability.heavy_ball_closed_form(jnp.ones(2), 0.1, 0.5, 1.0, 3),
            r"x0 must have shape \(\), got shape \(2,\)",
        ),
        (
            lambda: stability.heavy_ball_closed_form(1.0, 0.1, 0.5, jnp.ones(2), 3),
            r"eigenvalue must have shape \(\), got shape \(2,\)",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
