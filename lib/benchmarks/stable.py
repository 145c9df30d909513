"""The stable meta-gradients of a step size: cost against steps and dimension, and memory.

    python lib/benchmarks/stable.py            # some minutes; stores the result
    python lib/benchmarks/stable.py --quick    # the first two sizes of each; prints, stores nothing

One derivative of (1/T) log f(x_T) in the step size of gradient descent on a quadratic, in double
precision: by the closed form (from eigenvalues), and along a renormalized run by forward and by
reverse accumulation (which need products with the matrix only). The unit is the renormalized run
without a derivative; the plain run is there to show what renormalizing costs. The reference is
the closed form in 50 decimal digits. Runs on the Python that it is started with, held to one
thread; the book shows the result on its page of benchmarks.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import command, surroundings

STEPS = (10, 100, 1000, 10_000, 100_000, 1_000_000)
DIMENSION = 20
DIMENSIONS = (5, 20, 80, 320)
DIMENSION_STEPS = 100
STEP_SIZE = 1.5  # the eigenvalues are from 1/100 to 1: the loss falls, like 0.97^T
UNIT = "renormalized run alone"
CLOSED = "log_meta_gradient"
PLAIN = "plain run alone"
METHODS = ("renormalized, forward()", "renormalized, reverse()")


def reference(dimension: int, steps: int) -> float:
    """Compute -2 Σ c²λ² a^(2T-1) / Σ c²λ a^(2T), a = 1 - βλ, in 50 decimal digits."""
    import numpy as np

    from benchmarks import step_sizes

    data = step_sizes.problem(dimension)
    curvatures, basis = np.linalg.eigh(data.matrix)
    above, below = Decimal(0), Decimal(0)
    with localcontext(prec=50):
        for curvature, c in zip(curvatures, basis.T @ data.start, strict=True):
            weight = Decimal(float(c)) ** 2 * Decimal(float(curvature))
            factor = 1 - Decimal(STEP_SIZE) * Decimal(float(curvature))
            above += weight * Decimal(float(curvature)) * factor ** (2 * steps - 1)
            below += weight * factor ** (2 * steps)
        return float(-2 * above / below)


def jobs(dimension: int, steps: int) -> list[Any]:
    """Build what is timed at one size."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from benchmarks import step_sizes
    from benchmarks.timing import jax_job
    from metagrad import forward, log_meta_gradient, meta_gradient, renormalized, reverse

    data = step_sizes.problem(dimension)
    loss, step = step_sizes.pieces(data)
    eigenvalues, basis = np.linalg.eigh(data.matrix)
    start = jnp.asarray(data.start)

    def closed(step_size: Any, eigenvalues: Any, coefficients: Any) -> Any:
        return log_meta_gradient(step_size, eigenvalues, coefficients, steps)[None]

    def alone(step: Callable, first: Any, outcome: Callable) -> Callable:
        def work(step_size: Any) -> Any:
            last, _ = jax.lax.scan(
                lambda x, _: (step(x, step_size, None), None), first, length=steps
            )
            return outcome(last, step_size)[None]

        return work

    run = renormalized(loss, step, STEP_SIZE, start, steps)
    first = run.start(STEP_SIZE)

    def derivative(method: Any) -> Callable:
        return lambda step_size: meta_gradient(
            run.loss, run.step, step_size, run.start, steps, method=method
        ).gradient[None]

    at = np.float64(STEP_SIZE)
    # A turn pays for giving back the memory of the one before, which is much after reverse():
    # the long unit comes next then, and not the closed form, whose own time would drown in it.
    return [
        jax_job(UNIT, alone(run.step, first, run.loss), at, derivative=False),
        jax_job(PLAIN, alone(step, start, loss), at, derivative=False),
        jax_job(CLOSED, closed, at, eigenvalues, basis.T @ data.start),
        jax_job(METHODS[0], derivative(forward()), at),
        jax_job(METHODS[1], derivative(reverse()), at),
    ]


def sheet(axis: str, sizes: Iterable[int], shape: Callable[[int], tuple[int, int]]) -> dict:
    """Time all methods at each size, in turns; `shape` returns the dimension and the steps."""
    import numpy as np

    from benchmarks.measure import Sheet

    print(f"==> {axis}", flush=True)
    table = Sheet(axis, UNIT)
    for size in sizes:
        exact = np.array([reference(*shape(size))])
        table.column(size, jobs(*shape(size)), exact, {}, seconds=1.0, least=5, most=40)
    return table.data


def tables(result: dict[str, Any]) -> dict[str, Any]:
    """Return every table of a result, by a short name."""
    from benchmarks import report

    found = {}
    for name, title in (("steps", "longer runs"), ("dimension", "more dimensions")):
        sheet, caption = result[name], f"The log objective, {title}"
        unit = f"time, as a multiple of {result[name]['unit']}"
        found[f"time_{name}"] = report.time_table(sheet, f"{caption}: {unit}")
        found[f"memory_{name}"] = report.memory_table(sheet, f"{caption}: memory")
        found[f"error_{name}"] = report.error_table(sheet, f"{caption}: relative error")
    return found


def measure(quick: bool) -> None:
    """Measure, print, store."""
    import jax

    from benchmarks import report

    backend = jax.default_backend()
    about = surroundings.about("no accelerator" if backend == "cpu" else backend)
    keep, start = 2 if quick else None, time.perf_counter()
    result = {
        "about": about,
        "steps": sheet("T", STEPS[:keep], lambda steps: (DIMENSION, steps)),
        "dimension": sheet("n", DIMENSIONS[:keep], lambda size: (size, DIMENSION_STEPS)),
    }
    about["seconds"] = time.perf_counter() - start
    about["load_after"] = list(os.getloadavg())
    for table in tables(result).values():
        print(f"\n{report.as_text(table)}")
    if not quick:
        path = report.RESULTS / "stable.json"
        path.write_text(json.dumps(result, indent=1) + "\n", "utf8")
        print(f"\nStored in {path}")


if __name__ == "__main__":
    sys.exit(command.run(__doc__, __file__, measure))
