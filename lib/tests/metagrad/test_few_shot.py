"""Few-shot episodes: who is drawn, what the labels mean, and the loss."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same

import livejax
from metagrad.few_shot import (
    accuracy,
    cross_entropy,
    draw_episode,
    draw_episodes,
    few_shot_family,
    make_pool,
)
from metagrad.small_networks import mlp
from metagrad.tasks import number_of_tasks, task

KEY = jax.random.key(2)
WAYS, SHOTS, QUERIES = 3, 2, 4
# Seven classes of 6 to 12 members in mixed order; an input is its example's number.
TRUE = np.random.default_rng(0).permutation(np.repeat(np.arange(7) * 10, range(6, 13)))
POOL = make_pool(jnp.arange(float(len(TRUE)))[:, None], TRUE)
DRAWN = draw_episodes(KEY, POOL, 600, WAYS, SHOTS, QUERIES)


def places(inputs):
    return np.asarray(inputs)[..., 0].astype(int)


def test_a_pool_lists_the_members_of_each_class():
    for row, (count, members) in enumerate(zip(POOL.counts, POOL.members, strict=True)):
        expected = np.flatnonzero(TRUE == row * 10)
        assert int(count) == len(expected) == row + 6
        np.testing.assert_array_equal(members[: len(expected)], expected)


def test_labels_name_the_classes_of_the_episode():
    for inputs, labels in (
        (DRAWN.inputs, DRAWN.labels),
        (DRAWN.query_inputs, DRAWN.query_labels),
    ):
        classes = np.take_along_axis(np.asarray(DRAWN.classes), np.asarray(labels), axis=1)
        np.testing.assert_array_equal(TRUE[places(inputs)], classes * 10)
    np.testing.assert_array_equal(DRAWN.labels[5], np.repeat(range(WAYS), SHOTS))
    np.testing.assert_array_equal(DRAWN.query_labels[5], np.repeat(range(WAYS), QUERIES))


def test_classes_are_distinct_and_support_and_query_disjoint():
    assert all(len(set(row)) == WAYS for row in DRAWN.classes.tolist())
    both = np.concatenate([places(DRAWN.inputs), places(DRAWN.query_inputs)], axis=1)
    assert all(len(set(row)) == WAYS * (SHOTS + QUERIES) for row in both.tolist())


def test_every_order_of_classes_and_every_member_is_equally_likely():
    """Counts of 600 episodes within five standard deviations of their means."""
    orders = Counter(map(tuple, np.argsort(np.asarray(DRAWN.classes), axis=1).tolist()))
    mean = 600 / 6
    assert set(orders) == set(itertools.permutations(range(WAYS)))
    assert max(abs(count - mean) for count in orders.values()) < 5 * np.sqrt(mean)
    named = np.bincount(np.asarray(DRAWN.classes).ravel(), minlength=7)
    assert np.abs(named - 600 * 3 / 7).max() < 5 * np.sqrt(600 * 3 / 7)
    for inputs, of_each in ((DRAWN.inputs, SHOTS), (DRAWN.query_inputs, QUERIES)):
        counts = np.bincount(places(inputs).ravel(), minlength=len(TRUE))
        members = np.asarray(POOL.counts)[TRUE // 10]
        expected = 600 * 3 / 7 * of_each / members
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_a_key_gives_one_family_and_another_key_another():
    again = draw_episodes(KEY, POOL, 600, WAYS, SHOTS, QUERIES)
    other = draw_episodes(jax.random.key(3), POOL, 600, WAYS, SHOTS, QUERIES)
    for one, same in zip(DRAWN, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(DRAWN.inputs, other.inputs)
    assert not np.array_equal(DRAWN.classes, other.classes)


def test_an_episode_draws_the_same_inside_of_jit():
    jitted = jax.jit(lambda key, pool: draw_episode(key, pool, WAYS, SHOTS, QUERIES))
    plain = draw_episode(KEY, POOL, WAYS, SHOTS, QUERIES)
    jax.tree.map(np.testing.assert_array_equal, jitted(KEY, POOL), plain)


def test_inputs_keep_their_shape_and_dtype():
    pool = make_pool(jnp.zeros((6, 4, 2), jnp.float32), [0, 1, 0, 1, 0, 1])
    episode = draw_episode(KEY, pool, 2, 1, 2)
    assert episode.inputs.shape == (2, 4, 2) and episode.query_inputs.shape == (4, 4, 2)
    assert episode.inputs.dtype == jnp.float32
    assert episode.labels.dtype == episode.classes.dtype == jnp.int32


def test_the_family_has_the_cross_entropies_of_the_network():
    network = mlp(1, (3,), WAYS)
    layers = network.init(jax.random.key(1))
    family = few_shot_family(network.apply, DRAWN)
    assert number_of_tasks(family) == 600
    one = task(family, 7)
    for loss, inputs, labels in (
        (one.support, DRAWN.inputs[7], DRAWN.labels[7]),
        (one.query, DRAWN.query_inputs[7], DRAWN.query_labels[7]),
    ):
        logits = np.asarray(network.apply(layers, inputs))
        logits = logits - logits.max(axis=1, keepdims=True)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert_same(loss(layers), -np.log(chances[np.arange(len(labels)), labels]).mean(), 1e-11)


def test_large_logits_leave_the_loss_and_its_gradient_finite():
    logits, labels = jnp.array([[1e4, 0.0], [0.0, 1e4]]), jnp.array([0, 0])
    assert float(cross_entropy(logits, labels)) == 5e3
    slopes = jax.grad(cross_entropy)(logits, labels)
    np.testing.assert_allclose(slopes, [[0, 0], [-0.5, 0.5]])


def test_accuracy_counts_and_calls_nan_wrong():
    logits = jnp.array([[1.0, 2.0, 0.0], [5.0, 4.0, 0.0], [jnp.nan, 9.0, 0.0], [0.0, 0.0, 0.0]])
    assert float(accuracy(logits, jnp.array([1, 1, 1, 0]))) == 0.5
    assert accuracy(logits.astype(jnp.float32), jnp.array([1, 1, 1, 1])).dtype == jnp.float32


def test_livejax_compiles_an_episode_and_a_step_of_adapting():
    network = mlp(1, (2,), 2)

    def figure(seed, layers):
        episode = draw_episode(jax.random.key(seed), POOL, 2, 1, 1)
        family = few_shot_family(network.apply, jax.tree.map(lambda leaf: leaf[None], episode))
        one = task(family, 0)
        slopes = jax.grad(one.support)(layers)
        adapted = jax.tree.map(lambda x, g: x - 0.1 * g, layers, slopes)
        return one.query(adapted), accuracy(
            network.apply(adapted, episode.query_inputs), episode.query_labels
        )

    assert livejax.compile(figure, jnp.array(3, jnp.int32), network.init(KEY)).source


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: make_pool(jnp.ones((3, 2)), np.ones(3)),
            TypeError,
            "labels must be whole numbers",
        ),
        (
            lambda: make_pool(jnp.ones((3, 2)), np.ones(2, int)),
            ValueError,
            "inputs and labels",
        ),
        (lambda: make_pool(jnp.ones(()), np.ones(1, int)), ValueError, "inputs and labels"),
        (
            lambda: jax.jit(lambda labels: make_pool(jnp.ones(3), labels))(jnp.arange(3)),
            TypeError,
            "labels must be known",
        ),
        (lambda: draw_episode(3, POOL, 2, 1, 1), TypeError, "key must be one random key"),
        (lambda: draw_episode(KEY, POOL, 8, 1, 1), ValueError, "ways must be at most 7"),
        (lambda: draw_episode(KEY, POOL, 2, 0, 1), ValueError, "shots must be an integer"),
        (lambda: draw_episode(KEY, POOL, 2, 1, 0), ValueError, "queries must be an integer"),
        (
            lambda: draw_episode(KEY, POOL, 2, 3, 4),
            ValueError,
            r"shots \+ queries must be at most 6, .* got 3 \+ 4",
        ),
        (lambda: draw_episodes(KEY, POOL, 0, 2, 1, 1), ValueError, "tasks must be an integer"),
        (
            lambda: cross_entropy(jnp.ones((2, 3)), jnp.array([0, 3])),
            ValueError,
            "labels must lie between 0 and 2",
        ),
        (lambda: accuracy(jnp.ones(3), jnp.array([0])), ValueError, "logits must have shape"),
        (lambda: cross_entropy(jnp.ones((2, 3)), jnp.ones(2)), TypeError, "labels must be whole"),
        (
            lambda: cross_entropy(jnp.ones((2, 3)), jnp.array([0])),
            ValueError,
            r"labels must have shape \(2,\)",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
