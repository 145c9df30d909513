"""`LiveFigure`: a JAX function, its controls and a plotly figure that the reader can move."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, ClassVar

import jax
import numpy as np
import plotly.graph_objects as go
import traitlets

from livejax.compiler import compile
from livejax.controls import Control
from livejax.follow import exit_sentences, followed
from livejax.format import check_spec, format_number, with_unit
from livejax.markup import figure_html
from livejax.palette import DARK, LIGHT
from livejax.plotly_source import send_plotly
from livejax.summary import choose_case, fill_text, parse_summary
from livejax.table import build_table, plan_tables
from livejax.template import check_fills, check_shapes, page_template, panel_count
from pagewidget import PageWidget
from pagewidget.assets import static_text

# In the order in which a reader of the module meets them.
SCRIPTS = (
    "format.js", "summary.js", "divergence.js", "table.js", "controls.js", "address.js",
    "theme.js", "frame.js", "layout.js", "heatmap.js", "plot.js", "overlay.js", "plotly.js",
    "figure.js",
)  # fmt: skip


@dataclass(frozen=True)
class Readout:
    """A number beside the plot: output `key` with one element, printed by `format`.

    Raises:
        ValueError: if `format` is not supported or `label` is empty.
    """

    key: str
    label: str
    format: str = ".3g"
    unit: str = ""

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_spec(self.format)
        if not self.label.strip():
            raise ValueError(f"label of Readout {self.key!r} is empty; allowed is a text")

    def text(self, outputs: Mapping[str, np.ndarray]) -> str:
        """The number as readers see it."""
        value = outputs[self.key].item()
        text = format_number(value, self.format)
        return with_unit(text, self.unit) if np.isfinite(value) else text


class LiveFigure(PageWidget):
    """A figure that recomputes in the reader's browser, by the JAX function itself.

    In JupyterLab each control is a synced trait of the widget, so `observe` and `ipywidgets.jslink`
    work on it; setting a trait moves the control.

    Args:
        fn: JAX function, called with one keyword argument per control. Returns a flat dict of
            arrays with static shapes.
        controls: argument name -> control, in display order.
        template: plotly figure; `fills` finds its traces by their names. Colors from
            `livejax.palette` follow the theme. An axis without a range gets one that holds the
            data of the default state.
        fills: trace name -> {attribute: output key}. Attributes: x, y (1-d), z (2-d), count (how
            many points of the trace to draw), visible, base, width, customdata, marker.color,
            marker.size, error_x.array, error_y.array. A template x that is no count of steps
            names itself in the summary when a curve leaves the plot.
        id: page anchor; starts with "fig-", then lower-case letters, digits, hyphens.
        title: short heading of the figure.
        caption: what is drawn.
        takeaway: the one sentence to remember.
        summary: what the figure shows now. A text, or a list of (condition, text): the first whose
            condition, an output with one element, is nonzero is shown; the last condition is None.
            "{key:.3g}" prints an output or a control; "{key.x}" a coordinate of a Point.
        readouts: numbers computed by `fn`.
        shapes: index of a shape in the template -> {x0, x1, y0, y1 or visible: output key}.
        precision: "float64", or "float32" for lessons on rounding.
        height: of the plot, in CSS pixels.
        note: small print under the caption, for example on reproducibility.

    Raises:
        ValueError, TypeError: naming the argument that is wrong and what is allowed.
        livejax.UnsupportedPrimitive: if `fn` uses what cannot run in the browser.
    """

    page_name = "livejax-figure"
    _esm = static_text("livejax", *SCRIPTS)
    _css = static_text("livejax", "figure.css")

    _spec = traitlets.Dict().tag(sync=True)
    _source = traitlets.Unicode().tag(sync=True)

    #: Functions that are called with every new figure, for example a test's `list.append`.
    on_create: ClassVar[list[Callable[["LiveFigure"], Any]]] = []

    def __init__(
        self,
        fn: Callable[..., Mapping[str, Any]],
        controls: Mapping[str, Control],
        template: go.Figure,
        *,
        fills: Mapping[str, Mapping[str, str]],
        id: str,
        title: str,
        caption: str,
        takeaway: str,
        summary: str | Sequence[tuple[str | None, str]],
        readouts: Sequence[Readout] = (),
        shapes: Mapping[int, Mapping[str, str]] | None = None,
        precision: str = "float64",
        height: int = 420,
        note: str = "",
    ) -> None:
        if not re.fullmatch(r"fig-[a-z0-9]+(-[a-z0-9]+)*", id):
            raise ValueError(
                f"id is {id!r}; allowed is 'fig-' and lower-case words, like 'fig-race'"
            )
        for name, text in (("title", title), ("caption", caption), ("takeaway", takeaway)):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name} is {text!r}; a figure needs a text here")
        if not 120 <= height <= 1200:
            raise ValueError(f"height is {height}; allowed is 120 to 1200")
        _check_controls(fn, controls)
        self.fn, self.id, self.controls, self.precision = fn, id, dict(controls), precision

        @functools.wraps(fn)
        def of_dict(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
            return fn(**arguments)

        self._jitted = jax.jit(of_dict)
        outputs = self.evaluate()
        clash = sorted(set(outputs) & set(controls))
        if clash:
            raise ValueError(f"the function returns {clash}, which are names of controls")
        for readout in readouts:
            if readout.key not in outputs or outputs[readout.key].size != 1:
                raise ValueError(
                    f"Readout has the key {readout.key!r}; allowed are outputs with one element: "
                    f"{[key for key, value in outputs.items() if value.size == 1]}"
                )
        check_fills(template, fills, outputs)
        check_shapes(template, shapes or {}, outputs)
        self._cases = parse_summary(summary, controls, outputs)
        self.compiled = compile(of_dict, self._arguments(self.default_state()), precision=precision)

        page = page_template(template, fills, outputs)
        tables = plan_tables(page["data"], page["titles"], fills)
        self._follow = followed(page, fills, outputs)
        self._layout = page["layout"]
        spec = {
            "id": id,
            "title": title,
            "controls": {name: control.spec() for name, control in controls.items()},
            "outputs": {key: list(value.shape) for key, value in sorted(outputs.items())},
            "data": page["data"],
            "layout": page["layout"],
            "titles": page["titles"],
            "fills": {name: dict(attributes) for name, attributes in fills.items()},
            "shapes": {str(index): dict(keys) for index, keys in (shapes or {}).items()},
            "follow": self._follow,
            "summary": self._cases,
            "readouts": [vars(readout) for readout in readouts],
            "tables": tables,
            "palette": {light: DARK[name] for name, light in LIGHT.items()},
        }
        html = figure_html(
            figure_id=id, title=title, caption=caption, takeaway=takeaway, note=note, height=height,
            panels=panel_count(page["layout"]), summary=self.summary_text(), data=page["data"],
            titles=page["titles"],
            controls=controls, readouts=[(r.key, r.label, r.text(outputs)) for r in readouts],
            tables=[build_table(table, outputs) for table in tables],
        )  # fmt: skip
        super().__init__(_spec=spec, _source=self.compiled.script(), _html=html)
        self.add_traits(**{n: c.trait().tag(sync=True) for n, c in controls.items()})
        self.on_msg(send_plotly)
        for hook in self.on_create:
            hook(self)

    @property
    def state(self) -> dict[str, Any]:
        """The value of each control now."""
        return {name: getattr(self, name) for name in self.controls}

    def default_state(self) -> dict[str, Any]:
        """The value of each control before the reader moves anything."""
        return {name: control.default for name, control in self.controls.items()}

    def evaluate(self, **state: Any) -> dict[str, np.ndarray]:
        """What `fn` returns in JAX where `state` differs from the default state.

        Raises:
            ValueError, TypeError: if a value is none that its control can have.
        """
        unknown = sorted(set(state) - set(self.controls))
        if unknown:
            raise ValueError(f"unknown controls {unknown}; allowed are {list(self.controls)}")
        cleaned = {name: self.controls[name].clean(name, value) for name, value in state.items()}
        result = self._jitted(self._arguments(self.default_state() | cleaned))
        if not isinstance(result, Mapping) or not all(
            isinstance(key, str) and hasattr(value, "shape") for key, value in result.items()
        ):
            raise TypeError("fn must return a flat dict with text keys and arrays as values")
        return {key: np.asarray(value) for key, value in result.items()}

    def summary_text(self, **state: Any) -> str:
        """The live summary where `state` differs from the default state."""
        outputs = self.evaluate(**state)
        parts = choose_case(self._cases, outputs)
        sentences = [fill_text(parts, self.controls, self.default_state() | state, outputs)]
        sentences += exit_sentences(self._follow, self._layout, outputs)
        return " ".join(sentences)

    def _arguments(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {name: control.argument(state[name]) for name, control in self.controls.items()}


def _check_controls(fn: Callable[..., Any], controls: Mapping[str, Control]) -> None:
    if not callable(fn):
        raise TypeError(f"fn is {fn!r}; allowed is a function")
    if not controls:
        raise ValueError("controls is empty; a live figure needs a control")
    for name, control in controls.items():
        if not isinstance(control, Control):
            raise TypeError(f"controls[{name!r}] is {control!r}; allowed is a control of livejax")
        if hasattr(LiveFigure, name) or name in ("fn", "id", "compiled", "controls"):
            raise ValueError(f"controls has the name {name!r}, which the widget itself uses")
    parameters = signature(fn).parameters.values()
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = {parameter.name for parameter in parameters}
    required = {parameter.name for parameter in parameters if parameter.default is Parameter.empty}
    if not required <= set(controls) <= names:
        raise ValueError(
            f"controls are {list(controls)}, but the function takes {[p.name for p in parameters]}"
        )
