"""What was hoped for, and whether the stored numbers reach it. A miss is reported, not hidden."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from metagrad.estimators import LONG_RUN

FORWARD_LIMIT = 2.2
REPTILE_LIMIT = 5.0
MEMORY_LIMIT = 1 / 3
TORCH_FUNC_LEAD = 4.0
PEER_LEAD = 25.0


class Target(NamedTuple):
    """One hope.

    Attributes:
        text: what was hoped for.
        measured: the worst case found, in words; empty if nothing was measured.
        reached: whether it is within the limit; None if nothing was measured.
    """

    text: str
    measured: str
    reached: bool | None


def cells(sheet: dict[str, Any], row: str) -> dict[int, dict]:
    """The measured cells of a row, by column."""
    found = zip(sheet["columns"], sheet["rows"].get(row, []), strict=False)
    return {size: cell for size, cell in found if cell and "failed" not in cell}


def ratios(sheet: dict[str, Any], row: str, unit: str, field: str = "seconds") -> dict[int, float]:
    """A row divided by another, by column."""
    below = cells(sheet, unit)
    return {
        size: cell[field] / below[size][field]
        for size, cell in cells(sheet, row).items()
        if size in below and cell[field] is not None and below[size][field]
    }


def at_most(text: str, found: dict[int, float], limit: float, axis: str) -> Target:
    """The largest ratio must not exceed a limit."""
    if not found:
        return Target(text, "", None)
    size = max(found, key=lambda size: found[size])
    return Target(text, f"{found[size]:.2f} at {axis}\u00a0=\u00a0{size}", found[size] <= limit)


def at_least(text: str, found: dict[int, float], limit: float, axis: str) -> Target:
    """The smallest ratio must reach a limit."""
    if not found:
        return Target(text, "", None)
    size = min(found, key=lambda size: found[size])
    return Target(text, f"{found[size]:.1f} at {axis}\u00a0=\u00a0{size}", found[size] >= limit)


def default_method(sheet: dict[str, Any]) -> dict[str, Any]:
    """The MAML sheet with one more row, what `meta_gradient` does when no method is named."""
    short, long = (cells(sheet, name) for name in ("reverse()", "checkpointed()"))
    row = [(long if size >= LONG_RUN else short).get(size) for size in sheet["columns"]]
    return {**sheet, "rows": {**sheet["rows"], "default": row}}


def targets(result: dict[str, Any]) -> Iterator[Target]:
    """All targets, from a stored result."""
    a, b = result["step_sizes"], default_method(result["maml"])
    yield at_most(
        f"(a) forward(): at most {FORWARD_LIMIT} times the loss alone",
        ratios(a, "forward()", a["unit"]), FORWARD_LIMIT, "T",
    )  # fmt: skip
    memory = {size: cell["bytes"] for size, cell in cells(a, "forward()").items()}
    shortest = memory[min(memory)] if memory else 0
    yield at_most(
        "(a) forward(): memory as for the shortest run, whatever T",
        {size: held / max(shortest, 1) for size, held in memory.items()}, 1.0, "T",
    )  # fmt: skip
    for row in ("checkpointed()", "checkpointed(segment=1)"):
        longest = max(b["columns"])
        for text, unit, field, limit in (
            (f"at most {REPTILE_LIMIT:.0f} times Reptile", b["unit"], "seconds", REPTILE_LIMIT),
            ("at most a third of reverse()'s memory", "reverse()", "bytes", MEMORY_LIMIT),
        ):
            found = ratios(b, row, unit, field)
            last = {longest: found[longest]} if longest in found else {}
            yield at_most(f"(b) {row} in the longest run: {text}", last, limit, "K")
    leads = (
        ("torch.func", TORCH_FUNC_LEAD, ("torch.func, vmap of jvp", "torch.func, vmap of grad"),
         "torch.func, vmap over tasks"),
        ("TorchOpt", PEER_LEAD, ("TorchOpt, FuncOptimizer",), "TorchOpt, MetaSGD"),
        ("higher", PEER_LEAD, ("higher, innerloop_ctx",), "higher, innerloop_ctx"),
    )  # fmt: skip
    for name, limit, rows_a, row_b in leads:
        each = [ratios(a, row, "forward()") for row in rows_a]
        # Of several ways to use a package, its fastest counts.
        fastest = {
            size: min(found[size] for found in each if size in found) for size in set().union(*each)
        }
        hope = f"{name}: at least {limit:.0f} times slower than"
        yield at_least(f"(a) {hope} forward()", fastest, limit, "T")
        lead = ratios(b, row_b, "default")
        yield at_least(f"(b) {hope} our default method", lead, limit, "K")
