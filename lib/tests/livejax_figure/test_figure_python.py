"""LiveFigure in Python: its checks, its traits, its values, and the page it writes."""

import json
import re
from html.parser import HTMLParser

import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go
import pytest
import traitlets
from figure_node import in_node
from sample_figures import DESCENT_CONTROLS, descent, lines, plane

import livejax
from livejax.table import build_table, thin

FIGURES = {"lines": lines, "plane": plane}


@pytest.fixture(scope="module")
def figure():
    return lines()


def two_of_one_name():
    return go.Figure([go.Scatter(name="plain"), go.Scatter(name="plain")])


def fills(**changes):
    return {"plain": {"x": "step", "y": "plain"} | changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "race"}, "id is 'race'"),
        ({"id": "fig-Race"}, "lower-case"),
        ({"title": ""}, "title"),
        ({"caption": " "}, "caption"),
        ({"takeaway": ""}, "takeaway"),
        ({"summary": ""}, "empty"),
        ({"summary": "{nothing:.2f}"}, "unknown; known are step_size"),
        ({"summary": "{heavy}"}, r"shape \(40,\)"),
        ({"summary": "{final:>9}"}, "format"),
        ({"summary": "{momentum.x}"}, "only a Point"),
        ({"summary": [("failed", "a")]}, "last case"),
        ({"summary": [("heavy", "a"), (None, "b")]}, "condition 'heavy'"),
        ({"height": 20}, "height"),
        ({"controls": {}}, "controls is empty"),
        ({"controls": {"step_size": DESCENT_CONTROLS["step_size"]}}, "the function takes"),
        (
            {"controls": DESCENT_CONTROLS | {"extra": DESCENT_CONTROLS["noisy"]}},
            "the function takes",
        ),
        ({"fills": {"curve": {"y": "plain"}}}, "has 0 times"),
        ({"fills": fills(y="nothing")}, "the function returns"),
        ({"fills": fills(y="final")}, "1 dimensions"),
        ({"fills": fills(color="step")}, "attribute 'color'"),
        ({"template": two_of_one_name()}, "has 2 times"),
        ({"template": go.Figure([go.Pie(name="plain")]), "fills": {}}, "type 'pie'"),
        ({"shapes": {0: {"y0": "final"}}}, "has 0 shapes"),
        ({"readouts": (livejax.Readout("heavy", "all"),)}, "one element"),
    ],
)
def test_bad_figures_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        lines(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": {"data": []}}, "plotly Figure"),
        ({"controls": {"step_size": 0.1}}, "allowed is a control"),
        ({"fn": 3}, "allowed is a function"),
        ({"fn": lambda a: 1.0, "controls": {"a": livejax.Switch(True, label="a")}}, "flat dict"),
    ],
)
def test_wrong_types_are_refused(changes, message):
    with pytest.raises(TypeError, match=message):
        lines(**changes)


def test_names_that_the_widget_uses_are_refused():
    slider = livejax.Slider(0, 1, 0.5, label="a")
    with pytest.raises(ValueError, match="widget itself"):
        lines(fn=lambda layout: {"y": jnp.ones(2)}, controls={"layout": slider}, summary="a")
    with pytest.raises(ValueError, match="names of controls"):
        lines(fn=lambda a: {"a": a}, controls={"a": slider}, summary="a")


def test_a_live_heat_map_needs_fixed_colors():
    with pytest.raises(ValueError, match="zmin"):
        livejax.LiveFigure(
            lambda a: {"z": jnp.ones((2, 2)) * a}, {"a": livejax.Slider(0, 1, 0.5, label="a")},
            go.Figure([go.Heatmap(name="map")]), fills={"map": {"z": "z"}}, id="fig-a", title="a",
            caption="a", takeaway="a", summary="a",
        )  # fmt: skip


def test_evaluate_is_the_function_itself(figure):
    state = figure.default_state() | {"momentum": 0.25, "method": "long", "noisy": True}
    found = figure.evaluate(momentum=0.25, method="long", noisy=True)
    arguments = {name: figure.controls[name].argument(value) for name, value in state.items()}
    expected = descent(**arguments)
    assert set(found) == set(expected)
    np.testing.assert_allclose(found["heavy"], expected["heavy"], rtol=1e-12)
    assert found["heavy"].dtype == np.float64


def test_evaluate_refuses_what_a_control_cannot_be(figure):
    for state, message in [
        ({"momentum": 2.0}, "allowed is 0 to 1"),
        ({"method": "square"}, "allowed is one of"),
        ({"speed": 1}, "unknown controls"),
    ]:
        with pytest.raises(ValueError, match=message):
            figure.evaluate(**state)


def test_controls_are_synced_traits():
    figure = lines()
    seen = []
    figure.observe(lambda change: seen.append(change["new"]), "momentum")
    figure.momentum = 0.75
    assert seen == [0.75] and figure.state["momentum"] == 0.75
    assert set(DESCENT_CONTROLS) <= set(figure.keys)
    for name, value in [("momentum", 1.5), ("method", "square"), ("noisy", 3), ("steps_shown", 0)]:
        with pytest.raises(traitlets.TraitError):
            setattr(figure, name, value)


def test_new_figures_are_announced():
    made = []
    livejax.LiveFigure.on_create.append(made.append)
    try:
        figure = lines()
    finally:
        livejax.LiveFigure.on_create.remove(made.append)
    assert made == [figure]


def test_the_summary_says_that_a_run_leaves_the_plot(figure):
    text = figure.summary_text(step_size=10.0)
    assert text.startswith("With step size 10 heavy ball diverges; it ends at ")
    assert re.search(r"Heavy ball leaves the plot at step \d+ and does not return\.$", text)
    outputs = figure.evaluate(step_size=10.0)
    step = int(re.search(r"Plain leaves the plot at step (\d+)", text).group(1))
    assert np.all(outputs["plain"][:step] < 100) and not outputs["plain"][step] < 100


def test_no_setting_prints_nan():
    for value in (-1.0, 0.0, 1.0):
        text = plane().summary_text(start=(value, 0.0))
        assert "nan" not in text.lower()
    assert "the root is undefined." in plane().summary_text(start=(-1.0, 0.0))


class Outline(HTMLParser):
    """Collects what the tests ask about the HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], {}
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("input", "path", "line", "rect", "br"):
            self.open.append((tag, dict(attributes).get("class", "")))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for tag, name in self.open:
            for key in (tag, *name.split()):
                self.text[key] = self.text.get(key, "") + data


@pytest.mark.parametrize("name", FIGURES)
def test_without_scripts_the_words_and_the_numbers_are_there(name):
    figure = FIGURES[name]()
    outline = Outline(figure._html)
    assert outline.text["livejax-title"] == "Two runs"
    assert outline.text["livejax-takeaway"] == "Momentum helps."
    assert outline.text["livejax-summary"] == figure.summary_text()
    assert "Loss against step." in outline.text["livejax-caption"]
    rows = [tag for tag, _ in outline.tags if tag == "tr"]
    assert len(rows) > 5
    inputs = [
        attributes for tag, attributes in outline.tags if tag in ("input", "button", "select")
    ]
    assert inputs and all("disabled" in attributes for attributes in inputs)


@pytest.mark.parametrize("name", FIGURES)
def test_the_page_state_is_plain_json_with_the_compiled_function(name):
    figure = FIGURES[name]()
    html = figure.page_html()
    state = json.loads(re.search(r'application/json">(.*?)</script>', html).group(1))
    assert state["_source"] == figure.compiled.script()
    assert {key: state[key] for key in figure.controls} == json.loads(json.dumps(figure.state))
    assert state["_spec"]["layout"].get("template") is None


def test_axes_without_a_range_are_frozen_at_the_default_data():
    layout = plane()._spec["layout"]
    np.testing.assert_allclose(layout["xaxis"]["range"], [-1 - 1 / 29, 1 + 1 / 29])
    assert layout["yaxis2"]["range"] == [-1, 1]
    assert layout["xaxis"]["fixedrange"] is True


def test_every_line_has_its_own_color_and_dash():
    data = lines()._spec["data"]
    assert len({trace["line"]["color"] for trace in data}) == 2
    assert len({trace["line"]["dash"] for trace in data}) == 2


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 41, 1000])
def test_thinned_tables_keep_both_ends(count):
    rows = thin(count, 25)
    assert len(rows) == min(count, 25) == len(set(rows)) and rows == sorted(rows)
    if count:
        assert rows[0] == 0 and rows[-1] == count - 1


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("lines", {}),
        ("lines", {"steps_shown": 7, "step_size": 10.0}),
        ("plane", {"start": (-1, 1)}),
    ],
)
def test_both_languages_make_the_same_tables(name, state, tmp_path):
    figure = FIGURES[name]()
    outputs = figure.evaluate(**state)
    tables = figure._spec["tables"]
    flat = {key: [float(v) for v in np.ravel(value)] for key, value in outputs.items()}
    shapes = {key: list(value.shape) for key, value in outputs.items()}
    cases = [[table, flat, shapes] for table in tables]
    found = in_node(["format.js", "table.js"], "buildTable(...one)", cases, tmp_path)
    assert found == [build_table(table, outputs) for table in tables]


@pytest.mark.parametrize(
    ("name", "state"),
    [("lines", {}), ("lines", {"step_size": 10.0}), ("plane", {}), ("plane", {"start": (-1, 1)}),
     ("plane", {"sharpness": 6.0})],
)  # fmt: skip
def test_both_languages_say_the_same(name, state, tmp_path):
    figure = FIGURES[name]()
    outputs = figure.evaluate(**state)
    flat = {key: [float(v) for v in np.ravel(value)] for key, value in outputs.items()}
    full = {key: list(v) if isinstance(v, tuple) else v
            for key, v in (figure.default_state() | state).items()}  # fmt: skip
    files = ["format.js", "summary.js", "divergence.js", "frame.js"]
    expression = "summaryText(one[0], one[1], one[2], computeFrame(one[0], one[2]).exits)"
    assert in_node(files, expression, [[figure._spec, full, flat]], tmp_path) == [
        figure.summary_text(**state)
    ]
