"""The closed form: against sixty digits, against autodiff, in its limits, and at its edges."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from metagrad_cases import assert_same
from stepsize_cases import KINK, SPECTRUM, START, error, exact, random_problems

from metagrad import log_meta_gradient, meta_gradient, problems, stepsize
from metagrad.quadratic_terms import problem
from metagrad.renormalization import log_loss
from metagrad.twofold import Twofold, log_ratio, one_minus_product

compiled = jax.jit(log_meta_gradient)


def test_gradient_is_right_to_rounding_for_any_problem():
    for index, (beta, lams, starts, t) in enumerate(random_problems(420, seed=1)):
        true = exact(beta, lams, starts, t)
        for method in (compiled,) if index % 8 else (compiled, log_meta_gradient):
            assert error(method(beta, lams, starts, t), true.gradient, true.magnitude) <= 3e-14


def test_objective_and_naive_gradient_are_right_for_any_problem():
    objective = jax.jit(stepsize.log_meta_objective)
    naive_gradient = jax.jit(stepsize.naive_meta_gradient)
    for beta, lams, starts, t in random_problems(126, seed=2):
        true = exact(beta, lams, starts, t)
        value = objective(beta, lams, starts, t)
        # The logarithms of the weights add their rounding, (1/t) times.
        size = abs(true.objective) + 100 / mpmath.mpf(t)
        assert error(value, true.objective, size) <= 2e-15
        naive = naive_gradient(beta, lams, starts, t)
        if true.naive == 0 or abs(true.gradient) < 1e-10 * true.magnitude:
            continue
        assert float(naive.sign) == mpmath.sign(true.naive)
        log_size = mpmath.log(abs(true.naive))
        # Where the terms cancel, the logarithm loses what the sum does.
        lost = true.magnitude / abs(true.gradient)
        assert error(naive.log_size, log_size, abs(log_size) + 100 * lost) <= 1e-14


@pytest.mark.parametrize("steps", [1, 2, 10, 1000, 10**4, 10**5, 10**6])
def test_the_quadratic_of_the_notes(steps):
    both = jax.jit(jax.value_and_grad(log_meta_gradient))
    for beta in (0.0, 0.05, 0.1, KINK, 0.2, 0.25, 0.4, 1.0, 1e3, 1e100, 1e290):
        true = exact(beta, SPECTRUM, START, steps)
        found, second = both(beta, SPECTRUM, START, steps)
        assert error(found, true.gradient, true.magnitude) <= 1e-14
        if beta < 1e100:  # beyond, the square of F' underflows
            # Its two parts, of about t times the square of the magnitude, may cancel.
            scale = (1 + steps) * true.magnitude**2
            assert error(second, true.curvature, scale) <= 1e-13


def test_one_float_for_each_factor_would_not_be_enough():
    """At 10⁶ steps the rounding of 1 - βλ alone costs the tenth digit; two floats keep it."""
    lams, starts, t = np.array([1.1, 1.3]), np.array([0.6, 0.8]), 10**6
    worst = {"plain": 0.0, "ours": 0.0}
    for shift in range(-3, 4):
        beta = 2 / (1.1 + 1.3) * (1 + shift * 1e-8)
        true = exact(beta, lams, starts, t)
        a = 1 - beta * lams
        r = np.abs(a) / np.abs(a).max()
        e = np.exp((2 * t - 1) * np.log(r))
        plain = -2 * np.sum(starts**2 * lams**2 * np.sign(a) * e)
        plain /= np.abs(a).max() * np.sum(starts**2 * lams * e * r)
        ours = log_meta_gradient(beta, lams, starts, t)
        for name, found in (("plain", plain), ("ours", ours)):
            worst[name] = max(worst[name], error(found, true.gradient, true.magnitude))
    assert worst["ours"] <= 1e-14 < 1e-10 < worst["plain"]


def test_factors_have_twice_the_digits():
    rng = np.random.default_rng(3)
    betas = np.exp(5 * rng.normal(size=300))
    lams = np.exp(rng.normal(size=300)) / np.where(np.arange(300) % 2, betas, 1.0)
    lams[:50] = (1 + rng.integers(-2, 3, size=50) * 2.0**-52) / betas[:50]
    # A compiler may fuse products and sums, or fold constants: neither must cost a digit.
    ways = [
        one_minus_product,
        jax.jit(one_minus_product),
        jax.jit(lambda x, _: one_minus_product(x, jnp.asarray(lams))),
        jax.jit(jax.vmap(one_minus_product)),
    ]
    for way in ways:
        found = way(jnp.asarray(betas), jnp.asarray(lams))
        for beta, lam, high, low in zip(betas, lams, *map(np.asarray, found), strict=True):
            with mpmath.workdps(60):
                true = 1 - mpmath.mpf(beta) * mpmath.mpf(lam)
                assert abs(mpmath.mpf(high) + mpmath.mpf(low) - true) <= 2e-32 * (1 + abs(true))
                assert abs(low) <= 2.3e-16 * abs(high)


def test_logarithms_of_ratios():
    rng = np.random.default_rng(4)
    tops = np.exp(rng.normal(size=400) * np.repeat([1e-9, 1e-3, 0.5, 30.0], 100))
    bottoms = np.exp(rng.normal(size=400) * np.tile([0.0, 1.0, 1.0, 100.0], 100))
    tops *= np.where(np.arange(400) % 2, bottoms, 1.0)
    tops[-1], bottoms[-1] = 1e290, 1e-30  # the ratio itself is out of range
    lows = np.array([0.3, -0.2])[:, None] * 2.0**-53 * np.stack([tops, bottoms])
    lows[:, -1] = 0.0
    top, bottom = (
        Twofold(jnp.asarray(x), jnp.asarray(y)) for x, y in zip((tops, bottoms), lows, strict=True)
    )
    for way in (log_ratio, jax.jit(log_ratio)):
        found = np.asarray(way(top, bottom))
        for i in range(400):
            with mpmath.workdps(60):
                parts = [
                    mpmath.mpf(x[i]) + mpmath.mpf(y[i])
                    for x, y in zip((tops, bottoms), lows, strict=True)
                ]
                true = mpmath.log(parts[0] / parts[1])
            assert error(found[i], true, abs(true)) <= 2e-15
    slope = jax.grad(lambda x: log_ratio(Twofold(x, x * 0.0), Twofold(x * 0.0 + 3.0, x * 0.0)))
    assert_same([slope(jnp.float64(x)) for x in (2.9, 8.0)], [1 / 2.9, 1 / 8.0], 1e-15)


@pytest.mark.parametrize("steps", [1, 2, 7, 10**6])
def test_a_factor_of_exactly_zero(steps):
    lams, starts = np.array([4.0, 1.0, 2.0]), np.array([0.6, 0.3, 0.0])
    true = exact(0.25, lams, starts, steps)
    assert error(log_meta_gradient(0.25, lams, starts, steps), true.gradient, 1) <= 1e-15
    second = jax.grad(log_meta_gradient)(0.25, lams, starts, steps)
    # For t = 1 the zero factor has a derivative: leaving it out would give another number.
    assert error(second, true.curvature, abs(true.curvature)) <= 1e-14
    slope = jax.grad(stepsize.log_meta_objective)(0.25, lams, starts, steps)
    assert error(slope, true.gradient, 1) <= 1e-14


def test_a_single_mode():
    for beta in (0.0, 0.3, 0.7, 5.0):
        found = log_meta_gradient(beta, [2.0], [-0.1], 10**6)
        assert_same(found, -4.0 / (1.0 - 2.0 * beta), 1e-15)


def test_modes_without_a_coefficient_do_not_count():
    # Both ends of the spectrum are absent, and both would dominate.
    lams, starts = np.array([9.0, 1.0, 2.0, 0.1]), np.array([0.0, 0.5, 0.25, 0.0])
    for beta in (0.01, 0.5, 0.6, 1.0, 3.0):
        for t in (1, 300, 10**6):
            kept = log_meta_gradient(beta, lams[1:3], starts[1:3], t)
            assert_same(log_meta_gradient(beta, lams, starts, t), kept, 1e-15)
    by_coefficient = jax.grad(log_meta_gradient, argnums=2)(0.5, lams, starts, 3)
    assert np.all(np.isfinite(by_coefficient)) and by_coefficient[0] == 0.0


def test_derivatives_in_every_argument_are_those_of_the_formula():
    def formula(beta, lams, starts):
        a = 1.0 - beta * lams
        return -2.0 * jnp.sum(starts**2 * lams**2 * a**5) / jnp.sum(starts**2 * lams * a**6)

    arguments = 0.3, jnp.array([1.0, 2.0, 5.0]), jnp.array([0.5, -0.7, 0.2])
    found = jax.grad(lambda *x: log_meta_gradient(*x, 3), argnums=(0, 1, 2))(*arguments)
    for one, other in zip(found, jax.grad(formula, argnums=(0, 1, 2))(*arguments), strict=True):
        assert_same(one, other)


def test_units_order_and_length_of_the_start_do_not_matter():
    base = log_meta_gradient(0.17, SPECTRUM, START, 500)
    assert_same(log_meta_gradient(0.17, SPECTRUM[::-1], START[::-1], 500), base)
    assert_same(log_meta_gradient(0.17, SPECTRUM, 1e-200 * START, 500), base)
    assert_same(log_meta_gradient(0.17 / 8, 8 * SPECTRUM, START, 500), 8 * base)


def test_maps_over_step_sizes_and_counts():
    betas, counts = jnp.array([0.0, 0.1, KINK, 0.3]), jnp.array([1, 40, 10**6])
    over = jax.vmap(log_meta_gradient, in_axes=(0, None, None, None))
    table = jax.jit(jax.vmap(over, in_axes=(None, None, None, 0)))(betas, SPECTRUM, START, counts)
    expected = [[log_meta_gradient(b, SPECTRUM, START, int(t)) for b in betas] for t in counts]
    assert_same(table, jnp.array(expected))


def test_single_precision_stays_single_and_is_right():
    lams, starts = SPECTRUM.astype(np.float32), START.astype(np.float32)
    for beta in np.float32([0.05, KINK, 0.25]):
        for t in (1, 1000, 10**6):
            found = log_meta_gradient(beta, lams, starts, t)
            true = exact(beta, lams, starts, t)
            assert found.dtype == jnp.float32
            assert error(found, true.gradient, true.magnitude) <= 3e-6


@pytest.mark.parametrize("steps", [1, 2, 5, 12])
def test_short_runs_agree_with_backpropagation(steps):
    bowl = problems.quadratic(SPECTRUM)

    def descend(x, beta, t):
        return x - beta * jax.grad(bowl)(x)

    def loss(x, beta):
        return bowl(x)

    @jax.jit
    def both(beta):
        pieces = descend, beta, jnp.asarray(START), steps
        return meta_gradient(loss, *pieces), meta_gradient(log_loss(loss, steps), *pieces)

    for beta in (0.0, 0.03, 0.1, KINK, 0.25):
        plain, log = both(beta)
        naive = stepsize.naive_meta_gradient(beta, SPECTRUM, START, steps)
        assert_same(naive.sign * jnp.exp(naive.log_size), plain.gradient)
        assert_same(log_meta_gradient(beta, SPECTRUM, START, steps), log.gradient)
        assert_same(stepsize.log_meta_objective(beta, SPECTRUM, START, steps), log.value)


def test_naive_gradient_grows_at_exactly_the_rate_and_log_objective_tends_to_it():
    t = 10**6
    for beta in (0.05, 0.17, 0.19, 0.25, 1.0):
        rate = 2 * np.log(stepsize.contraction(beta, SPECTRUM))
        logs = [stepsize.naive_meta_gradient(beta, SPECTRUM, START, n).log_size for n in (t, 2 * t)]
        # log |F'| = t rate + log t + a constant, up to exponentially small terms.
        assert_same(logs[1] - logs[0], t * rate + np.log(2.0), 1e-13)
        value = stepsize.log_meta_objective(beta, SPECTRUM, START, t)
        assert abs(value - rate) <= 20 / t
    sides = [log_meta_gradient(beta, SPECTRUM, START, t) for beta in (KINK - 1e-4, KINK + 1e-4)]
    assert_same(sides[0], -2 / (1 - (KINK - 1e-4)), 1e-12)
    assert_same(sides[1], 20 / (10 * (KINK + 1e-4) - 1), 1e-12)


def test_naive_bounds_of_the_theorem():
    high = 10.0
    for t in (1, 3, 80, 1000):
        for beta in (0.01, 0.1, 0.19, 0.21, 0.3, 1.0):
            naive = stepsize.naive_meta_gradient(beta, SPECTRUM, START, t)
            rho = float(stepsize.contraction(beta, SPECTRUM))
            assert naive.log_size <= np.log(t * high**2) + (2 * t - 1) * np.log(rho)
            if beta > 2 / high:
                first = START[0] ** 2 * high**2 * t
                lower = mpmath.mpf(first) * mpmath.mpf(rho) ** (2 * t - 1) - high**2 * t
                size = mpmath.exp(mpmath.mpf(float(naive.log_size)))
                assert size >= lower * (1 - mpmath.mpf(1e-11))


def test_naive_gradient_of_nothing():
    for arguments in ((0.5, [2.0, 2.0], [1.0, 1.0], 3), (0.5, [1.0, 3.0], [0.0, 0.0], 3)):
        nothing = stepsize.naive_meta_gradient(*arguments)
        assert (float(nothing.sign), float(nothing.log_size)) == (0.0, -np.inf)


@pytest.mark.parametrize(
    ("step_size", "eigenvalues", "coefficients"),
    [
        (0.5, [2.0, 2.0], [0.6, 0.8]),
        (0.5, [2.0, 1.0], [1.0, 0.0]),
        (0.1, [10.0], [1.0]),  # 1 - 0.1 * 10.0 == 0.0, although 0.1 is not exactly 1/10
        (0.3, [1.0, 2.0], [0.0, 0.0]),
    ],
)
def test_a_loss_of_zero_is_refused(step_size, eigenvalues, coefficients):
    message = r"the loss is exactly zero, .* 1 - step_size \* eigenvalue == 0"
    for function in (log_meta_gradient, stepsize.log_meta_objective):
        with pytest.raises(ValueError, match=message):
            function(step_size, eigenvalues, coefficients, 4)
    assert np.isnan(compiled(step_size, jnp.array(eigenvalues), jnp.array(coefficients), 4))


LAMS, STARTS = [1.0, 2.0], [0.6, 0.8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, LAMS, STARTS, 3), r"step_size must be at least 0, got -0.1"),
        ((float("nan"), LAMS, STARTS, 3), r"step_size must be finite"),
        ((jnp.ones(2), LAMS, STARTS, 3), r"step_size must have shape \(\), got shape \(2,\)"),
        ((0.1, [0.0, 1.0], STARTS, 3), r"eigenvalues must be positive"),
        ((0.1, 1.0, STARTS, 3), r"eigenvalues must have shape \(n,\)"),
        ((0.1, LAMS, [1.0], 3), r"coefficients must have shape \(2,\), got shape \(1,\)"),
        ((0.1, LAMS, STARTS, 0), r"steps must be a whole number of at least 1, got 0"),
        ((0.1, LAMS, STARTS, 2.5), r"steps must be a whole number of at least 1, got 2.5"),
        ((1e295, LAMS, STARTS, 3), r"step_size, eigenvalues and their products must be at most"),
        ((1e200, [1.0, 1e100], STARTS, 3), r"products must be at most 4e\+292 for float64"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    functions = (log_meta_gradient, stepsize.log_meta_objective, stepsize.naive_meta_gradient)
    for function in (*functions, problem):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


def test_what_is_not_a_number_is_refused():
    for arguments in (("a", LAMS, STARTS, 3), (0.1, LAMS, STARTS, "many")):
        with pytest.raises(TypeError, match="must hold real numbers, got"):
            log_meta_gradient(*arguments)
