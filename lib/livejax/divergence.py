"""Where a curve leaves the plot for good. `static/divergence.js` is the same in JavaScript.

A run that diverges must look like one: its curve is drawn to the edge of the plot, marked there,
and a sentence says at which step. Axis ranges are fixed, so "outside" has a meaning.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from livejax.format import format_number


def positions(values: np.ndarray, axis: Mapping[str, Any]) -> np.ndarray:
    """`values` in the units of the axis range: log10 on a logarithmic axis, -inf for zero there."""
    values = np.asarray(values, dtype=np.float64)
    if axis.get("type") != "log":
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values <= 0, -np.inf, np.log10(values))


def inside(values: np.ndarray, axis: Mapping[str, Any]) -> np.ndarray:
    """Which `values` lie in the axis range, up to a billionth of its length."""
    low, high = sorted(axis["range"])
    slack = 1e-9 * (high - low)
    place = positions(values, axis)
    return (place >= low - slack) & (place <= high + slack)


@dataclass(frozen=True)
class Exit:
    """A curve is outside the plot from `index` on; `below` if through the floor of a log axis."""

    index: int
    below: bool


def find_exit(
    x: np.ndarray,
    y: np.ndarray,
    x_axis: Mapping[str, Any],
    y_axis: Mapping[str, Any],
    is_path: bool,
) -> Exit | None:
    """The first point from which on no point is inside, or None if the last one is.

    A path (`is_path`) may leave through any edge. Of a function graph only the part above the x
    range counts.
    """
    good = inside(y, y_axis)
    x_good = inside(x, x_axis)
    if is_path:
        good = good & x_good
    elif x_good.any():
        good = good[: np.flatnonzero(x_good)[-1] + 1]
    if not len(good) or good[-1]:
        return None
    index = int(np.flatnonzero(good)[-1]) + 1 if good.any() else 0
    below = y_axis.get("type") == "log" and positions(y, y_axis)[index] < min(y_axis["range"])
    return Exit(index, bool(below))


def sentence_start(name: str) -> str:
    """A name at the start of a sentence: "heavy ball" gets a capital, "μ" and "x" do not."""
    return name[0].upper() + name[1:] if re.match("[a-z]{2}", name) else name


def exit_sentence(name: str, found: Exit, x: np.ndarray, step: str | None) -> str:
    """What the summary says about it.

    `step` is "step" where x counts steps, another name of x, or None for the index of the point.
    """
    if step is None:
        place = f"step {found.index}"
    elif step == "step":
        place = f"step {format_number(float(x[found.index]), 'd')}"
    else:
        place = f"{step} = {format_number(float(x[found.index]), '.3g')}"
    name = sentence_start(name)
    if found.index == 0:
        return f"{name} lies outside the plot."
    if found.below:
        return f"{name} falls below the plot at {place} and stays there."
    return f"{name} leaves the plot at {place} and does not return."


def bar_sentence(name: str, values: np.ndarray, axis: Mapping[str, Any]) -> str | None:
    """What the summary says about bars that end outside the plot."""
    outside = int(np.sum(~inside(values, axis)))
    return f"{outside} of {len(values)} bars of {name} end beyond the plot." if outside else None
