"""The data of a figure as tables of text. `static/table.js` makes the same tables on the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from livejax.format import format_number

MAX_ROWS = 25
MAX_COLUMNS = 7
FORMAT = ".4g"
NOTHING = "–"

# A column is {"key": output} or {"values": [...]} (fixed in the template) or {"index": True}.
Column = dict[str, Any]


def thin(count: int, limit: int) -> list[int]:
    """At most `limit` of the indices 0 to count-1, evenly spread, both ends included."""
    if count <= limit:
        return list(range(count))
    return [int(np.floor(i * (count - 1) / (limit - 1) + 0.5)) for i in range(limit)]


def plan_tables(
    data: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    fills: Mapping[str, Mapping[str, str]],
) -> list[dict[str, Any]]:
    """Which tables show the live traces: curves over the same x share one.

    `titles` maps plotly's axis keys ("xaxis2") to the titles of the axes.
    """
    tables: list[dict[str, Any]] = []
    for trace in data:
        filled = fills.get(trace.get("name", ""))
        if not filled:
            continue
        x, y = (_column(trace, filled, letter) for letter in "xy")
        x_title, y_title = (_axis_title(trace, titles, letter) for letter in "xy")
        if "z" in filled:
            tables.append({
                "kind": "grid", "caption": trace["name"], "z": filled["z"], "x": x, "y": y,
                "corner": f"{y_title} \\ {x_title}",
            })  # fmt: skip
            continue
        column = {**y, "head": trace["name"], "count": filled.get("count")}
        partners = [table for table in tables if table["kind"] == "series" and table["x"] == x]
        if partners:
            partners[0]["columns"].append(column)
            partners[0]["caption"] += f", {trace['name']}"
        else:
            tables.append({
                "kind": "series", "caption": trace["name"], "corner": x_title, "x": x,
                "columns": [column],
            })  # fmt: skip
    return tables


def _column(trace: Mapping[str, Any], filled: Mapping[str, str], letter: str) -> Column:
    if letter in filled:
        return {"key": filled[letter]}
    if trace.get(letter) is not None:
        return {"values": trace[letter]}
    return {"index": True}


def _axis_title(trace: Mapping[str, Any], titles: Mapping[str, str], letter: str) -> str:
    reference = trace.get(f"{letter}axis", letter)
    return titles.get(f"{letter}axis{reference[1:]}", letter)


def _cells(column: Column, outputs: Mapping[str, np.ndarray], length: int) -> list[str]:
    """The column as text, `length` cells long; a shorter one ends in dashes."""
    if "key" in column:
        values = list(np.ravel(outputs[column["key"]]))
    else:
        values = column.get("values", range(length))
    if column.get("count"):
        values = values[: int(outputs[column["count"]].item())]
    texts = [value if isinstance(value, str) else _cell(value) for value in values[:length]]
    return texts + [NOTHING] * (length - len(texts))


def _cell(value: float | None) -> str:
    return format_number(float("nan") if value is None else float(value), FORMAT)


def _length(column: Column, outputs: Mapping[str, np.ndarray]) -> int:
    if column.get("count"):
        return int(outputs[column["count"]].item())
    return outputs[column["key"]].size if "key" in column else len(column.get("values", ()))


def build_table(table: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """One planned table, filled: caption, note, head (list of texts) and rows (lists of texts)."""
    if table["kind"] == "grid":
        z = outputs[table["z"]]
        rows, columns = thin(z.shape[0], MAX_ROWS), thin(z.shape[1], MAX_COLUMNS)
        x, y = _cells(table["x"], outputs, z.shape[1]), _cells(table["y"], outputs, z.shape[0])
        return {
            "caption": table["caption"],
            "note": f"{len(rows)} of {z.shape[0]} rows, {len(columns)} of {z.shape[1]} columns",
            "head": [table["corner"], *(x[j] for j in columns)],
            "rows": [[y[i], *(_cell(z[i, j]) for j in columns)] for i in rows],
        }
    length = max(_length(column, outputs) for column in table["columns"])
    rows = thin(length, MAX_ROWS)
    texts = [_cells(column, outputs, length) for column in (table["x"], *table["columns"])]
    return {
        "caption": table["caption"],
        "note": f"{len(rows)} of {length} rows",
        "head": [table["corner"], *(column["head"] for column in table["columns"])],
        "rows": [[column[i] for column in texts] for i in rows],
    }
