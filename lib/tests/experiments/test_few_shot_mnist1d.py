"""Few-shot meta-training: its parts on made-up tasks, and one tiny run of the whole."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import experiments
from experiments.few_shot_mnist1d import (
    SETTINGS,
    UNTRAINED,
    WHOLE,
    Inner,
    Problem,
    Training,
    compare,
    cosine,
    family_of,
    finite_mean,
    make_methods,
    optimizer,
    run,
    study,
    summary,
    trainer,
)
from metagrad.few_shot import draw_episodes, make_pool
from metagrad.small_networks import conv_net, mlp
from metagrad.task_estimates import task_estimate
from metagrad.tasks import Task, task

TRAINING = Training(
    meta_steps=4,
    batch=3,
    outer_step_size=0.1,
    momentum=0.9,
    checkpoints=2,
    test_tasks=4,
    probe_tasks=2,
    probe_steps=3,
    probe_cg_steps=2,
)
POOL = make_pool(
    jnp.asarray(np.random.default_rng(0).normal(size=(30, 6)), jnp.float32), np.arange(30) % 3
)
PROBLEM = Problem(mlp(6, (3,), 2, dtype=jnp.float32), POOL, POOL, (2, 1, 3))


def test_all_methods_of_the_settings_exist_and_have_the_shape_of_theta():
    available = make_methods(Inner(1.0, 0.1, 2), **SETTINGS["options"])
    assert set(SETTINGS["methods"]) == set(available) >= WHOLE
    bowl = Task(lambda x: jnp.sum(x**2), lambda x: jnp.sum(x))
    theta = jnp.ones(2, jnp.float32)
    for method in available.values():
        gradient = jax.eval_shape(lambda x: method(bowl, x).gradient, theta)  # noqa: B023
        assert (gradient.shape, gradient.dtype) == ((2,), jnp.float32)
    pairs = SETTINGS["comparisons"]
    assert {name for pair in pairs for name in pair} <= set(available)
    assert SETTINGS["cases"]["C"]["seeds"][1] >= 3


def test_a_whole_task_is_the_mean_over_all_of_its_examples():
    episodes = draw_episodes(jax.random.key(1), POOL, 2, *PROBLEM.episode)
    theta = PROBLEM.network.init(jax.random.key(2))
    split, whole = (task(family_of(PROBLEM, episodes, choice), 1) for choice in (False, True))
    # One support example of each class, and three query examples.
    expected = (split.support(theta) + 3 * split.query(theta)) / 4
    assert float(whole.support(theta)) == pytest.approx(float(expected), rel=1e-5)
    assert float(whole.query(theta)) == float(split.query(theta))


def test_tasks_that_are_not_finite_are_left_out():
    gradients = {
        "a": jnp.array([[1.0, 2.0], [jnp.nan, 5.0], [3.0, 6.0]]),
        "b": jnp.array([1.0, 1.0, 2.0]),
    }
    mean, good = finite_mean(gradients)
    assert good.tolist() == [True, False, True]
    assert mean["a"].tolist() == [2.0, 4.0] and float(mean["b"]) == 1.5
    nothing, good = finite_mean({"a": jnp.full((2, 3), jnp.inf)})
    assert nothing["a"].tolist() == [0.0] * 3 and not good.any()


def test_cosines_are_over_the_tasks_that_both_know():
    one = {"a": jnp.array([[1.0, 0.0], [jnp.nan, 0.0], [1.0, 0.0]])}
    other = {"a": jnp.array([[1.0, 1.0], [7.0, 7.0], [-9.0, jnp.inf]])}
    assert cosine(one, other) == pytest.approx(np.sqrt(0.5), abs=1e-3)
    assert cosine(one, {"a": jnp.full((3, 2), jnp.nan)}) is None
    assert cosine(one, {"a": jnp.zeros((3, 2))}) is None


def made_up_method(bad):
    """The gradient of the query loss at theta; infinite where an input of the task is negative."""

    def method(task, theta):
        value, gradient = jax.value_and_grad(task.query)(theta)
        spoiled = bad & (value > 0.7)
        gradient = jax.tree.map(lambda leaf: jnp.where(spoiled, jnp.inf, leaf), gradient)
        zero = jnp.zeros((), jnp.float32)
        return task_estimate(value, gradient, theta, zero, zero)

    return method


def test_meta_training_is_normalized_momentum_on_batch_after_batch():
    """A plain loop takes the same path, with some tasks spoiled and counted."""
    theta = PROBLEM.network.init(jax.random.key(3))
    keys = jax.random.split(jax.random.key(4), 4)
    stretch = trainer(PROBLEM, made_up_method(True), False, TRAINING)
    found, _, failed = stretch(theta, optimizer(TRAINING).init(theta), keys)
    flat, unravel = ravel_pytree(theta)
    flat, mean, skipped = np.asarray(flat, float), None, 0
    of_task = jax.jit(
        lambda flat, episodes, i: jax.value_and_grad(
            lambda w: family_of(PROBLEM, episodes).query(
                unravel(w), jax.tree.map(lambda leaf: leaf[i], episodes)
            )
        )(flat)
    )
    for t, key in enumerate(keys):
        episodes = draw_episodes(key, POOL, 3, *PROBLEM.episode)
        pairs = [of_task(jnp.asarray(flat, jnp.float32), episodes, i) for i in range(3)]
        kept = [np.asarray(slope, float) for value, slope in pairs if not value > 0.7]
        skipped += 3 - len(kept)
        gradient = np.mean(kept, axis=0) if kept else np.zeros_like(flat)
        mean = gradient if mean is None else 0.9 * mean + 0.1 * gradient
        length = np.linalg.norm(mean)
        flat = flat - 0.1 * (1 - t / 4) * mean / (length if length else 1)
    assert 0 < skipped < 12 and int(failed) == skipped
    np.testing.assert_allclose(ravel_pytree(found)[0], flat, atol=1e-4)


def test_intervals_and_verdicts_over_seeds():
    table = summary([[0.5, 0.6], [0.7, 0.6], [0.6, 0.6]])
    assert table[0][0] == pytest.approx(0.6) and table[0][1] < 0.6 < table[0][2]
    assert table[1] == [0.6, 0.6, 0.6]
    assert summary([[0.5, 0.6]]) == [[0.5, None, None], [0.6, None, None]]
    assert compare([0.5, 0.6, 0.7], [0.4, 0.5, 0.61])["verdict"] == "better"
    assert compare([0.5, 0.6, 0.7], [0.6, 0.5, 0.7])["verdict"] == "tie"
    assert compare([0.4, 0.5, 0.61], [0.5, 0.6, 0.7])["verdict"] == "worse"
    assert compare([0.5], [0.25]) == {"difference": [0.25, None, None], "verdict": None}


def test_checkpoints_that_do_not_divide_the_steps_are_refused():
    training = TRAINING._replace(meta_steps=5)
    with pytest.raises(ValueError, match=r"meta_steps must be a positive multiple .* 5 and 2"):
        study(PROBLEM, Inner(1.0, 0.1, 2), range(1), training, [], [], SETTINGS["options"])


def test_a_tiny_run_has_everything_in_it():
    methods = ["FO-MAML", "Reptile"]
    result = run(
        episode={"ways": 3, "shots": 1, "queries": 2},
        network={"channels": 2, "depth": 1},
        cases={
            "tiny": {"regularizer": 1.0, "inner_step_size": 0.1, "inner_steps": 2, "seeds": [0, 2]}
        },
        training=TRAINING._asdict(),
        options=SETTINGS["options"],
        methods=methods,
        comparisons=[["FO-MAML", "Reptile"], ["MAML", "Reptile"]],
        stored={"methods": ["FO-MAML", "MAML"], "episodes": 2},
    )
    case = result["cases"]["tiny"]
    assert case["steps"] == [0, 2, 4] and list(case["methods"]) == [UNTRAINED, *methods]
    before = [row[0] for row in case["methods"][UNTRAINED]["accuracy_of_seeds"]]
    for name in methods:
        entry = case["methods"][name]
        assert np.shape(entry["accuracy"]) == (3, 3)
        for part in ("accuracy_of_seeds", "cosine_to_implicit", "cosine_to_unrolled"):
            assert np.shape(entry[part]) == (2, 3)
        # All methods begin at one start; they do not stay there.
        np.testing.assert_allclose(
            [row[0] for row in entry["accuracy_of_seeds"]], before, rtol=1e-3
        )
        assert entry["share_not_finite"] == [0.0, 0.0]
    assert [(x["first"], x["second"]) for x in case["comparisons"]] == [("FO-MAML", "Reptile")]
    network = conv_net(40, 2, 1, 3, zero_head=True, dtype=jnp.float32)
    first = network.init(jax.random.split(jax.random.key(0), 3)[0])
    assert set(result["starts"]) == {UNTRAINED, "FO-MAML"}
    np.testing.assert_allclose(result["starts"][UNTRAINED], ravel_pytree(first)[0], rtol=1e-3)
    assert not np.allclose(result["starts"]["FO-MAML"], result["starts"][UNTRAINED], atol=1e-3)
    assert len(result["episodes"]) == 2
    assert np.shape(result["episodes"][0]["inputs"]) == (3, 40)
    assert result["episodes"][0]["query_labels"] == [0, 0, 1, 1, 2, 2]
    json.dumps(result, allow_nan=False)


def test_what_the_chapter_says_of_the_stored_result():
    case = experiments.load("few_shot_mnist1d")["cases"]["C"]
    methods = case["methods"]
    last = {name: entry["accuracy"][-1] for name, entry in methods.items()}
    verdicts = {(pair["first"], pair["second"]): pair["verdict"] for pair in case["comparisons"]}
    forward, symmetric = "FO-B-MAML, forward", "FO-B-MAML, symmetric"
    assert verdicts[symmetric, "MAML"] == verdicts[symmetric, forward] == "tie"
    for name in (forward, symmetric, "MAML"):
        assert verdicts[name, "FO-MAML"] == "better"
        assert 0.035 < last[name][0] - last["FO-MAML"][0] < 0.055  # four to five points
    assert verdicts[symmetric, "iMAML"] == "better"
    # Implicit MAML: estimates left out with every seed, and a mean that has been higher before.
    assert min(methods["iMAML"]["share_not_finite"]) > 0
    means = [row[0] for row in methods["iMAML"]["accuracy"]]
    assert 0 < means.index(max(means)) < len(means) - 1
    for name in set(SETTINGS["methods"]) - {"iMAML"}:
        assert set(methods[name]["share_not_finite"]) == {0}
    widths = {name: high - low for name, (_, low, high) in last.items()}
    assert widths["HF-MAML"] == max(widths[name] for name in SETTINGS["methods"])
    for name in WHOLE:  # their intervals meet that of no meta-training, and none of the others'
        assert last[name][1] < last[UNTRAINED][2]
        rest = set(SETTINGS["methods"]) - WHOLE
        assert all(last[name][2] < last[other][1] for other in rest)
    steps = SETTINGS["cases"]["C"]["inner_steps"], SETTINGS["cases"]["C"]["regularizer"]
    assert steps == (30, 1.0) and last[UNTRAINED][1] > 1 / SETTINGS["episode"]["ways"]
