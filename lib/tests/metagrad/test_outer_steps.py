"""Plain, clipped and normalized steps against loops in NumPy, on trees, and together with optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from metagrad_cases import assert_same

from metagrad.outer_steps import (
    at_most,
    average_from_first,
    clipped,
    normalized,
    plain,
    unit_norm,
)

# A sequence of gradients of every length, with one that is 0.
GRADIENTS = np.random.default_rng(0).normal(size=(12, 5)) * np.geomspace(0.01, 30, 12)[:, None]
GRADIENTS[4] = 0.0


def tree(row):
    return {"a": row[:2].reshape(1, 2), "b": (row[2:],)}


def run(transformation, gradients=GRADIENTS):
    """All updates, in one compiled scan over the gradients as trees."""

    def step(state, row):
        updates, state = transformation.update(tree(row), state)
        return state, updates

    start = transformation.init(tree(jnp.zeros_like(jnp.asarray(gradients[0]))))
    updates = jax.jit(lambda rows: jax.lax.scan(step, start, rows)[1])(jnp.asarray(gradients))
    return np.concatenate([np.reshape(leaf, (12, -1)) for leaf in jax.tree.leaves(updates)], 1)


def test_plain_is_gradient_descent():
    assert_same(run(plain(0.3)), -0.3 * GRADIENTS)


@pytest.mark.parametrize("longest", [1.0, np.inf])
def test_clipped_steps_have_the_smaller_of_two_lengths(longest):
    sizes = np.linalg.norm(GRADIENTS, axis=1)
    with np.errstate(divide="ignore"):
        expected = -np.minimum(0.5, longest / sizes)[:, None] * GRADIENTS
    assert_same(run(clipped(0.5, longest)), expected)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_normalized_steps_have_one_length(momentum):
    mean, expected = GRADIENTS[0], []
    for gradient in GRADIENTS:
        mean = momentum * mean + (1 - momentum) * gradient
        size = np.linalg.norm(mean)
        expected.append(-0.2 * mean / size if size > 0 else 0.0 * mean)
    made = run(normalized(0.2, momentum=momentum))
    assert_same(made, expected)
    lengths = np.linalg.norm(made, axis=1)
    moving = np.arange(12) != 4 if momentum == 0.0 else slice(None)
    assert_same(lengths[moving], np.full_like(lengths[moving], 0.2))
    if momentum == 0.0:
        assert lengths[4] == 0.0  # 0/0 is 0


def test_the_average_has_weights_that_add_up_to_one():
    made = run(average_from_first(0.7))
    for t in range(12):
        weights = 0.3 * 0.7 ** np.arange(t, -1.0, -1.0)
        weights[0] = 0.7**t
        assert_same(np.sum(weights), 1.0)
        assert_same(made[t], weights @ GRADIENTS[: t + 1])
    # optax's two averages are others from the second gradient on.
    with jax.numpy_dtype_promotion("standard"):
        for debias in (True, False):
            assert not np.allclose(run(optax.ema(0.7, debias=debias))[1], made[1])


def test_lengths_beyond_the_squares_of_floats():
    for dtype, size in ((jnp.float64, 1e200), (jnp.float32, 1e30), (jnp.float64, 1e-200)):
        gradient = jnp.array([0.0, -size], dtype)
        for transformation, expected in (
            (clipped(0.5, 2.0), min(2.0, 0.5 * size)), (normalized(2.0), 2.0),
            (at_most(3.0), -min(3.0, size)), (unit_norm(), -1.0),
        ):  # fmt: skip
            made = transformation.update(gradient, transformation.init(gradient))[0]
            assert made.dtype == dtype
            assert_same(made, [0.0, expected], 1e-6)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("step", [clipped(0.5, 2.0), normalized(2.0, momentum=0.5)])
def test_gradients_that_are_not_finite_do_not_look_like_steps(step, bad):
    gradient = jnp.array([1.0, bad])
    assert np.isnan(step.update(gradient, step.init(gradient))[0]).any()


def test_they_chain_with_optax():
    decaying = optax.chain(
        average_from_first(0.5), unit_norm(),
        optax.scale_by_learning_rate(optax.exponential_decay(1.0, 1, 0.5)),
    )  # fmt: skip
    lengths = np.linalg.norm(run(decaying), axis=1)
    assert_same(lengths, 0.5 ** np.arange(12.0))
    # Weight decay before, Adam in place of the average.
    adam = optax.chain(
        optax.add_decayed_weights(0.1), optax.scale_by_adam(), unit_norm(), plain(2.0)
    )
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = adam.update(jnp.arange(3.0), adam.init(jnp.ones(3)), jnp.ones(3))
    assert_same(np.linalg.norm(updates), 2.0)


def test_traced_numbers():
    def made(eta, longest, momentum):
        gradient = jnp.array([3.0, 4.0])
        steps = clipped(eta, longest), normalized(eta, momentum=momentum), plain(eta)
        return [step.update(gradient, step.init(gradient))[0] for step in steps]

    found = jax.jit(made)(0.5, 1.0, 0.9)
    for one, other in zip(found, made(0.5, 1.0, 0.9), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plain(0.0), r"outer_step_size must be positive, got 0.0"),
        (lambda: clipped(-1.0, 1.0), r"outer_step_size must be positive, got -1.0"),
        (lambda: clipped(1.0, 0.0), r"longest_step must be positive, got 0.0"),
        (lambda: clipped(1.0, np.nan), r"longest_step must be finite, got nan"),
        (lambda: at_most(-1.0), r"limit must be positive, got -1.0"),
        (lambda: normalized(0.0), r"outer_step_size must be positive, got 0.0"),
        (lambda: normalized(1.0, momentum=1.0), r"momentum must be below 1, got 1.0"),
        (lambda: average_from_first(-0.1), r"momentum must lie between 0 and 1, got -0.1"),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
