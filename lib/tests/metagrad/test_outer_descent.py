"""Outer descent: the run against a loop, and every theorem about it on the cosine valley."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from metagrad_cases import assert_same

from metagrad.cosine_valley import (
    Valley,
    valley_constants,
    valley_gradient,
    valley_point,
    valley_solution,
)
from metagrad.growing_smoothness import Smoothness, bilevel_smoothness, largest_gradient
from metagrad.outer_bounds import (
    clipped_choice,
    clipped_iterations,
    normalized_average,
    normalized_choice,
    oracle_complexity,
    plain_choice,
    plain_iterations,
)
from metagrad.outer_descent import descend
from metagrad.outer_steps import clipped, normalized, plain


def test_a_run_is_the_loop():
    start = {"a": jnp.array([3.0, -1.0]), "b": jnp.array(2.0)}
    gradient = jax.grad(lambda x: jnp.sum(x["a"] ** 4) / 4 + jnp.cos(x["b"]))
    outer = normalized(0.1, momentum=0.5)
    made = jax.jit(lambda x: descend(gradient, x, outer, 8))(start)
    theta, state = start, outer.init(start)
    for t in range(8):
        found = gradient(theta)
        assert_same(made.gradient_norms[t], optax.tree.norm(found))
        updates, state = outer.update(found, state, theta)
        theta = optax.apply_updates(theta, updates)
        for name in theta:
            assert_same(made.parameters[name][t + 1], theta[name])
    assert made.parameters["a"].shape == (9, 2) and not np.any(made.diverged)
    assert_same(made.parameters["a"][0], start["a"])


def test_each_step_has_its_own_noise():
    key = jax.random.key(5)
    made = descend(
        lambda x, key: jax.random.normal(key, (2,)), jnp.zeros(2), plain(1.0), 6, key=key
    )
    steps = -np.diff(made.parameters, axis=0)
    expected = [jax.random.normal(jax.random.fold_in(key, t), (2,)) for t in range(6)]
    assert_same(steps, expected, 1e-14)


@pytest.mark.parametrize(
    ("gradient", "when"),
    [
        (lambda x: -x, 6),  # doubles: 1, 2, ..., 64, and 128 would be too far
        (lambda x: jnp.where(x > 5.0, jnp.nan, -x), 3),
        (lambda x: jnp.where(x > 5.0, -jnp.inf, -x), 3),
    ],
)
def test_a_run_that_leaves_is_frozen(gradient, when):
    made = descend(gradient, jnp.array(1.0), plain(1.0), 10, radius=100.0)
    expected = 2.0 ** np.minimum(np.arange(11), when)
    assert_same(made.parameters, expected)
    assert made.diverged.tolist() == (np.arange(10) >= when).tolist()
    assert np.isfinite(made.gradient_norms[-1]) == (when == 6)


def test_a_gradient_that_is_not_finite_counts_even_if_the_step_repairs_it():
    outer = optax.chain(optax.zero_nans(), plain(1.0))
    made = descend(lambda x: jnp.where(x > 5.0, jnp.nan, -x), jnp.array(1.0), outer, 5)
    assert made.diverged.tolist() == [False, False, False, True, True]


def test_dtypes_are_kept():
    made = descend(lambda x: 2.0 * x, jnp.float32([1.0, 2.0]), normalized(0.1, momentum=0.9), 3)
    assert made.parameters.dtype == made.gradient_norms.dtype == jnp.float32


VALLEYS = [Valley(0.0, -0.9, 1.0), Valley(1.0, 1.0, 1.0), Valley(0.5, 0.8, 2.0)]
STARTS = jnp.array([0.5, 7.0, 30.0, -100.0])
TOLERANCES = (1.0, 0.1, 1e-3)


def gaps(valley, starts):
    return 0.5 * valley_solution(valley, starts) ** 2  # inf F = 0


@pytest.mark.parametrize("valley", VALLEYS)
def test_theorem_on_clipped_descent(valley):
    smooth = bilevel_smoothness(valley_constants(valley))
    step = clipped(*clipped_choice(smooth))
    steps = 1500
    made = jax.jit(
        jax.vmap(lambda x: descend(lambda t: valley_gradient(valley, t), x, step, steps))
    )(STARTS)
    values = gaps(valley, made.parameters)
    # Each step decreases F by at least x²/(4 (L0 + L1 x)).
    x = made.gradient_norms
    least = x**2 / (4 * (smooth.at_rest + smooth.growth * x))
    assert np.all(values[:, :-1] - values[:, 1:] >= least * (1 - 1e-6) - 1e-13 * values[:, :-1])
    for tolerance in TOLERANCES:
        needed = jax.vmap(clipped_iterations, (None, 0, None))(smooth, values[:, 0], tolerance)
        for k, run in enumerate(x):
            below = np.flatnonzero(run <= tolerance)
            assert needed[k] >= steps or np.any(below <= float(needed[k]))
    # Without growth the bound is 4Δ L0/ε², and nothing is clipped.
    assert_same(clipped_iterations(Smoothness(2.0, 0.0), 3.0, 0.5), 96.0)
    assert clipped_choice(Smoothness(2.0, 0.0)) == (0.25, np.inf)


@pytest.mark.parametrize("valley", VALLEYS)
def test_theorem_on_plain_descent(valley):
    smooth = bilevel_smoothness(valley_constants(valley))

    def run(start):
        eta = plain_choice(smooth, 0.5 * valley_solution(valley, start) ** 2)
        return eta, descend(lambda t: valley_gradient(valley, t), start, plain(eta), 1000)

    etas, made = jax.jit(jax.vmap(run))(STARTS)
    values, x = gaps(valley, made.parameters), made.gradient_norms
    assert np.all(
        values[:, :-1] - values[:, 1:] >= 0.5 * etas[:, None] * x**2 - 1e-13 * values[:, :-1]
    )
    assert np.all(x <= jax.vmap(largest_gradient, (None, 0))(smooth, values[:, 0])[:, None])
    for k, run_norms in enumerate(x):
        needed = plain_iterations(smooth, values[k, 0], 1e-2)
        below = np.flatnonzero(run_norms <= 1e-2)
        assert needed >= 1000 or np.any(below <= float(needed))
        assert_same(needed, 2 * values[k, 0] / (etas[k] * 1e-4))


def test_theorem_on_normalized_descent():
    """Means over many runs with noise and with a bias that pulls away from the minimum."""
    valley, steps, start = VALLEYS[2], 400, jnp.array(6.0)
    smooth = bilevel_smoothness(valley_constants(valley))
    gap = gaps(valley, start)
    slope = valley_gradient(valley, start)

    def mean_norm(key, eta, momentum, noise, bias, relative):
        def gradient(theta, key):
            exact = valley_gradient(valley, theta)
            away = -jnp.sign(exact) * (bias + relative * jnp.abs(exact))
            return exact + away + noise * jax.random.normal(key)

        made = descend(gradient, start, normalized(eta, momentum=momentum), steps, key=key)
        return jnp.mean(jnp.abs(valley_gradient(valley, made.parameters[:-1])))

    runs = jax.jit(jax.vmap(mean_norm, (0, None, None, None, None, None)))
    keys = jax.random.split(jax.random.key(0), 20)
    loosest = 0.0
    for noise, bias, relative in (
        (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.3, 0.0), (0.5, 0.1, 0.0), (1.0, 0.1, 3 / 32),
    ):  # fmt: skip
        best = normalized_choice(smooth, gap, steps, noise)
        alpha = min(0.1, 1.0 - float(best.momentum))
        for eta, momentum in (best, (alpha / (8 * smooth.growth), 1.0 - alpha)):
            bound = normalized_average(
                smooth, gap, steps, eta, momentum=momentum, noise=noise, bias=bias,
                relative_bias=relative, first_gradient=abs(slope),
            )  # fmt: skip
            actual = np.mean(runs(keys, eta, momentum, noise, bias, relative))
            assert actual <= bound
            loosest = max(loosest, actual / bound)
    assert loosest > 0.05


def test_the_bias_leaves_a_floor_that_the_bound_cannot_be_without():
    """F = θ²/2 seen as θ - b: the run goes to θ = b, where the gradient is the bias."""
    bias, steps = 0.2, 4000

    def gradient(theta):
        return theta - bias

    made = jax.jit(lambda: descend(gradient, jnp.array(1.0), normalized(1e-3), steps))()
    tail = np.mean(np.abs(made.parameters[2000:]))
    assert_same(tail, bias, 1e-2)
    bound = normalized_average(Smoothness(1.0, 0.0), 0.5, steps, 1e-3, bias=bias)
    assert 4 * bias < bound < 4 * bias + 0.3


def test_the_choice_gives_the_simple_form_of_the_bound():
    for noise in (0.0, 0.01, 1.0, 30.0):
        for gap, steps in ((0.5, 10), (40.0, 1000), (3.0, 10**6)):
            smooth = Smoothness(2.0, 0.7)
            eta, momentum = normalized_choice(smooth, gap, steps, noise)
            alpha = 1.0 - momentum
            assert 0 < alpha <= 1 and eta <= alpha / (8 * 0.7) * (1 + 1e-12)
            bound = normalized_average(
                smooth, gap, steps, eta, momentum=momentum, noise=noise, bias=0.1
            )
            size = 2.0 * gap / steps
            simple = 11 * max(size**0.5, (size * noise**2) ** 0.25) + 0.4
            simple += (16 * 0.7 * gap + 4 * noise) / (alpha * steps)
            assert bound <= simple * (1 + 1e-9)
    # Without growth and noise: η = √(Δ/(L0 T)), no momentum, 7 √(L0 Δ/T).
    eta, momentum = normalized_choice(Smoothness(2.0, 0.0), 8.0, 100)
    assert_same(eta, 0.2) and momentum == 0.0
    assert_same(normalized_average(Smoothness(2.0, 0.0), 8.0, 100, eta), 7 * 0.4)


def test_each_term_of_the_bound():
    smooth = Smoothness(2.0, 0.5)
    args = smooth, 3.0, 50, 0.01

    def bound(**more):
        return float(normalized_average(*args, momentum=0.9, **more))

    base = 2 * 3.0 / (0.01 * 50) + 5 * 0.01 * 2.0 / 0.1
    assert_same(bound(), base, 1e-12)
    assert_same(bound(bias=0.3) - base, 1.2, 1e-10)
    assert_same(bound(noise=0.3) - base, 1.2 / (0.1 * 50) + 1.2 * 0.1**0.5, 1e-10)
    assert_same(bound(relative_bias=0.05, first_gradient=2.0) - base, 0.4 / (0.1 * 50), 1e-10)
    traced = jax.jit(lambda eta: normalized_average(smooth, 3.0, 50, eta))
    assert traced(0.3) == jnp.inf and traced(0.2) < jnp.inf  # α/(8 L1) = 1/4


def test_complexities_are_those_of_the_two_stages():
    """With all tasks and noisy solves 4 + 2/p, the exponent of Chen et al. for order p."""
    for order in (1, 2, 3, 4):
        made = oracle_complexity(order, stochastic_solver=True, sampled_tasks=False)
        assert made.total * order == 4 * order + 2
        # The accuracy δ that makes the floor δ^{p/(p+1)} of the bias ε, in δ^{-2} steps.
        assert made.inner_accuracy * order / (order + 1) == 1
        assert made.inner_steps == 2 * made.inner_accuracy
    table = [
        oracle_complexity(order, stochastic_solver=solver, sampled_tasks=sampled).total
        for solver in (False, True) for sampled in (False, True) for order in (1, 2)
    ]  # fmt: skip
    assert table == [2, 2, 4, 4, 6, 5, 8, 7]


X = jnp.array(1.0)
SMOOTH = Smoothness(1.0, 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: descend(lambda x: x, X, plain(1.0), 0), r"outer_steps must be an integer"),
        (lambda: descend(lambda x: x, X, plain(1.0), 3, radius=0.0), r"radius must be positive"),
        (
            lambda: descend(lambda x: x, X, plain(1.0), 3, radius=0.5),
            r"the norm of meta_parameters must be at most radius = 0.5, got",
        ),
        (lambda: descend(lambda x: x, jnp.inf, plain(1.0), 3), r"meta_parameters must be finite"),
        (lambda: descend(lambda x: x, {}, plain(1.0), 3), r"meta_parameters must hold at least"),
        (lambda: clipped_choice(Smoothness(0.0, 1.0)), r"at_rest must be positive, got 0.0"),
        (lambda: clipped_choice(Smoothness(1.0, -1.0)), r"growth must be at least 0, got -1.0"),
        (lambda: clipped_iterations(SMOOTH, -1.0, 0.1), r"gap must be at least 0, got -1.0"),
        (lambda: clipped_iterations(SMOOTH, 1.0, 0.0), r"tolerance must be positive, got 0.0"),
        (lambda: plain_iterations(SMOOTH, 1.0, 0.0), r"tolerance must be positive, got 0.0"),
        (lambda: plain_choice(SMOOTH, -1.0), r"gap must be at least 0, got -1.0"),
        (lambda: normalized_choice(SMOOTH, 0.0, 10), r"gap must be positive, got 0.0"),
        (lambda: normalized_choice(SMOOTH, 1.0, 10, -1.0), r"noise must be at least 0, got -1.0"),
        (
            lambda: normalized_average(SMOOTH, 1.0, 10, 0.3),
            r"outer_step_size must be at most \(1 - momentum\) / \(8 growth\) = 0.25, got 0.3",
        ),
        (
            lambda: normalized_average(SMOOTH, 1.0, 10, 0.01, momentum=1.0),
            r"1 - momentum must be positive",
        ),
        (
            lambda: normalized_average(SMOOTH, 1.0, 10, 0.01, relative_bias=0.1),
            r"relative_bias must lie between 0 and 0.09375, got 0.1",
        ),
        (lambda: normalized_average(SMOOTH, 1.0, 10, 0.01, bias=-1.0), r"bias must be at least 0"),
        (
            lambda: oracle_complexity(0, stochastic_solver=True, sampled_tasks=True),
            r"order must be an integer of at least 1, got 0",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: descend(lambda x: jnp.ones(2), X, plain(1.0), 3),
            r"gradient must return a pytree like its first argument",
        ),
        (
            lambda: descend(lambda x, key: x, X, plain(1.0), 3, key=7),
            r"key must be one random key",
        ),
        (
            lambda: descend(lambda x: x, [X, jnp.float32(1.0)], plain(1.0), 3),
            r"meta_parameters must hold arrays of one dtype here",
        ),
    ],
)
def test_bad_types_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_the_race_of_a_live_figure_compiles():
    """Traced valley, step sizes and start; static numbers of steps."""

    def race(wave, eta, longest, start, momentum):
        valley = Valley(0.0, wave, 1.0)
        return [
            descend(lambda theta: valley_gradient(valley, theta), start, step, 50).parameters
            for step in (plain(eta), clipped(eta, longest), normalized(longest, momentum=momentum))
        ]

    args = -0.9, 2.0, 1.0, 5.0, 0.5
    for one, other in zip(jax.jit(race)(*args), race(*args), strict=True):
        assert_same(one, other, 1e-9)
    assert valley_point(Valley(0.0, -0.9, 1.0), 0.0).gradient == 0.0
