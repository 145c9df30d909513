"""Controls: what they accept, how they map, and their twin in JavaScript."""

import math

import numpy as np
import pytest
from figure_node import in_node
from hypothesis import given
from hypothesis import strategies as st

from livejax import Choice, Integer, Point, Slider, Switch
from livejax.controls import tidy_step

FILES = ["format.js", "summary.js", "table.js", "controls.js", "address.js"]
GOOD = {
    "slider": Slider(0.0, 2.0, 0.3, label="a", unit="s"),
    "log": Slider(1e-3, 10.0, 0.1, log=True, label="b"),
    "integer": Integer(2, 20, 8, step=3, label="c"),
    "choice": Choice({"one": "first", "two": "second"}, "two", label="d"),
    "switch": Switch(True, label="e"),
    "point": Point((0.5, -1.0), x=(-1, 1), y=(-2, 2), label="f"),
}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Slider(1, 1, 1, label="a"), "min must be below max"),
        (lambda: Slider(0, 1, 2, label="a"), "allowed is 0 to 1"),
        (lambda: Slider(0, 1, 0.5, label="a", log=True), "min must be above 0"),
        (lambda: Slider(0, 1, 0.5, label="a", step=0), "must be above 0"),
        (lambda: Slider(0, 1, 0.5, label="a", step=0.3), "must divide 1"),
        (lambda: Slider(0, math.inf, 0.5, label="a"), "finite"),
        (lambda: Slider(0, 1, math.nan, label="a"), "finite"),
        (lambda: Slider(0, 1, 0.5, label=" "), "label"),
        (lambda: Slider(0, 1, 0.5, label="a", format="3"), "format"),
        (lambda: Integer(0, 10, 3, label="a", step=4), "divide 10"),
        (lambda: Integer(0, 10, 3, label="a", step=5), "steps of 5 from 0"),
        (lambda: Integer(3, 2, 3, label="a"), "min must be below max"),
        (lambda: Choice({"a": "b"}, "a", label="a"), "two or more"),
        (lambda: Choice({"a": "b", "b": "c"}, "c", label="a"), "allowed is one of"),
        (lambda: Choice({"a b": "b", "b": "c"}, "b", label="a"), "word"),
        (lambda: Point((2, 0), x=(0, 1), y=(0, 1), label="a"), "allowed is 0 to 1"),
        (lambda: Point((0, 0), x=(1, 0), y=(0, 1), label="a"), "min must be below max"),
        (lambda: Point((0, 0), x=(0, 1), y=(0, 1), label="a", axes=("y", "x")), "axes"),
        (lambda: Point((0, 0, 0), x=(0, 1), y=(0, 1), label="a"), "pair"),
    ],
)
def test_bad_controls_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Slider("0", 1, 0.5, label="a"),
        lambda: Slider(False, 1, 0.5, label="a"),
        lambda: Integer(0, 10, 2.5, label="a"),
        lambda: Switch(1, label="a"),
    ],
)
def test_wrong_types_are_refused(make):
    with pytest.raises(TypeError, match="allowed"):
        make()


@given(st.integers(-1000, 1000), st.integers(1, 10_000), st.integers(-3, 3), st.floats(0, 1))
def test_the_chosen_step_reaches_the_end_in_a_bearable_number_of_stops(low, span, power, share):
    span = span * 10.0**power
    step = tidy_step(span, share * span)
    stops = span / step
    assert abs(stops - round(stops)) < 1e-6
    assert 99 < stops < 100_001


def test_a_default_on_the_grid_stays_on_it():
    slider = Slider(0.0, 1.0, 0.37, label="a")
    step = 1.0 / slider.stops
    assert abs(0.37 / step - round(0.37 / step)) < 1e-9


def test_arguments_have_the_promised_types():
    kinds = {name: np.asarray(c.argument(c.default)) for name, c in GOOD.items()}
    assert {name: (value.dtype.name, value.shape) for name, value in kinds.items()} == {
        "slider": ("float64", ()), "log": ("float64", ()), "integer": ("int32", ()),
        "choice": ("int32", ()), "switch": ("bool", ()), "point": ("float64", (2,)),
    }  # fmt: skip
    assert kinds["choice"] == 1


def test_both_languages_print_the_same_values(tmp_path):
    values = {
        "slider": [0.0, 0.123456, 2.0], "log": [1e-3, 0.02, 10.0], "integer": [2, 20],
        "choice": ["one", "two"], "switch": [True, False], "point": [[0.5, -1.0], [1e-6, 2.0]],
    }  # fmt: skip
    cases = [[GOOD[name].spec(), value] for name, some in values.items() for value in some]
    expected = [GOOD[name].text(value) for name, some in values.items() for value in some]
    assert in_node(FILES, "controlText(...one)", cases, tmp_path) == expected


def test_log_sliders_reach_both_ends_and_go_up(tmp_path):
    spec = GOOD["log"].spec()
    stops = list(range(spec["stops"] + 1))
    values = in_node(FILES, "logValue(...one)", [[spec, stop] for stop in stops], tmp_path)
    assert values[0] == 1e-3 and values[-1] == 10.0
    assert np.all(np.diff(values) > 0)
    np.testing.assert_allclose(values, np.geomspace(1e-3, 10.0, len(stops)), rtol=1e-5)
    assert in_node(FILES, "logStop(...one)", [[spec, value] for value in values], tmp_path) == stops


def test_links_carry_the_state_there_and_back(tmp_path):
    specs = {name: control.spec() for name, control in GOOD.items()}
    default = {name: spec["value"] for name, spec in specs.items()}
    states = [
        default,
        default | {"slider": 0.1 + 0.2, "integer": 14},
        default | {"choice": "one", "switch": False, "point": [-0.25, 1e-7]},
        default | {"log": 0.0012589, "point": [1.0, 2.0]},
    ]
    links = in_node(
        FILES, "stateToFragment('fig-a', ...one)", [[specs, s] for s in states], tmp_path
    )
    assert links[0] == ""
    assert links[1] == "#fig-a?slider=0.30000000000000004&integer=14"
    back = in_node(
        FILES,
        "fragmentToState(one[0], 'fig-a', one[1])",
        [[link, specs] for link in links[1:]],
        tmp_path,
    )
    assert back == states[1:]


@pytest.mark.parametrize(
    ("query", "changed"),
    [
        ("slider=99", {"slider": 2.0}),
        ("slider=-1e400&log=0", {"log": 1e-3}),
        ("slider=oops&integer=&log=NaN", {}),
        ("integer=9", {"integer": 8}),
        ("integer=1e9", {"integer": 20}),
        ("choice=three&switch=maybe&unknown=1&__proto__=1", {}),
        ("switch=false&choice=one", {"switch": False, "choice": "one"}),
        ("point=1", {}),
        ("point=9,-9", {"point": [1, -2]}),
        ("point=,1", {}),
    ],
)
def test_what_a_link_asks_in_vain_is_clamped_or_ignored(query, changed, tmp_path):
    specs = {name: control.spec() for name, control in GOOD.items()}
    default = {name: spec["value"] for name, spec in specs.items()}
    case = [f"#fig-a?{query}", specs]
    assert in_node(FILES, "fragmentToState(one[0], 'fig-a', one[1])", [case], tmp_path) == [
        default | changed
    ]


def test_other_fragments_are_left_alone(tmp_path):
    specs = {name: control.spec() for name, control in GOOD.items()}
    cases = [["#fig-a", specs], ["#fig-b?slider=1", specs], ["", specs]]
    expression = "fragmentToState(one[0], 'fig-a', one[1])"
    assert in_node(FILES, expression, cases, tmp_path) == [None, None, None]
