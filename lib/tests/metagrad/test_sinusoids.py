"""Sinusoids: where the tasks are drawn from, and what their losses say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from metagrad_cases import assert_same

from metagrad.sinusoids import draw_sinusoids, sample_curves, sinusoid_family
from metagrad.small_networks import mlp
from metagrad.tasks import number_of_tasks, task

KEY = jax.random.key(5)
DATA = draw_sinusoids(KEY, 400, 7, 9)


def test_curves_and_points_are_uniform_over_the_ranges_of_the_paper():
    points = jnp.concatenate([DATA.inputs, DATA.query_inputs], axis=1)
    for values, low, high in (
        (DATA.amplitude, 0.1, 5.0),
        (DATA.phase, 0.0, np.pi),
        (points.ravel(), -5.0, 5.0),
    ):
        test = scipy.stats.kstest(np.asarray(values), scipy.stats.uniform(low, high - low).cdf)
        assert test.pvalue > 0.01
    assert abs(np.corrcoef(DATA.amplitude, DATA.phase)[0, 1]) < 0.15


def test_targets_lie_on_the_curves():
    a, p = (np.asarray(part)[:, None, None] for part in (DATA.amplitude, DATA.phase))
    assert_same(DATA.targets, a * np.sin(np.asarray(DATA.inputs) - p))
    assert_same(DATA.query_targets, a * np.sin(np.asarray(DATA.query_inputs) - p))
    assert DATA.inputs.shape == (400, 7, 1) and DATA.query_inputs.shape == (400, 9, 1)
    both = np.concatenate([DATA.inputs, DATA.query_inputs], axis=1)
    assert len(np.unique(both)) == both.size  # no point is in both sets


def test_a_key_gives_one_family_and_another_key_another():
    again, other = draw_sinusoids(KEY, 400, 7, 9), draw_sinusoids(jax.random.key(6), 400, 7, 9)
    for one, same, different in zip(DATA, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, different)


def test_the_losses_are_mean_squared_errors_of_the_network():
    network = mlp(1, (40, 40), 1, "relu")
    layers = network.init(jax.random.key(1))
    family = sinusoid_family(network.apply, DATA)
    assert number_of_tasks(family) == 400
    for i in (0, 399):
        one = task(family, i)
        for loss, inputs, targets in (
            (one.support, DATA.inputs[i], DATA.targets[i]),
            (one.query, DATA.query_inputs[i], DATA.query_targets[i]),
        ):
            errors = np.asarray(network.apply(layers, inputs)) - np.asarray(targets)
            assert_same(loss(layers), (errors**2).mean())


def test_the_network_that_knows_the_curve_has_no_loss():
    family = sinusoid_family(lambda w, x: w[0] * jnp.sin(x - w[1]), DATA)
    one = task(family, 3)
    knows = jnp.array([DATA.amplitude[3], DATA.phase[3]])
    assert float(one.support(knows)) == float(one.query(knows)) == 0.0
    assert float(one.query(knows + 0.1)) > 1e-4


def test_single_precision_is_kept():
    data = draw_sinusoids(KEY, 2, 3, 4, jnp.float32)
    assert {leaf.dtype for leaf in data} == {jnp.dtype("float32")}


def test_a_reader_may_move_the_curve():
    def figure(amplitude, phase):
        inputs = jnp.linspace(-5.0, 5.0, 6)[None, :, None]
        data = sample_curves(amplitude[None], phase[None], inputs, 3)
        family = sinusoid_family(lambda w, x: w * x, data)
        return task(family, 0).query(0.5)

    arguments = jnp.array(2.0), jnp.array(0.3)
    assert_same(jax.jit(figure)(*arguments), figure(*arguments))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: draw_sinusoids(3, 1), TypeError, "key must be one random key"),
        (lambda: draw_sinusoids(KEY, 0), ValueError, "tasks must be an integer of at least 1"),
        (lambda: draw_sinusoids(KEY, 1, 0), ValueError, "support_samples must be an integer"),
        (lambda: draw_sinusoids(KEY, 1, 1, 0), ValueError, "query_samples must be an integer"),
        (lambda: draw_sinusoids(KEY, 1, dtype=int), TypeError, "dtype must be floating-point"),
        (
            lambda: sample_curves(jnp.ones(2), jnp.ones(3), jnp.ones((2, 4, 1)), 2),
            ValueError,
            r"phase must have shape \(2,\)",
        ),
        (
            lambda: sample_curves(jnp.ones(2), jnp.ones(2), jnp.ones((2, 4)), 2),
            ValueError,
            r"inputs must have shape \(2, points, 1\)",
        ),
        (
            lambda: sample_curves(jnp.ones(2), jnp.ones(2), jnp.ones((2, 4, 1)), 4),
            ValueError,
            "support_samples must be less than the 4 points of a task, got 4",
        ),
        (
            lambda: task(sinusoid_family(lambda w, x: x[:, 0], DATA), 0).support(jnp.ones(1)),
            ValueError,
            r"what apply returns must have shape \(7, 1\), got shape \(7,\)",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
