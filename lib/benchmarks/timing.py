"""How a time is taken: warm up once, then take turns, and keep the best of each.

All jobs of one column run side by side, turn after turn, so that a busy moment of the machine
meets all of them. On a CPU the clock is the processor time of this process, which holds one
thread: other programs on the machine do not count in it. On an accelerator it is wall-clock time.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

TURN = 0.02  # seconds: a short call is repeated until its turn is over


@dataclass
class Job:
    """One implementation at one size.

    Attributes:
        name: the row of the table.
        call: does the work once, waits for the result and returns the gradient.
        share: the part of the full work that `call` does; its time is divided by it.
        bytes: memory that the work takes beside its input and output; None if not known yet.
        compiled: seconds that tracing and compiling took; None if nothing is compiled.
        measure: what measures `bytes` in one more call; None if the compiler told.
        derivative: whether `call` returns a gradient that can be compared.
    """

    name: str
    call: Callable[[], Any]
    share: float = 1.0
    bytes: int | None = None
    compiled: float | None = None
    measure: Callable[[Callable[[], Any]], int | None] | None = None
    derivative: bool = True


def jax_job(name: str, function: Callable, *arguments: Any, derivative: bool = True) -> Job:
    """Compile a JAX function; its memory is what the compiler reserves for temporaries."""
    arguments = jax.device_put(arguments)
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    analysis = compiled.memory_analysis()
    return Job(
        name,
        lambda: jax.block_until_ready(compiled(*arguments)),
        bytes=None if analysis is None else int(analysis.temp_size_in_bytes),
        compiled=seconds,
        derivative=derivative,
    )


def relative_error(gradient: np.ndarray, reference: np.ndarray) -> float:
    """The largest |gradient - reference| / |reference| over the rows; NaN stays NaN.

    A row is one meta-gradient: a number for shape (rows,), a vector for shape (rows, numbers).
    """
    gradient, reference = (
        np.asarray(array, np.float64).reshape(len(reference), -1) for array in (gradient, reference)
    )
    # At 10000 steps a derivative is of size 1e-160, and its square would be 0.
    scale = np.max(np.abs(reference), axis=1, keepdims=True)
    difference = np.linalg.norm((gradient - reference) / scale, axis=1)
    return float(np.max(difference / np.linalg.norm(reference / scale, axis=1)))


def race(
    jobs: Sequence[Job],
    reference: np.ndarray | None,
    *,
    seconds: float,
    least: int = 2,
    most: int = 25,
) -> list[dict[str, Any]]:
    """Time all jobs in turns.

    Args:
        jobs: what to time.
        reference: the gradient, shape (rows,) or (rows, numbers); a job that does a share of the
            work is compared with the rows it returns, the first ones. None: nothing to compare.
        seconds: how long one job may run altogether before it drops out.
        least: turns that every job gets.
        most: turns after which a job drops out.

    Returns:
        For each job: `seconds` (best turn, full work, by the clock that counts), `wall_seconds`,
        `turns`, `bytes`, `error`, `compile_seconds` and `share`; or, if it raised an error, only
        `failed`.
    """
    on_cpu = jax.default_backend() == "cpu"
    cells = [warm_up(job, reference) for job in jobs]
    spent = [0.0] * len(jobs)
    for turn in range(most):
        for index, (job, cell) in enumerate(zip(jobs, cells, strict=True)):
            if "failed" in cell or (turn >= least and spent[index] > seconds):
                continue
            wall, cpu, used = best_of_turn(job.call)
            spent[index] += used
            cell["turns"] += 1
            cell["seconds"] = min(cell["seconds"], (cpu if on_cpu else wall) / job.share)
            cell["wall_seconds"] = min(cell["wall_seconds"], wall / job.share)
    return cells


def warm_up(job: Job, reference: np.ndarray | None) -> dict[str, Any]:
    """Call once, compare the gradient, measure the memory."""
    try:
        gradient = np.asarray(job.call())
        size = job.measure(job.call) if job.measure else job.bytes
    except Exception as problem:  # another package's: the table prints it
        return {"failed": f"{type(problem).__name__}: {problem}"}
    error = None
    if reference is not None and job.derivative:
        error = relative_error(gradient, reference[: len(gradient)])
    return {
        "seconds": float("inf"),
        "wall_seconds": float("inf"),
        "turns": 0,
        "bytes": size,
        "error": error,
        "compile_seconds": job.compiled,
        "share": job.share,
    }


def best_of_turn(call: Callable[[], Any]) -> tuple[float, float, float]:
    """Repeat a call for one turn: best wall time, mean CPU time of a call, length of the turn."""
    best, calls = float("inf"), 0
    cpu = time.process_time()
    start = now = time.perf_counter()
    while calls == 0 or now - start < TURN:
        before, calls = now, calls + 1
        call()
        now = time.perf_counter()
        best = min(best, now - before)
    return best, (time.process_time() - cpu) / calls, now - start
