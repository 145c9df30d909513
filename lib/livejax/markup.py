"""The HTML of a live figure in its default state.

JupyterLab and the built page start from the same HTML; scripts only bring it to life. So a reader
without scripts has title, summary, table, caption and takeaway, and nothing jumps when they start.
Labels wrap their inputs, which needs no ids: JupyterLab may show one figure twice.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from plotly.colors import sample_colorscale

from livejax.controls import Control
from livejax.format import format_number
from livejax.palette import LIGHT

MAX_RADIOS = 4  # more options than this become a drop-down list


def _range(label: str, text: str, low: float, high: float, step: float, value: float) -> str:
    share = 100 * (value - low) / (high - low)
    return (
        f'<div class="livejax-row"><label><span class="livejax-label">{escape(label)}</span>'
        f'<input type="range" min="{low:.12g}" max="{high:.12g}" step="{step:.12g}" '
        f'value="{value:.12g}" aria-valuetext="{escape(text)}" '
        f'style="--livejax-share: {share:.4g}%" disabled></label>'
        f'<output aria-live="off">{escape(text)}</output></div>'
    )


def control_html(figure_id: str, name: str, control: Control, titles: Mapping[str, str]) -> str:
    """One control with its native inputs, disabled until scripts run."""
    spec = control.spec()
    text = control.text(control.default)  # type: ignore[arg-type]  # a default is of its own kind
    match spec["kind"]:
        case "slider" if spec["log"]:
            # static/controls.js turns the stop numbers into values.
            share = math.log(spec["value"] / spec["min"]) / math.log(spec["max"] / spec["min"])
            stop = round(share * spec["stops"])
            body = _range(spec["label"], text, 0, spec["stops"], 1, stop)
        case "slider":
            step = (spec["max"] - spec["min"]) / spec["stops"]
            body = _range(spec["label"], text, spec["min"], spec["max"], step, spec["value"])
        case "integer":
            body = _range(
                spec["label"], text, spec["min"], spec["max"], spec["step"], spec["value"]
            )
        case "switch":
            checked = " checked" if spec["value"] else ""
            body = (
                '<div class="livejax-row"><label class="livejax-switch">'
                f'<input type="checkbox" role="switch"{checked} disabled>'
                f'<span class="livejax-label">{escape(spec["label"])}</span></label></div>'
            )
        case "choice" if len(spec["options"]) > MAX_RADIOS:
            options = "".join(
                f'<option value="{key}"{" selected" if key == spec["value"] else ""}>'
                f"{escape(label)}</option>"
                for key, label in spec["options"]
            )
            body = (
                '<div class="livejax-row"><label>'
                f'<span class="livejax-label">{escape(spec["label"])}</span>'
                f"<select disabled>{options}</select></label></div>"
            )
        case "choice":
            radios = "".join(
                f'<label><input type="radio" name="{figure_id}--{name}" value="{key}"'
                f"{' checked' if key == spec['value'] else ''} disabled>"
                f"<span>{escape(label)}</span></label>"
                for key, label in spec["options"]
            )
            body = (
                f'<fieldset class="livejax-choice"><legend class="livejax-label">'
                f'{escape(spec["label"])}</legend><div class="livejax-options">{radios}</div>'
                "</fieldset>"
            )
        case "point":
            rows = []
            for axis, (low, high), stops, value, shown in zip(
                spec["axes"], spec["bounds"], spec["stops"], spec["value"],
                text.strip("()").split(", "), strict=True,
            ):  # fmt: skip
                label = f"{spec['label']}: {titles.get(f'{axis[0]}axis{axis[1:]}', axis[0])}"
                rows.append(_range(label, shown, low, high, (high - low) / stops, value))
            body = "".join(rows)
    kind = spec["kind"]
    return f'<div class="livejax-control" data-control="{name}" data-kind="{kind}">{body}</div>'


def _color(color: Any, *properties: str) -> str:
    """A style that paints `properties`; colors of the palette follow the theme."""
    names = {light: f"var(--livejax-{name})" for name, light in LIGHT.items()}
    color = names.get(color.lower(), color) if isinstance(color, str) else "currentColor"
    return escape("; ".join(f"{name}: {color}" for name in properties))


def _sample(trace: Mapping[str, Any]) -> str:
    """A short piece of the trace for the legend; figure.css has the dashes and the colors."""
    if trace["type"] == "bar":
        style = _color(trace["marker"]["color"], "fill")
        return f'<rect x="4" y="2" width="20" height="12" rx="2" style="{style}"/>'
    parts = []
    if "lines" in trace["mode"]:
        line = trace["line"]
        parts.append(
            f'<line x1="0" y1="8" x2="28" y2="8" style="{_color(line["color"], "stroke")}" '
            f'stroke-width="{min(line["width"], 3)}" data-dash="{escape(line["dash"])}"/>'
        )
    if "markers" in trace["mode"]:
        paths = {
            "circle": "M18,8a4,4 0 1,0 -8,0a4,4 0 1,0 8,0Z", "square": "M10,4h8v8h-8Z",
            "diamond": "M14,2.5l5,5.5l-5,5.5l-5,-5.5Z", "triangle-up": "M14,3l5,9h-10Z",
            "x": "M10,5l1.5,-1.5l2.5,2.5l2.5,-2.5l1.5,1.5l-2.5,2.5l2.5,2.5l-1.5,1.5l-2.5,-2.5"
                 "l-2.5,2.5l-1.5,-1.5l2.5,-2.5Z",
            "cross": "M12.5,3h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5Z",
        }  # fmt: skip
        symbol = str(trace["marker"].get("symbol", "circle"))
        base = symbol.removesuffix("-open")
        painted = ("stroke", "fill") if symbol == base else ("stroke",)
        parts.append(
            f'<path d="{paths.get(base, paths["circle"])}" fill="none" stroke-width="1.5" '
            f'style="{_color(trace["marker"]["color"], *painted)}"/>'
        )
    return "".join(parts)


def legend_html(data: Sequence[Mapping[str, Any]]) -> str:
    """Samples with names; for a heat map, its colors with the values at both ends."""
    items = []
    for trace in data:
        name = trace.get("name")
        if not name:
            continue
        if trace["type"] in ("heatmap", "contour"):
            if trace["legendscale"] and "zmin" in trace:
                ramp = ", ".join(sample_colorscale(trace["colorscale"], 12))
                items.append(
                    f'<li><span>{escape(name)}</span><span class="livejax-scale">'
                    f"<span>{format_number(trace['zmin'])}</span>"
                    '<span class="livejax-ramp" '
                    f'style="background: linear-gradient(to right, {ramp})"></span>'
                    f"<span>{format_number(trace['zmax'])}</span></span></li>"
                )
        elif trace.get("showlegend") is not False and trace.get("mode") != "text":
            items.append(
                '<li><svg viewBox="0 0 28 16" width="28" height="16" aria-hidden="true">'
                f"{_sample(trace)}</svg><span>{escape(name)}</span></li>"
            )
    return f'<ul class="livejax-legend">{"".join(items)}</ul>' if items else ""


def table_html(table: Mapping[str, Any]) -> str:
    """A built table; `static/table.js` writes the same."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table["head"])
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table["rows"]
    )
    return (
        f"<table><caption>{escape(table['caption'])} ({escape(table['note'])})</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def figure_html(
    *,
    figure_id: str,
    title: str,
    caption: str,
    takeaway: str,
    note: str,
    height: int,
    panels: int,
    summary: str,
    data: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    controls: Mapping[str, Control],
    readouts: Sequence[tuple[str, str, str]],
    tables: Sequence[Mapping[str, Any]],
) -> str:
    """The whole figure. `readouts` are (key, label, text)."""
    rows = "".join(
        control_html(figure_id, name, control, titles) for name, control in controls.items()
    )
    numbers = "".join(
        f'<div><span class="livejax-label">{escape(label)}</span>'
        f'<output data-readout="{escape(key)}" aria-live="off">{escape(text)}</output></div>'
        for key, label, text in readouts
    )
    numbers = f'<div class="livejax-readouts">{numbers}</div>' if numbers else ""
    footnote = f'<p class="livejax-note">{escape(note)}</p>' if note else ""
    return f"""\
<figure class="livejax" id="{escape(figure_id)}" style="--livejax-height: {height}px">
<p class="livejax-title">{escape(title)}</p>
{legend_html(data)}
<div class="livejax-stage" data-panels="{panels}">
<div class="livejax-plot" role="img" aria-label="{escape(f"{title}. {summary}")}"></div>
<noscript><p class="livejax-noscript">The plot and its controls need JavaScript. \
The table below holds the data of the setting shown.</p></noscript>
</div>
<div class="livejax-controls">{rows}</div>
<div class="livejax-tools">
<button type="button" class="livejax-reset" disabled>Reset</button>
<button type="button" class="livejax-copy" disabled>Copy link to this setting</button>
<span class="livejax-status" role="status"></span>
</div>
{numbers}
<p class="livejax-summary" aria-live="polite">{escape(summary)}</p>
<details class="livejax-data"><summary>Data as a table</summary>\
<div class="livejax-scroll" role="region" aria-label="{escape(f"Data: {title}")}" tabindex="0">\
{"".join(table_html(table) for table in tables)}</div></details>
<figcaption>
<p class="livejax-caption"><span class="livejax-number"></span> {escape(caption)}</p>
<p class="livejax-takeaway">{escape(takeaway)}</p>
{footnote}
</figcaption>
</figure>"""
