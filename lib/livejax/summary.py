"""Sentences with live numbers. `static/summary.js` fills in the same parts on the page.

A text such as "After {T} steps the loss is {loss:.2g}." is taken apart once, in Python, so that the
page needs no parser. A part is a plain string, `{"control": name, "index": i, "format": spec}` or
`{"output": key, "format": spec}`.
"""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np

from livejax.controls import Control, Point
from livejax.format import check_spec, format_number

Part = str | dict[str, Any]
Outputs = Mapping[str, np.ndarray]


def parse_text(text: str, controls: Mapping[str, Control], outputs: Outputs) -> list[Part]:
    """Take `text` apart into its parts.

    Raises:
        ValueError: if a field names neither a control nor an output with one element, or has a
            format that is not supported.
    """
    parts: list[Part] = []
    for literal, name, spec, _ in Formatter().parse(text):
        if literal:
            parts.append(literal)
        if name is None:
            continue
        base, _, coordinate = name.partition(".")
        if base in controls:
            index = "xy".find(coordinate) if coordinate else None
            if coordinate and (index == -1 or not isinstance(controls[base], Point)):
                raise ValueError(f"{{{name}}} in {text!r}: only a Point has .x and .y")
            parts.append({"control": base, "index": index, "format": spec and check_spec(spec)})
        elif name in outputs:
            if outputs[name].size != 1:
                raise ValueError(
                    f"{{{name}}} in {text!r} has shape {outputs[name].shape}; "
                    "only an output with one element can be printed"
                )
            parts.append({"output": name, "format": check_spec(spec or ".3g")})
        else:
            known = ", ".join([*controls, *outputs])
            raise ValueError(f"{{{name}}} in {text!r} is unknown; known are {known}")
    return parts


def fill_text(
    parts: Sequence[Part],
    controls: Mapping[str, Control],
    state: Mapping[str, Any],
    outputs: Outputs,
) -> str:
    """The text at `state`, where the function returned `outputs`."""
    words = []
    for part in parts:
        if isinstance(part, str):
            words.append(part)
        elif "output" in part:
            words.append(format_number(outputs[part["output"]].item(), part["format"]))
        else:
            control, value = controls[part["control"]], state[part["control"]]
            if part["index"] is not None:
                assert isinstance(control, Point)  # parse_summary allows an index only there
                value = value[part["index"]]
                words.append(format_number(value, part["format"] or control.format))
            elif part["format"]:
                words.append(format_number(value, part["format"]))
            else:
                words.append(control.text(value))
    return "".join(words)


def parse_summary(
    summary: str | Sequence[tuple[str | None, str]],
    controls: Mapping[str, Control],
    outputs: Outputs,
) -> list[dict[str, Any]]:
    """The cases of a summary as `{"if": key or None, "parts": [...]}`.

    Raises:
        ValueError: if a condition is no output with one element, the last case has a condition, or
            a text is empty or has an unknown field.
    """
    cases = [(None, summary)] if isinstance(summary, str) else list(summary)
    if not cases or cases[-1][0] is not None:
        raise ValueError(
            "the last case of summary must have the condition None, for all other states"
        )
    result = []
    for condition, text in cases:
        if condition is not None and (condition not in outputs or outputs[condition].size != 1):
            raise ValueError(
                f"condition {condition!r} of summary is unknown; allowed are outputs with one "
                f"element: {[key for key, value in outputs.items() if value.size == 1]}"
            )
        if not text.strip():
            raise ValueError("summary has an empty text")
        result.append({"if": condition, "parts": parse_text(text, controls, outputs)})
    return result


def choose_case(cases: Sequence[dict[str, Any]], outputs: Outputs) -> list[Part]:
    """The parts of the first case whose condition is nonzero (a NaN is not)."""
    for case in cases:
        value = 1.0 if case["if"] is None else float(outputs[case["if"]].item())
        if value != 0 and not np.isnan(value):
            return case["parts"]
    raise AssertionError("the last case has no condition")
