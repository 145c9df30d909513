"""The Lyapunov exponent against quadrature, the window against its definition, and real runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same

from metagrad.cosine_valley import Valley, valley_gradient, valley_point
from metagrad.divergence_window import divergence_window, far_field_factor, lyapunov_exponent
from metagrad.outer_descent import descend
from metagrad.outer_steps import clipped, plain

VALLEYS = [Valley(0.0, -0.9, 1.0), Valley(1.0, 1.0, 1.0), Valley(-0.5, 0.8, 2.0)]


def quadrature(valley, eta, points=1 << 20):
    """The mean of the logarithm over the phases of θ, by the midpoint rule."""
    p = (np.arange(points) + 0.5) * (2 * np.pi / points)
    a, b, lam = valley
    h = a + lam - b * np.cos(p)
    factor = 1 - eta * lam**2 / ((a + lam) * h)
    return np.mean(h * np.log(np.abs(factor))) / (a + lam)


@pytest.mark.parametrize("valley", VALLEYS)
def test_the_exponent_is_the_mean_logarithm(valley):
    a, b, lam = valley
    least, most = ((a + lam) * (a + lam - sign * abs(b)) / lam**2 for sign in (1, -1))
    etas = np.concatenate([np.linspace(0.02, 0.98, 5) * least, np.linspace(least, most, 9),
                           most * np.array([1.01, 1.5, 4.0, 100.0])])  # fmt: skip
    made = lyapunov_exponent(valley, etas)
    for eta, exponent in zip(etas, made, strict=True):
        inside = least <= eta <= most  # there the logarithm has poles
        assert abs(exponent - quadrature(valley, eta)) < (1e-4 if inside else 1e-9)


def test_the_factor_is_what_far_away_steps_multiply_with():
    valley, p = Valley(1.0, 0.7, 2.0), 1e7 + np.linspace(0, 6, 20)
    here = valley_point(valley, p)
    moved = here.meta_parameter - 1.3 * here.gradient
    assert_same(moved / here.meta_parameter, far_field_factor(valley, 1.3, p), 1e-6)


@pytest.mark.parametrize("valley", [*VALLEYS, Valley(0.0, -0.999, 1.0), Valley(1.0, -0.1, 1.0)])
def test_the_window_begins_where_the_exponent_changes_its_sign(valley):
    low, high = divergence_window(valley)
    assert abs(lyapunov_exponent(valley, low)) < 1e-12
    assert np.all(lyapunov_exponent(valley, low * np.linspace(0.01, 0.999, 300)) < 0)
    assert np.all(lyapunov_exponent(valley, low * np.linspace(1.001, 20.0, 300)) > 0)
    assert_same(high, 2.0 / valley_point(valley, 0.0).curvature)
    assert (low < high) == (valley.wave < 0)
    gradient = jax.grad(lambda b: lyapunov_exponent(valley._replace(wave=b), low))(valley.wave)
    assert np.isfinite(gradient)


def test_without_waves_the_window_closes():
    low, high = divergence_window(Valley(1.0, 0.0, 2.0))
    assert_same(low, high) and assert_same(low, 2 * 9 / 4)
    assert_same(lyapunov_exponent(Valley(1.0, 0.0, 2.0), 3.0), np.log(abs(1 - 3.0 * 4 / 9)))
    assert lyapunov_exponent(Valley(0.0, 0.0, 1.0), 1.0) == -jnp.inf  # one step to the minimizer


VALLEY = VALLEYS[0]


def race(step, start, steps):
    run = descend(lambda theta: valley_gradient(VALLEY, theta), start, step, steps)
    return run.diverged[-1], jnp.abs(run.parameters[-1])


def test_far_starts_diverge_inside_the_window_and_near_ones_do_not():
    from_start = jax.jit(
        jax.vmap(lambda eta, start: race(plain(eta), start, 300)), static_argnums=()
    )
    etas = jnp.array([3.0, 4.0, 5.0, 6.0, 7.0])
    window = divergence_window(VALLEY)
    assert np.all((window.low < etas) & (etas < window.high))
    diverged, _ = from_start(etas, jnp.full(5, 30.0))
    assert np.all(diverged)
    diverged, end = from_start(etas, jnp.full(5, 0.5))
    assert not np.any(diverged) and np.max(end) < 1e-6

    # Clipped with the same step, and no more than 1 at a time, it comes home from far away too.
    cut = jax.jit(jax.vmap(lambda eta: race(clipped(eta, 1.0), jnp.array(30.0), 300)))
    diverged, end = cut(etas)
    assert not np.any(diverged) and np.max(end) < 1e-6

    # Below the window plain descent comes home.
    diverged, end = from_start(jnp.array([0.5, 2.0, 2.5]), jnp.full(3, 30.0))
    assert not np.any(diverged) and np.max(end) < 1e-6


def test_the_exponent_predicts_the_growth():
    """Not a theorem: the phases come out alike, or nearly."""
    starts = jnp.linspace(1e6, 2e6, 400)
    grow = jax.jit(
        jax.vmap(lambda start: descend(
            lambda theta: valley_gradient(VALLEY, theta), start, plain(3.0), 30, radius=1e30,
        ).parameters)
    )(starts)  # fmt: skip
    rates = np.log(np.abs(grow[:, -1] / grow[:, 0])) / 30
    assert abs(np.mean(rates) - lyapunov_exponent(VALLEY, 3.0)) < 0.05


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match=r"outer_step_size must be positive, got 0.0"):
        lyapunov_exponent(VALLEY, 0.0)
    with pytest.raises(ValueError, match="wave must be less than curvature"):
        divergence_window(Valley(0.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="solution must be finite"):
        far_field_factor(VALLEY, 1.0, jnp.inf)
