"""Resting points of methods that were run: against closed forms, and against one another."""

import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from experiments.maml_quadratics import RULES, SETTINGS, bilevel_rivals, descended, rows
from metagrad.quadratic_families import two_quadratics

RESULT = experiments.load("maml_quadratics")
QUADRATICS, LOGISTIC = RESULT["quadratics"], RESULT["logistic"]["methods"]
LINE = SETTINGS["quadratics"]
PERTURBATIONS = SETTINGS["logistic"]["perturbations"]


@pytest.mark.parametrize("example", QUADRATICS)
def test_every_run_ended_where_the_closed_form_says(example):
    for entry in QUADRATICS[example].values():
        assert entry["end"] == pytest.approx(entry["closed_form"], abs=1e-8)


def test_the_resting_points_of_the_example_are_fractions():
    expected = {
        "MAML": 9 / 34,
        "FO-MAML": 9 / 14,
        "proximal Reptile": 9 / 14,
        "joint training": 9 / 10,
        "MAML, K = 1": 1 / 10,
        "HF-MAML, K = 1": 1 / 10,
        "FO-MAML, K = 1": 1 / 2,
        "Reptile, K = 1": 9 / 10,
    }
    for name, fraction in expected.items():
        assert QUADRATICS["one loss"][name]["end"] == pytest.approx(fraction, abs=1e-8)
    own = QUADRATICS["own query loss"]
    for name, fraction in (("MAML", 9 / 13), ("FO-MAML", -1 / 3), ("proximal Reptile", 9 / 14)):
        assert own[name]["end"] == pytest.approx(fraction, abs=1e-8)


def test_one_run_is_the_same_by_hand():
    """FO-MAML, each step written out: φ = (θ + 9 b) / 10 or (θ + b) / 2, then 9 (φ - b)."""
    theta = 0.0
    for _ in range(50):
        slope = (theta / 2 + 9 * ((theta + 9) / 10 - 1)) / 2
        theta -= LINE["outer_step_size"] * slope
    rival = bilevel_rivals(LINE["regularizer"])["FO-MAML"]
    family = two_quadratics()
    found = descended(rival.method(0.0), family, jnp.array(0.0), LINE["outer_step_size"], 50)
    assert float(found) == pytest.approx(theta, rel=1e-12)


@pytest.mark.parametrize("example", QUADRATICS)
def test_only_maml_rests_where_its_own_meta_gradient_vanishes(example):
    for name, entry in QUADRATICS[example].items():
        exact = name.startswith(("MAML", "HF-MAML"))
        assert (abs(entry["meta_gradient"]) < 1e-12) == exact
        if "FO-B" not in name and not exact:
            assert abs(entry["meta_gradient"]) > 1e-3


def test_all_logistic_runs_came_to_rest_with_their_inner_problems_solved():
    for entry in LOGISTIC.values():
        assert entry["inner_residual"] < 1e-12
        assert max(entry["own"]) < 1e-11
        assert max(entry["own_after_descent"]) < 0.05  # descent had come near
    wanted = {row for name in bilevel_rivals(1.0) for row, _ in rows(name, PERTURBATIONS)}
    assert set(LOGISTIC) == wanted
    assert all(
        len(entry["residual"]) == SETTINGS["logistic"]["keys"][1] for entry in LOGISTIC.values()
    )


def test_on_every_logistic_family_only_maml_has_no_residual():
    assert max(LOGISTIC["MAML"]["residual"]) < 1e-11
    for name in ("FO-MAML", "proximal Reptile", "joint training"):
        assert min(LOGISTIC[name]["residual"]) > 1e-3


@pytest.mark.parametrize(("rule", "order"), list(zip(RULES, (1, 2), strict=True)))
def test_residuals_of_fo_b_maml_shrink_with_a_power_of_the_perturbation(rule, order):
    np.testing.assert_allclose(RESULT["logistic"]["slopes"][rule], order, atol=0.02)
    table = np.array([LOGISTIC[f"FO-B-MAML, {rule}, {nu}"]["residual"] for nu in PERTURBATIONS])
    assert (np.diff(table, axis=0) < 0).all()
    # At the smallest perturbation it is far below that of FO-MAML, on every family.
    assert (table[-1] < 0.02 * np.array(LOGISTIC["FO-MAML"]["residual"])).all()
