"""The jobs of the methods for tasks, and what the page says of the stored result; no timing."""

import numpy as np

from benchmarks import report, task_methods
from benchmarks.targets import ratios


def test_every_job_runs_and_the_exact_ones_agree():
    made = {job.name: np.asarray(job.call()) for job in task_methods.jobs(2)}
    assert list(made) == [task_methods.UNIT, *task_methods.COUNTED]
    assert all(np.isfinite(found).all() for found in made.values())
    assert len({found.shape for found in made.values()}) == 1
    np.testing.assert_allclose(made["MAML, plain"], made["MAML, checkpointed"], rtol=1e-12)
    # Methods that differ in what they follow must not come out the same.
    assert np.linalg.norm(made["MAML, plain"] - made["FO-MAML"]) > 1e-3


def test_counts_by_hand():
    # K = 10: MAML runs 10 steps, again when recomputing, one query gradient, and 10 products.
    assert task_methods.counted("MAML, plain", 10) == 10 + 1 + 2 * 10
    assert task_methods.counted("MAML, checkpointed", 10) == 20 + 1 + 2 * 10
    assert task_methods.counted("iMAML, 5 products", 10) == 10 + 1 + 2 * 5
    assert task_methods.counted("FO-MAML", 10) == 11
    assert task_methods.counted("FO-B-MAML, forward", 10) == 30
    assert task_methods.counted("FO-B-MAML, symmetric", 10) == 40


def test_what_the_page_says_of_the_stored_result():
    result = report.load("task_methods")
    sheet = result["inner_steps"]
    assert tuple(sheet["columns"]) == task_methods.INNER_STEPS
    assert {"cpu", "date", "load", "threads", "versions"} <= set(result["about"])
    shares = {}
    for row in task_methods.COUNTED:
        against = ratios(sheet, row, sheet["unit"])
        shares[row] = [against[k] / task_methods.counted(row, k) for k in sheet["columns"]]
    for row, found in shares.items():
        if row == "FO-MuML":
            assert all(1.5 < share < 2 for share in found)
        elif row == "MAML, plain":
            assert found == sorted(found) and found[-1] > 2
        else:
            assert all(0.75 < share < 1.25 for share in found[1:]), row
    time, memory = (
        {row: [cell[key] for cell in cells] for row, cells in sheet["rows"].items()}
        for key in ("seconds", "bytes")
    )
    assert time["MAML, checkpointed"][-1] < time["MAML, plain"][-1]
    growth = {row: found[-1] / found[-2] for row, found in time.items() if row != sheet["unit"]}
    assert min(growth, key=growth.get) == "iMAML, 5 products"
    for row in task_methods.COUNTED:
        if row.startswith("MAML"):
            assert memory[row][-1] > 2.5 * memory[row][-2]
        else:
            assert memory[row][-1] == memory[row][1]
    assert memory["MAML, checkpointed"][-1] < memory["MAML, plain"][-1] / 3
    assert all(table.rows for table in task_methods.tables(result).values())
