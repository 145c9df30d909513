"""Move a live figure's controls as a reader does, and read back what it shows."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import collect  # noqa: F401  (puts `compare` and `noderun` on the path)
import numpy as np
from browser import define
from compare import (
    SHIPPED,
    check_leaf,
    grant_of,
    leaves_of,
    one_ulp_response,
    tolerance_of,
    zero_step_of,
)
from playwright.sync_api import Locator, Page, expect

from livejax import LiveFigure

SCRIPT = "figures.js"


@dataclass
class Shown:
    """What a figure shows at one setting.

    Attributes:
        state: control -> value, as `LiveFigure.evaluate` takes it.
        outputs: output key -> flat array.
        drawing: a fingerprint of the marks in the plot.
        marks: how many marks of the moving traces lie inside the plot.
        text: every word and number that the figure shows.
    """

    state: dict[str, Any]
    outputs: dict[str, np.ndarray]
    drawing: str
    marks: int
    text: str


def live_traces(figure: LiveFigure) -> list[int]:
    """The places, in the plot's data, of the traces that the function fills."""
    spec = figure._spec
    return [k for k, trace in enumerate(spec["data"]) if trace.get("name") in spec["fills"]]


def read(page: Page, figure: LiveFigure) -> Shown:
    """What `figure` shows once the draw that is under way is done."""
    define(page, SCRIPT)
    raw = page.evaluate("([id, live]) => readFigure(id, live)", [figure.id, live_traces(figure)])
    outputs = {
        key: np.frombuffer(base64.b64decode(text), np.float64)
        for key, text in raw.pop("outputs").items()
    }
    return Shown(outputs=outputs, **raw)


def locate(page: Page, figure: LiveFigure) -> Locator:
    """The figure's element."""
    return page.locator(f"figure.livejax#{figure.id}")


Move = Callable[[], None]


def moves(page: Page, figure: LiveFigure, name: str) -> Iterator[tuple[str, Move]]:
    """Positions of the control `name` and how a reader gets there: both ends and the middle.

    Ranges are moved by the Home and End keys and by a click in the middle, choices to each option
    by the keyboard, switches by the space bar, points by the sliders of both coordinates.
    """
    control = figure.controls[name].spec()
    root = locate(page, figure).locator(f"[data-control='{name}']")
    kind = control["kind"]
    if kind == "choice":
        for key, _ in control["options"]:
            yield f"option {key}", lambda key=key: choose(root, key)
    elif kind == "switch":
        for value in (not control["value"], control["value"]):
            yield ("on" if value else "off"), lambda: root.locator("input").press("Space")
    else:
        ranges = root.locator("input[type=range]").all()
        axes = ("horizontal ", "vertical ") if kind == "point" else ("",)
        assert len(ranges) == len(axes), f"{figure.id}, {name}: {len(ranges)} sliders"
        for axis, slider in zip(axes, ranges, strict=True):
            yield f"{axis}Home", lambda slider=slider: slider.press("Home")
            yield f"{axis}middle", lambda slider=slider: slider.click()
            yield f"{axis}End", lambda slider=slider: slider.press("End")


def choose(root: Locator, key: str) -> None:
    """Choose the option `key` of a list or of radio buttons, by the keyboard."""
    if root.locator("select").count():
        root.locator("select").focus()
        values = root.locator("option").evaluate_all("(all) => all.map((option) => option.value)")
        root.page.keyboard.press("Home")
        for _ in range(values.index(key)):
            root.page.keyboard.press("ArrowDown")
    else:
        root.locator(f"input[value='{key}']").focus()
        root.page.keyboard.press("Space")


def arguments(figure: LiveFigure, state: dict[str, Any]) -> dict[str, Any]:
    """What the figure's function receives in `state`."""
    return {name: figure.controls[name].argument(value) for name, value in state.items()}


def check_outputs(figure: LiveFigure, shown: Shown) -> None:
    """Raise AssertionError where what the browser computed is not what JAX computes.

    The tolerance is that of `compare.compare_function`: 1e-10 of each output's scale, and where the
    function amplifies rounding, what its measured amplification allows.
    """
    # The figure's own jitted function: one more would be compiled anew at every setting.
    evaluate, values = figure._jitted, arguments(figure, shown.state)
    zero_step = zero_step_of(figure.controls)
    result = dict(evaluate(values))
    assert set(result) == set(shown.outputs), f"outputs {set(shown.outputs)}, JAX {set(result)}"
    response = None
    for index, (key, leaf) in enumerate(zip(sorted(result), leaves_of(result), strict=True)):
        fair = tolerance_of(leaf, SHIPPED)
        try:
            check_leaf(leaf, shown.outputs[key], fair)
        except AssertionError:
            response = response or one_ulp_response(evaluate, (values,), zero_step=zero_step)
            grant = grant_of(index, leaf, response, evaluate, (values,), zero_step=zero_step)
            check_leaf(leaf, shown.outputs[key], fair, allowed=grant)


def check_summary(page: Page, figure: LiveFigure, shown: Shown) -> None:
    """Raise AssertionError where the summary is not what Python writes about the same numbers.

    The numbers are the browser's, not JAX's own: a figure may print a rounding error. The figure
    waits a moment after a move before it writes.
    """
    like = figure.evaluate(**shown.state)
    outputs = {
        key: shown.outputs[key].reshape(value.shape).astype(value.dtype)
        for key, value in like.items()
    }
    with patch.object(figure, "evaluate", lambda **state: outputs):
        expected = figure.summary_text(**shown.state)
    assert "undefined" not in expected, expected
    summary = locate(page, figure).locator(".livejax-summary")
    expect(summary).to_have_text(expected, use_inner_text=True, timeout=5000)
