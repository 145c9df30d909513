"""Runs, references and comparisons that the tests of the estimators share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from metagrad_cases import FEATURES, LABELS

from metagrad import make_run, meta_gradient, problems, tape
from metagrad.runs import estimate


def assert_tree_same(actual, expected, tolerance=1e-12, scale=None):
    """Leaves of one structure agree to `tolerance`, as a share of each leaf's largest number.

    `scale` takes the place of that number where the expected one is a small sum of large terms.
    """
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    scales = [None] * len(jax.tree.leaves(expected)) if scale is None else jax.tree.leaves(scale)
    for one, other, size in zip(
        jax.tree.leaves(actual), jax.tree.leaves(expected), scales, strict=True
    ):
        one, other = np.asarray(one), np.asarray(other)
        assert one.shape == other.shape
        assert np.all(np.isfinite(other))
        size = np.max(np.abs(other)) if size is None else float(size)
        assert np.max(np.abs(one - other)) <= tolerance * size


def assert_within(actual, expected, standard_error, factor=4.0):
    """Every entry lies within `factor` standard errors of the expected one."""
    for one, other, error in zip(
        *(jax.tree.leaves(tree) for tree in (actual, expected, standard_error)), strict=True
    ):
        assert np.all(np.asarray(error) > 0)
        assert np.all(np.abs(np.asarray(one) - np.asarray(other)) <= factor * np.asarray(error))


def plain_objective(loss, step, start, inner_steps, every_step=False):
    """F as a Python loop: what every estimator is about, with none of the library in it."""
    loss, step = jax.jit(loss), jax.jit(step)

    def objective(w):
        state = start(w) if callable(start) else start
        losses = []
        for t in range(1, inner_steps + 1):
            state = step(state, w, jnp.int32(t))
            losses.append(loss(state, w))
        return sum(losses) / inner_steps if every_step else losses[-1]

    return objective


def through_tape():
    """The tape as one more method."""

    def method(run, w, key):
        made = tape.tape(run, w)
        states = jax.tree.map(lambda leaf: leaf[1:], made.states)
        losses = jax.vmap(lambda state: run.loss(state, w))(states)
        return estimate(jnp.mean(losses) if run.every_step else losses[-1], made.gradient, made)

    return method


class Case(NamedTuple):
    """The arguments of `meta_gradient`, and of `make_run`."""

    loss: object
    step: object
    w: object
    start: object
    inner_steps: int

    def run(self, every_step=False):
        return make_run(*self, every_step=every_step)

    def estimate(self, method=None, key=None, every_step=False):
        return meta_gradient(*self, method=method, key=key, every_step=every_step)


def _rosenbrock():
    """Heavy ball on a loss that is not convex: a dictionary as state, two scalars as w."""
    loss = problems.rosenbrock(b=10.0)

    def step(state, w, t):
        move = w["momentum"] * state["move"] - w["rate"] * jax.grad(loss)(state["point"])
        return {"point": state["point"] + move, "move": move}

    start = {"point": jnp.array([-1.2, 1.0]), "move": jnp.zeros(2)}
    w = {"rate": jnp.array(0.01), "momentum": jnp.array(0.7)}
    return Case(lambda state, w: loss(state["point"]), step, w, start, 8)


def _network(p, x):
    hidden = jnp.tanh(jnp.outer(x, p["in"]) + p["bias"][None, :])
    return hidden @ p["out"]


def _maml():
    """A small network trained from a start that is itself learned, with a rate per layer.

    The loss depends on w directly as well: a penalty on the start.
    """
    inputs = jnp.linspace(-2.0, 2.0, 9)
    targets = jnp.sin(2.0 * inputs)

    def misfit(p, part):
        return jnp.mean((_network(p, inputs[part]) - targets[part]) ** 2)

    def step(p, w, t):
        slopes = jax.grad(misfit)(p, slice(0, 9, 2))
        return jax.tree.map(lambda x, rate, g: x - rate * g, p, w["rates"], slopes)

    def loss(p, w):
        penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(w["start"]))
        return misfit(p, slice(1, 9, 2)) + 0.01 * penalty

    rng = np.random.default_rng(3)
    start = {name: jnp.asarray(rng.normal(size=4)) for name in ("in", "bias", "out")}
    rates = {"in": jnp.array(0.1), "bias": jnp.array(0.05), "out": jnp.array(0.2)}
    return Case(loss, step, {"start": start, "rates": rates}, lambda w: w["start"], 5)


def _logistic():
    """A schedule, one rate for each t, and a ridge; the start depends on w, too."""
    training = problems.logistic(FEATURES[:15], LABELS[:15])
    validation = problems.logistic(FEATURES[15:], LABELS[15:])

    def step(x, w, t):
        schedule, ridge = w
        return x - schedule[t - 1] * (jax.grad(training)(x) + jnp.exp(ridge) * x)

    w = (jnp.linspace(0.9, 0.3, 7), jnp.array([-1.0, -2.0]))
    return Case(lambda x, w: validation(x), step, w, lambda w: jnp.sin(w[1]), 7)


CASES = {"rosenbrock": _rosenbrock(), "maml": _maml(), "logistic": _logistic()}
