"""The exact estimators: against closed forms, against a plain loop, and against each other."""

import re
from decimal import Decimal, localcontext
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimator_cases import CASES, Case, assert_tree_same, plain_objective, through_tape

from metagrad import (
    checkpointed,
    finite_differences,
    forward,
    problems,
    reverse,
    truncated,
)
from metagrad.estimators import LONG_RUN
from metagrad.windows import Window, first_window, over_windows

LENGTHS = (1, 2, 10, 100, 1000, 10000)
CURVATURES = (1e-4, 3e-3, 0.05, 0.9, 1.7)
START = (1.0, -2.0, 0.5, 1.5, -0.7)
RATE, MOMENTUM = 0.9, 0.8


def exact_methods(inner_steps):
    """Every exact method; the run is no multiple of the segments of 7 or 3."""
    short = 7 if inner_steps > 9 else 3
    methods = {
        "reverse": reverse(),
        "checkpointed": checkpointed(),
        "one segment": checkpointed(inner_steps),
        "forward": forward(),
        "truncated at T": truncated(inner_steps),
        "tape": through_tape(),
    }
    if inner_steps > short:
        methods["short segments"] = checkpointed(short)
    return methods


def all_estimates(case, every_step, methods=None):
    """(value, gradient) of each method, all compiled together."""
    methods = exact_methods(case.inner_steps) if methods is None else methods

    @jax.jit
    def run(w):
        found = {}
        for name, method in methods.items():
            made = case._replace(w=w).estimate(method, every_step=every_step)
            found[name] = (made.value, made.gradient)
        return found

    return run(case.w)


def decimals(numbers):
    """The exact values of floats, as an array of decimals."""
    return np.array([Decimal(float(x)) for x in np.ravel(numbers)], object).reshape(
        np.shape(numbers)
    )


def floats(numbers):
    return np.array([float(x) for x in np.ravel(numbers)]).reshape(np.shape(numbers))


def power_and_slopes(matrix, slopes, exponent):
    """M^T, and its derivative for each given derivative of M, from powers of [[M, D], [0, M]]."""
    n = len(matrix)
    nothing = np.full((n, n), Decimal(0))
    found = [
        np.linalg.matrix_power(np.block([[matrix, slope], [nothing, matrix]]), exponent)[:n, n:]
        for slope in slopes
    ]
    return np.linalg.matrix_power(matrix, exponent), found


def quadratic_run(curvatures, start, rate, inner_steps):
    """Gradient descent; w holds the step size and the start."""
    bowl = problems.quadratic(jnp.array(curvatures))
    w = {"rate": jnp.array(rate), "start": jnp.array(start)}
    return Case(
        lambda x, w: bowl(x),
        lambda x, w, t: x - w["rate"] * jax.grad(bowl)(x),
        w,
        lambda w: w["start"],
        inner_steps,
    )


def quadratic_truth(curvatures, start, rate, inner_steps, every_step):
    """Sums of powers: F_t = Σ λ (1 - βλ)^2t x₀² / 2, at t = T or averaged over t = 1, ..., T.

    Returns value, gradient, and the size of the terms: those of the derivative in the step size
    change sign with 1 - βλ, and rounding is a share of the terms rather than of their sum.
    """
    with localcontext(prec=50):
        (rate,) = decimals([rate])
        value = slope = size = Decimal(0)
        start_slopes = []
        for curvature, x0 in zip(decimals(curvatures), decimals(start), strict=True):
            factor, power, start_slope = 1 - rate * curvature, Decimal(1), Decimal(0)
            for t in range(1, inner_steps + 1):
                odd = power * factor  # (1 - βλ)^(2t - 1)
                power = odd * factor
                if every_step or t == inner_steps:
                    share = curvature / inner_steps if every_step else curvature
                    value += share * power * x0**2 / 2
                    slope -= share * curvature * t * odd * x0**2
                    size += abs(share * curvature * t * odd * x0**2)
                    start_slope += share * power * x0
            start_slopes.append(float(start_slope))
        gradient = {"rate": np.array(float(slope)), "start": np.array(start_slopes)}
        sizes = {"rate": float(size), "start": max(map(abs, start_slopes))}
        return np.array(float(value)), gradient, (float(value), sizes)


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("inner_steps", LENGTHS)
def test_quadratic_in_its_eigenbasis(inner_steps, every_step):
    arguments = (CURVATURES, START, RATE, inner_steps)
    value, gradient, sizes = quadratic_truth(*arguments, every_step)
    for name, found in all_estimates(quadratic_run(*arguments), every_step).items():
        print(name)
        assert_tree_same(found, (value, gradient), 1e-12, sizes)


@pytest.mark.parametrize("inner_steps", (1, 10, 1000))
def test_quadratic_with_a_full_matrix(inner_steps):
    matrix = np.array([[1.1, 0.4, -0.2], [0.4, 0.6, 0.3], [-0.2, 0.3, 0.5]])
    x0, rate = np.array([2.0, -1.0, 0.5]), 0.7
    # Near a minimizer other than the origin x_T would have the minimizer's rounding.
    center = np.array([0.3, -0.6, 0.2]) if inner_steps == 1 else np.zeros(3)
    bowl = problems.quadratic_from_matrix(matrix, minimizer=center)
    case = Case(
        lambda x, w: bowl(x),
        lambda x, w, t: x - w["rate"] * jax.grad(bowl)(x),
        {"rate": jnp.array(rate), "start": jnp.asarray(x0)},
        lambda w: w["start"],
        inner_steps,
    )
    with localcontext(prec=50):
        a, offset, beta = decimals(matrix), decimals(x0) - decimals(center), decimals(rate)
        power, (slope,) = power_and_slopes(decimals(np.eye(3)) - beta * a, [-a], inner_steps)
        final = power @ offset
        value = final @ a @ final / 2
        by_rate, by_start = final @ a @ slope @ offset, power.T @ a @ final
        truth = (
            np.array(float(value)),
            {"rate": np.array(float(by_rate)), "start": floats(by_start)},
        )
    for name, found in all_estimates(case, False).items():
        print(name)
        assert_tree_same(found, truth)


@pytest.mark.parametrize("inner_steps", LENGTHS)
def test_heavy_ball_on_a_quadratic(inner_steps):
    """Each eigenvalue has its block: (x_t, x_{t-1}) is multiplied by [[1 + μ - βλ, -μ], [1, 0]]."""
    bowl = problems.quadratic(jnp.array(CURVATURES))

    def step(state, w, t):
        x, before = state
        return x + w["momentum"] * (x - before) - w["rate"] * jax.grad(bowl)(x), x

    case = Case(
        lambda state, w: bowl(state[0]),
        step,
        {"rate": jnp.array(RATE), "momentum": jnp.array(MOMENTUM), "start": jnp.array(START)},
        lambda w: (w["start"], w["start"]),
        inner_steps,
    )
    terms = {"value": [], "rate": [], "momentum": [], "start": []}
    with localcontext(prec=50):
        rate, momentum = decimals([RATE, MOMENTUM])
        for curvature, x0 in zip(decimals(CURVATURES), decimals(START), strict=True):
            block = decimals(np.array([[0, 0], [1, 0]]))
            block[0] = 1 + momentum - rate * curvature, -momentum
            by_rate, by_momentum = decimals(np.zeros((2, 2, 2)))
            by_rate[0, 0] = -curvature
            by_momentum[0] = Decimal(1), Decimal(-1)
            power, slopes = power_and_slopes(block, [by_rate, by_momentum], inner_steps)
            factor, rate_slope, momentum_slope = (m[0, 0] + m[0, 1] for m in (power, *slopes))
            terms["value"].append(float(curvature * (factor * x0) ** 2 / 2))
            terms["rate"].append(float(curvature * factor * x0**2 * rate_slope))
            terms["momentum"].append(float(curvature * factor * x0**2 * momentum_slope))
            terms["start"].append(float(curvature * factor**2 * x0))
    sums = {name: np.array(np.sum(numbers)) for name, numbers in terms.items()}
    # The terms of different eigenvalues have different signs: rounding is a share of their sizes.
    sizes = {name: np.sum(np.abs(numbers)) for name, numbers in terms.items()}
    value, size = sums.pop("value"), sizes.pop("value")
    sums["start"] = np.array(terms["start"])
    for name, found in all_estimates(case, False).items():
        print(name)
        assert_tree_same(found, (value, sums), 1e-12, (size, sizes))


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_exact_methods_agree_with_a_plain_loop(name, every_step):
    case = CASES[name]
    objective = plain_objective(case.loss, case.step, case.start, case.inner_steps, every_step)
    truth = jax.value_and_grad(objective)(case.w)
    for method, found in all_estimates(case, every_step).items():
        print(method)
        assert_tree_same(found, truth, 1e-10)


@pytest.mark.parametrize("name", CASES)
def test_final_state_is_that_of_the_run(name):
    case = CASES[name]
    state = case.start(case.w) if callable(case.start) else case.start
    for t in range(1, case.inner_steps + 1):
        state = case.step(state, case.w, jnp.int32(t))
    methods = reverse(), checkpointed(), checkpointed(4), forward(), truncated(3)
    finals = jax.jit(lambda: [case.estimate(method).info.final_state for method in methods])()
    for final in finals:
        assert_tree_same(final, state)


def test_forward_takes_one_number_of_any_shape():
    # One number is done by a single pass, without a batch: F = (2 w³)² = 4 w⁶ at w = 1/2.
    for shape in ((), (1,), (1, 1)):
        case = Case(
            lambda x, w: jnp.sum(x**2),
            lambda x, w, t: w["a"] * x,
            {"a": jnp.full(shape, 0.5)},
            jnp.full(shape, 2.0),
            3,
        )
        found = case.estimate(forward())
        assert found.gradient["a"].shape == shape
        assert float(found.gradient["a"].sum()) == 0.75
        assert float(found.value) == 0.0625
        assert found.info.final_state.shape == shape


@pytest.mark.parametrize("spacing", [None, 1e-6])
@pytest.mark.parametrize("name", CASES)
def test_finite_differences_are_near(name, spacing):
    case = CASES[name]
    found = jax.jit(lambda: case.estimate(finite_differences(spacing)))()
    truth = jax.jit(lambda: case.estimate(reverse()))()
    assert_tree_same(found.gradient, truth.gradient, 1e-6 if spacing else 1e-5)
    assert_tree_same(found.value, truth.value)
    assert_tree_same(found.info.final_state, truth.info.final_state)


def test_finite_differences_have_a_central_error():
    # On F = w³ the central difference is 3 w² + h² exactly, a one-sided one 3 w² + 3 w h + h².
    case = Case(lambda x, w: x**3, lambda x, w, t: w, jnp.array(2.0), jnp.array(0.0), 1)
    assert float(case.estimate(finite_differences(0.25)).gradient) == 12.0625


def test_finite_differences_choose_a_spacing_for_each_number():
    w = {"a": jnp.array([0.0, 5.0, -1000.0]), "b": jnp.array(0.25)}
    case = Case(lambda x, w: x, lambda x, w, t: jnp.sum(w["a"]) + w["b"], w, jnp.array(0.0), 1)
    unit = np.finfo(float).eps ** (1 / 3)
    expected = {"a": unit * np.array([1.0, 5.0, 1000.0]), "b": np.array(unit)}
    found = case.estimate(finite_differences())
    assert_tree_same(found.info.spacing, expected)
    assert_tree_same(found.gradient, jax.tree.map(np.ones_like, expected), 1e-7)
    fixed = case.estimate(finite_differences(0.5)).info.spacing
    assert_tree_same(fixed, jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5), expected))


def _saved_states(method, inner_steps):
    """How many numbers reverse accumulation keeps: the largest array that a scan stacks."""
    case = quadratic_run((1.0,), (1.0,), 0.1, inner_steps)
    jaxpr = jax.make_jaxpr(lambda w: case._replace(w=w).estimate(method).gradient)(case.w)
    return max(_stacked(jaxpr.jaxpr))


def _stacked(jaxpr):
    yield 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            carried = equation.params["num_carry"]
            for output in equation.outvars[carried:]:
                yield int(np.prod(output.aval.shape))
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from _stacked(inner)


def test_what_each_method_keeps():
    assert _saved_states(reverse(), 400) >= 400
    assert _saved_states(checkpointed(), 400) == 20
    assert _saved_states(checkpointed(50), 400) == 50
    assert _saved_states(checkpointed(8), 400) == 50
    assert _saved_states(forward(), 400) == 0


def test_the_default_checkpoints_long_runs():
    assert LONG_RUN == 100
    assert _saved_states(None, 99) == _saved_states(reverse(), 99)
    assert _saved_states(None, 100) == _saved_states(checkpointed(), 100) == 10
    assert _saved_states(None, 144) == 12


def _written_out(method, w, inner_steps):
    """The program, as text, of the gradient of a run with a state of three numbers."""
    case = Case(
        lambda x, w: jnp.sum(x**2), lambda x, w, t: jnp.sum(w) * x, w, jnp.ones(3), inner_steps
    )
    return str(jax.make_jaxpr(lambda w: case._replace(w=w).estimate(method).gradient)(w))


def test_a_single_step_is_no_loop():
    assert "scan" in _written_out(reverse(), jnp.array(0.5), 2)
    assert "scan" not in _written_out(reverse(), jnp.array(0.5), 1)


def test_forward_has_no_batch_of_one_number():
    matrix = re.compile(r"f64\[\d+,\d+\]")
    assert matrix.search(_written_out(forward(), jnp.full(2, 0.5), 4))
    assert not matrix.search(_written_out(forward(), jnp.array(0.5), 4))


def _dense_windows(case, length):
    """Window gradients with `every_step`: each window's share of F, from its state as given."""
    case = case._replace(loss=jax.jit(case.loss), step=jax.jit(case.step))
    state, first = case.start, case.inner_steps % length or length
    gradients, values, ends = [], [], [0, *range(first, case.inner_steps + 1, length)]
    for before, after in pairwise(ends):

        def share(w, state=state, before=before, after=after):
            x = (state(w) if callable(state) else state) if before == 0 else state
            total = 0.0
            for t in range(before + 1, after + 1):
                x = case.step(x, w, jnp.int32(t))
                total = total + case.loss(x, w)
            return total / case.inner_steps, x

        (value, state), gradient = jax.value_and_grad(share, has_aux=True)(case.w)
        gradients.append(gradient)
        values.append(value)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)
    return sum(values), stacked


@pytest.mark.parametrize("length", [1, 3, 7])
def test_truncated_windows_with_every_step(length):
    case = CASES["logistic"]
    found = jax.jit(lambda: case.estimate(truncated(length), every_step=True))()
    value, windows = _dense_windows(case, length)
    assert_tree_same(found.info.window_gradients, windows)
    assert_tree_same(found.gradient, jax.tree.map(lambda g: jnp.sum(g, axis=0), windows))
    assert_tree_same(found.value, value)
    assert windows[0].shape == (-(-7 // length), 7)


@pytest.mark.parametrize("length", [1, 4, 6])
@pytest.mark.parametrize("name", ["logistic", "rosenbrock"])
def test_truncated_is_the_end_of_the_tape(name, length):
    case = CASES[name]
    found = jax.jit(lambda: case.estimate(truncated(length)))()
    made = jax.jit(lambda: through_tape()(case.run(), case.w, None))()
    last = jax.tree.map(lambda c: jnp.sum(c[-length:], axis=0), made.info.contributions)
    assert_tree_same(found.gradient, last)
    assert_tree_same(found.value, made.value)
    assert_tree_same(found.info.window_gradients, jax.tree.map(lambda g: g[None], last))


def test_truncation_leaves_out_the_start_and_keeps_the_direct_part():
    case = CASES["maml"]
    made = jax.jit(lambda: through_tape()(case.run(), case.w, None).info)()
    found = jax.jit(lambda: case.estimate(truncated(case.inner_steps - 1)))()
    last = jax.tree.map(lambda c, d: jnp.sum(c[1:], axis=0) + d, made.contributions, made.direct)
    assert_tree_same(found.gradient, last)
    assert jnp.max(jnp.abs(made.start["start"]["in"])) > 0.01


@pytest.mark.parametrize(
    ("length", "every_step", "count"),
    [(3, True, 3), (7, True, 1), (3, False, 1), (7, False, 1)],
)
def test_each_window_that_counts_gets_a_key_of_its_own(length, every_step, count):
    case, asked = CASES["logistic"], []

    def keys(number):
        asked.append(number)
        return np.arange(number)  # which, other than one of JAX, has nothing past its end

    def key_as_gradient(f, w, key):
        value, state = f(w)
        return Window(value, key, state)

    first = first_window("length", length, case.inner_steps)
    run = case.run(every_step)
    found = over_windows(run, case.w, first, length, key_as_gradient, keys)
    assert asked == [count]
    assert found.gradient.tolist() == list(range(count))
