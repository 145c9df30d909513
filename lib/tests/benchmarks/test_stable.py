"""The reference and the jobs of the stable meta-gradients; nothing is timed here."""

import numpy as np
import pytest

from benchmarks import report, stable, step_sizes


def test_the_reference_is_the_closed_form_in_more_digits():
    data = step_sizes.problem(5)
    curvatures, basis = np.linalg.eigh(data.matrix)
    factors = 1 - stable.STEP_SIZE * curvatures
    weights = curvatures * (basis.T @ data.start) ** 2
    above, below = weights * curvatures * factors**7, weights * factors**8  # T = 4
    expected = -2 * above.sum() / below.sum()
    np.testing.assert_allclose(stable.reference(5, 4), expected, rtol=1e-13)
    # In the limit of long runs the smallest curvature, 1/100, is all that matters.
    assert stable.reference(5, 10**6) == pytest.approx(-2 * 0.01 / (1 - 0.015), rel=1e-12)


def test_every_job_computes_the_same_number():
    exact = stable.reference(5, 30)
    made = {job.name: job for job in stable.jobs(5, 30)}
    compared = [name for name, job in made.items() if job.derivative]
    assert compared == [stable.CLOSED, *stable.METHODS]
    for name in compared:
        found = np.asarray(made[name].call())
        assert found.shape == (1,)
        np.testing.assert_allclose(found, exact, rtol=1e-12)
    for name in (stable.UNIT, stable.PLAIN):
        assert np.asarray(made[name].call()).shape == (1,)


def test_the_stored_result_covers_every_size_and_agrees():
    result = report.load("stable")
    for name, sizes in (("steps", stable.STEPS), ("dimension", stable.DIMENSIONS)):
        assert tuple(result[name]["columns"]) == sizes
        for row, found in result[name]["rows"].items():
            assert all(cell["seconds"] > 0 for cell in found), row
            if row in (stable.CLOSED, *stable.METHODS):
                assert max(cell["error"] for cell in found) < 1e-9
    assert {"cpu", "date", "load", "threads", "versions"} <= set(result["about"])
    assert all(table.rows for table in stable.tables(result).values())


def test_the_stored_growth_is_that_of_the_methods():
    rows = report.load("stable")["steps"]["rows"]
    # From 1000 to 1000000 steps.
    first, last = ({name: found[at] for name, found in rows.items()} for at in (2, -1))
    for name in ("seconds", "bytes"):
        assert last[stable.CLOSED][name] < 5 * first[stable.CLOSED][name]
    forward, reverse = stable.METHODS
    assert last[forward]["bytes"] == first[forward]["bytes"]
    assert 500 < last[reverse]["bytes"] / first[reverse]["bytes"] < 2000
    for name in stable.METHODS:
        assert last[name]["seconds"] > 200 * first[name]["seconds"]
