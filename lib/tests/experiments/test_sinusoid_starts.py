"""The stored result, what the chapter says of it, and the code behind it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import experiments
from experiments.sinusoid_starts import SETTINGS, methods, run
from metagrad.sinusoids import sample_curves, sinusoid_family
from metagrad.small_networks import mlp

RESULT = experiments.load("sinusoid_starts")
CURVES = RESULT["curves"]
JUDGED = SETTINGS["judged_steps"]


def test_every_method_was_run_and_tuned_alike():
    assert list(CURVES) == ["none", *methods(SETTINGS)]
    assert SETTINGS["seeds"][1] >= 3
    for name in methods(SETTINGS):
        found = RESULT["outer_step_size"][name]
        assert np.isclose(found, SETTINGS["outer_step_sizes"], rtol=1e-6).any()
    for name, curve in CURVES.items():
        assert len(curve) == SETTINGS["test_steps"] + 1
        assert len(RESULT["by_seed"][name]) == SETTINGS["seeds"][1]
        assert all(low <= middle <= high for middle, low, high in curve)


@pytest.mark.parametrize(("errors", "steps"), [("by_seed", JUDGED), ("last_by_seed", -1)])
@pytest.mark.parametrize("name", CURVES)
def test_intervals_are_those_of_the_seeds(name, errors, steps):
    values = np.array(RESULT[errors][name])
    middle, low, high = CURVES[name][steps]
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    expected = [values.mean(), values.mean() - half, values.mean() + half]
    np.testing.assert_allclose([middle, low, high], expected, rtol=2e-3, atol=2e-3)


def test_what_the_chapter_says_of_the_starts():
    def interval(name, steps):
        return CURVES[name][steps][1:]

    def apart(better, worse, steps):
        return interval(better, steps)[1] < interval(worse, steps)[0]

    for name in CURVES:
        if name not in ("none", "joint", "iMAML"):
            assert apart(name, "joint", 20), name
    means = {steps: {name: curve[steps][0] for name, curve in CURVES.items()} for steps in (5, 20)}
    assert min(means[5], key=means[5].get) == "MAML"
    assert min(means[20], key=means[20].get) == "FO-B-MAML"
    assert not apart("MAML", "FO-B-MAML", 5)
    assert not apart("FO-B-MAML", "MAML", 20)
    for steps in (5, 20):
        assert apart("MAML", "Reptile", steps)
        assert not apart("Reptile", "FO-MAML", steps)
    assert not apart("iMAML", "joint", 20)
    assert apart("Reptile", "FO-MAML", 1)
    # In pairs over the seeds.
    for errors, name, other, separated in (
        ("by_seed", "FO-B-MAML", "MAML", False),
        ("last_by_seed", "FO-B-MAML", "MAML", True),
        ("by_seed", "FO-MAML", "Reptile", False),
        ("last_by_seed", "FO-MAML", "Reptile", False),
        ("last_by_seed", "iMAML", "joint", False),
    ):
        gaps = np.subtract(RESULT[errors][name], RESULT[errors][other])
        assert (scipy.stats.ttest_1samp(gaps, 0).pvalue < 0.05) == separated, (errors, name, other)
    assert 0.2 < RESULT["left_out"]["iMAML"]
    assert all(share == 0 for name, share in RESULT["left_out"].items() if name != "iMAML")


def test_a_stored_start_adapts_in_the_page_as_it_did_in_the_experiment():
    """The stored weights, rounded, through code of this test's own."""
    hidden = SETTINGS["hidden"]
    shapes = [(1, hidden[0]), hidden, (hidden[1], 1)]
    inputs = np.linspace(-5, 5, 25)[None, :, None]
    data = sample_curves(jnp.array([2.0]), jnp.array([1.0]), jnp.asarray(inputs), 10)
    network = mlp(1, hidden, 1, "tanh")
    family = sinusoid_family(network.apply, data)
    one = jax.tree.map(lambda leaf: leaf[0], data)
    for name in SETTINGS["shown"]:
        numbers, layers, at = np.array(RESULT["starts"][name]), [], 0
        for rows, columns in shapes:
            weights = numbers[at : at + rows * columns].reshape(rows, columns)
            layers.append((weights, numbers[at + rows * columns : at + rows * columns + columns]))
            at += rows * columns + columns
        assert at == len(numbers)
        x = inputs[0]
        for weights, biases in layers[:-1]:
            x = np.tanh(x @ weights + biases)
        x = x @ layers[-1][0] + layers[-1][1]
        start = tuple(type(template)(*map(jnp.asarray, layer)) for template, layer in zip(
            network.init(jax.random.key(0)), layers, strict=True
        ))  # fmt: skip
        error = np.mean((x[10:, 0] - 2 * np.sin(inputs[0, 10:, 0] - 1)) ** 2)
        np.testing.assert_allclose(family.query(start, one), error, rtol=1e-9)


def test_a_small_run_repeats_itself_and_learns():
    small = SETTINGS | {
        "hidden": [8, 8], "outer_steps": 60, "tuning": [1000, 20], "test": [2000, 40],
        "seeds": [0, 2], "outer_step_sizes": [0.01], "pulled_steps": 4, "test_steps": 5,
    }  # fmt: skip
    found = run(**small)
    assert found["curves"]["none"][0][0] > found["curves"]["joint"][0][0]
    assert found["curves"]["MAML"][5][0] < found["curves"]["none"][5][0]
    assert all(np.isfinite(list(found["by_seed"].values())).ravel())
