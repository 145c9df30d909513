"""Tables from a stored result, as text for the terminal and as HTML for the book."""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.targets import cells, ratios, targets
from livejax.format import format_number, with_unit

RESULTS = Path(__file__).parent / "results"
NOTHING = "–"


class Table(NamedTuple):
    """A table of texts; the first entry of each row names the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def load(name: str = "meta_gradients") -> dict[str, Any] | None:
    """A stored result, or None if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf8")) if path.exists() else None


def duration(seconds: float) -> str:
    r"""A time with two digits and its unit, which stays on the same line.

    >>> duration(0.0000712), duration(0.0345), duration(12.3)
    ('0.071\xa0ms', '34\xa0ms', '12\xa0s')
    """
    if seconds < 0.9995:
        return with_unit(_two_digits(1000 * seconds), "ms")
    return with_unit(_two_digits(seconds), "s")


def size_of(held: float) -> str:
    r"""A memory size in MB, two digits.

    >>> size_of(61_300_000), size_of(701_000)
    ('61\xa0MB', '0.7\xa0MB')
    """
    return with_unit(_two_digits(held / 1e6), "MB")


def factor(ratio: float) -> str:
    """A ratio.

    >>> factor(0.966), factor(1.942), factor(49.8), factor(1982.0)
    ('0.97×', '1.9×', '50×', '2000×')
    """
    return f"{_two_digits(ratio)}×"


def number(value: float) -> str:
    """An error, to one digit.

    >>> number(float("nan"))
    'undefined'
    """
    return format_number(value, ".0e")


def _two_digits(number: float) -> str:
    """Two significant digits and no exponent, whatever the size."""
    rounded = float(f"{number:.1e}")
    return f"{rounded:.0f}" if abs(rounded) >= 10 else f"{rounded:.2g}"


def by_column(
    sheet: dict[str, Any], caption: str, entry: Callable[[str, int], str | None]
) -> Table:
    """A table with the sheet's rows and columns; `entry` writes one cell."""
    head = ("", *(f"{sheet['axis']} = {size}" for size in sheet["columns"]))
    rows = []
    for name in sheet["rows"]:
        entries = [entry(name, size) or NOTHING for size in sheet["columns"]]
        if any(text != NOTHING for text in entries):
            rows.append((name, *entries))
    return Table(caption, head, tuple(rows))


def time_table(sheet: dict[str, Any], caption: str) -> Table:
    """Times as multiples of the unit, with the time itself."""
    against = {name: ratios(sheet, name, sheet["unit"]) for name in sheet["rows"]}

    def entry(name: str, size: int) -> str | None:
        cell = cells(sheet, name).get(size)
        if cell is None:
            return None
        time = duration(cell["seconds"])
        ratio = against[name].get(size)
        return time if ratio is None else f"{factor(ratio)} ({time})"

    return by_column(sheet, caption, entry)


def memory_table(sheet: dict[str, Any], caption: str) -> Table:
    """Memory beside input and output."""

    def entry(name: str, size: int) -> str | None:
        cell = cells(sheet, name).get(size)
        return None if cell is None or cell["bytes"] is None else size_of(cell["bytes"])

    return by_column(sheet, caption, entry)


def error_table(sheet: dict[str, Any], caption: str) -> Table:
    """Relative distance from the reference."""

    def entry(name: str, size: int) -> str | None:
        cell = cells(sheet, name).get(size)
        return (
            None if cell is None or cell["error"] is None else format_number(cell["error"], ".0e")
        )

    return by_column(sheet, caption, entry)


def target_table(result: dict[str, Any]) -> Table:
    """The targets, and whether they are reached."""
    verdicts = {True: "reached", False: "missed", None: "not measured"}
    rows = tuple((t.text, t.measured or NOTHING, verdicts[t.reached]) for t in targets(result))
    return Table("Targets", ("target", "worst case", "verdict"), rows)


def left_out_table(result: dict[str, Any]) -> Table:
    """What could not be measured, in the words of the installer or of the package."""
    rows = []
    for work, title in (("step_sizes", "(a)"), ("maml", "(b)")):
        sheet = result[work]
        rows += [(f"{title} {name}", reason) for name, reason in sheet["left_out"].items()]
        for name, row in sheet["rows"].items():
            rows += [
                (f"{title} {name}, {sheet['axis']} = {size}", cell["failed"])
                for size, cell in zip(sheet["columns"], row, strict=True)
                if cell and "failed" in cell
            ]
    return Table("Left out", ("implementation", "reason"), tuple(rows))


def all_tables(result: dict[str, Any]) -> dict[str, Table]:
    """Every table of a result, by a short name."""
    works = (
        ("a", result["step_sizes"], "(a) The derivative to the step size"),
        ("b", result["maml"], "(b) The MAML gradient"),
    )
    tables = {}
    for letter, sheet, title in works:
        unit = sheet["unit"]
        tables[f"time_{letter}"] = time_table(sheet, f"{title}: time, as a multiple of {unit}")
        tables[f"memory_{letter}"] = memory_table(sheet, f"{title}: memory")
        tables[f"error_{letter}"] = error_table(sheet, f"{title}: relative error")
    for axis, sheet in result["growth"].items():
        tables[f"time_{axis}"] = time_table(sheet, f"Growth, {axis.replace('_', '-')}: time")
        tables[f"memory_{axis}"] = memory_table(sheet, f"Growth, {axis.replace('_', '-')}: memory")
    tables["targets"] = target_table(result)
    if left_out_table(result).rows:
        tables["left_out"] = left_out_table(result)
    return tables


def as_text(table: Table) -> str:
    """Aligned columns."""
    lines = (table.head, *table.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.head))]
    body = ["  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([table.caption, *(line.rstrip() for line in body)])


def as_html(table: Table) -> str:
    """A table with row and column headings that a screen reader announces."""
    heads = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in table.head[1:])
    corner = f'<th scope="col">{html.escape(table.head[0])}</th>' if table.head[0] else "<td></td>"
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(text)}</td>" for text in entries)
        + "</tr>"
        for name, *entries in table.rows
    )
    return (
        f"<table><caption>{html.escape(table.caption)}</caption>"
        f"<thead><tr>{corner}{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def text(result: dict[str, Any]) -> str:
    """Everything, for the terminal."""
    about = result["about"]
    head = (
        f"{about['cpu']}, {about['device']}, {about['date']}, load {about['load'][0]:.1f}, "
        f"wall clock / counted time {about['wall_per_counted']:.2f}"
    )
    return "\n\n".join([head, *map(as_text, all_tables(result).values())])
