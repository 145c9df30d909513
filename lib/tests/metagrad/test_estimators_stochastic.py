"""Evolution strategies, plain and persistent: within 4 standard errors of closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimator_cases import Case, assert_tree_same, assert_within
from metagrad_cases import assert_same

from metagrad import evolution_strategies, persistent_evolution_strategies, truncated
from metagrad.evolution import mean_and_error, perturbations
from metagrad.persistent import advance_window, begin

KEYS = [jax.random.key(seed) for seed in (0, 1, 2)]
PAIRS = 20000
SIGMA = 0.3


def estimates(case, method, every_step=False):
    """One estimate for each of the keys, compiled once."""
    run = jax.jit(lambda key: case.estimate(method, key, every_step))
    return [run(key) for key in KEYS]


U = np.array([1.0, -2.0])


def _quartic():
    """x_T = x_0 + 3 (a + b u), F = Σ x_T⁴ / 4 + Σ a² / 2: a pytree as w, not quadratic."""
    return Case(
        lambda x, w: jnp.sum(x**4) / 4 + 0.5 * jnp.sum(w["a"] ** 2),
        lambda x, w, t: x + w["a"] + w["b"] * U,
        {"a": jnp.array([0.2, -0.1]), "b": jnp.array(0.3)},
        jnp.array([-1.0, 0.5]),
        3,
    )


def test_gradient_of_the_smoothed_quartic():
    """E (m + s ε)⁴ = m⁴ + 6 m² s² + 3 s⁴, with s² = 9 σ² (1 + u²) here."""
    case = _quartic()
    a, b = np.asarray(case.w["a"]), float(case.w["b"])
    mean = np.asarray(case.start) + 3 * (a + b * U)
    slope = mean**3 + 3 * mean * 9 * SIGMA**2 * (1 + U**2)
    truth = {"a": 3 * slope + a, "b": np.array(3 * np.sum(U * slope))}
    unsmoothed = {"a": 3 * mean**3 + a, "b": np.array(3 * np.sum(U * mean**3))}
    for found in estimates(case, evolution_strategies(SIGMA, PAIRS)):
        error = found.info.standard_error
        assert_within(found.gradient, truth, error)
        # The test has the power to tell the smoothed objective from the plain one,
        assert abs(found.gradient["b"] - unsmoothed["b"]) > 10 * error["b"]
        # and to catch a published mistake: dividing by 2 σ where 2 σ² belongs.
        wrong = jax.tree.map(lambda g: SIGMA * g, found.info.pair_gradients)
        mistaken, its_error = mean_and_error(wrong)
        with pytest.raises(AssertionError):
            assert_within(mistaken, truth, its_error)
        assert found.finite
        assert_tree_same(found.info.final_state, mean)


def _bowl(inner_steps):
    """x_t = x_{t-1} + w and F = x_T² / 2, so that F is quadratic in the draws."""
    return Case(
        lambda x, w: 0.5 * x**2, lambda x, w, t: x + w, jnp.array(0.4), jnp.array(-1.0), inner_steps
    )


@pytest.mark.parametrize(
    ("method", "spread"),
    [  # of x_T: one draw for all 6 steps, for the last 2 alone, or for each 2 steps
        (evolution_strategies(SIGMA, PAIRS), 6 * SIGMA),
        (evolution_strategies(SIGMA, PAIRS, truncation=2), 2 * SIGMA),
        (persistent_evolution_strategies(SIGMA, PAIRS, 2), 2 * SIGMA * 3**0.5),
    ],
)
def test_value_is_that_of_the_smoothed_objective(method, spread):
    # (F(m + s ε) + F(m - s ε)) / 2 = (m² + s² ε²) / 2 has mean (m² + s²) / 2 and spread s² / √2.
    mean = -1.0 + 6 * 0.4
    for found in estimates(_bowl(6), method):
        error = spread**2 / 2**0.5 / PAIRS**0.5
        assert abs(found.value - (mean**2 + spread**2) / 2) <= 4 * error
        assert spread**2 / 2 > 10 * error


def test_values_of_windows_add_up():
    # With `every_step` F is the mean of x_t² / 2: windows of 2, each with draws of its own.
    means = -1.0 + 0.4 * np.arange(1, 7)
    steps_in_window = np.array([1.0, 2.0] * 3)
    truth = np.mean(means**2 + SIGMA**2 * steps_in_window**2) / 2
    for found in estimates(_bowl(6), evolution_strategies(SIGMA, PAIRS, truncation=2), True):
        # Each window adds SIGMA² (1 + 4) ε² / 12.
        error = SIGMA**2 * 5 / 12 * 2**0.5 * 3**0.5 / PAIRS**0.5
        assert abs(found.value - truth) <= 4 * error


def _linear(inner_steps=12):
    """A linear run with a quadratic loss: smoothing changes its value, not its gradient."""
    return Case(
        lambda x, w: 0.5 * jnp.sum(x**2),
        lambda x, w, t: 0.9 * x + w,
        jnp.array([0.4, -0.2]),
        jnp.array([-1.0, 2.0]),
        inner_steps,
    )


@pytest.mark.parametrize("every_step", [False, True])
def test_persistent_is_unbiased_where_truncated_is_not(every_step):
    case = _linear()
    # x_t = 0.9^t x_0 + (1 - 0.9^t) / 0.1 w
    shrunk = 0.9 ** np.arange(1, 13)[:, None]
    moved = (1 - shrunk) / 0.1
    by_time = (shrunk * np.asarray(case.start) + moved * np.asarray(case.w)) * moved
    truth = np.mean(by_time, axis=0) if every_step else by_time[-1]
    within = case.estimate(truncated(3), every_step=every_step).gradient
    persistent = persistent_evolution_strategies(SIGMA, PAIRS, 3)
    for found in estimates(case, persistent, every_step):
        assert_within(found.gradient, truth, found.info.standard_error)
    plain = evolution_strategies(SIGMA, PAIRS)
    for found in estimates(case, plain, every_step):
        assert_within(found.gradient, truth, found.info.standard_error)
    forgetful = evolution_strategies(SIGMA, PAIRS, truncation=3)
    for found in estimates(case, forgetful, every_step):
        error = found.info.standard_error
        assert np.all(np.abs(found.gradient - truth) > 10 * error)
        assert_within(found.gradient, within, error)


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("truncation", [1, 3, 7])
def test_smoothing_window_by_window(truncation, every_step):
    """x_0 = w, x_t = 0.8 x_{t-1} + w, loss x⁴ / 4: how far each window's draw reaches.

    x_t is Σ_i k_ti (w + σ ε_i); PES averages over all draws ε_i, truncated ES over the newest.
    """
    steps, w = 7, 0.5
    case = Case(
        lambda x, w: jnp.sum(x**4) / 4,
        lambda x, w, t: 0.8 * x + w,
        jnp.array([w, -w]),
        lambda w: w,
        steps,
    )
    count = -(-steps // truncation)
    reach = np.zeros(count)
    reach[0] = 1.0  # the start
    by_time = {"persistent": [], "truncated": []}
    for t in range(1, steps + 1):
        window = count - 1 - (steps - t) // truncation  # windows are cut from the end
        reach = 0.8 * reach
        reach[window] += 1.0
        mean = np.sum(reach) * w
        all_of_it = 3 * mean * SIGMA**2 * np.sum(reach**2)
        newest = 3 * mean * SIGMA**2 * reach[window] ** 2
        by_time["persistent"].append(np.sum(reach) * (mean**3 + all_of_it))
        by_time["truncated"].append(reach[window] * (mean**3 + newest))
    methods = {
        "persistent": persistent_evolution_strategies(SIGMA, PAIRS, truncation),
        "truncated": evolution_strategies(SIGMA, PAIRS, truncation),
    }
    for name, method in methods.items():
        truth = np.mean(by_time[name]) if every_step else by_time[name][-1]
        for found in estimates(case, method, every_step):
            assert_within(found.gradient, np.array([truth, -truth]), found.info.standard_error, 4.5)


def test_pairs_are_antithetic():
    # Around the bottom of an even objective each pair cancels; under a linear one, no pair does.
    methods = [
        evolution_strategies(SIGMA, 50),
        evolution_strategies(SIGMA, 50, truncation=1),
        persistent_evolution_strategies(SIGMA, 50, 1),
    ]
    even = Case(lambda x, w: jnp.cosh(x), lambda x, w, t: x + w, jnp.array(0.0), jnp.array(0.0), 3)
    for method in methods:
        assert not np.any(even.estimate(method, KEYS[0]).info.pair_gradients)
    slope = _bowl(3)._replace(loss=lambda x, w: 2.0 * x)
    found = slope.estimate(methods[0], KEYS[0]).info.pair_gradients
    draws = (found / 6.0) ** 0.5  # each is 6 ε²
    assert np.all(found > 0)
    assert 0.5 < np.mean(draws**2) < 1.5


@pytest.mark.parametrize(
    "method",
    [
        evolution_strategies(SIGMA, 40),
        evolution_strategies(SIGMA, 40, truncation=3),
        persistent_evolution_strategies(SIGMA, 40, 3),
    ],
)
def test_standard_error_is_the_spread_over_keys(method):
    keys = jax.random.split(jax.random.key(9), 500)
    case = _linear()

    @jax.jit
    @jax.vmap
    def run(key):
        found = case.estimate(method, key, every_step=True)
        return found.gradient, found.info.standard_error

    gradients, errors = run(keys)
    # A spread over 500 keys is itself known to 1 / √1000 = 3 %.
    ratio = np.std(gradients, axis=0, ddof=1) / np.sqrt(np.mean(errors**2, axis=0))
    assert np.all(np.abs(ratio - 1) < 0.13)


def test_standard_error_from_the_pairs():
    pairs = {"a": np.array([[1.0, 2.0], [3.0, 2.0], [8.0, 2.0]]), "b": np.array([0.0, 1.0, -1.0])}
    mean, error = mean_and_error(jax.tree.map(jnp.asarray, pairs))
    assert_tree_same(mean, {"a": np.array([4.0, 2.0]), "b": np.array(0.0)})
    by_hand = {"a": np.array([(26 / 2 / 3) ** 0.5, 0.0]), "b": np.array((2 / 2 / 3) ** 0.5)}
    assert_tree_same(error, by_hand)
    for method in (evolution_strategies(0.1, 1), persistent_evolution_strategies(0.1, 1, 4)):
        found = _linear().estimate(method, KEYS[0])
        assert found.info.standard_error.tolist() == [np.inf, np.inf]
        assert found.finite


def test_draws_are_normal_and_independent():
    w = {"a": jnp.zeros((3,)), "b": jnp.zeros(()), "c": jnp.zeros((3,))}
    draws = perturbations(KEYS[0], w, 0.5, PAIRS)
    columns = np.concatenate([np.reshape(draws[name], (PAIRS, -1)) for name in w], axis=1)
    assert columns.shape == (PAIRS, 7)
    # Entries of the matrix of second moments have errors of σ² √2 / √PAIRS and less.
    moments = columns.T @ columns / PAIRS
    assert np.max(np.abs(moments - 0.25 * np.eye(7))) < 4.5 * 0.25 * 2**0.5 / PAIRS**0.5
    assert np.max(np.abs(np.mean(columns, axis=0))) < 4.5 * 0.5 / PAIRS**0.5


@pytest.mark.parametrize("every_step", [False, True])
def test_persistent_estimate_can_be_computed_from_its_particles(every_step):
    # Without decay, x_T = x_0 ± 2 (ε_1 + ... + ε_5) + 10 w with windows of 2.
    case = Case(
        lambda x, w: jnp.sum(x**3), lambda x, w, t: x + w, jnp.array([0.1, 0.2]), jnp.zeros(2), 10
    )
    found = case.estimate(persistent_evolution_strategies(0.3, 30, 2), KEYS[1], every_step)
    above, below, felt = (np.asarray(leaf) for leaf in found.info.particles)
    assert above.shape == below.shape == felt.shape == (30, 2)
    assert_same(above, 10 * np.asarray(case.w) + 2 * felt)
    assert_same(below, 10 * np.asarray(case.w) - 2 * felt)
    info = found.info
    assert_same(np.mean(info.pair_gradients, axis=0), found.gradient)
    assert_same(np.sum(info.window_gradients, axis=0), found.gradient)
    assert info.window_gradients.shape == (5 if every_step else 1, 2)
    if not every_step:
        difference = np.sum(above**3 - below**3, axis=1)
        assert_same(info.pair_gradients, difference[:, None] * felt / (2 * 0.3**2))
        assert_same(found.value, np.mean(np.sum(above**3 + below**3, axis=1)) / 2)


def test_windows_can_be_advanced_by_hand():
    """What a meta-learner does that moves w between windows; here w stays, as in the method."""
    case = _linear(7)._replace(start=lambda w: 2.0 * w)
    run = case.run(every_step=True)
    method = persistent_evolution_strategies(SIGMA, 8, 3)
    found = jax.jit(lambda: method(run, case.w, KEYS[0]))()
    draws = [perturbations(key, case.w, SIGMA, 8) for key in jax.random.split(KEYS[0], 3)]
    times = [jnp.array([1]), jnp.array([2, 3, 4]), jnp.array([5, 6, 7])]
    particles = begin(run, case.w, draws[0])
    assert_same(particles.above, 2 * (np.asarray(case.w) + np.asarray(draws[0])))
    assert_same(particles.below, 2 * (np.asarray(case.w) - np.asarray(draws[0])))
    assert not np.any(particles.felt)
    gradient = np.zeros(2)
    for draw, ts in zip(draws, times, strict=True):
        particles, above, below = advance_window(run, case.w, particles, draw, ts)
        gradient += np.mean(
            np.asarray(above - below)[:, None] * np.asarray(particles.felt) / (2 * SIGMA**2), axis=0
        )
    assert_same(found.gradient, gradient)
    assert_tree_same(found.info.particles, particles)


@pytest.mark.parametrize(
    "method",
    [
        evolution_strategies(SIGMA, 10),
        evolution_strategies(SIGMA, 10, truncation=3),
        persistent_evolution_strategies(SIGMA, 10, 3),
    ],
)
def test_the_key_decides(method):
    run = jax.jit(lambda key: _linear().estimate(method, key, every_step=True).gradient)
    assert_same(run(KEYS[0]), run(jax.random.key(0)), 0.0)
    assert not np.any(run(KEYS[0]) == run(KEYS[1]))
    # Both kinds of key that JAX knows are taken, and mean the same.
    assert_same(run(KEYS[0]), run(jax.random.PRNGKey(0)), 0.0)
