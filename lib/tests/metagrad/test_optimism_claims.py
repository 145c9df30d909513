"""The numbered claims of the chapter on optimism that no other test covers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import assert_same, fixed_examples

from metagrad import problems, rules
from metagrad.ftrl import ftrl
from metagrad.games import Players, bilinear_game, full_field, noisy
from metagrad.guarantees import best_hints, guarantee, hardest_huber, travel
from metagrad.learner import adagrad
from metagrad.momentum import nesterov
from metagrad.omega import optimistic_gradient_descent, play
from metagrad.optimistic import meta_regret, optimistic_meta_learning
from metagrad.projections import ball
from metagrad.weights import nesterov_weights, power_weights

ROUNDS = 20
seeds = st.integers(0, 10**6)


def _random_schedule(seed):
    """Weights, hint weights of either sign, and step sizes that use the condition up (Λ L = 1).

    The weights grow like a random power of t, with noise.
    """
    power_key, weights_key, hints_key = jax.random.split(jax.random.key(seed), 3)
    power = jax.random.uniform(power_key, (), maxval=3.0)
    noise = jax.random.uniform(weights_key, (ROUNDS,), minval=0.5, maxval=1.5)
    weights = power_weights(ROUNDS, power) * noise
    trust = jax.random.uniform(hints_key, (ROUNDS,), minval=-0.5, maxval=1.5)
    hints = trust * weights
    step_sizes = 1.0 / jax.lax.cummax(guarantee(weights, 1.0, 1.0, 1.0, hints).loads)
    return weights, hints, step_sizes


@pytest.mark.parametrize(("rounds", "paid"), [(24, True), (200, False)])
def test_without_hints_log_cosh_pays_in_short_runs_only(rounds, paid):
    # What the chapter says below the acceleration ledger.
    loss, start = problems.log_cosh(jnp.array([1.0, 0.3])), jnp.array([1.0, 1.0])
    weights = nesterov_weights(rounds)
    run = optimistic_meta_learning(loss, rules.proposal, start, start, weights, 1.0, 0.0 * weights)
    gradients, errors = np.asarray(run.gradients), meta_regret(run, jnp.zeros(2)).error_terms
    size = np.asarray(weights) @ np.sum(gradients**2, axis=1) / 2
    change = np.cumsum(weights)[:-1] @ np.sum(np.diff(gradients, axis=0) ** 2, axis=1) / 2
    assert (np.sum(errors) <= size + change) == paid


def test_one_condition_for_every_weighting():
    losses = {
        "quadratic": problems.quadratic(jnp.array([1.0, 0.3, 0.02])),
        "huber": problems.huber(1.0, 0.05),
        "log_cosh": problems.log_cosh(jnp.array([1.0, 0.2, 0.1])),
    }

    @jax.jit
    def gaps(seed):
        weights, hints, step_sizes = _random_schedule(seed)
        start = jax.random.normal(jax.random.key(seed), (3,))
        made = guarantee(weights, step_sizes, 1.0, jnp.sqrt(jnp.sum(start**2)), hints)
        found = []
        for loss in losses.values():
            run = optimistic_meta_learning(
                loss, rules.proposal, start, start, weights, step_sizes, hints
            )
            found.append(loss(run.averages[-1]))
        return jnp.stack(found), made

    @fixed_examples
    @given(seed=seeds)
    def holds(seed):
        found, made = gaps(seed)
        assert made.holds
        assert np.all(found <= made.gap * (1 + 1e-12))

    holds()


def test_what_a_round_is_charged_never_exceeds_what_it_is_paid():
    # The step of the proof: the squared error, for any two gradients.
    rng = np.random.default_rng(3)
    tightest = np.inf
    for _ in range(300):
        before, alpha = rng.uniform(0.1, 5.0, 2)
        gamma = rng.uniform(-5.0, 5.0)
        gradient, last = rng.normal(size=(2, 3))
        load = gamma**2 / before + (alpha - gamma) ** 2 / alpha
        error = np.sum((alpha * gradient - gamma * last) ** 2)
        paid = before * np.sum((gradient - last) ** 2) + alpha * np.sum(gradient**2)
        assert error <= load * paid * (1 + 1e-12)
        # Equality where the two summands of the error are parallel, in the right ratio.
        last = gradient - gradient * gamma / before / ((alpha - gamma) / alpha)
        error = np.sum((alpha * gradient - gamma * last) ** 2)
        paid = before * np.sum((gradient - last) ** 2) + alpha * np.sum(gradient**2)
        tightest = min(tightest, error / (load * paid))
    assert tightest >= 1 - 1e-10


@pytest.mark.parametrize("rounds", [1, 2, 5, 40])
def test_nesterovs_rate(rounds):
    weights = nesterov_weights(rounds)
    smoothness, start = 2.0, jnp.array([1.5])
    bound = smoothness * start[0] ** 2 / (2 * weights[-1] ** 2)
    assert bound <= 2 * smoothness * start[0] ** 2 / (rounds + 1) ** 2 * (1 + 1e-15)

    @jax.jit
    @jax.vmap
    def gap(width):
        loss = problems.huber(smoothness, width)
        return loss(nesterov(loss, start, 1 / smoothness, rounds).lookahead[rounds - 1])

    assert np.all(gap(jnp.geomspace(1e-4, 10.0, 200)) <= bound)
    hardest = hardest_huber(weights, 1 / smoothness, smoothness, start[0], best_hints(weights))
    assert hardest.gap <= bound * (1 + 1e-12)
    assert_same(gap(hardest.half_width[None])[0], hardest.gap)


def test_no_weighting_has_a_better_guarantee():
    best = 1.0 / (2.0 * nesterov_weights(ROUNDS)[-1] ** 2)

    @jax.jit
    def guarantees(seed):
        weights, hints, _ = _random_schedule(seed)
        found = []
        for trusted in (hints, best_hints(weights)):
            loads = guarantee(weights, 1.0, 1.0, 1.0, trusted).loads
            found.append(guarantee(weights, 1.0 / jax.lax.cummax(loads), 1.0, 1.0, trusted))
        return found

    @fixed_examples
    @given(seed=seeds)
    def no_better(seed):
        for made in guarantees(seed):
            assert made.holds
            assert made.gap >= best * (1 - 1e-12)

    no_better()
    alpha = nesterov_weights(ROUNDS)
    assert_same(guarantee(alpha, 1.0, 1.0, 1.0, best_hints(alpha)).gap, best)


def test_both_ingredients_are_needed():
    floors = np.array([1.0 / (2 * ROUNDS), 1.0 / (2 * ROUNDS + 8)])

    @jax.jit
    def gaps(seed):
        weights, hints, _ = _random_schedule(seed)
        no_hints = hardest_huber(weights, 1.0 / jax.lax.cummax(weights), 1.0, 1.0)
        equal, hints = jnp.ones(ROUNDS), jnp.abs(hints / weights) * 3.0
        loads = guarantee(equal, 1.0, 1.0, 1.0, hints).loads
        hinted = hardest_huber(equal, 1.0 / jax.lax.cummax(loads), 1.0, 1.0, hints)
        return jnp.stack([no_hints.gap, hinted.gap])

    @fixed_examples
    @given(seed=seeds)
    def slow(seed):
        assert np.all(gaps(seed) >= floors * (1 - 1e-12))

    slow()
    # Together they are not slow.
    alpha = nesterov_weights(ROUNDS)
    assert guarantee(alpha, 1.0, 1.0, 1.0, best_hints(alpha)).gap < floors[1] / 4
    # Equal weights, hints of weight up to 1, any constant step size.
    for beta in (0.1, 1.0, 10.0):
        for trust in (0.0, 0.5, 1.0):
            worst = hardest_huber(jnp.ones(ROUNDS), beta, 1.0, 1.0, trust * jnp.ones(ROUNDS))
            assert worst.gap >= 1.0 / (2 * beta * (ROUNDS + 1) + 2)


def test_slopes_of_the_four_corners():
    rounds = 8192
    slopes = {}
    for name, alpha in (("equal", jnp.ones(rounds)), ("growing", nesterov_weights(rounds))):
        for trust in (0.0, 1.0):
            hints = trust * best_hints(alpha)
            loads = guarantee(alpha, 1.0, 1.0, 1.0, hints).loads
            sizes = 1.0 / jax.lax.cummax(loads)
            bound = 1.0 / (2.0 * sizes * jnp.cumsum(alpha))
            reached = 1.0 / (4.0 * jax.lax.cummax(travel(alpha, sizes, hints)) + 2.0)
            for gaps in (bound, reached):
                slope = float(jnp.log2(gaps[-1] / gaps[rounds // 4 - 1]) / 2)
                slopes.setdefault((name, trust), []).append(slope)
    for corner, found in slopes.items():
        expected = -2.0 if corner == ("growing", 1.0) else -1.0
        assert np.max(np.abs(np.array(found) - expected)) <= 0.03, corner


@pytest.mark.parametrize(("smoothness", "sigma", "share"), [(1.0, 0.5, 1.0), (2.0, 2.0, 0.3)])
def test_noisy_gradients(smoothness, sigma, share):
    # Noise of ±sigma, and every one of the 2^T sign patterns: the expectation is exact.
    rounds, distance = 8, 1.5
    beta = share / (8 * smoothness)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=rounds)))
    for width in (0.1, 0.5, 10.0):
        total = np.zeros(len(signs))
        last, average, weight = np.zeros(len(signs)), np.zeros(len(signs)), 0.0
        for t in range(1, rounds + 1):
            proposal = distance - beta * (total + t * last)
            weight += t
            average = average + t / weight * (proposal - average)
            last = smoothness * np.clip(average, -width, width) + sigma * signs[:, t - 1]
            total = total + t * last
        loss = problems.huber(smoothness, width)
        gap = float(jnp.mean(jax.vmap(loss)(jnp.asarray(average))))
        bound = distance**2 / (beta * rounds * (rounds + 1))
        bound += beta * sigma**2 * (2 * rounds + 1) / 2
        assert gap <= bound
    best = min(1 / (8 * smoothness), distance / (sigma * rounds**1.5))
    balanced = distance**2 / (best * rounds * (rounds + 1))
    balanced += best * sigma**2 * (2 * rounds + 1) / 2
    assert balanced <= 8 * smoothness * distance**2 / (
        rounds * (rounds + 1)
    ) + 2.5 * sigma * distance / np.sqrt(rounds)


def test_one_step_size_per_coordinate_needs_the_right_coordinates():
    def best_misfit(matrix):  # the least ||I - diag(w) Q|| over w, row by row
        rows = [np.eye(3)[i] - row * row[i] / (row @ row) for i, row in enumerate(matrix)]
        return np.linalg.norm(rows)

    assert best_misfit(np.diag([3.0, 0.5, 2.0])) <= 1e-15
    rng = np.random.default_rng(0)
    for _ in range(20):
        basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        assert best_misfit(basis * [3.0, 0.5, 2.0] @ basis.T) > 0.01


def _rate(scaled_step):
    """The largest modulus of the roots of r² - (1 + 2iq) r + iq."""
    return np.max(np.abs(np.roots([1.0, -(1 + 2j * scaled_step), 1j * scaled_step])))


@pytest.mark.parametrize("coupling", [0.5, -3.0])
def test_a_game_that_needs_optimism(coupling):
    limit = 1 / np.sqrt(3)
    field = full_field(bilinear_game(jnp.array([[coupling]])))
    start = Players(jnp.array([1.0]), jnp.array([-0.5]))

    def squared(method, steps):
        points = jax.jit(lambda: play(field, start, method, steps).points)()
        return np.asarray(points.x[:, 0] ** 2 + points.y[:, 0] ** 2)

    for scaled in (0.1, 0.9):
        distances = squared(optax.sgd(scaled / abs(coupling)), 20)
        assert_same(distances[1:] / distances[:-1], np.full(20, 1 + scaled**2))
    for share, converges in ((0.3, True), (0.99, True), (1.01, False), (1.2, False)):
        step_size = share * limit / abs(coupling)
        last = squared(optimistic_gradient_descent(step_size), 800)[-1]
        assert (last < 1e-9) == converges
        assert (last > 1e9) == (not converges)
        assert (_rate(share * limit) < 1) == converges
    assert abs(_rate(limit) - 1) <= 1e-12
    assert abs(_rate(0.5) - 0.5**0.5) <= 1e-7  # a double root


@pytest.mark.parametrize("strength", [0.7, 1.0, 5.0])
def test_a_floor_that_the_step_size_does_not_lower(strength):
    coupling, sigma = 2.0, 0.3
    cubic = strength**2 * (1 + 2 * strength)
    limit = np.sqrt((2 * strength - 1) / cubic) / coupling  # where the formula blows up

    def floor(step_size):
        scaled = cubic * (step_size * coupling) ** 2
        return 2 * sigma**2 / coupling**2 * (1 + scaled) / (2 * strength - 1 - scaled)

    # The stationary second moments of (ζ_t, F_{t-1} + ξ_{t-1}), from a linear system.
    for step_size in np.array([0.01, 0.3, 0.8]) * limit:
        reach = step_size * (1 + strength)
        move = np.array([[1 + 1j * reach * coupling, step_size * strength], [-1j * coupling, 0.0]])
        assert np.max(np.abs(np.linalg.eigvals(move))) < 1
        push = np.array([-reach, 1.0])
        noise = 2 * sigma**2 * np.outer(push, push.conj())
        system = np.eye(4) - np.kron(move, move.conj())
        stationary = np.linalg.solve(system, noise.ravel()).reshape(2, 2)
        assert_same(stationary[0, 0].real, floor(step_size), 1e-8)
    assert_same(floor(1e-9), 2 * sigma**2 / coupling**2 / (2 * strength - 1), 1e-12)

    # And the library's run: the mean over 400 paths is within 5 standard errors.
    step_size = 0.7 * limit
    field = noisy(full_field(bilinear_game(jnp.array([[coupling]]))), sigma)
    start = Players(jnp.zeros(1), jnp.zeros(1))

    def last(key):
        method = optimistic_gradient_descent(step_size, strength)
        points = play(field, start, method, 300, key).points
        return points.x[-1, 0] ** 2 + points.y[-1, 0] ** 2

    found = np.asarray(jax.jit(jax.vmap(last))(jax.random.split(jax.random.key(0), 400)))
    error = np.std(found) / np.sqrt(found.size)
    assert abs(np.mean(found) - floor(step_size)) <= 5 * error
    assert floor(step_size) > 3 * error


def test_slowly_turning_gradients_are_worth_guessing():
    # The error of "the same again" reaches 1 at 60 degrees; the runs cross above a right angle.
    @jax.jit
    def regrets(degrees):
        turned = jnp.deg2rad(degrees) * jnp.arange(1.0, 61.0)
        gradients = jnp.stack([jnp.cos(turned), jnp.sin(turned)], axis=1)
        same_again = jnp.concatenate([jnp.zeros((1, 2)), gradients[:-1]])
        best = -jnp.linalg.norm(jnp.sum(gradients, axis=0))
        runs = [
            ftrl(jnp.zeros(2), gradients, 1.0, hints, project=ball(1.0))
            for hints in (None, same_again)
        ]
        return [jnp.sum(gradients * run.parameters) - best for run in runs]

    assert abs(2 * np.sin(np.deg2rad(60) / 2) - 1) <= 1e-15
    for degrees in (20.0, 60.0, 90.0, 105.0, 180.0):
        without, with_hint = regrets(degrees)
        assert (with_hint < without) == (degrees <= 90)


def test_the_hint_gains_on_the_axes_and_loses_beyond_a_turn():
    # The setting of the figure with the turned bowl.
    weights = power_weights(60, 1.0)

    @jax.jit
    def ratio(degrees):
        angle = jnp.deg2rad(degrees)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        loss = problems.quadratic(jnp.array([1.0, 0.05]), rotation=angle)
        start = jnp.stack([cos - sin, sin + cos])
        without, hinted = (
            optimistic_meta_learning(
                loss,
                rules.element_wise(loss),
                start,
                jnp.ones(2),
                weights,
                adagrad(1.0),
                hints,
                average=False,
            )
            for hints in (None, weights)
        )
        return loss(hinted.averages[-1]) / loss(without.averages[-1])

    assert ratio(0.0) < 1e-6
    assert all(ratio(degrees) < 1 for degrees in (5.0, 10.0, 20.0))
    assert all(ratio(degrees) > 2 for degrees in (26.0, 30.0, 40.0, 45.0))
