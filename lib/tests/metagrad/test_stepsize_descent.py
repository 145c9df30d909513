"""The best step size against its equation, and meta-gradient descent against a plain loop."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import assert_same, fixed_examples
from stepsize_cases import SPECTRUM, START

from metagrad import best_step_size, log_meta_gradient, stepsize, tune_step_size

best = jax.jit(best_step_size)


def _two_curvatures(low, high, c_low, c_high, steps):
    """(1 + r) / (α + rL), r^{2t-1} = c_L² L² / (c_α² α²): where the two terms of F' cancel."""
    r = abs((c_high * high) / (c_low * low)) ** (2 / (2 * steps - 1))
    return (1 + r) / (low + r * high)


@fixed_examples
@given(
    st.floats(-5, 5), st.floats(1e-3, 12), st.floats(1e-3, 1), st.floats(-1, -1e-3),
    st.integers(1, 10**6),
)  # fmt: skip
def test_two_curvatures_in_closed_form(log_low, log_condition, c_low, c_high, steps):
    low = np.exp(log_low)
    high = low * np.exp(log_condition)
    found = best(jnp.array([low, high]), jnp.array([c_low, c_high]), steps)
    expected = _two_curvatures(low, high, c_low, c_high, steps)
    assert abs(found / expected - 1) <= 1e-14 + 1e-15 * high / low


@pytest.mark.parametrize("steps", [1, 2, 10, 80])
def test_against_the_root_of_the_derivative(steps):
    with mpmath.workdps(40):
        lams, starts = ([mpmath.mpf(float(x)) for x in xs] for xs in (SPECTRUM, START))

        def slope(beta):
            terms = zip(lams, starts, strict=True)
            return mpmath.fsum([c**2 * w**2 * (1 - beta * w) ** (2 * steps - 1) for w, c in terms])

        root = mpmath.findroot(
            slope, (mpmath.mpf("0.1"), mpmath.mpf("0.3")), solver="bisect", maxsteps=140
        )
    assert_same(best(SPECTRUM, START, steps), float(root), 2e-15)


def test_many_curvatures_soon_behave_like_two():
    c_low, c_high = START[-1], START[0]
    for steps in (100, 1000):
        two = _two_curvatures(1.0, 10.0, c_low, c_high, steps)
        assert_same(best(SPECTRUM, START, steps), two, 1e-10)
    assert_same(best(SPECTRUM, START, 10**6), 2 / 11, 1e-5)


def test_curvatures_without_a_coefficient_do_not_count():
    found = best_step_size([7.0, 2.0, 0.1, 1.0], [0.0, 0.5, 0.0, 0.25], 3)
    assert_same(found, _two_curvatures(1.0, 2.0, 0.25, 0.5, 3), 1e-15)


def test_all_equal_is_refused():
    for arguments in (([2.0, 2.0], [1.0, 1.0], 3), ([1.0, 2.0], [0.0, 1.0], 3)):
        with pytest.raises(ValueError, match=r"two different numbers with a nonzero coefficient"):
            best_step_size(*arguments)


def test_descent_is_the_loop_with_its_reset():
    def slope(beta):
        return beta**2 - 1.5 * beta - 0.5  # negative, then positive

    for start, scale in ((0.0, 0.3), (4.0, 1.0), (1.0, 0.5)):
        run = jax.jit(
            lambda start, scale=scale: tune_step_size(slope, start, 30, meta_step_size=scale)
        )(start)
        betas, slopes = [start], []
        for k in range(1, 31):
            slopes.append(slope(betas[-1]))
            betas.append(max(0.0, betas[-1] - scale / np.sqrt(k) * slopes[-1]))
        assert_same(run.step_sizes, betas)
        assert_same(run.meta_gradients, slopes)
        assert (0.0 in betas[1:]) == (start == 4.0)  # one of the runs is reset


def _race(meta_gradient, start):
    tuned = jax.jit(lambda b: tune_step_size(meta_gradient, b, 1000, meta_step_size=0.01))
    return tuned(start).step_sizes


def test_log_objective_is_tuned_from_anywhere_and_the_naive_one_is_not():
    def log(beta):
        return log_meta_gradient(beta, SPECTRUM, START, 80)

    def naive(beta):
        number = stepsize.naive_meta_gradient(beta, SPECTRUM, START, 80)
        return number.sign * jnp.exp(number.log_size)

    target = float(best_step_size(SPECTRUM, START, 80))
    for start in (0.02, 0.1, 0.25, 1.0):
        assert abs(_race(log, start)[-1] - target) <= 1e-12
    assert abs(_race(naive, 0.1)[-1] - 0.1) <= 1e-6  # vanished: it has not moved
    exploded = _race(naive, 0.25)
    assert exploded[1] == 0.0  # thrown to the boundary by one step
    assert abs(exploded[-1] - target) > 0.1


def test_descent_follows_a_gradient_that_is_not_finite():
    run = tune_step_size(lambda b: jnp.where(b > 0.5, jnp.nan, -1.0), 0.0, 4)
    assert run.step_sizes[:2].tolist() == [0.0, 1.0]
    assert np.all(np.isnan(run.step_sizes[2:])) and np.isnan(run.meta_gradients[1])


def test_descent_keeps_single_precision():
    run = tune_step_size(lambda b: b, jnp.float32(1.0), 3, meta_step_size=0.5)
    assert run.step_sizes.dtype == run.meta_gradients.dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tune_step_size(abs, -1.0, 3), ValueError, "step_size must be at least 0"),
        (lambda: tune_step_size(abs, 1.0, 0), ValueError, "meta_steps must be an integer"),
        (
            lambda: tune_step_size(abs, jnp.ones(2), 3),
            ValueError,
            r"step_size must have shape \(\)",
        ),
        (
            lambda: tune_step_size(abs, 1.0, 3, meta_step_size=-1.0),
            ValueError,
            "meta_step_size must be at least 0, got -1.0",
        ),
        (
            lambda: tune_step_size(lambda b: jnp.stack([b, b]), 1.0, 3),
            TypeError,
            "meta_gradient must return one number",
        ),
    ],
)
def test_bad_values_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
