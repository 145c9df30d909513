"""Hypergradient descent: each step's derivative, the published recurrences, its relatives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from estimator_cases import assert_tree_same
from metagrad_cases import LOSSES, assert_same

from metagrad import (
    gradient_descent,
    hypergradient_descent,
    meta_gradient,
    online_meta_learning,
    truncated,
)
from metagrad.problems import quadratic

START = jnp.array([-1.2, 1.0])
STEPS = 25


def descend(*arguments, adam=False):
    """Hypergradient descent, compiled; with Adam's directions where that is asked for."""
    direction = optax.scale_by_adam(b1=0.8, b2=0.95, eps=1e-6) if adam else None
    # Optax counts its steps in int32 and relies on their promotion.
    with jax.numpy_dtype_promotion("standard" if adam else "strict"):
        return jax.jit(lambda: hypergradient_descent(*arguments, direction=direction))()


@pytest.mark.parametrize("name", LOSSES)
def test_hypergradients_are_one_step_meta_gradients(name):
    loss = LOSSES[name]
    run = descend(loss, START, 0.02, 1e-4, STEPS)

    @jax.jit
    def one_step(point, step_size):
        return meta_gradient(
            lambda x, w: loss(x),
            lambda x, w, t: x - w * jax.grad(loss)(x),
            step_size,
            point,
            1,
            method=truncated(1),
        ).gradient

    each = [one_step(*pair) for pair in zip(run.points[:-1], run.step_sizes[:-1], strict=True)]
    assert_same(run.hypergradients, np.array(each))
    assert np.min(np.abs(run.hypergradients)) > 0


@pytest.mark.parametrize("name", ["rosenbrock", "logistic"])
def test_sgd_form_is_the_published_recurrence(name):
    """Baydin et al., algorithm 4: the step size rises by κ ∇f(x_t)ᵀ∇f(x_{t-1})."""
    slope = jax.jit(jax.grad(LOSSES[name]))
    x, rate, before, points, rates = START, 0.01, None, [START], [0.01]
    for _ in range(STEPS + 1):
        gradient = slope(x)
        if before is not None:
            rate = rate + 1e-4 * float(jnp.vdot(gradient, before))
            rates.append(rate)
        x, before = x - rate * gradient, gradient
        points.append(x)
    run = descend(LOSSES[name], START, 0.01, 1e-4, STEPS)
    assert_same(run.points, points[: STEPS + 1])
    assert_same(run.step_sizes, rates)


@pytest.mark.parametrize("name", ["rosenbrock", "logistic"])
def test_adam_form_is_the_published_recurrence(name):
    """Baydin et al., algorithm 5: the last Adam direction takes the place of the gradient."""
    slope = jax.jit(jax.grad(LOSSES[name]))
    x, rate, m, v = np.asarray(START), 0.01, np.zeros(2), np.zeros(2)
    points, rates, hypergradients = [x], [rate], []
    gradient = np.asarray(slope(x))
    for t in range(1, STEPS + 1):
        m = 0.8 * m + 0.2 * gradient
        v = 0.95 * v + 0.05 * gradient**2
        move = (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        x = x - rate * move
        gradient = np.asarray(slope(jnp.asarray(x)))
        hypergradients.append(-gradient @ move)
        rate = rate - 1e-3 * hypergradients[-1]
        points.append(x)
        rates.append(rate)
    run = descend(LOSSES[name], START, 0.01, 1e-3, STEPS, adam=True)
    assert_same(run.points, points, 1e-11)
    assert_same(run.step_sizes, rates, 1e-11)
    assert_same(run.hypergradients, hypergradients, 1e-11)


def test_without_a_meta_step_it_is_the_plain_optimizer():
    loss = LOSSES["rosenbrock"]
    run = descend(loss, START, 0.02, 0.0, STEPS)
    assert_same(run.points, gradient_descent(loss, START, 0.02, STEPS), 0.0)
    assert_same(run.step_sizes, np.full(STEPS + 1, 0.02), 0.0)
    optimizer = optax.adam(0.02, b1=0.8, b2=0.95, eps=1e-6)
    x, state, points = START, optimizer.init(START), [START]
    update = jax.jit(lambda x, state: optimizer.update(jax.grad(loss)(x), state))
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(STEPS):
            moves, state = update(x, state)
            x = optax.apply_updates(x, moves)
            points.append(x)
    assert_same(descend(loss, START, 0.02, 0.0, STEPS, adam=True).points, points)


def test_it_is_online_meta_learning_of_the_step_size():
    loss = LOSSES["log_cosh"]
    rule = lambda x, w: x - w * jax.grad(loss)(x)  # noqa: E731
    online = online_meta_learning(loss, rule, START, 0.05, 1e-3, STEPS)
    run = descend(loss, START, 0.05, 1e-3, STEPS)
    assert_same(run.points, online.points)
    assert_same(run.step_sizes, online.parameters)
    assert_same(run.hypergradients, online.meta_gradients)


def test_it_finds_a_step_size_on_a_bowl():
    # On one eigenvalue every step size below 2/λ works, and 1/λ ends the run in one step.
    run = descend(quadratic(4.0), 1.0, 0.0, 1e-3, 400)
    assert float(run.step_sizes[0]) == 0.0
    assert float(run.step_sizes[1]) == 1e-3 * 16.0
    assert abs(float(run.points[-1])) < 1e-12


def test_trees_are_summed_over_their_leaves():
    def loss(x):
        return LOSSES["rosenbrock"](jnp.stack([x["a"], x["b"][0]]))

    tree = descend(loss, {"a": START[0], "b": (START[1],)}, 0.01, 1e-4, STEPS, adam=True)
    flat = descend(LOSSES["rosenbrock"], START, 0.01, 1e-4, STEPS, adam=True)
    assert_same(tree.hypergradients, flat.hypergradients)
    assert_tree_same(tree.points, {"a": flat.points[:, 0], "b": (flat.points[:, 1],)})
    # A leaf that is a matrix is summed over all its entries.
    square = descend(
        lambda x: LOSSES["rosenbrock"](x.reshape(2)), START.reshape(1, 2), 0.01, 1e-4, STEPS
    )
    plain = descend(LOSSES["rosenbrock"], START, 0.01, 1e-4, STEPS)
    assert_same(square.hypergradients, plain.hypergradients)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"step_size": -0.1}, ValueError, "step_size must be at least 0, got -0.1"),
        ({"step_size": np.nan}, ValueError, "step_size must be finite, got nan"),
        ({"meta_step_size": -1.0}, ValueError, "meta_step_size must be at least 0, got -1.0"),
        ({"inner_steps": 0}, ValueError, "inner_steps must be .* at least 1, got 0"),
        ({"inner_steps": 1.5}, TypeError, "inner_steps must be an integer .* got 1.5"),
        ({"x0": jnp.array([np.inf, 0.0])}, ValueError, "x0 must be finite"),
        ({"loss": lambda x: x}, TypeError, "loss must return one number"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = {
        "loss": LOSSES["quadratic"],
        "x0": START,
        "step_size": 0.1,
        "meta_step_size": 0.0,
        "inner_steps": 3,
    }
    with pytest.raises(error, match=message):
        hypergradient_descent(**(arguments | change))
