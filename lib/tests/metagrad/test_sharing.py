"""Forward accumulation with sharing: a projection of the exact meta-gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metagrad import meta_gradient, problems
from metagrad.estimators import reverse
from metagrad.sharing import shared, window_of_step

STEPS = 7
BOWL = problems.quadratic([1.0, 0.3])
START = jnp.array([0.6, 0.8])
SCHEDULE = jnp.linspace(0.2, 1.4, STEPS)


def descend(x, schedule, t):
    return x - schedule[t - 1] * jax.grad(BOWL)(x)


def by(method, schedule=SCHEDULE, step=descend):
    return meta_gradient(
        lambda x, _: BOWL(x), step, schedule, START, STEPS, method=method, every_step=True
    )


@pytest.mark.parametrize("windows", [1, 2, 3, 5, STEPS])
def test_each_window_holds_the_mean_of_the_exact_meta_gradient(windows):
    exact, made = by(reverse()), by(shared(windows))
    window = window_of_step(STEPS, windows)
    for k in range(windows):
        part = np.asarray(exact.gradient)[window == k]
        np.testing.assert_allclose(made.info.window_gradient[k], part.sum(), rtol=1e-12)
        np.testing.assert_allclose(made.gradient[window == k], part.mean(), rtol=1e-12)
    np.testing.assert_allclose(made.value, exact.value, rtol=1e-14)
    assert bool(made.finite)


def test_what_is_lost_is_orthogonal_to_every_schedule_constant_in_the_windows():
    lost = np.asarray(by(reverse()).gradient - by(shared(3)).gradient)
    assert np.max(np.abs(lost)) > 1e-3  # something is lost
    for k in range(3):
        assert abs(lost @ (window_of_step(STEPS, 3) == k)) < 1e-14


def test_it_is_the_gradient_in_the_shared_values():
    window = window_of_step(STEPS, 3)
    values = jnp.array([0.3, 0.9, 1.2])

    def few(x, values, t):
        return x - values[jnp.asarray(window)[t - 1]] * jax.grad(BOWL)(x)

    wanted = by(reverse(), values, few).gradient
    np.testing.assert_allclose(
        by(shared(3), values[window]).info.window_gradient, wanted, rtol=1e-12
    )


def test_schedules_of_several_numbers_in_single_precision():
    schedule = {
        "step_size": jnp.full((STEPS, 2), 0.5, jnp.float32),
        "decay": jnp.full(STEPS, 0.1, jnp.float32),
    }
    start = START.astype(jnp.float32)

    def step(x, w, t):
        return (1 - w["decay"][t - 1]) * x - w["step_size"][t - 1] * x

    run = (lambda x, _: jnp.sum(x**2), step, schedule, start, STEPS)
    exact = meta_gradient(*run, method=reverse()).gradient
    made = meta_gradient(*run, method=shared(2)).gradient
    first = window_of_step(STEPS, 2) == 0
    for name in schedule:
        assert made[name].dtype == jnp.float32
        assert made[name].shape == schedule[name].shape
        wanted = np.asarray(exact[name])[first].mean(axis=0)
        np.testing.assert_allclose(np.asarray(made[name])[first][0], wanted, rtol=1e-5)


@pytest.mark.parametrize("inner_steps", [1, 4, 10, 11])
def test_windows_are_contiguous_and_of_nearly_equal_length(inner_steps):
    for windows in range(1, inner_steps + 1):
        window = window_of_step(inner_steps, windows)
        assert sorted(set(window)) == list(range(windows))
        assert np.all(np.diff(window) >= 0)
        assert np.ptp(np.bincount(window)) <= 1


def test_a_schedule_has_a_value_for_every_step():
    with pytest.raises(ValueError, match=r"inner_steps = 7, got shape \(6,\)"):
        by(shared(2), SCHEDULE[:-1])
    with pytest.raises(ValueError, match=r"inner_steps = 7, got shape \(\)"):
        by(shared(2), jnp.array(0.5), lambda x, w, t: w * x)


def test_there_are_at_most_as_many_windows_as_steps():
    with pytest.raises(ValueError, match="windows must be at most inner_steps = 7, got 8"):
        by(shared(8))
    with pytest.raises(ValueError, match="windows must be an integer of at least 1, got 0"):
        shared(0)
