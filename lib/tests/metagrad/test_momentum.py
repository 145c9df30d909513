from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import LOSSES, assert_same, fixed_examples

from metagrad import online, problems
from metagrad.momentum import gradient_descent, heavy_ball, nesterov, three_term

START = jnp.array([-1.2, 1.0])
STEPS = 60
steps = st.floats(0.01, 0.1)
momenta = st.floats(0.0, 0.9)


def test_gradient_descent_has_its_closed_form():
    # x_t = (1 - βλ)^t x_0 along each eigenvector
    points = gradient_descent(problems.quadratic([1.0, 3.0]), jnp.ones(2), 0.3, 50)
    powers = np.arange(51.0)
    assert_same(points, np.stack([0.7**powers, 0.1**powers], axis=1))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("momentum", [0.0, 0.6, 1.0])
def test_heavy_ball_follows_its_recurrence_in_a_plain_loop(name, momentum):
    slope, points = jax.jit(jax.grad(LOSSES[name])), [START, START]
    for _ in range(20):
        x, before = points[-1], points[-2]
        points.append(x + momentum * (x - before) - 0.05 * slope(x))
    assert_same(heavy_ball(LOSSES[name], START, 0.05, momentum, 20), points[1:])


def test_heavy_ball_without_momentum_is_gradient_descent():
    loss = LOSSES["logistic"]
    assert_same(
        heavy_ball(loss, START, 0.1, 0.0, STEPS), gradient_descent(loss, START, 0.1, STEPS), 0.0
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("momentum", [None, 0.5])
def test_nesterov_follows_its_recurrence_in_a_plain_loop(name, momentum):
    slope, x, y, weight = jax.jit(jax.grad(LOSSES[name])), [START], [START], 1.0
    for _ in range(20):
        x.append(y[-1] - 0.05 * slope(y[-1]))
        following = (1 + np.sqrt(1 + 4 * weight**2)) / 2
        m = float((weight - 1) / following) if momentum is None else momentum
        weight = following
        y.append(x[-1] + m * (x[-1] - x[-2]))
    run = nesterov(LOSSES[name], START, 0.05, 20, momentum=momentum)
    assert_same(run.points, x)
    assert_same(run.lookahead, y[:-1])


def test_nesterov_meets_its_1983_guarantee():
    # f(x_k) - f* <= 2 ||x_0 - x*||² / (β (k + 1)²) for β <= 1/L, on a bowl of condition 10⁴
    loss = problems.quadratic(jnp.logspace(-4, 0, 30))
    x0 = jnp.ones(30)
    values = jax.vmap(loss)(nesterov(loss, x0, 1.0, 300).points)[1:]
    bound = 2 * 30 / (jnp.arange(1.0, 301.0) + 1) ** 2
    assert jnp.all(values <= bound)


def test_three_term_covers_heavy_ball_and_nesterov():
    loss, ones = LOSSES["log_cosh"], jnp.ones(STEPS)
    ball = three_term(loss, START, 0.7 * ones, 0.05 * ones, 0.0 * ones)
    assert_same(ball, heavy_ball(loss, START, 0.05, 0.7, STEPS))
    # Look-ahead form: y_2 = y_1 - β (1 + m) g_1, then ε = β and δ = β m.
    step_size = jnp.full(STEPS, 0.05).at[0].set(0.05 * 1.7)
    ahead = three_term(loss, START, 0.7 * ones, step_size, 0.05 * 0.7 * ones)
    run = nesterov(loss, START, 0.05, STEPS + 1, momentum=0.7)
    assert_same(ahead, run.lookahead)


def test_three_term_uses_entry_k_in_step_k():
    # On f = x²/2, one nonzero coefficient at a time, from x_0 = 1 (and a first step to 1/2).
    def run(momentum, step_size, correction):
        arrays = (jnp.array(values) for values in (momentum, step_size, correction))
        return three_term(problems.quadratic(1.0), 1.0, *arrays).tolist()

    assert run([9.0, 0.0, 0.0], [0.5, 0.0, 0.0], [9.0, 0.0, 0.0]) == [1.0, 0.5, 0.5, 0.5]
    assert run([0.0, 2.0, 0.0], [0.5, 0.0, 0.0], [0.0] * 3) == [1.0, 0.5, -0.5, -0.5]
    assert run([0.0] * 3, [0.5, 0.25, 0.0], [0.0] * 3) == [1.0, 0.5, 0.375, 0.375]
    assert run([0.0] * 3, [0.5, 0.0, 0.0], [0.0, 3.0, 0.0]) == [1.0, 0.5, 2.0, 2.0]


@pytest.mark.parametrize("name", ["logistic", "rosenbrock", "log_cosh", "huber"])
def test_nonquadratic_overlay(name):
    """Heavy ball and the meta-gradient loop agree on losses that are not quadratic."""

    @jax.jit
    def both(step_size, momentum):
        decay = (1.0 - momentum) / step_size
        run = online.online_meta_learning(
            LOSSES[name],
            online.translation,
            START,
            jnp.zeros(2),
            step_size,
            STEPS + 1,
            decay=decay,
        )
        return heavy_ball(LOSSES[name], START, step_size, momentum, STEPS), run.points[1:]

    @fixed_examples
    @given(step_size=steps, momentum=momenta)
    def agree(step_size, momentum):
        ball, learned = both(step_size, momentum)
        assert_same(learned, ball)

    agree()


def test_lessard_recht_packard_cycle():
    """Optimally tuned heavy ball goes round three points for ever; the float run gets there."""
    step, momentum = Fraction(1, 9), Fraction(4, 9)  # the best for curvatures in [1, 25]

    def slope(x):
        return 25 * x if x < 1 else x + 24 if x < 2 else 25 * x - 24

    def follow(before, x):
        return x, x + momentum * (x - before) - step * slope(x)

    cycle = [Fraction(792, 1225), Fraction(-2208, 1225), Fraction(2592, 1225)]
    pair = (cycle[2], cycle[0])
    for expected in (cycle[1], cycle[2], cycle[0]):
        pair = follow(*pair)
        assert pair[1] == expected
    assert pair == (cycle[2], cycle[0])  # back where it was: period 3, exactly

    loss = problems.lessard_recht_packard()
    points = heavy_ball(loss, 3.3, 1 / 9, 4 / 9, 150)
    tail = np.asarray(points[-3:])
    shift = int(np.argmin(np.abs(tail - float(cycle[0]))))
    assert_same(np.roll(tail, -shift), [float(x) for x in cycle])
    # Near the minimizer the same coefficients do converge, as the quadratic theory says.
    assert abs(heavy_ball(loss, 0.5, 1 / 9, 4 / 9, 150)[-1]) <= 1e-12


def test_points_may_be_any_pytree():
    def loss(x):
        return 0.5 * jnp.sum(x["a"] ** 2) + 2.0 * x["b"] ** 2

    start = {"a": jnp.array([1.0, -2.0]), "b": 3.0}
    flat = problems.quadratic([1.0, 1.0, 4.0])
    flat_start = jnp.array([1.0, -2.0, 3.0])

    def flatten(points):
        return jnp.concatenate([points["a"], points["b"][:, None]], axis=1)

    assert_same(
        flatten(heavy_ball(loss, start, 0.1, 0.5, 9)), heavy_ball(flat, flat_start, 0.1, 0.5, 9)
    )
    assert_same(
        flatten(gradient_descent(loss, start, 0.1, 9)), gradient_descent(flat, flat_start, 0.1, 9)
    )
    run, flat_run = nesterov(loss, start, 0.1, 9), nesterov(flat, flat_start, 0.1, 9)
    assert_same(flatten(run.points), flat_run.points)
    assert_same(flatten(run.lookahead), flat_run.lookahead)


METHODS = {
    "gradient_descent": lambda x0, step: gradient_descent(LOSSES["logistic"], x0, step, 12),
    "heavy_ball": lambda x0, step: heavy_ball(LOSSES["logistic"], x0, step, 0.8, 12),
    "nesterov": lambda x0, step: nesterov(LOSSES["logistic"], x0, step, 12).points,
    "three_term": lambda x0, step: three_term(
        LOSSES["logistic"], x0, jnp.full(12, 0.5), jnp.full(12, 1.0) * step, jnp.full(12, 0.1)
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_compile_once_map_and_differentiate(name):
    run, traces = METHODS[name], []

    @jax.jit
    def compiled(x0, step):
        traces.append(step)
        return run(x0, step)

    sizes = np.linspace(0.05, 0.4, 4)
    looped = np.stack([compiled(START, step) for step in sizes])
    assert len(traces) == 1
    assert_same(jax.jit(jax.vmap(run, in_axes=(None, 0)))(START, jnp.asarray(sizes)), looped)

    @jax.jit
    def final(step):
        return LOSSES["logistic"](run(START, step)[-1])

    forward, reverse = jax.jit(jax.jacfwd(final))(0.2), jax.jit(jax.grad(final))(0.2)
    assert_same(reverse, forward)
    difference = (final(0.2 + 1e-5) - final(0.2 - 1e-5)) / 2e-5
    assert abs(reverse - difference) <= 1e-8


def test_gradient_in_the_momentum_is_exact():
    # From x_0 = 1 on x²/2: x_1 = 1 - β, and x_2 = (1 - β)² - μβ has derivative -β in μ.
    loss = problems.quadratic(1.0)
    assert_same(jax.grad(lambda mu: heavy_ball(loss, 1.0, 0.25, mu, 2)[-1])(0.5), -0.25)


def test_float32_stays_float32():
    loss = problems.quadratic(jnp.array([1.0, 2.0], dtype=jnp.float32))
    x0 = jnp.ones(2, dtype=jnp.float32)
    assert heavy_ball(loss, x0, 0.1, 0.5, 3).dtype == jnp.float32
    assert nesterov(loss, x0, 0.1, 3).points.dtype == jnp.float32


def test_integer_starts_become_floats():
    assert heavy_ball(problems.quadratic(1.0), 8, 0.5, 0.5, 3).tolist() == [8.0, 4.0, 0.0, -2.0]


LOSS = LOSSES["quadratic"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradient_descent(LOSS, START, -0.1, 5), r"step_size must be positive, got -0.1"),
        (lambda: heavy_ball(LOSS, START, 0.0, 0.5, 5), r"step_size must be positive, got 0.0"),
        (lambda: nesterov(LOSS, START, np.inf, 5), r"step_size must be finite, got inf"),
        (
            lambda: heavy_ball(LOSS, START, 0.1, -0.5, 5),
            r"momentum must lie between 0 and 1, got -0.5",
        ),
        (
            lambda: nesterov(LOSS, START, 0.1, 5, momentum=1.5),
            r"momentum must lie between 0 and 1, got 1.5",
        ),
        (lambda: heavy_ball(LOSS, START, 0.1, 0.5, 0), r"inner_steps must be .* got 0"),
        (lambda: gradient_descent(LOSS, START, 0.1, -1), r"inner_steps must be .* got -1"),
        (lambda: nesterov(LOSS, START, 0.1, 0), r"inner_steps must be .* got 0"),
        (lambda: heavy_ball(LOSS, jnp.array([1.0, np.nan]), 0.1, 0.5, 5), r"x0 must be finite"),
        (lambda: heavy_ball(LOSS, jnp.ones(3), 0.1, 0.5, 5), r"x must have shape \(2,\), got"),
        (
            lambda: three_term(LOSS, START, jnp.ones(4), jnp.ones(3), jnp.ones(4)),
            r"step_size must have shape \(4,\), got shape \(3,\)",
        ),
        (
            lambda: three_term(LOSS, START, jnp.ones(4), jnp.ones(4), jnp.ones(5)),
            r"correction must have shape \(4,\), got shape \(5,\)",
        ),
        (
            lambda: three_term(LOSS, START, 0.5, jnp.ones(4), jnp.ones(5)),
            r"momentum must have shape \(n,\)",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: heavy_ball(LOSS, START, 0.1, 0.5, 2.5), r"inner_steps must be an integer .* 2.5"),
        (lambda: heavy_ball(LOSS, "start", 0.1, 0.5, 5), r"x0 must hold real numbers, got 'start'"),
        (lambda: heavy_ball(LOSS, START, "fast", 0.5, 5), r"step_size must hold real numbers"),
        (
            lambda: gradient_descent(lambda x: 2 * x, START, 0.1, 5),
            r"loss must return one number \(shape \(\)\), got",
        ),
    ],
)
def test_bad_types_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_values_are_not_checked_where_they_are_traced():
    run = jax.jit(lambda step: heavy_ball(LOSS, START, step, 0.5, 3))
    assert run(-0.1).shape == (4, 2)  # the sign is unknown while tracing
    with pytest.raises(ValueError, match="inner_steps"):  # but the number of steps is known
        jax.jit(lambda step: heavy_ball(LOSS, START, step, 0.5, 0))(0.1)
