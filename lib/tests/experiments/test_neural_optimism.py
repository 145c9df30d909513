"""The stored result, and the code behind it: what is paid for, what is paired, what is claimed."""

import copy
import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import experiments
from experiments.common import datasets, networks
from experiments.common.training import COST, train, trainer
from experiments.neural_optimism import SETTINGS, candidates, compare, run, summary, verdict

RESULT = experiments.load("neural_optimism")
NAMES = list(SETTINGS["data_sets"])
PROTOCOL = {name: SETTINGS[name] for name in ("batch_size", "checkpoints", "momentum")}
COUNT = SETTINGS["seeds"][1]
CUT = int(scipy.stats.binom.ppf(0.025, COUNT, 0.5)) - 1  # the interval of a median starts here
STUDENT = scipy.stats.t.ppf(0.975, COUNT - 1)


@pytest.fixture
def data_packages():
    # Modules, not packages: to import them draws from the global generator, and they stay imported.
    for package in ("sklearn.datasets", "mnist1d.data"):
        pytest.importorskip(package, reason="the data sets are in the extra `experiments`")


def last_losses(method):
    return np.array([np.inf if loss is None else loss for loss in method["last_train_loss"]])


def comparison(table, first, second):
    (found,) = (c for c in table["comparisons"] if (c["first"], c["second"]) == (first, second))
    return found


# The stored result.


@pytest.mark.parametrize("name", NAMES)
def test_the_protocol_is_the_one_that_was_asked_for(name):
    """Ten seeds or more, ten thousand parameters or more, five checkpoints or more."""
    table = RESULT[name]
    assert SETTINGS["seeds"][1] >= 10
    assert table["network_parameters"] >= 10_000
    assert len(table["gradients"]) >= 5
    assert table["gradients"][-1] == SETTINGS["data_sets"][name]["gradients"]
    first, count = SETTINGS["tuning_seeds"]
    assert not set(range(first, first + count)) & set(range(*SETTINGS["seeds"]))
    tried = {method: entry["candidates"] for method, entry in table["methods"].items()}
    assert len(tried["SGD"]) == len(tried["momentum"]) == len(tried["Adam"])
    for learned in ("meta-gradient", "bootstrapped"):
        assert len(tried["SGD"]) >= len(tried[learned])
        assert {initial for initial, _ in tried[learned]} < {step for (step,) in tried["SGD"]}
    for ending in ("", ", small start"):
        assert tried[f"bootstrapped{ending}"] == tried[f"meta-gradient{ending}"]


@pytest.mark.parametrize("name", NAMES)
def test_the_chosen_candidate_has_the_best_validation_accuracy(name):
    for method in RESULT[name]["methods"].values():
        best = int(np.argmax(method["validation_accuracies"]))
        scores = np.array(method["validation_accuracies"])
        chosen = method["candidates"].index(method["chosen"])
        assert scores[chosen] == scores[best]


@pytest.mark.parametrize("name", NAMES)
def test_the_last_intervals_follow_from_the_seeds(name):
    for method in RESULT[name]["methods"].values():
        accuracy = np.array(method["last_test_accuracy"])
        half = STUDENT * accuracy.std(ddof=1) / len(accuracy) ** 0.5
        expected = accuracy.mean() + np.array([0, -half, half])
        np.testing.assert_allclose(method["test_accuracy"][-1], expected, rtol=1e-4)
        losses = last_losses(method)
        assert method["blown_up"] == np.isinf(losses).sum()
        assert (accuracy[np.isinf(losses)] == 0).all()
        median, low, high = method["train_loss"][-1]
        assert median == pytest.approx(np.median(losses), rel=1e-3)
        np.testing.assert_allclose([low, high], np.sort(losses)[[CUT, -1 - CUT]], rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_differences_are_paired_and_their_verdicts_follow(name):
    table = RESULT[name]
    for found in table["comparisons"]:
        one, other = (table["methods"][found[which]] for which in ("first", "second"))
        entry = found["equal_gradients"]
        difference = np.subtract(one["last_test_accuracy"], other["last_test_accuracy"])
        half = STUDENT * difference.std(ddof=1) / difference.size**0.5
        mean, low, high = entry["test_accuracy"]["checkpoints"][-1]
        expected = difference.mean() + np.array([0, -half, half])
        np.testing.assert_allclose([mean, low, high], expected, atol=2e-5)
        sign = {"better": low > 0, "worse": high < 0, "tie": low <= 0 <= high}
        assert sign[entry["test_accuracy"]["verdict_last"]]
        with np.errstate(invalid="ignore"):
            ratios = np.nan_to_num(last_losses(one) / last_losses(other), nan=1.0, posinf=np.inf)
        median, low, high = entry["train_loss"]["checkpoints"][-1]
        # Exactly half way between the two ratios in the middle for the logarithm, here about so.
        middle = np.sort(ratios)[ratios.size // 2 - 1 : ratios.size // 2 + 1]
        assert middle[0] * 0.999 <= median <= middle[1] * 1.001
        np.testing.assert_allclose([low, high], np.sort(ratios)[[CUT, -1 - CUT]], rtol=1e-3)
        sign = {"better": high < 1, "worse": low > 1, "tie": low <= 1 <= high}
        assert sign[entry["train_loss"]["verdict_last"]]


@pytest.mark.parametrize("name", NAMES)
def test_equal_steps_are_compared_where_a_step_of_the_first_costs_twice(name):
    table = RESULT[name]
    found = comparison(table, "bootstrapped", "meta-gradient")
    one, other = table["methods"]["bootstrapped"], table["methods"]["meta-gradient"]
    assert (one["cost"], other["cost"]) == (2, 1)
    for k, row in enumerate(found["equal_steps"]["test_accuracy"]["checkpoints"]):
        expected = one["test_accuracy"][2 * k + 1][0] - other["test_accuracy"][k][0]
        assert row[0] == pytest.approx(expected, abs=2e-5)
    assert "equal_steps" not in comparison(table, "meta-gradient", "SGD")


def test_a_fresh_seed_gives_what_was_stored(data_packages):
    """Roughly: rounding differs between machines, and training amplifies it."""
    options, stored = SETTINGS["data_sets"]["digits"], RESULT["digits"]["methods"]["SGD"]
    found = trainer("sgd", "digits", options, **PROTOCOL)([(stored["chosen"], 0)])[0]
    assert found[-1, 0] == pytest.approx(stored["last_test_accuracy"][0], abs=0.02)
    assert found[-1, 1] == pytest.approx(stored["last_train_loss"][0], rel=0.3)


# The training.


def tiny_problem(batches):
    """A network of two layers on random data, with the mini-batches given in advance."""
    network = networks.dense(4, [5], 10)
    rng = np.random.default_rng(1)
    inputs = jnp.asarray(rng.normal(size=(batches, 8, 4)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 10, size=(batches, 8)), jnp.int32)
    start = network.draw(jax.random.key(3))
    return networks.cross_entropy(network), start, lambda t: (inputs[t], labels[t])


def flat(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize(("kind", "ahead"), [("meta-gradient", 0), ("bootstrapped", 1)])
def test_the_meta_learners_need_no_more_gradients_than_they_are_charged(kind, ahead):
    """A plain loop that keeps ∇f(x_t; batch t + 1) takes the same path and counts its gradients."""
    checkpoints, each = 3, 4
    steps = checkpoints * each
    loss, start, sample = tiny_problem(steps + ahead + 2)
    initial, meta = 0.1, 0.05
    count = 0

    def gradient(layers, t):
        nonlocal count
        count += 1
        return jax.grad(loss)(layers, sample(t))

    layers, u = start, jax.tree.map(lambda leaf: jnp.full_like(leaf, np.log(initial)), start)
    first = second = jax.tree.map(jnp.zeros_like, u)
    kept, paid = [], []
    here = gradient(layers, 1)
    for t in range(1, steps + 1):
        layers = jax.tree.map(lambda x, u, g: x - jnp.exp(u) * g, layers, u, here)
        kept.append(flat(layers))
        paid.append(count)
        if t == steps:
            break
        after = gradient(layers, t + 1)  # kept for the next step
        toward = after  # x_t minus the target
        if ahead:
            there = jax.tree.map(lambda x, u, g: x - jnp.exp(u) * g, layers, u, after)
            beyond = gradient(there, t + 2)
            toward = jax.tree.map(lambda u, g, b: jnp.exp(u) * g + b, u, after, beyond)
        slope = jax.tree.map(lambda u, g, v: -jnp.exp(u) * g * v, u, here, toward)
        first = jax.tree.map(lambda m, s: 0.9 * m + 0.1 * s, first, slope)
        second = jax.tree.map(lambda m, s: 0.999 * m + 0.001 * s**2, second, slope)
        u = jax.tree.map(
            lambda u, m, v, t=t: (
                u - meta * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
            ),
            u,
            first,
            second,
        )
        here = after
    found = train(
        kind,
        (initial, meta),
        loss,
        start,
        sample,
        flat,
        gradients=steps * COST[kind],
        checkpoints=checkpoints,
        momentum=0.9,
    )
    np.testing.assert_allclose(found, jnp.stack(kept[each - 1 :: each]), rtol=2e-3, atol=2e-4)
    assert abs(found[-1] - flat(start)).max() > 0.05  # it did go somewhere
    charged = COST[kind] * np.arange(1, steps + 1)
    assert (np.array(paid) <= charged).all() and paid[-1] > charged[-1] - COST[kind]


@pytest.mark.parametrize("kind", COST)
def test_more_gradients_only_prolong_a_run(kind):
    """The first checkpoint of a run of two is the run that spends half as much."""
    loss, start, sample = tiny_problem(40)
    options = {"momentum": 0.9}
    arguments = (kind, (0.05, 0.01), loss, start, sample, flat)
    long = train(*arguments, gradients=24, checkpoints=2, **options)
    short = train(*arguments, gradients=12, checkpoints=1, **options)
    np.testing.assert_array_equal(long[0], short[0])
    assert abs(long[1] - long[0]).max() > 0


def test_gradients_that_cannot_be_divided_are_refused():
    loss, start, sample = tiny_problem(10)
    with pytest.raises(ValueError, match="gradients must be a positive multiple of 8, got 12"):
        train(
            "bootstrapped",
            (0.1, 0.01),
            loss,
            start,
            sample,
            flat,
            gradients=12,
            checkpoints=4,
            momentum=0.9,
        )


def test_a_seed_fixes_its_run_in_any_company_and_the_loss_falls(data_packages):
    options = {**SETTINGS["data_sets"]["digits"], "gradients": 64}
    training = trainer("bootstrapped", "digits", options, **PROTOCOL)
    alone = training([((0.1, 0.003), 7)])
    others = [((0.3, 0.01), 7), ((0.1, 0.003), 8)]
    together = training([*others, ((0.1, 0.003), 7)])
    assert together.shape == (3, PROTOCOL["checkpoints"], 3)
    np.testing.assert_array_equal(together[2], alone[0])
    assert (abs(together[:2] - alone) > 0).any(axis=(1, 2)).all()
    assert (together[:, -1, 1] < 0.8 * together[:, 0, 1]).all()


def test_a_small_study_has_every_part(data_packages):
    settings = copy.deepcopy(SETTINGS)
    settings["data_sets"] = {"digits": {"hidden": [8], "split": [100, 200], "gradients": 16}}
    settings |= {"seeds": [0, 6], "tuning_seeds": [5, 1]}
    settings["methods"] = {
        "one": {"kind": "bootstrapped", "grid": [[0.01, 0.1, 2], [0.01, 0.01, 1]]},
        "two": {"kind": "sgd", "grid": [[1e-9, 1e-9, 1]]},
    }
    settings["comparisons"] = [["one", "two"]]
    table = run(**settings)["digits"]
    assert table["methods"]["one"]["candidates"] == [[0.01, 0.01], [0.1, 0.01]]
    losses = np.array(table["methods"]["two"]["train_loss"])[:, 0]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)  # a step of 1e-9 goes nowhere
    (found,) = table["comparisons"]
    assert len(found["equal_gradients"]["train_loss"]["checkpoints"]) == 8
    assert len(found["equal_steps"]["train_loss"]["checkpoints"]) == 4


# The parts.


def test_verdicts_on_differences_whose_sign_is_plain():
    rng = np.random.default_rng(0)
    second = rng.uniform(0.4, 0.6, size=(12, 4, 3))
    first = second + np.array([0.1, 0.1, 0.0])  # more accurate, and with a larger loss
    table = compare(first, second)
    assert table["test_accuracy"]["verdict_last"] == "better"
    assert table["train_loss"]["verdict_average"] == "worse"
    np.testing.assert_allclose(table["test_accuracy"]["average"], 0.1, rtol=1e-4)
    noise = rng.normal(scale=0.01, size=(12, 4, 3))
    tied = compare(second + noise - noise.mean(axis=0), second)
    assert tied["test_accuracy"]["verdict_last"] == "tie"


def test_runs_that_blew_up_count_as_infinite_losses_and_two_of_them_tie():
    first = np.full((8, 2, 3), 0.5)
    first[:, :, 1] = np.arange(1, 9)[:, None]
    second = first.copy()
    first[6:, 1] = second[7, 1] = [0.0, np.nan, 0.0]
    table = summary(first)
    assert table["blown_up"] == 2
    assert table["last_train_loss"] == [1, 2, 3, 4, 5, 6, None, None]
    assert table["train_loss"] == [[4.5, 1, 8], [4.5, 1, np.inf]]
    ratios = compare(first, second)["train_loss"]
    assert ratios["checkpoints"] == [[1, 1, 1], [1, 1, np.inf]]  # 1 seven times, and once infinity
    assert ratios["verdict_last"] == "tie"
    accuracies = compare(first, second)["test_accuracy"]["checkpoints"]
    assert accuracies[0] == [0, 0, 0] and accuracies[1][0] == pytest.approx(-0.5 / 8)


@pytest.mark.parametrize(
    ("interval", "more_is_better", "expected"),
    [
        ([0.2, 0.1, 0.3], True, "better"),
        ([0.2, 0.1, 0.3], False, "worse"),
        ([-0.2, -0.3, -0.1], True, "worse"),
        ([-0.2, -0.3, -0.1], False, "better"),
        ([0.1, -0.1, 0.3], True, "tie"),
    ],
)
def test_a_verdict_is_about_the_first_method(interval, more_is_better, expected):
    assert verdict(interval, 0.0, more_is_better) == expected


def test_candidates_are_all_combinations_in_geometric_order():
    expected = list(itertools.product([0.01, 0.1, 1.0], [0.5]))
    assert candidates([[0.01, 1.0, 3], [0.5, 0.5, 1]]) == expected


def test_convolution_by_matrices_is_convolution():
    network = networks.convolutional(40, 6, 10)
    layers = [(w, b + 0.1) for w, b in network.draw(jax.random.key(0))]
    inputs = jax.random.normal(jax.random.key(1), (7, 40), jnp.float32)
    values = inputs[..., None]
    for (weights, biases), width in zip(layers[:3], networks.WIDTHS, strict=True):
        kernel = weights.reshape(width, values.shape[-1], -1)
        values = jax.lax.conv_general_dilated(
            values, kernel, (2,), [(1, 1)], dimension_numbers=("NHC", "HIO", "NHC")
        )
        values = jax.nn.relu(values + biases)
    expected = values.reshape(7, -1) @ layers[3][0] + layers[3][1]
    np.testing.assert_allclose(network.logits(layers, inputs), expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_blew_up_is_wrong_everywhere():
    network = networks.dense(4, [5], 10)
    layers = jax.tree.map(lambda leaf: leaf * jnp.nan, network.draw(jax.random.key(0)))
    data = jnp.ones((3, 4), jnp.float32), jnp.zeros(3, jnp.int32)
    assert float(networks.accuracy(network)(layers, data)) == 0.0


@pytest.mark.parametrize(("name", "shape"), [("digits", (1797, 64)), ("mnist1d", (5000, 40))])
def test_data_sets_are_standardized_and_leave_the_global_generators_alone(
    name, shape, data_packages
):
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    data = datasets.load.__wrapped__(name)  # not from the cache
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert random.getstate() == before[1]
    assert data.inputs.shape == shape and data.inputs.dtype == jnp.float32
    assert abs(float(data.inputs.mean())) < 1e-5 and abs(float(data.inputs.std()) - 1) < 1e-4
    assert sorted(set(data.labels.tolist())) == list(range(10))


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="name must be one of digits, mnist1d; got 'mnist'"):
        datasets.load("mnist")
