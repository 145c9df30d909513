import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import assert_same, fixed_examples

from metagrad.games import (
    Players,
    bilinear_game,
    full_field,
    game_value,
    noisy,
    random_game,
    saddle_point,
    sampled_field,
)
from metagrad.omega import omega, optimistic_gradient_descent, play

KEY = jax.random.key(0)
START = Players(jnp.array([1.0, -0.5, 0.25]), jnp.array([0.5, 2.0, -1.0]))


def _norms(points):
    return np.sqrt(np.sum(np.asarray(points.x) ** 2 + np.asarray(points.y) ** 2, axis=-1))


@pytest.mark.parametrize("convexity", [0.0, 0.5])
def test_a_random_game_is_its_formula(convexity):
    game = random_game(KEY, 7, 3, convexity)
    x, y = (np.asarray(values) for values in START)
    value, slope_x, slope_y = 0.0, np.zeros(3), np.zeros(3)
    for i in range(7):
        p, b, q, a, c = (np.asarray(leaf[i]) for leaf in game)
        assert_same(p, convexity * np.eye(3)) if convexity else None
        value += (x @ p @ x / 2 + x @ b @ y - y @ q @ y / 2 + a @ x - c @ y) / 7
        slope_x += (p @ x + b @ y + a) / 7
        slope_y += (b.T @ x - q @ y - c) / 7
    assert_same(game_value(game, START), value)
    gradient = full_field(game)(START, None)
    assert_same(gradient.x, slope_x)
    assert_same(gradient.y, -slope_y)
    at_saddle = full_field(game)(saddle_point(game), None)
    assert max(np.max(np.abs(leaf)) for leaf in at_saddle) <= 1e-13


def test_noise_is_unbiased_and_as_large_as_stated():
    game = random_game(KEY, 5, 3, 0.2)
    exact, keys = full_field(game)(START, None), jax.random.split(jax.random.key(1), 20_000)

    def spread(field):
        return jax.jit(jax.vmap(lambda key: field(START, key)))(keys)

    singles = [
        full_field(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], game))(START, None)
        for i in range(5)
    ]
    noised, sampled = spread(noisy(full_field(game), 0.3)), spread(sampled_field(game, 2))
    for player in (0, 1):
        deviation = np.std([single[player] for single in singles], axis=0) / np.sqrt(2)
        for drawn, size in ((noised, 0.3 * np.ones(3)), (sampled, deviation)):
            error = np.asarray(drawn[player]) - np.asarray(exact[player])[None]
            # Five standard errors of a mean; 5 % of a standard deviation.
            assert np.all(np.abs(error.mean(axis=0)) <= 5 * size / np.sqrt(20_000))
            assert np.all(np.abs(error.std(axis=0) / size - 1) <= 0.05)
    correlation = np.corrcoef(np.hstack(noised).T) - np.eye(6)
    assert np.max(np.abs(correlation)) <= 5 / np.sqrt(20_000)


@pytest.mark.parametrize("optimism", [0.0, 0.7, 1.0])
def test_without_decay_it_is_optax(optimism):
    field = noisy(full_field(random_game(KEY, 4, 3, 0.1)), 0.2)
    methods = [
        omega(0.1, optimism, decay=0.0),
        optimistic_gradient_descent(0.1, optimism),
        optax.optimistic_gradient_descent(0.1, 1.0, optimism),
    ]
    if not optimism:
        methods += [optax.sgd(0.1), omega(0.1, 0.0, decay=0.9)]
    first, *others = [play(field, START, method, 40, KEY).points for method in methods]
    for other in others:
        assert_same(other.x, first.x)
        assert_same(other.y, first.y)


@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
def test_omega_is_its_formula(decay):
    run = play(full_field(random_game(KEY, 4, 3, 0.1)), START, omega(0.1, 0.8, decay), 30)
    for player in (0, 1):
        gradients, points = np.asarray(run.gradients[player]), np.asarray(run.points[player])
        average = gradients[0]
        for t in range(30):
            direction = gradients[t] + 0.8 * (gradients[t] - average)
            assert_same(points[t + 1], points[t] - 0.1 * direction)
            average = decay * average + (1 - decay) * gradients[t]


def test_gradient_descent_spirals_out_and_optimism_in():
    """On x y one step of gradient descent multiplies the norm by √(1 + β²), exactly.

    For optimistic gradient descent z = x + iy obeys z⁺ = (1 + 2iβ) z - iβ z⁻ (or its conjugate):
    the larger root of r² - (1 + 2iβ) r + iβ, below 1 in size for β < 1/√3, gives the rate.
    """
    field, start = full_field(bilinear_game([[1.0]])), Players(jnp.ones(1), jnp.ones(1))
    for beta in (0.1, 0.3, 0.55):
        norms = _norms(play(field, start, optax.sgd(beta), 60).points)
        assert_same(norms, np.sqrt(2) * (1 + beta**2) ** (np.arange(61) / 2))
        run = play(field, start, optimistic_gradient_descent(beta), 400).points
        rate = max(np.abs(np.roots([1, -(1 + 2j * beta), 1j * beta])))
        assert rate < 1
        norms = _norms(run)
        assert abs((norms[400] / norms[200]) ** (1 / 200) - rate) <= 1e-6
    beyond = _norms(play(field, start, optimistic_gradient_descent(0.6), 400).points)
    assert beyond[400] > beyond[0]  # 0.6 > 1/√3


def test_strong_convexity_tames_gradient_descent():
    """With convexity c and coupling 1, each step multiplies the norm by √((1 - βc)² + β²)."""
    field = full_field(bilinear_game(jnp.eye(3), convexity=0.5))
    norms = _norms(play(field, START, optax.sgd(0.2), 50).points)
    assert_same(norms, norms[0] * ((1 - 0.1) ** 2 + 0.04) ** (np.arange(51) / 2))
    assert norms[50] < 0.1 * norms[0]


def test_stationary_spread_under_noise():
    """Optimism doubles the weight of fresh noise; near the saddle Omega's o does the same.

    With x = 0 decoupled (coupling 0, convexity 1) each player runs on its own:
    z⁺ = z - β u, and the long-run variance follows from the method's linear recursion.
    """
    field = noisy(full_field(bilinear_game([[0.0]], convexity=1.0)), 1.0)
    start, beta = Players(jnp.zeros(1), jnp.zeros(1)), 0.1
    for optimism, decay in ((0.0, 0.0), (1.0, 0.0), (1.0, 0.9)):
        # State (z, m); g = z + noise; u = (1 + o) g - o m; m⁺ = d m + (1 - d) g.
        step = np.array([[1 - beta * (1 + optimism), beta * optimism], [1 - decay, decay]])
        noise = np.array([-beta * (1 + optimism), 1 - decay])
        covariance = np.zeros((2, 2))
        for _ in range(2000):
            covariance = step @ covariance @ step.T + np.outer(noise, noise)
        keys = jax.random.split(jax.random.key(3), 3000)
        method = omega(beta, optimism, decay)
        last = jax.jit(
            jax.vmap(lambda key, method=method: play(field, start, method, 120, key).points.x[-1])
        )(keys)
        assert abs(np.var(last) / covariance[0, 0] - 1) <= 5 * np.sqrt(2 / 3000)


def test_play_compiles_once_maps_and_differentiates():
    field, traces = noisy(full_field(random_game(KEY, 4, 3, 0.3)), 0.1), []

    def final(size, key):
        return _total(play(field, START, omega(size, 1.0, 0.8), 25, key).points)

    def _total(points):
        return jnp.sum(points.x[-1] ** 2) + jnp.sum(points.y[-1] ** 2)

    @jax.jit
    def compiled(size, key):
        traces.append(size)
        return final(size, key)

    keys, sizes = jax.random.split(KEY, 3), jnp.array([0.05, 0.1, 0.2])
    looped = [compiled(size, key) for size, key in zip(sizes, keys, strict=True)]
    assert len(traces) == 1
    assert_same(jax.jit(jax.vmap(final))(sizes, keys), jnp.stack(looped))
    slope = jax.jit(jax.grad(final))(0.1, KEY)
    difference = (compiled(0.1 + 1e-6, KEY) - compiled(0.1 - 1e-6, KEY)) / 2e-6
    assert abs(slope - difference) <= 1e-6 * abs(slope)


@fixed_examples
@given(size=st.floats(0.01, 0.5), optimism=st.floats(0.0, 2.0), decay=st.floats(0.0, 1.0))
def test_omega_acts_on_each_entry_alone(size, optimism, decay):
    """The same method on a pytree and on its flat vector."""
    gradients = np.linspace(-1.0, 2.0, 12).reshape(4, 3)
    method = omega(size, optimism, decay)
    flat, tree = method.init(jnp.zeros(3)), method.init({"a": jnp.zeros(2), "b": jnp.zeros(1)})
    for gradient in jnp.asarray(gradients):
        move, flat = method.update(gradient, flat)
        moves, tree = method.update({"a": gradient[:2], "b": gradient[2:]}, tree)
        assert_same(jnp.concatenate([moves["a"], moves["b"]]), move, 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: omega(0.0), r"step_size must be positive, got 0.0"),
        (lambda: omega(0.1, -1.0), r"optimism must be at least 0, got -1.0"),
        (lambda: omega(0.1, decay=1.5), r"decay must lie between 0 and 1, got 1.5"),
        (lambda: bilinear_game([1.0]), r"coupling must have shape \(n, k\), got shape \(1,\)"),
        (lambda: bilinear_game([[1.0]], -1.0), r"convexity must be at least 0, got -1.0"),
        (lambda: random_game(KEY, 0, 2), r"samples must be .* at least 1, got 0"),
        (lambda: random_game(KEY, 2, 2, -0.1), r"convexity must be at least 0, got -0.1"),
        (lambda: noisy(full_field(bilinear_game([[1.0]])), -1.0), r"scale must be at least 0"),
        (lambda: sampled_field(random_game(KEY, 2, 2), 0), r"batch must be .* got 0"),
        (
            lambda: play(sampled_field(random_game(KEY, 2, 3)), START, omega(0.1), 3),
            r"key must be a JAX random key where the field is random, got None",
        ),
        (lambda: play(full_field(bilinear_game(jnp.eye(3))), START, omega(0.1), 0), r"got 0"),
        (
            lambda: saddle_point(bilinear_game([[0.0]])),
            r"game must have exactly one saddle point, got a singular mean field",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_field_that_does_not_return_a_gradient_is_refused():
    with pytest.raises(TypeError, match=r"field must return a pytree like"):
        play(lambda point, key: point.x, START, omega(0.1), 3)
