"""The bounds on the log objective's derivative, and the theorem on meta-gradient descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import assert_same, fixed_examples
from stepsize_cases import KINK, SPECTRUM, START

from metagrad import best_step_size, log_meta_gradient, tune_step_size
from metagrad.stepsize_bounds import (
    gradient_bound_at,
    gradient_bounds,
    meta_steps_needed,
    secant_constant,
)

gradient = jax.jit(log_meta_gradient)
bound_at, bounds_anywhere = jax.jit(gradient_bound_at), jax.jit(gradient_bounds)
best, secant = jax.jit(best_step_size), jax.jit(secant_constant)

# Three curvatures, the middle one anywhere between the ends, and a start with some of each end.
quadratics = st.tuples(
    st.floats(-3.0, 3.0), st.floats(0.05, 6.0), st.floats(0.0, 1.0), st.floats(0.01, 1.0),
    st.floats(0.0, 1.0), st.floats(-1.0, -0.01),
)  # fmt: skip


def _quadratic(numbers):
    log_low, log_condition, where, *starts = numbers
    low = np.exp(log_low)
    eigenvalues = low * np.exp(log_condition * np.array([0.0, where, 1.0]))
    return jnp.asarray(eigenvalues), jnp.asarray(starts)


@fixed_examples
@given(quadratics, st.integers(1, 2000), st.floats(0.0, 4.0), st.booleans())
def test_bounds_hold(numbers, steps, share, at_kink):
    lams, starts = _quadratic(numbers)
    beta = share / lams[-1]
    if at_kink:  # the place where the bounds are nearly attained
        beta = 2.0 / (lams[0] + lams[-1]) * (1.0 + (share - 2.0) / (10.0 * steps))
    slope = abs(gradient(beta, lams, starts, steps))
    here, anywhere = bound_at(beta, lams, starts, steps), bounds_anywhere(lams, starts, steps)
    assert slope <= here * (1 + 1e-12)
    assert here <= anywhere.sharp * (1 + 1e-12)
    assert slope <= anywhere.simple * (1 + 1e-12)


def test_sharp_bound_is_nearly_attained_and_the_simple_one_is_not():
    # The slope right of the kink tends to 2L (L + α) / (L - α), and so does the bound.
    for steps, share in ((10**4, 0.97), (10**6, 0.999)):
        bounds = gradient_bounds(SPECTRUM, START, steps)
        slope = gradient(KINK + 10 / steps, SPECTRUM, START, steps)
        assert share * bounds.sharp <= slope <= bounds.sharp
    assert bounds.simple > 1e4 * bounds.sharp
    assert_same(bounds.sharp, 2 * 10 * 11 / 9, 1e-4)


@fixed_examples
@given(quadratics, st.integers(1, 2000), st.floats(0.0, 1.0), st.floats(1.0, 5.0))
def test_secant_inequality_holds(numbers, steps, share, beyond):
    lams, starts = _quadratic(numbers)
    top = beyond / lams[0]
    beta, target = share * top, best(lams, starts, steps)
    away = beta - target
    m = secant(lams, starts, top)
    assert away * gradient(beta, lams, starts, steps) >= m * away**2 * (1 - 1e-9)
    assert m > 0


def test_a_repeated_end_counts_with_its_whole_weight():
    split = gradient_bounds([1.0, 3.0, 3.0], [0.6, 0.3, 0.4], 5)
    whole = gradient_bounds([1.0, 3.0], [0.6, 0.5], 5)
    for one, other in zip(split, whole, strict=True):
        assert_same(one, other)
    # A middle curvature adds to the length of the start only, and the length does not matter.
    longer = gradient_bounds([1.0, 3.0], [6.0, 5.0], 5)
    assert_same(longer.simple, whole.simple)
    share = 0.25 / (0.25 + 0.36)
    assert_same(whole.simple, 4 * 27 / (share * 2))
    assert_same(whole.sharp, 2 * 3 * 4 / 2 * (3 / share) ** 0.1)


def test_the_theorem_on_a_problem_small_enough_to_wait_for():
    """After k' steps the step size is within ε of β*, and stays; on the way, the proof's step."""
    lams, starts, steps, scale, tolerance = [1.0, 2.0], [1.0, 1.0], 20, 0.1, 0.1
    target = best_step_size(lams, starts, steps)
    for start in (0.0, 3.0):
        needed = meta_steps_needed(tolerance, start, lams, starts, steps, meta_step_size=scale)
        assert 100 < needed < 30_000
        count = int(needed) + 2000
        run = jax.jit(
            lambda start, count=count: tune_step_size(
                lambda b: log_meta_gradient(b, jnp.array(lams), jnp.array(starts), steps),
                start, count, meta_step_size=scale,
            )
        )(start)  # fmt: skip
        errors = np.abs(run.step_sizes - target)
        assert np.max(errors[int(np.ceil(needed)) :]) <= tolerance

        slope = float(gradient_bounds(lams, starts, steps).sharp)
        top = max(start, 1.0 + scale * slope)
        m = float(secant_constant(lams, starts, top))
        moves = scale / np.sqrt(np.arange(1, count + 1))
        allowed = np.maximum(np.maximum(1 - m * moves, 0) * errors[:-1], moves * slope)
        assert np.all(errors[1:] <= allowed * (1 + 1e-12))
        assert np.max(run.step_sizes) <= top
        assert_same(needed, ((scale * slope) / tolerance + 1 + np.log(top / tolerance) / (2 * scale * m)) ** 2)  # fmt: skip # noqa: E501


ONE_VALUE = r"eigenvalues must hold two different numbers"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradient_bounds([2.0, 2.0], [0.6, 0.8], 3), ONE_VALUE),
        (lambda: gradient_bound_at(0.1, [2.0], [1.0], 3), ONE_VALUE),
        (lambda: secant_constant([2.0, 2.0], [0.6, 0.8], 3.0), ONE_VALUE),
        (lambda: meta_steps_needed(0.1, 0.1, [2.0, 2.0], [0.6, 0.8], 3), ONE_VALUE),
        (
            lambda: gradient_bounds([1.0, 2.0], [0.0, 1.0], 3),
            r"coefficients must not be 0 at the smallest and at the largest eigenvalue, got \[0.0",
        ),
        (
            lambda: secant_constant([1.0, 2.0], [0.6, 0.8], 0.9),
            r"largest_step_size must be at least 1 / the smallest eigenvalue",
        ),
        (lambda: gradient_bounds([1.0, 2.0], [0.6, 0.8], 0), r"steps must be a whole number"),
        (
            lambda: meta_steps_needed(0.0, 0.1, [1.0, 2.0], [0.6, 0.8], 3),
            r"tolerance must be positive, got 0.0",
        ),
        (
            lambda: meta_steps_needed(0.1, 0.1, [1.0, 2.0], [0.6, 0.8], 3, meta_step_size=0.0),
            r"meta_step_size must be positive, got 0.0",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
