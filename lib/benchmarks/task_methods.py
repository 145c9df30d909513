"""The meta-gradient of tasks by every method: time and memory against the inner steps K.

    python lib/benchmarks/task_methods.py            # some minutes; stores the result
    python lib/benchmarks/task_methods.py --quick    # the first two K; prints, stores nothing

Sixteen sinusoids, ten support and ten query points each, and a network with two hidden layers of
40 units, in double precision. The unit is one gradient of the support losses. The methods follow
different objectives, so their results are not compared here; the tests of the library do that.
Beside the time stands what `gradient_counts` says, a product of a Hessian with a vector counted
as two gradients. Held to one thread; the book shows the result on its page of benchmarks.
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import command, surroundings

INNER_STEPS = (1, 3, 10, 30, 100)
TASKS, SAMPLES, HIDDEN = 16, 10, (40, 40)
INNER_STEP_SIZE, REGULARIZER, PERTURBATION, CG_STEPS = 0.005, 150.0, 0.05, 5
NEVER = 1e-30  # an accuracy that is not reached: FO-MuML takes all K steps
PRODUCT = 2  # gradients that one product counts for
UNIT = "one gradient"
# The rows, and their names in `gradient_counts`; its `maml` can be counted without recomputing.
COUNTED = {
    "MAML, plain": "maml",
    "MAML, checkpointed": "maml",
    "iMAML, 5 products": "imaml",
    "FO-MAML": "fo_maml",
    "Reptile": "reptile",
    "proximal Reptile": "proximal_reptile",
    "FO-MuML": "fo_muml",
    "FO-B-MAML, forward": "fo_b_maml",
    "FO-B-MAML, symmetric": "fo_b_maml",
}


def counted(row: str, inner_steps: int) -> float:
    """Gradients that the theory counts for one meta-gradient; a product is `PRODUCT` of them."""
    from metagrad.difference_rules import FORWARD, SYMMETRIC
    from metagrad.task_gradients import gradient_counts

    rule = FORWARD if "forward" in row else SYMMETRIC
    counts = gradient_counts(inner_steps, CG_STEPS, rule, checkpointed="plain" not in row)
    count = counts[COUNTED[row]]
    return count.support + count.query + PRODUCT * count.products


def jobs(inner_steps: int) -> list[Any]:
    """Build what is timed at one K."""
    import jax
    from jax.flatten_util import ravel_pytree

    from benchmarks.timing import jax_job
    from metagrad import task_gradients as methods
    from metagrad.difference_rules import FORWARD
    from metagrad.sinusoids import draw_sinusoids, sinusoid_family
    from metagrad.small_networks import mlp

    network = mlp(1, HIDDEN, 1, "tanh")
    start, unflatten = ravel_pytree(network.init(jax.random.key(0)))
    data = draw_sinusoids(jax.random.key(1), TASKS, SAMPLES, SAMPLES)
    drawn = sinusoid_family(lambda flat, inputs: network.apply(unflatten(flat), inputs), data)
    inner = (REGULARIZER, inner_steps, INNER_STEP_SIZE)
    made = {
        "MAML, plain": methods.maml(inner_steps, INNER_STEP_SIZE, checkpointed=False),
        "MAML, checkpointed": methods.maml(inner_steps, INNER_STEP_SIZE),
        "iMAML, 5 products": methods.imaml(*inner, cg_steps=CG_STEPS),
        "FO-MAML": methods.fo_maml(inner_steps, INNER_STEP_SIZE),
        "Reptile": methods.reptile(inner_steps, INNER_STEP_SIZE),
        "proximal Reptile": methods.proximal_reptile(*inner),
        "FO-MuML": methods.fo_muml(REGULARIZER, INNER_STEP_SIZE, NEVER, inner_steps),
        "FO-B-MAML, forward": methods.fo_b_maml(
            REGULARIZER, PERTURBATION, inner_steps, INNER_STEP_SIZE, rule=FORWARD
        ),
        "FO-B-MAML, symmetric": methods.fo_b_maml(
            REGULARIZER, PERTURBATION, inner_steps, INNER_STEP_SIZE
        ),
    }
    assert list(made) == list(COUNTED)

    def unit(flat: Any) -> Any:
        slopes = jax.vmap(lambda one: jax.grad(lambda w: drawn.support(w, one))(flat))(drawn.data)
        return slopes.mean(0)

    return [
        jax_job(UNIT, unit, start, derivative=False),
        *(
            jax_job(
                name, lambda flat, m=method: methods.mean_gradient(drawn, flat, m).gradient, start
            )
            for name, method in made.items()
        ),
    ]


def sheet(sizes: Iterable[int]) -> dict:
    """Time all methods at each K, in turns."""
    from benchmarks.measure import Sheet

    table = Sheet("K", UNIT)
    for size in sizes:
        table.column(size, jobs(size), None, {}, seconds=1.0, least=5, most=40)
    return table.data


def tables(result: dict[str, Any]) -> dict[str, Any]:
    """Return every table of a result, by a short name."""
    from benchmarks import report
    from benchmarks.targets import ratios

    found, sizes = result["inner_steps"], result["inner_steps"]["columns"]
    head = ("", *(f"K = {size}" for size in sizes))
    rows = []
    for row in COUNTED:
        against = ratios(found, row, found["unit"])
        rows.append((row, *(f"{against[k] / counted(row, k):.2f}" for k in sizes)))
    unit = f"time, as a multiple of {found['unit']}"
    return {
        "time": report.time_table(found, f"The meta-gradient of {TASKS} tasks: {unit}"),
        "memory": report.memory_table(found, f"The meta-gradient of {TASKS} tasks: memory"),
        "share": report.Table("Measured time over counted gradients", head, tuple(rows)),
    }


def measure(quick: bool) -> None:
    """Measure, print, store."""
    import jax

    from benchmarks import report

    backend = jax.default_backend()
    about = surroundings.about("no accelerator" if backend == "cpu" else backend)
    start = time.perf_counter()
    result = {"about": about, "inner_steps": sheet(INNER_STEPS[: 2 if quick else None])}
    about["seconds"] = time.perf_counter() - start
    about["load_after"] = list(os.getloadavg())
    for table in tables(result).values():
        print(f"\n{report.as_text(table)}")
    if not quick:
        path = report.RESULTS / "task_methods.json"
        path.write_text(json.dumps(result, indent=1) + "\n", "utf8")
        print(f"\nStored in {path}")


if __name__ == "__main__":
    sys.exit(command.run(__doc__, __file__, measure))
