"""What the chapter says of learned step sizes, and the parts of the experiment."""

import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from experiments.element_wise_rotation import (
    LEARNERS,
    SETTINGS,
    learned_losses,
    problems,
    ratio_of,
    summary,
    turned_basis,
)

TABLE = experiments.load("element_wise_rotation")["orientations"]
SCALES = np.logspace(*SETTINGS["log10_scales"])


@pytest.mark.parametrize("learner", ["averaged, adaptive", "last, adaptive"])
def test_the_hint_helps_on_the_axes_and_hurts_on_random_ones(learner):
    assert TABLE["0"]["hint_ratio"][learner][2] < 1.0
    assert TABLE["random"]["hint_ratio"][learner][1] > 1.0


@pytest.mark.parametrize("orientation", TABLE)
def test_with_constant_meta_step_sizes_the_hint_never_helps(orientation):
    for learner in ("averaged, constant", "last, constant"):
        assert TABLE[orientation]["hint_ratio"][learner][1] > 1.0


def test_learned_step_sizes_beat_nesterov_only_near_the_axes():
    learned = "last, adaptive, no hint"
    for orientation, better in (("0", True), ("5", True), ("random", False)):
        methods = TABLE[orientation]["methods"]
        if better:
            assert methods[learned]["total"][2] < methods["nesterov"]["total"][1]
        else:
            assert methods[learned]["total"][1] > methods["nesterov"]["total"][2]


@pytest.mark.parametrize("orientation", TABLE)
def test_the_tuned_scales_lie_inside_the_grid_and_few_runs_blow_up(orientation):
    for name, found in TABLE[orientation]["methods"].items():
        if "scale" in found:
            assert SCALES[0] < found["scale"] < SCALES[-1], name
        assert found["blown_up"] <= 3, name


def test_baselines_hardly_depend_on_the_orientation():
    """Their totals are those of the starts in the coordinates of the eigenvectors."""
    totals = np.array([TABLE[key]["methods"]["gradient descent"]["total"] for key in TABLE])
    assert (totals[:, 1].max() <= totals[:, 2]).all()


def test_a_turned_basis_is_orthogonal_and_turns_by_the_angle():
    basis = turned_basis(10, 30)
    np.testing.assert_allclose(basis @ basis.T, np.eye(10), atol=1e-15)
    np.testing.assert_allclose(np.diag(basis), np.cos(np.pi / 6))
    np.testing.assert_array_equal(turned_basis(4, 0), np.eye(4))


@pytest.mark.parametrize("orientation", [20, "random"])
def test_problems_have_the_spectrum_and_starts_on_the_sphere(orientation):
    matrices, starts = problems(6, 100.0, orientation, range(3))
    for matrix in matrices:
        np.testing.assert_allclose(np.linalg.eigvalsh(matrix), np.logspace(-2, 0, 6), rtol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(starts, axis=1), 1.0)
    again = problems(6, 100.0, orientation, range(3))
    np.testing.assert_array_equal(matrices, again[0])
    np.testing.assert_array_equal(starts, again[1])


def test_learned_losses_are_those_of_a_loop_by_hand():
    """The last point, a constant meta step size, a hint: three steps in NumPy."""
    eigenvalues, start, scale = np.array([1.0, 0.1]), np.array([0.6, 0.8]), 0.5
    found = learned_losses(
        "last, constant", True, 3, scale, jnp.diag(jnp.asarray(eigenvalues)), jnp.asarray(start)
    )
    point, total, hint, expected = start, np.zeros(2), np.zeros(2), []
    for _ in range(3):
        w = 1.0 - scale * (total + hint)
        before = eigenvalues * point
        point = point - w * before
        gradient = eigenvalues * point
        total = total - before * gradient  # the Jacobian is -diag(∇f) at the point before
        hint = -gradient * gradient  # fresh Jacobian: at the new point
        expected.append(0.5 * np.sum(eigenvalues * point**2))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_runs_that_overflow_count_as_infinitely_bad():
    losses = np.ones((7, 4)) * np.arange(1, 8)[:, None] / 100
    losses[6] = np.nan
    found = summary(losses)
    assert found["blown_up"] == 1
    assert found["total"][0] == pytest.approx(0.16)
    bad = np.full(7, np.inf)
    assert ratio_of(bad, bad) == [1.0, 1.0, 1.0]
    assert ratio_of(np.full(7, 3.0), np.full(7, 2.0)) == [1.5, 1.5, 1.5]
    assert len(LEARNERS) == 4
