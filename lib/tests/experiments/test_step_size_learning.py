"""What the stored runs of meta-gradient descent say, and a few steps of it by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from experiments.step_size_learning import METHODS, SETTINGS, problem, summary, tuner

RESULT = experiments.load("step_size_learning")
KINDS = SETTINGS["kinds"]
PROBLEMS = SETTINGS["seeds"][1]
SINGLE, DOUBLE = "backpropagation, float32", "backpropagation, float64"


def rows(kind, method, steps=None):
    """(steps, first, summary) of each run, or of those of some lengths."""
    return [
        (row["steps"], row["first"], row["methods"][method])
        for row in RESULT[kind]["runs"]
        if steps is None or row["steps"] in steps
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_everything_was_run(kind):
    wanted = [(t, first) for t in SETTINGS["steps"] for first in KINDS[kind]["first"]]
    assert [(row["steps"], row["first"]) for row in RESULT[kind]["runs"]] == wanted
    assert all(set(row["methods"]) == set(METHODS) for row in RESULT[kind]["runs"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(PROBLEMS))
def test_problems_and_their_best_step_sizes(kind, seed):
    spectrum, start = problem(kind, seed, SETTINGS["dimension"], KINDS[kind]["columns"])
    found = RESULT[kind]
    np.testing.assert_allclose(found["extremes"][seed], spectrum[[0, -1]], rtol=1e-3)
    weights = start**2 * spectrum**2
    line_search = weights.sum() / (weights * spectrum).sum()  # t = 1
    assert found["best_for"][0] == 1
    np.testing.assert_allclose(found["best"][seed][0], line_search, rtol=1e-5)
    limit = 2 / (spectrum[0] + spectrum[-1])
    np.testing.assert_allclose(found["limit"][seed], limit, rtol=1e-5)
    np.testing.assert_allclose(found["best"][seed][-1], limit, rtol=1e-3)  # t = 100000
    for count, best in zip(found["best_for"], found["best"][seed], strict=True):
        losses = (start**2 * spectrum) @ (
            (1 - spectrum[:, None] * best * np.array([0.98, 1.0, 1.02])) ** (2 * min(count, 1000))
        )
        if count <= 1000:
            assert losses[1] < losses[0] and losses[1] < losses[2]


def test_the_best_step_size_may_first_fall_and_then_rise():
    falls = [np.diff(best)[0] < 0 < np.diff(best)[-1] for best in RESULT["authors"]["best"]]
    assert any(falls) and not all(falls)


@pytest.mark.parametrize("kind", KINDS)
def test_stable_evaluation_never_fails(kind):
    for _, _, found in rows(kind, "stable"):
        assert found["not_finite"] == 0 and found["exactly_zero"] == 0
        assert None not in found["errors"]
    for steps, _, found in rows(kind, "stable"):
        # 1/100 is large for the authors' eigenvalues: some runs still chatter at the end.
        if kind == "normalized" or 20 <= steps <= 160:
            assert found["arrived"] == PROBLEMS


def test_with_the_authors_problems_the_naive_objective_never_gets_there():
    assert all(found["arrived"] == 0 for _, _, found in rows("authors", "naive"))


def test_backpropagation_in_single_precision_fails_in_long_runs():
    for _, _, found in rows("authors", SINGLE, steps=[80, 160, 320]):
        assert found["arrived"] <= PROBLEMS // 2
        assert found["not_finite"] + found["exactly_zero"] >= PROBLEMS - found["arrived"]


def test_some_failures_are_silent():
    """All numbers are finite, and the meta-gradients are exactly 0."""
    for method in (SINGLE, DOUBLE):
        silent = [
            found
            for _, _, found in rows("authors", method)
            if found["not_finite"] == 0 and found["zeros"] > 0.9
        ]
        assert silent and all(found["arrived"] == 0 for found in silent)


def test_double_precision_fails_later():
    for steps, first, found in rows("authors", DOUBLE):
        if 20 <= steps <= 80:
            assert found["arrived"] == PROBLEMS
        if steps == 320 and first == 1.0:
            assert found["arrived"] == 0


def test_the_papers_first_figure():
    curve = RESULT["curve"]
    assert (curve["kind"], curve["steps"], curve["first"]) == ("authors", 80, 0.1)
    best = RESULT["authors"]["best"][0][RESULT["authors"]["best_for"].index(80)]
    late = np.array(curve["meta_steps"]) >= 300
    reached = np.array(curve["methods"]["stable"])[late]
    assert np.all(np.abs(reached / best - 1) < 0.05)
    assert all(beta is None for beta in curve["methods"][SINGLE][1:])


def test_a_summary_by_hand():
    best = np.array([1.0, 2.0, 4.0])
    betas = np.array([[3.0, 1.5, 1.02, 1.01], [3.0, 3.0, 3.0, 3.0], [3.0, np.nan, np.nan, np.nan]])
    slopes = np.array([[1.0, 1.0, 0.1], [0.0, 0.0, 0.0], [np.inf, np.nan, np.nan]])
    assert summary(betas, slopes, best, 0.05) == {
        "errors": [0.01, 0.5, None],
        "arrived": 1,
        "not_finite": 1,
        "exactly_zero": 1,
        "zeros": 0.333,
        "first_close": 2.0,
    }


def test_a_few_meta_steps_by_hand():
    spectrum, start, count = np.array([0.2, 1.0]), np.array([0.6, 0.8]), 4

    def slope(beta, name):
        factors = 1 - beta * spectrum
        loss = 0.5 * np.sum(spectrum * (start * factors**count) ** 2)
        if name == "first order, float64":  # x_t = x_0 - β Σ gradients, which are constants
            point = factors**count * start
            return np.sum(spectrum * point * (point - start)) / (beta * loss * count)
        exact = -count * np.sum(start**2 * spectrum**2 * factors ** (2 * count - 1))
        return exact if name == "naive" else exact / (loss * count)

    for name, method in METHODS.items():
        dtype, tolerance = (jnp.float32, 1e-5) if name == SINGLE else (jnp.float64, 1e-12)
        tune = tuner(method, count, 3, 0.1)
        betas = tune(spectrum[None], start[None], jnp.asarray([0.9], dtype))[0][0, 0]
        expected = [0.9]
        for k in (1, 2, 3):
            expected.append(max(0.0, expected[-1] - 0.1 / k**0.5 * slope(expected[-1], name)))
        np.testing.assert_allclose(betas, expected, rtol=tolerance)
