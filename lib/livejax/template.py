"""From a plotly figure to what the page draws: checked, stripped of plotly's own theme, named."""

import base64
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from livejax.palette import COLOR_SCALE, DASHES, LIGHT, SYMBOLS

TRACE_TYPES = ("scatter", "bar", "heatmap", "contour")
# attribute -> number of dimensions of the output that fills it
FILLABLE = {
    "x": 1, "y": 1, "z": 2, "count": 0, "visible": 0, "base": 1, "width": 1, "customdata": 1,
    "marker.color": 1, "marker.size": 1, "error_x.array": 1, "error_y.array": 1,
}  # fmt: skip
SHAPE_FILLABLE = ("x0", "x1", "y0", "y1", "visible")


def plain(value: Any) -> Any:
    """`value` with every array as a list and every NaN or infinity as None, as JSON needs it."""
    if isinstance(value, Mapping):
        if "bdata" in value:  # plotly's base64 form of an array
            array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
            shape = [int(n) for n in str(value.get("shape", array.size)).split(",")]
            return plain(array.reshape(shape))
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def check_fills(
    template: go.Figure, fills: Mapping[str, Mapping[str, str]], outputs: Mapping[str, np.ndarray]
) -> None:
    """Check that fills name traces, attributes and outputs that exist and fit.

    Raises:
        TypeError: if `template` is no plotly figure.
        ValueError: naming the trace, attribute or output that is wrong, and what is allowed.
    """
    if not isinstance(template, go.Figure):
        raise TypeError(f"template is a {type(template).__name__}; allowed is a plotly Figure")
    names = [trace.name for trace in template.data]
    for trace in template.data:
        if trace.type not in TRACE_TYPES:
            raise ValueError(
                f"trace {trace.name!r} has type {trace.type!r}; allowed are {TRACE_TYPES}"
            )
    for name, attributes in fills.items():
        if names.count(name) != 1:
            raise ValueError(
                f"fills names the trace {name!r}, which the template has {names.count(name)} "
                f"times; its traces are {names}"
            )
        for attribute, key in attributes.items():
            if attribute not in FILLABLE:
                raise ValueError(
                    f"fills[{name!r}] has the attribute {attribute!r}; allowed are {list(FILLABLE)}"
                )
            if key not in outputs:
                raise ValueError(
                    f"fills[{name!r}][{attribute!r}] is {key!r}; "
                    f"the function returns {list(outputs)}"
                )
            if outputs[key].ndim != FILLABLE[attribute]:
                raise ValueError(
                    f"fills[{name!r}][{attribute!r}] is {key!r} with shape {outputs[key].shape}; "
                    f"allowed is an array with {FILLABLE[attribute]} dimensions"
                )
        trace = template.data[names.index(name)]
        if "z" in attributes and (trace.zmin is None or trace.zmax is None):
            raise ValueError(
                f"trace {name!r} has a live z; set its zmin and zmax so colors keep meaning"
            )
        if "marker.color" in attributes and (
            trace.marker.cmin is None or trace.marker.cmax is None
        ):
            raise ValueError(
                f"trace {name!r} has a live marker.color; set its marker.cmin and cmax"
            )


def check_shapes(
    template: go.Figure, shapes: Mapping[int, Mapping[str, str]], outputs: Mapping[str, np.ndarray]
) -> None:
    """Check that shapes name shapes of the template and outputs with one element.

    Raises:
        ValueError: naming the shape, attribute or output that is wrong, and what is allowed.
    """
    count = len(template.layout.shapes)
    for index, attributes in shapes.items():
        if index not in range(count):
            raise ValueError(f"shapes has the index {index!r}; the template has {count} shapes")
        for attribute, key in attributes.items():
            if attribute not in SHAPE_FILLABLE:
                raise ValueError(
                    f"shapes[{index}] has the attribute {attribute!r}; allowed are {SHAPE_FILLABLE}"
                )
            if key not in outputs or outputs[key].size != 1:
                raise ValueError(
                    f"shapes[{index}][{attribute!r}] is {key!r}; "
                    "allowed are outputs with one element"
                )


def page_template(
    template: go.Figure, fills: Mapping[str, Mapping[str, str]], outputs: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The template as `{"data": [...], "layout": {...}, "titles": {...}}`, ready for the page.

    `titles` maps axis keys to titles. `outputs` are those of the default state: an axis without a
    range gets one that holds them.
    """
    figure = plain(template.to_plotly_json())
    layout = {
        key: value
        for key, value in figure["layout"].items()
        if key not in ("template", "title", "width", "height", "margin", "legend", "showlegend")
    }
    data = figure["data"]
    for trace in data:
        trace.setdefault("type", "scatter")
    _style(data)
    layout["axes"] = _axes(data, layout, fills, outputs)
    titles = {axis: _title(layout[axis]) for axis in layout["axes"] if _title(layout[axis])}
    _lift_y_titles(layout, titles)
    return {"data": data, "layout": layout, "titles": titles}


def _style(data: list[dict[str, Any]]) -> None:
    """Give every line its own color, dash and marker, where the author chose none."""
    colors = list(LIGHT.values())
    lines = [trace for trace in data if trace["type"] in ("scatter", "bar")]
    for index, trace in enumerate(lines):
        color = trace.get("line", {}).get("color") or trace.get("marker", {}).get("color")
        color = color or colors[index % len(colors)]
        if trace["type"] == "bar":
            trace.setdefault("marker", {}).setdefault("color", color)
            trace["marker"].setdefault("line", {"width": 0})
            continue
        trace.setdefault("mode", "lines")
        if "lines" in trace["mode"]:
            line = trace.setdefault("line", {})
            line.setdefault("color", color)
            line.setdefault("dash", DASHES[index % len(DASHES)])
            line.setdefault("width", 2.5)
        if "markers" in trace["mode"]:
            marker = trace.setdefault("marker", {})
            marker.setdefault("color", color)
            marker.setdefault("symbol", SYMBOLS[index % len(SYMBOLS)])
            marker.setdefault("size", 8)
    for trace in data:
        if trace["type"] in ("heatmap", "contour"):
            trace.setdefault("colorscale", COLOR_SCALE)
            trace["legendscale"] = trace.pop("showscale", trace["type"] == "heatmap")
            trace["showscale"] = False


def axis_key(reference: str) -> str:
    """Plotly's layout key of an axis reference: "y2" -> "yaxis2"."""
    return f"{reference[0]}axis{reference[1:]}"


def _axes(
    data: list[dict[str, Any]],
    layout: dict[str, Any],
    fills: Mapping[str, Mapping[str, str]],
    outputs: Mapping[str, np.ndarray],
) -> list[str]:
    """Fix the range of every axis, and return the axes' layout keys."""
    values: dict[str, list[np.ndarray]] = {}
    tight: set[str] = set()  # axes that end where their data end
    for trace in data:
        for letter in "xy":
            reference = trace.get(f"{letter}axis", letter)
            found = values.setdefault(axis_key(reference), [])
            key = fills.get(trace.get("name", ""), {}).get(letter)
            column = outputs[key] if key else np.asarray(trace.get(letter, []))
            if trace["type"] == "bar" and letter == "y":
                found.append(np.zeros(1))
            if column.dtype.kind in "fiub":
                found.append(column.astype(float).ravel())
            if trace["type"] == "heatmap" and len(column) > 1:
                tight.add(axis_key(reference))
                ends = np.array(
                    [1.5 * column[0] - 0.5 * column[1], 1.5 * column[-1] - 0.5 * column[-2]]
                )
                found.append(ends)  # the outer edges of the outer cells
    for axis, columns in values.items():
        settings = layout.setdefault(axis, {})
        settings["fixedrange"] = True
        if "scaleanchor" in settings:
            settings.setdefault("constrain", "domain")
        if "range" not in settings and columns and settings.get("type") != "category":
            pad = 0.0 if axis in tight or axis.startswith("x") else 0.06
            settings["range"] = _frozen_range(np.concatenate(columns), settings, pad)
        if "range" in settings:
            settings["range"] = [float(end) for end in settings["range"]]
            settings["autorange"] = False
    return sorted(values)


def _frozen_range(values: np.ndarray, axis: Mapping[str, Any], pad: float) -> list[float]:
    if axis.get("type") == "log":
        values = np.log10(values[values > 0])
    values = values[np.isfinite(values)]
    if not values.size:
        return [0.0, 1.0]
    low, high = float(values.min()), float(values.max())
    room = pad * (high - low) if low < high else 0.5
    return [low - room, high + room]


def _title(axis: Mapping[str, Any]) -> str:
    title = axis.get("title") or {}
    return title if isinstance(title, str) else title.get("text") or ""


def _lift_y_titles(layout: dict[str, Any], titles: Mapping[str, str]) -> None:
    """Set the titles of y axes upright above their axis, where they are easy to read."""
    for axis, text in titles.items():
        if axis.startswith("x"):
            continue
        del layout[axis]["title"]
        right = layout[axis].get("side") == "right"
        x_reference = layout[axis].get("anchor", "x")
        if not re.fullmatch(r"x\d*", x_reference):
            x_reference = "x"
        layout.setdefault("annotations", []).append({
            "text": text, "showarrow": False, "name": "livejax-y-title",
            "xref": f"{x_reference} domain", "x": 1 if right else 0,
            "xanchor": "right" if right else "left", "xshift": 0 if right else -46,
            "yref": f"y{axis.removeprefix('yaxis')} domain", "y": 1, "yanchor": "bottom",
            "yshift": 4,
        })  # fmt: skip


def panel_count(layout: Mapping[str, Any]) -> int:
    """How many plots stand side by side."""
    starts = (layout[axis].get("domain", [0, 1])[0] for axis in layout["axes"] if axis[0] == "x")
    return len({round(start, 6) for start in starts})
