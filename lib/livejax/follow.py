"""Which traces of a figure are watched for leaving the plot, and what is said when they do."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from livejax.divergence import bar_sentence, exit_sentence, find_exit
from livejax.template import axis_key


def _column(column: Any, outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    if isinstance(column, str):
        return np.asarray(outputs[column], dtype=np.float64)
    return None if column is None else np.asarray(column, dtype=np.float64)


def followed(
    page: Mapping[str, Any],
    fills: Mapping[str, Mapping[str, str]],
    outputs: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
    """The live curves and bars whose exit from the plot the summary reports.

    Each is a dict that the page gets too: name, x, y and count (an output's key, values, or None),
    the keys of its axes, `bar`, `is_path` (both coordinates live, and x no count), and `step`, how
    to name the place of an exit: "step" where x counts steps, the title of a fixed x axis, or None
    for the index of the point.
    """
    followed = []
    for trace in page["data"]:
        filled = fills.get(trace.get("name", ""), {})
        if trace["type"] not in ("scatter", "bar") or not {"x", "y"} & set(filled):
            continue
        axes = [axis_key(trace.get(f"{letter}axis", letter)) for letter in "xy"]
        if any("range" not in page["layout"][axis] for axis in axes) and trace["type"] != "bar":
            continue
        x = filled.get("x", trace.get("x"))
        values = _column(x, outputs) if trace["type"] == "scatter" else None
        counts = values is None or (
            len(values) > 0
            and bool(np.all(np.diff(values) > 0) and np.all(values == np.round(values)))
        )
        step: str | None = None
        if values is not None and counts:
            step = "step"
        elif values is not None and "x" not in filled:
            step = page["titles"].get(axes[0], "x")
        followed.append({
            "name": trace["name"], "x": None if trace["type"] == "bar" else x,
            "y": filled.get("y", trace.get("y")), "count": filled.get("count"),
            "x_axis": axes[0], "y_axis": axes[1], "bar": trace["type"] == "bar",
            "is_path": "x" in filled and not counts, "step": step,
        })  # fmt: skip
    return followed


def exit_sentences(
    traces: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    outputs: Mapping[str, np.ndarray],
) -> list[str]:
    """One sentence for each of the followed `traces` that leaves the plot."""
    sentences = []
    for trace in traces:
        y = np.asarray(_column(trace["y"], outputs))
        x = _column(trace["x"], outputs)
        count = int(outputs[trace["count"]].item()) if trace["count"] else len(y)
        x, y = (np.arange(len(y)) if x is None else x)[:count], y[:count]
        x_axis, y_axis = (layout[trace[f"{letter}_axis"]] for letter in "xy")
        if trace["bar"]:
            sentence = bar_sentence(trace["name"], y, y_axis) if "range" in y_axis else None
            sentences += [sentence] if sentence else []
        elif found := find_exit(x, y, x_axis, y_axis, trace["is_path"]):
            sentences.append(exit_sentence(trace["name"], found, x, trace["step"]))
    return sentences
