"""Long runs: where plain backpropagation fails, and what renormalizing gives instead."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from estimator_cases import CASES, assert_tree_same
from metagrad_cases import assert_same
from stepsize_cases import KINK, SPECTRUM, START

from metagrad import (
    checkpointed,
    forward,
    log_meta_gradient,
    make_run,
    meta_gradient,
    problems,
    renormalized,
    reverse,
    scaled_tangent,
    stepsize,
    tape,
    truncated,
)
from metagrad.renormalization import log_loss


def _quadratic_run(steps, dtype=jnp.float64):
    """loss, step, start of gradient descent whose step size is the meta-parameter."""
    bowl = problems.quadratic(jnp.asarray(SPECTRUM, dtype))
    start = jnp.asarray(START, dtype)
    return (
        lambda x, beta: bowl(x),
        lambda x, beta, t: x - beta * jax.grad(bowl)(x),
        start,
        steps,
    )


def _plain(beta, steps, method, dtype):
    loss, step, start, _ = _quadratic_run(steps, dtype)
    return meta_gradient(log_loss(loss, steps), step, dtype(beta), start, steps, method=method)


def _stable(beta, steps, method, dtype=jnp.float64):
    loss, step, start, _ = _quadratic_run(steps, dtype)
    run = renormalized(loss, step, dtype(beta), start, steps)
    return meta_gradient(run.loss, run.step, dtype(beta), run.start, steps, method=method)


# (β, steps) at which float32 fails, and steps at which it does not yet; the same for float64.
HORIZONS = [
    (jnp.float32, 0.05, 700, 900),
    (jnp.float32, KINK, 190, 230),
    (jnp.float32, 0.25, 95, 125),
    (jnp.float32, 0.4, 36, 50),
    (jnp.float64, 0.05, 6500, 7300),
    (jnp.float64, 0.25, 840, 900),
]


@pytest.mark.parametrize(("dtype", "beta", "fine", "failed"), HORIZONS)
@pytest.mark.parametrize("method", [reverse(), forward()], ids=["reverse", "forward"])
def test_plain_differentiation_fails_and_renormalizing_does_not(dtype, beta, fine, failed, method):
    tolerance = 2e-3 if dtype == jnp.float32 else 1e-10
    for steps, works in ((fine, True), (failed, False)):
        true = float(log_meta_gradient(float(dtype(beta)), SPECTRUM, START, steps))
        scale = 20 / float(stepsize.contraction(beta, SPECTRUM))
        found = _plain(beta, steps, method, dtype)
        assert bool(abs(found.gradient - true) <= tolerance * scale) == works
        stable = _stable(beta, steps, method, dtype)
        assert stable.finite and stable.gradient.dtype == dtype
        assert abs(stable.gradient - true) <= tolerance * scale
        value = float(stepsize.log_meta_objective(float(dtype(beta)), SPECTRUM, START, steps))
        assert abs(stable.value - value) <= tolerance * max(abs(value), 1.0)


@pytest.mark.parametrize(
    ("dtype", "steps"), [(jnp.float32, 110), (jnp.float32, 112), (jnp.float64, 875)]
)
def test_the_silent_failure(dtype, steps):
    """The value is finite and right, and the gradient is 0; it should be about 13."""
    found = _plain(0.25, steps, reverse(), dtype)
    true = log_meta_gradient(0.25, SPECTRUM, START, steps)
    value = stepsize.log_meta_objective(0.25, SPECTRUM, START, steps)
    assert found.finite
    assert abs(float(found.value) - value) <= 1e-5
    assert true > 13
    assert float(found.gradient) == 0.0  # 1 / loss is subnormal, and is flushed to 0


def test_summands_of_backpropagation_are_equal():
    """Every step contributes the same, and what is multiplied for it leaves every range."""
    steps, beta = 400, 0.05
    loss, step, start, _ = _quadratic_run(steps)
    run = make_run(log_loss(loss, steps), step, beta, start, steps)
    made = tape.tape(run, beta)
    true = log_meta_gradient(beta, SPECTRUM, START, steps)
    assert_same(made.contributions, np.full(steps, true / steps))
    states, adjoints = (np.linalg.norm(x, axis=1) for x in (made.states, made.adjoints))
    rho = float(stepsize.contraction(beta, SPECTRUM))
    # With only the slowest mode left, each norm changes by the factor ρ, or 1/ρ, every step.
    assert_same(states[301:] / states[300:-1], np.full(100, rho), 1e-3)
    assert_same(adjoints[1:101] / adjoints[:100], np.full(100, 1 / rho), 1e-3)


@pytest.mark.parametrize("beta", [0.05, KINK, 0.25])
def test_every_method_differentiates_a_renormalized_run(beta):
    steps = 3000
    true = log_meta_gradient(beta, SPECTRUM, START, steps)
    scale = 20 / float(stepsize.contraction(beta, SPECTRUM))
    for method in (reverse(), checkpointed(), forward(), truncated(steps)):
        assert abs(_stable(beta, steps, method).gradient - true) <= 1e-11 * scale


def test_a_hundred_thousand_steps():
    for beta in (0.1, 0.25):
        true = log_meta_gradient(beta, SPECTRUM, START, 10**5)
        assert_same(_stable(beta, 10**5, forward()).gradient, true, 1e-10)


def test_other_optimizers_and_starts():
    """Heavy ball, all of whose coefficients and whose start are meta-parameters."""
    bowl = problems.quadratic([1.0, 3.0, 8.0])

    def step(state, w, t):
        x, before = state
        momentum = w["momentum"] * (1.0 - 1.0 / (1.0 + t.astype(x.dtype)))  # may depend on time
        return x + momentum * (x - before) - w["step_size"] * jax.grad(bowl)(x), x

    def loss(state, w):
        return bowl(state[0])

    def start(w):
        return w["x"], w["x"]

    w = {"momentum": 0.8, "step_size": 0.2, "x": jnp.array([1.0, -2.0, 0.5])}
    plain = meta_gradient(log_loss(loss, 60), step, w, start, 60)
    run = renormalized(loss, step, w, start, 60)
    stable = meta_gradient(run.loss, run.step, w, run.start, 60)
    assert_same(stable.value, plain.value)
    assert_tree_same(stable.gradient, plain.gradient, 1e-11)
    # A thousand times as many steps: plain backpropagation has nothing left.
    long = renormalized(loss, step, w, start, 6000)
    assert meta_gradient(long.loss, long.step, w, long.start, 6000).finite
    assert not meta_gradient(log_loss(loss, 6000), step, w, start, 6000).finite


def test_a_loss_of_another_degree():
    run = renormalized(lambda x, w: x**4, lambda x, w, t: w * x, 0.5, 3.0, 2000, degree=4)
    found = jax.jit(lambda w: meta_gradient(run.loss, run.step, w, run.start, 2000))(0.5)
    assert_same(found.gradient, 8.0)
    assert_same(found.value, (4 * np.log(3.0) + 8000 * np.log(0.5)) / 2000)


@pytest.mark.parametrize(
    ("loss", "step", "start", "message"),
    [
        (lambda x, w: x**2, lambda x, w, t: x - w, 2.0, r"step must be homogeneous, .* got a dif"),
        (
            lambda x, w: x**2 + 1,
            lambda x, w, t: w * x,
            2.0,
            r"loss must be homogeneous of degree 2",
        ),
        (lambda x, w: abs(x), lambda x, w, t: w * x, 2.0, r"loss\(2 x\) = 4 loss\(x\)"),
        (lambda x, w: x**2, lambda x, w, t: w * x, 0.0, r"start must not be 0"),
    ],
)
def test_what_cannot_be_renormalized_is_refused(loss, step, start, message):
    with pytest.raises(ValueError, match=message):
        renormalized(loss, step, 0.5, start, 3)


# --- the scaled tangent


@pytest.mark.parametrize("name", CASES)
def test_scaled_tangent_is_the_tangent(name):
    case = CASES[name]
    run = case.run(False)
    rng = np.random.default_rng(9)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), case.w)
    made = jax.jit(lambda: scaled_tangent(run, case.w, direction))()
    moved = tape.tangents(run, case.w, direction)
    flat = np.concatenate(
        [np.reshape(leaf, (case.inner_steps + 1, -1)) for leaf in jax.tree.leaves(moved)], axis=1
    )
    assert_same(jnp.exp(made.log_norms), np.linalg.norm(flat[1:], axis=1))
    scale = jnp.exp(made.log_norms[-1])
    last = jax.tree.map(lambda leaf: leaf[-1], moved)
    assert_tree_same(jax.tree.map(lambda leaf: scale * leaf, made.tangent), last)
    plain = forward()(run, case.w, None)
    products = jax.tree.map(lambda g, u: jnp.sum(g * u), plain.gradient, direction)
    found = made.derivative.sign * jnp.exp(made.derivative.log_size)
    assert_same(found, sum(jax.tree.leaves(products)), 1e-11)
    assert_same(made.value, plain.value)
    assert_tree_same(made.state, plain.info.final_state)


def _product_of_slopes(states, slopes, additions):
    """log ||X_t|| along the floats that the run went through, in forty digits."""
    with mpmath.workdps(40):
        tangent, logs = mpmath.mpf(0), []
        for x in states[:-1]:
            x = mpmath.mpf(float(x))
            tangent = slopes(x) * tangent + additions(x)
            logs.append(float(mpmath.log(abs(tangent))))
        return logs, tangent


def test_a_chaotic_run_explodes():
    w, steps = 3.9, 5000
    run = make_run(lambda x, w: jnp.log(x), lambda x, w, t: w * x * (1.0 - x), w, 0.3, steps)
    made = jax.jit(lambda: scaled_tangent(run, w, -1.0))()
    states = np.asarray(tape.tape(run, w).states)
    four = mpmath.mpf(w)
    logs, tangent = _product_of_slopes(states, lambda x: four * (1 - 2 * x), lambda x: x * (1 - x))
    assert logs[-1] > 2000  # ten times the range of float64
    assert_same(made.log_norms, logs, 1e-12)
    assert float(made.derivative.sign) == -float(mpmath.sign(tangent))
    assert_same(made.derivative.log_size, logs[-1] - np.log(states[-1]))
    assert not forward()(run, jnp.array(w), None).finite  # the tangent itself overflows


def test_a_run_that_forgets_its_start_vanishes():
    steps = 5000
    run = make_run(lambda x, w: x**2, lambda x, w, t: jnp.cos(x), 0.3, lambda w: w, steps)
    made = jax.jit(lambda: scaled_tangent(run, 0.3, 1.0))()
    states = np.asarray(tape.tape(run, 0.3).states)
    with mpmath.workdps(40):
        log = mpmath.fsum([mpmath.log(mpmath.sin(mpmath.mpf(float(x)))) for x in states[:-1]])
        sign = mpmath.sign(mpmath.mpf(-1) ** steps)
    assert_same(made.log_norms[-1], float(log))
    assert log < -1900 and forward()(run, jnp.array(0.3), None).gradient == 0.0
    assert float(made.derivative.sign) == float(sign)
    assert_same(made.derivative.log_size, float(log) + np.log(2 * states[-1]))


def test_a_direction_without_influence():
    w = {"used": 2.0, "idle": 1.0}
    run = make_run(lambda x, w: x, lambda x, w, t: x * w["used"], w, 1.0, 4)
    made = scaled_tangent(run, w, {"used": 0.0, "idle": 1.0})
    assert made.log_norms.tolist() == [-np.inf] * 4
    assert (float(made.derivative.sign), float(made.derivative.log_size)) == (0.0, -np.inf)
    assert float(made.tangent) == 0.0
    # It comes in late, by the loss alone.
    late = make_run(lambda x, w: x * w["idle"], run.step, w, 1.0, 4)
    made = scaled_tangent(late, w, {"used": 0.0, "idle": 1.0})
    assert_same(made.derivative.sign * jnp.exp(made.derivative.log_size), 16.0)


def test_the_tangent_of_a_run_out_of_range_is_not_taken_for_one_that_vanished():
    run = make_run(lambda x, w: x**2, lambda x, w, t: w * x**3, 2.0, jnp.array(10.0), 12)
    made = scaled_tangent(run, 2.0, 1.0)  # the state is infinite from step 6 on
    assert np.all(np.isfinite(made.log_norms[:5])) and np.all(np.isnan(made.log_norms[5:]))
    assert np.isnan(made.derivative.log_size) and np.isnan(made.derivative.sign)


def test_bad_runs_are_refused():
    pieces = lambda x, w: x, lambda x, w, t: x * w, 2.0, 1.0, 4
    with pytest.raises(ValueError, match="run must have every_step=False"):
        scaled_tangent(make_run(*pieces, every_step=True), 2.0, 1.0)
    with pytest.raises(TypeError, match="direction must be a pytree like meta_parameters"):
        scaled_tangent(make_run(*pieces), 2.0, jnp.ones(2))
    with pytest.raises(ValueError, match="inner_steps must be an integer of at least 1, got 0"):
        log_loss(lambda x, w: x, 0)
