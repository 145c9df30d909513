"""What is compared, and what becomes of a job that fails. No time is asserted."""

import math

import numpy as np
import pytest

from benchmarks import step_sizes, timing


def test_the_error_is_that_of_the_worst_row():
    reference = np.array([1.0, 10.0])
    assert timing.relative_error(np.array([1.01, 10.0]), reference) == pytest.approx(0.01)
    vectors = np.array([[3.0, 4.0]])
    assert timing.relative_error(np.array([[3.0, 4.5]]), vectors) == pytest.approx(0.1)


def test_tiny_derivatives_are_compared_too():
    reference = np.array([1e-200, 1.0])
    assert timing.relative_error(np.array([1.5e-200, 1.0]), reference) == pytest.approx(0.5)


def test_an_undefined_gradient_has_an_undefined_error():
    assert math.isnan(timing.relative_error(np.array([np.nan, 1.0]), np.ones(2)))


def test_a_job_that_fails_is_told_and_the_others_go_on():
    def fails():
        raise MemoryError("no room")

    jobs = [timing.Job("bad", fails), timing.Job("good", lambda: np.array([2.0]), share=0.5)]
    bad, good = timing.race(jobs, np.array([2.0, 7.0]), seconds=0.0, most=2)
    assert bad == {"failed": "MemoryError: no room"}
    # It did half of the work, so it is compared with the first half of the reference.
    assert (good["error"], good["turns"], good["share"]) == (0.0, 2, 0.5)


def test_the_closed_form_is_the_slope_of_the_final_losses():
    data = step_sizes.problem(5)
    step = 1e-5
    losses = step_sizes.loss_alone(data, 10)
    slope = (losses(data.step_sizes + step) - losses(data.step_sizes - step)) / (2 * step)
    exact = step_sizes.closed_form(data, 10)
    np.testing.assert_allclose(slope, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())
