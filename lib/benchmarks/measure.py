"""Run every measurement and store it. Started by `meta_gradients`, which sets the threads."""

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax

from benchmarks import growth, maml, peers_jax, report, step_sizes, surroundings
from benchmarks.timing import Job, race

RESULTS = Path(__file__).parent / "results"
TORCH = {"torch.func jvp": "torch", "torch.func grad": "torch", "torch.func": "torch"}


def peer_jobs(kind: str, packages: Iterable[str], *arguments: Any) -> tuple[list[Job], dict]:
    """Build the jobs of other packages; those that cannot be built come back with the reason."""
    jobs, failed = [], {}
    for package in packages:
        try:
            module = importlib.import_module(f"benchmarks.{kind}")
            jobs.append(module.job(package, *arguments))
        except Exception as problem:
            refused = surroundings.missing().get(TORCH.get(package, package))
            failed[package] = refused or f"{type(problem).__name__}: {problem}"
    return jobs, failed


class Sheet:
    """One table in the making: rows by name, one cell for each column."""

    def __init__(self, axis: str, unit: str) -> None:
        self.data: dict[str, Any] = {"axis": axis, "unit": unit, "columns": [], "rows": {}}
        self.data["left_out"] = {}

    def column(
        self, size: int, jobs: list[Job], reference: Any, failed: dict, **limits: Any
    ) -> None:
        """Time one column, and say so."""
        start = time.perf_counter()
        cells = race(jobs, reference, **limits)
        self.data["columns"].append(size)
        self.data["left_out"] |= failed
        found = {job.name: cell for job, cell in zip(jobs, cells, strict=True)}
        before = len(self.data["columns"]) - 1
        for name in [
            *self.data["rows"],
            *(name for name in found if name not in self.data["rows"]),
        ]:
            self.data["rows"].setdefault(name, [None] * before).append(found.get(name))
        took = time.perf_counter() - start
        print(f"    {self.data['axis']} = {size}: {took:.0f} s", flush=True)


def work_a(lengths: Iterable[int], seconds: float) -> dict:
    """All implementations of the derivative to the step size."""
    print("==> (a) The derivative to the step size", flush=True)
    data = step_sizes.problem()
    sheet = Sheet("T", step_sizes.UNIT)
    for length in lengths:
        timed = 1 if length >= 10000 else 2
        jobs = step_sizes.our_jobs(data, length)
        ours = len(jobs)
        names = ("torch.func jvp", "torch.func grad", "torchopt", "higher")
        for kind, packages, extra in (
            ("peers_jax", tuple(peers_jax.RUNS), ()),
            ("peers_torch", names, (timed,)),
        ):
            more, failed = peer_jobs(kind, packages, data, length, *extra)
            jobs += more
            sheet.data["left_out"] |= failed
        reference = step_sizes.closed_form(data, length)
        sheet.column(length, jobs, reference, {}, seconds=seconds)
        sheet.data["ours"] = [job.name for job in jobs[1:ours]]
    return sheet.data


def work_b(lengths: Iterable[int], seconds: float) -> dict:
    """All implementations of the MAML gradient."""
    print("==> (b) The MAML gradient", flush=True)
    sheet = Sheet("K", maml.UNIT)
    for length in lengths:
        jobs = maml.our_jobs(length)
        ours = len(jobs)
        more, failed = peer_jobs("peers_torch_maml", ("torch.func", "torchopt", "higher"), length)
        sheet.column(length, jobs + more, maml.reference(length), failed, seconds=seconds)
        sheet.data["ours"] = [job.name for job in jobs[1:ours]]
    return sheet.data


def sweep(axis: str, sizes: Iterable[int], make: Callable[[int], list[Job]]) -> dict:
    """Our methods over sizes."""
    print(f"==> Growth: {axis}", flush=True)
    sheet = Sheet(axis, "")
    for size in sizes:
        sheet.column(size, make(size), None, {}, seconds=0.5, most=12)
    return sheet.data


def wall_per_counted(result: dict) -> float:
    """The median of wall-clock over counted time: 1 on a quiet machine, less if threads helped."""
    sheets = (result["step_sizes"], result["maml"])
    cells = (cell for sheet in sheets for row in sheet["rows"].values() for cell in row)
    long = (cell for cell in cells if cell and cell.get("seconds", 0.0) > 0.01)
    return statistics.median(cell["wall_seconds"] / cell["seconds"] for cell in long)


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    backend = jax.default_backend()
    device = jax.devices()[0].device_kind
    about = surroundings.about(device if backend != "cpu" else "no accelerator")
    start = time.perf_counter()
    keep = 2 if quick else None
    result = {
        "about": about,
        "step_sizes": work_a(step_sizes.LENGTHS[:keep], 0.3 if quick else 1.5),
        "maml": work_b(maml.LENGTHS[:keep], 0.3 if quick else 2.5),
        "growth": {
            axis: sweep(axis, sizes[:keep], make) for axis, (sizes, make) in growth.SWEEPS.items()
        },
    }
    about["seconds"] = time.perf_counter() - start
    about["wall_per_counted"] = wall_per_counted(result)
    print(report.text(result), flush=True)
    if not quick:
        name = "meta_gradients.json" if backend == "cpu" else "meta_gradients_gpu.json"
        (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n", "utf8")
        print(f"Stored in {RESULTS / name}")


if __name__ == "__main__":
    main()
