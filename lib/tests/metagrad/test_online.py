import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import LOSSES, MINIMIZERS, assert_same, fixed_examples

from metagrad import online, problems
from metagrad.momentum import heavy_ball, nesterov, three_term

START = jnp.array([-1.2, 1.0])
STEPS = 60
steps = st.floats(0.01, 0.1)
momenta = st.floats(0.0, 0.9)
seeds = st.integers(0, 10**6)


def _as_heavy_ball(loss, first, step_size, momentum, inner_steps):
    return online.online_meta_learning(
        loss,
        online.translation,
        START,
        first,
        step_size,
        inner_steps,
        decay=(1.0 - momentum) / step_size,
    )


@pytest.mark.parametrize("name", LOSSES)
def test_heavy_ball_is_an_online_meta_gradient(name):
    loss = LOSSES[name]

    @jax.jit
    def runs(step_size, momentum):
        ball = heavy_ball(loss, START, step_size, momentum, STEPS)
        at_rest = _as_heavy_ball(loss, jnp.zeros(2), step_size, momentum, STEPS + 1)
        first_move = -step_size * jax.grad(loss)(START)
        moving = _as_heavy_ball(loss, first_move, step_size, momentum, STEPS)
        return ball, at_rest, moving

    @fixed_examples
    @given(step_size=steps, momentum=momenta)
    def agree(step_size, momentum):
        ball, at_rest, moving = runs(step_size, momentum)
        assert_same(at_rest.points[1:], ball)  # from w_1 = 0 the first step stands still
        assert_same(moving.points, ball)  # from w_1 = -β ∇f(x_0) nothing is shifted
        # The learned parameters are heavy ball's moves.
        scale = np.max(np.abs(ball))
        moves = np.diff(np.asarray(ball), axis=0)
        assert np.max(np.abs(at_rest.parameters[1:-1] - moves)) <= 1e-12 * scale

    agree()


def test_without_decay_the_momentum_is_one():
    loss = LOSSES["log_cosh"]
    run = online.online_meta_learning(
        loss, online.translation, START, jnp.zeros(2), 0.02, STEPS + 1
    )
    assert_same(run.points[1:], heavy_ball(loss, START, 0.02, 1.0, STEPS))


def test_meta_losses_and_meta_gradients_are_those_of_the_stated_meta_loss():
    loss, decay = LOSSES["logistic"], 2.0
    run = online.online_meta_learning(
        loss, online.translation, START, jnp.array([0.1, 0.2]), 0.05, 10, decay=decay
    )
    w, x = run.parameters[:-1], run.points[1:]
    assert_same(run.points[:-1] + w, x)
    penalties = decay / 2 * jnp.sum(w**2, axis=1)
    assert_same(run.meta_losses, jax.vmap(loss)(x) + penalties)
    assert_same(run.meta_gradients, jax.vmap(jax.grad(loss))(x) + decay * w)
    assert_same(run.parameters[1:], w - 0.05 * run.meta_gradients)


def test_learned_step_sizes_follow_the_product_of_successive_gradients():
    # φ(x, w) = x - w ∇f(x), entry by entry: the meta-gradient is -∇f(x_{t-1}) ∇f(x_t).
    loss = LOSSES["log_cosh"]
    slope = jax.grad(loss)

    def rule(x, w):
        return x - jnp.stack([w["first"], w["second"]]) * slope(x)

    first = {"first": 0.1, "second": 0.05}
    run = online.online_meta_learning(loss, rule, START, first, 0.01, 25)
    slopes = jax.vmap(slope)(run.points)
    expected = -slopes[:-1] * slopes[1:]
    assert_same(run.meta_gradients["first"], expected[:, 0])
    assert_same(run.meta_gradients["second"], expected[:, 1])
    assert run.parameters["first"].shape == (26,)


@pytest.mark.parametrize("name", LOSSES)
def test_constant_average_is_heavy_ball(name):
    loss = LOSSES[name]

    @jax.jit
    def runs(rho, step_size):
        average = online.constant_average(loss, START, rho, step_size / rho, STEPS + 1)
        return average, heavy_ball(loss, START, step_size, 1.0 - rho, STEPS)

    @fixed_examples
    @given(rho=st.floats(0.1, 1.0), step_size=steps)
    def agree(rho, step_size):
        average, ball = runs(rho, step_size)
        assert_same(average.averages, ball)

    agree()


def test_three_forms_of_heavy_ball_agree():
    loss = LOSSES["quadratic"]
    ball = heavy_ball(loss, START, 0.1, 0.75, STEPS)
    learned = _as_heavy_ball(loss, jnp.zeros(2), 0.1, 0.75, STEPS + 1).points[1:]
    averaged = online.constant_average(loss, START, 0.25, 0.4, STEPS + 1).averages
    assert_same(learned, ball)
    assert_same(averaged, ball)


def _random_run(loss, seed, step_size):
    """Averaged meta-learning with random weights and hints of either sign."""
    weights_key, hints_key = jax.random.split(jax.random.key(seed))
    weights = jax.random.uniform(weights_key, (STEPS,), minval=0.5, maxval=2.0)
    hints = jax.random.normal(hints_key, (STEPS,))
    # A weight adds to β in every later step: β / T keeps the run bounded.
    beta = step_size / STEPS
    run = online.averaged_meta_learning(loss, START, weights, beta, hints)
    return run, three_term(loss, START, *online.three_term_coefficients(weights, beta, hints))


@pytest.mark.parametrize("name", LOSSES)
def test_general_identity_for_any_weights_and_hints(name):
    runs = jax.jit(lambda seed, step_size: _random_run(LOSSES[name], seed, step_size))

    @fixed_examples
    @given(seed=seeds, step_size=st.floats(0.1, 2.0))
    def agree(seed, step_size):
        run, recurrence = runs(seed, step_size)
        assert_same(run.averages, recurrence)

    agree()

    # Without hints, and with the weights in use (growing, equal, shrinking), the same.
    @jax.jit
    def without_hints(power):
        weights = online.power_weights(STEPS, power)
        beta = 0.1 / STEPS
        run = online.averaged_meta_learning(LOSSES[name], START, weights, beta)
        coefficients = online.three_term_coefficients(weights, beta)
        return run.averages, three_term(LOSSES[name], START, *coefficients)

    for power in (-0.5, 0.0, 1.0, 2.0):
        assert_same(*without_hints(power))


def test_coefficients_for_growing_and_for_equal_weights():
    t = np.arange(1.0, STEPS)
    growing = online.three_term_coefficients(online.power_weights(STEPS, 1.0), 0.3)
    assert_same(growing.momentum, (t - 1) / (t + 2))
    assert_same(growing.step_size, 2 * 0.3 * t / (t + 2))
    equal = online.three_term_coefficients(online.power_weights(STEPS, 0.0), 0.3)
    assert_same(equal.momentum, (t - 1) / (t + 1))
    assert_same(equal.step_size, 0.3 / (t + 1))
    assert not np.any(growing.correction) and not np.any(equal.correction)


def test_averages_and_meta_gradients_are_the_stated_ones():
    run, _ = jax.jit(lambda: _random_run(LOSSES["logistic"], 3, 1.0))()
    weights = np.asarray(run.weights)
    totals = np.cumsum(weights)[:, None]
    assert_same(run.averages, np.cumsum(weights[:, None] * run.iterates, axis=0) / totals)
    assert_same(run.gradients, jax.vmap(jax.grad(LOSSES["logistic"]))(run.averages))


def test_first_hint_weight_is_not_used():
    loss, weights = LOSSES["log_cosh"], online.power_weights(9, 1.0)
    hints = weights.at[0].set(0.0)
    runs = [online.averaged_meta_learning(loss, START, weights, 0.02, k) for k in (weights, hints)]
    assert_same(runs[0].averages, runs[1].averages, 0.0)
    pairs = zip(
        online.three_term_coefficients(weights, 0.02, weights),
        online.three_term_coefficients(weights, 0.02, hints),
        strict=True,
    )
    for with_first, without_first in pairs:
        assert_same(with_first, without_first, 0.0)


@pytest.mark.parametrize("name", LOSSES)
def test_exact_nesterov(name):
    loss = LOSSES[name]
    weights = online.nesterov_weights(STEPS)
    hints = online.nesterov_hints(weights)
    runs = jax.jit(
        lambda step_size: (
            online.averaged_meta_learning(loss, START, weights, step_size, hints).averages,
            nesterov(loss, START, step_size, STEPS).lookahead,
        )
    )

    @fixed_examples
    @given(step_size=steps)
    def agree(step_size):
        assert_same(*runs(step_size))

    agree()


def test_nesterov_weights_and_coefficients():
    weights = np.asarray(online.nesterov_weights(500))
    assert weights[0] == 1.0
    assert_same(weights**2, np.cumsum(weights))
    coefficients = online.three_term_coefficients(weights, 0.3, online.nesterov_hints(weights))
    momentum = (weights[:-1] - 1) / weights[1:]
    assert_same(coefficients.momentum, momentum)
    assert_same(coefficients.step_size, np.full(499, 0.3))
    assert_same(coefficients.correction, 0.3 * momentum)


def test_plain_hint_is_not_nesterov():
    """The undamped hint γ_t = α_t has another correction, and leads elsewhere."""
    loss, weights = LOSSES["log_cosh"], online.nesterov_weights(STEPS)
    coefficients = online.three_term_coefficients(weights, 0.1, weights)
    # δ_{t+1} = β α_t / α_{t+1} for t >= 2, where Nesterov has β (α_t - 1) / α_{t+1}.
    expected = 0.1 * weights[1:-1] / weights[2:]
    assert_same(coefficients.correction[1:], expected)
    plain = online.averaged_meta_learning(loss, START, weights, 0.1, weights).averages
    reference = nesterov(loss, START, 0.1, STEPS).lookahead
    assert jnp.max(jnp.abs(plain - reference)) > 0.1 * jnp.max(jnp.abs(START))


@pytest.mark.parametrize("name", LOSSES)
def test_online_to_batch_identity(name):
    loss = LOSSES[name]

    @jax.jit
    def account(seed, step_size, comparison):
        run, _ = _random_run(loss, seed, step_size)
        return run, online.online_to_batch(loss, comparison, run)

    @fixed_examples
    @given(
        seed=seeds,
        step_size=st.floats(0.1, 2.0),
        comparison=st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0)),
    )
    def balances(seed, step_size, comparison):
        run, ledger = account(seed, step_size, jnp.array(comparison))
        entries = [
            np.asarray(ledger.regret_terms),
            -np.asarray(ledger.bregman_to_minimizer),
            -np.asarray(ledger.bregman_between),
        ]
        total = float(ledger.total_weight * ledger.gap)
        # Terms of either sign cancel: rounding is a share of their sizes, not of their sum.
        assert abs(np.sum(entries) - total) <= 1e-12 * np.sum(np.abs(entries))
        assert_same(ledger.total_weight, np.sum(run.weights))
        assert ledger.bregman_between[0] == 0.0
        if name != "rosenbrock":  # convex: no entry of a Bregman divergence is negative
            rounding = 1e-13 * np.sum(np.abs(entries))
            assert np.min(ledger.bregman_to_minimizer) >= -rounding
            assert np.min(ledger.bregman_between) >= -rounding

    balances()


@pytest.mark.parametrize("name", MINIMIZERS)
def test_ledger_entries_are_their_definitions(name):
    loss, best = jax.jit(LOSSES[name]), MINIMIZERS[name]
    run, _ = jax.jit(lambda: _random_run(loss, 11, 1.0))()
    ledger = jax.jit(lambda: online.online_to_batch(loss, best, run))()
    assert_same(ledger.gap, loss(run.averages[-1]) - loss(best))
    for t in (0, 1, STEPS - 1):
        average, gradient, weight = run.averages[t], run.gradients[t], run.weights[t]
        regret = weight * jnp.sum(gradient * (run.iterates[t] - best))
        assert_same(ledger.regret_terms[t], regret)

        def bregman(y, x=average, g=gradient):
            return float(loss(y) - loss(x) - jnp.sum(g * (y - x)))

        assert abs(ledger.bregman_to_minimizer[t] - weight * bregman(best)) <= 1e-13
        if t:
            before = float(jnp.sum(run.weights[:t])) * bregman(run.averages[t - 1])
            assert abs(ledger.bregman_between[t] - before) <= 1e-13


def test_huber_run_sits_on_its_lower_bound():
    # Equal weights, β = 1/L, kink at s = D/T: the gap is exactly L D² / (2T), here L = D = 1.
    @jax.jit
    def averages(rounds):
        loss = problems.huber(half_width=1.0 / rounds)
        run = online.averaged_meta_learning(loss, 1.0, online.power_weights(64, 0.0), 1.0)
        return jax.vmap(loss)(run.averages)

    for rounds in (4, 16, 64):
        assert_same(averages(float(rounds))[rounds - 1], 1 / (2 * rounds))


def test_forms_compile_once_map_and_differentiate():
    loss, traces = LOSSES["logistic"], []
    weights = online.nesterov_weights(12)

    def final(step_size):
        learned = _as_heavy_ball(loss, jnp.zeros(2), step_size, 0.7, 12).points[-1]
        hints = online.nesterov_hints(weights)
        averaged = online.averaged_meta_learning(loss, START, weights, step_size, hints)
        constant = online.constant_average(loss, START, 0.3, step_size, 12).averages[-1]
        gap = online.online_to_batch(loss, jnp.zeros(2), averaged).gap
        return loss(learned) + gap + loss(constant)

    @jax.jit
    def compiled(step_size):
        traces.append(step_size)
        return final(step_size)

    sizes = np.linspace(0.05, 0.4, 4)
    looped = np.array([compiled(step) for step in sizes])
    assert len(traces) == 1
    assert_same(jax.jit(jax.vmap(final))(jnp.asarray(sizes)), looped)
    gradient = jax.jit(jax.grad(final))(0.2)
    assert_same(gradient, jax.jit(jax.jacfwd(final))(0.2))
    difference = (compiled(0.2 + 1e-5) - compiled(0.2 - 1e-5)) / 2e-5
    assert abs(gradient - difference) <= 1e-8


LOSS = LOSSES["quadratic"]
WEIGHTS = jnp.ones(4)


def _learn(**changes):
    arguments = {
        "update_rule": online.translation,
        "x0": START,
        "w0": jnp.zeros(2),
        "meta_step_size": 0.1,
        "inner_steps": 5,
    }
    return online.online_meta_learning(LOSS, **(arguments | changes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _learn(meta_step_size=-0.1), r"meta_step_size must be positive, got -0.1"),
        (lambda: _learn(decay=-1.0), r"decay must be at least 0, got -1.0"),
        (lambda: _learn(inner_steps=0), r"inner_steps must be .* at least 1, got 0"),
        (lambda: _learn(w0=jnp.array([0.0, np.inf])), r"w0 must be finite"),
        (
            lambda: online.averaged_meta_learning(LOSS, START, jnp.array([1.0, 0.0]), 0.1),
            r"weights must be positive, got .*\[1., 0.\]",
        ),
        (
            lambda: online.averaged_meta_learning(LOSS, START, 1.0, 0.1),
            r"weights must have shape \(n,\) with n at least 1, got shape \(\)",
        ),
        (
            lambda: online.averaged_meta_learning(LOSS, START, WEIGHTS, 0.0),
            r"meta_step_size must be positive, got 0.0",
        ),
        (
            lambda: online.averaged_meta_learning(LOSS, START, WEIGHTS, 0.1, jnp.ones(3)),
            r"hint_weights must have shape \(4,\), got shape \(3,\)",
        ),
        (
            lambda: online.three_term_coefficients([1.0, -1.0], 0.1),
            r"weights must be positive, got \[1.0, -1.0\]",
        ),
        (
            lambda: online.three_term_coefficients(WEIGHTS, -0.1),
            r"meta_step_size must be positive, got -0.1",
        ),
        (lambda: online.nesterov_hints([0.0]), r"weights must be positive, got \[0.0\]"),
        (lambda: online.power_weights(0, 1.0), r"inner_steps must be .* at least 1, got 0"),
        (lambda: online.power_weights(3, [1.0]), r"power must have shape \(\), got shape \(1,\)"),
        (lambda: online.nesterov_weights(-1), r"inner_steps must be .* at least 1, got -1"),
        (
            lambda: online.constant_average(LOSS, START, 0.0, 0.1, 5),
            r"average_weight must be positive, got 0.0",
        ),
        (
            lambda: online.constant_average(LOSS, START, 1.1, 0.1, 5),
            r"average_weight must lie between 0 and 1, got 1.1",
        ),
        (
            lambda: online.constant_average(LOSS, START, 0.5, -0.1, 5),
            r"meta_step_size must be positive, got -0.1",
        ),
        (
            lambda: online.online_to_batch(
                LOSS, jnp.zeros(3), online.averaged_meta_learning(LOSS, START, WEIGHTS, 0.1)
            ),
            r"minimizer must have shape \(2,\), got shape \(3,\)",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _learn(inner_steps=2.5), r"inner_steps must be an integer .* got 2.5"),
        (
            lambda: _learn(update_rule=lambda x, w: jnp.sum(x)),
            r"update_rule must return a point like x0, of shape \(2,\)",
        ),
        (lambda: online.nesterov_weights(2.0), r"inner_steps must be an integer .* got 2.0"),
    ],
)
def test_bad_types_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()
