"""Where a curve leaves the plot: in Python, in JavaScript, and what is drawn there."""

import math

import numpy as np
from figure_node import in_node

from livejax.divergence import bar_sentence, exit_sentence, find_exit, positions

FILES = ["format.js", "divergence.js"]
LINEAR = {"range": [-2.0, 3.0]}
LOG = {"type": "log", "range": [-8.0, 2.0]}
SPECIAL = [math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0, -0.0, -5.0, 100.0, 1e-8, 1e-9, 3.0]


def curves(count=400):
    rng = np.random.default_rng(5)
    for index in range(count):
        n = int(rng.integers(1, 12))
        y = rng.normal(size=n) * 10.0 ** rng.integers(-3, 4)
        x = np.sort(rng.uniform(-3, 4, n)) if index % 2 else rng.normal(size=n) * 2
        for array in (x, y):
            spots = rng.random(n) < 0.25
            array[spots] = rng.choice(SPECIAL, spots.sum())
        y_axis = LOG if index % 3 == 0 else LINEAR
        yield x.tolist(), y.tolist(), dict(LINEAR), dict(y_axis), bool(index % 2 == 0)


def test_both_languages_find_the_same_exit(tmp_path):
    cases = [list(case) for case in curves()]
    found = in_node(FILES, "findExit(...one)", cases, tmp_path)
    expected = [find_exit(np.array(x), np.array(y), *rest) for x, y, *rest in cases]
    assert [one and (one["index"], one["below"]) for one in found] == [
        one and (one.index, one.below) for one in expected
    ]
    assert 50 < sum(one is not None for one in expected) < 350  # both outcomes are tried


def test_both_languages_say_the_same(tmp_path):
    cases = []
    for (x, y, x_axis, y_axis, path), step in zip(
        curves(120), ["step", None, "size β"] * 40, strict=True
    ):
        x = list(range(len(y)))
        if find_exit(np.array(x), np.array(y), x_axis, y_axis, path):
            cases.append(["heavy ball", x, y, x_axis, y_axis, path, step])
    expression = (
        "((name, x, y, xa, ya, path, step) => { const e = findExit(x, y, xa, ya, path);"
        " return exitSentence(name, e, exitPlace(e, x, step)); })(...one)"
    )
    expected = [
        exit_sentence(name, find_exit(np.array(x), np.array(y), *rest), np.array(x), step)
        for name, x, y, *rest, step in cases
    ]
    assert in_node(FILES, expression, cases, tmp_path) == expected
    assert len(set(expected)) > 10


def test_a_count_cuts_the_heights_that_stay_and_tags_say_where(tmp_path):
    layout = {"xaxis": {"range": [0.0, 9.0]}, "yaxis": {"range": [0.0, 9.0]}}
    trace = {"name": "edge", "mode": "lines"}
    follow = {
        "name": "edge", "y": [1.0, 2.0, 30.0], "x": None, "x_axis": "xaxis", "y_axis": "yaxis",
        "is_path": False, "step": "step",
    }  # fmt: skip

    def spec(fills, outputs, **changes):
        made = {"layout": layout, "data": [trace], "fills": {"edge": fills}}
        return [made | {"outputs": {}, "follow": [follow | changes]}, outputs]

    across = {"at": [4.0, 5.0, 6.0], "rows": [2]}
    cases = [
        spec({"x": "at", "count": "rows"}, across),
        spec({"x": "at"}, across),
        spec({"x": "at"}, across, y=[30.0, 40.0, 50.0]),
    ]
    expression = (
        "(({ traces, exits }) => [Array.from(traces.get(0).y), exits.map((exit) => exit.tag)])"
        "(computeFrame(...one))"
    )
    cut, whole, outside = in_node([*FILES, "frame.js"], expression, cases, tmp_path)
    assert cut == [[1.0, 2.0], []]
    assert whole[1] == ["step 6"]
    assert outside[1] == ["outside"]


def test_the_sentence_names_the_first_step_outside():
    y = np.array([1.0, 1.5, 2.5, 4.0, 9.0, math.inf, math.nan])
    found = find_exit(np.arange(7.0), y, {"range": [0, 6]}, LINEAR, False)
    text = exit_sentence("gradient descent", found, np.arange(7.0), "step")
    assert text == "Gradient descent leaves the plot at step 3 and does not return."


def test_a_curve_that_comes_back_or_ends_inside_has_no_exit():
    y = np.array([1.0, 100.0, math.nan, 2.0])
    assert find_exit(np.arange(4.0), y, {"range": [0, 3]}, LINEAR, False) is None


def test_leaving_through_the_floor_of_a_log_axis_is_no_divergence():
    found = find_exit(np.arange(3.0), np.array([1.0, 1e-9, 0.0]), {"range": [0, 2]}, LOG, False)
    assert found.below
    assert "falls below" in exit_sentence("loss", found, np.arange(3.0), None)


def test_points_right_of_the_plot_are_not_divergence():
    assert find_exit(np.arange(9.0), np.ones(9), {"range": [0, 4]}, LINEAR, False) is None
    assert find_exit(np.arange(9.0), np.ones(9), {"range": [0, 4]}, LINEAR, True).index == 5


def test_what_is_drawn_is_finite_and_ends_on_the_edge(tmp_path):
    """Between the last point inside and the mark the curve keeps its direction."""
    cases = [list(case) for case in curves()]
    expression = (
        "((x, y, xa, ya, path) => { const e = findExit(x, y, xa, ya, path);"
        " return drawableCurve(x, y, xa, ya, e, true); })(...one)"
    )
    for (x, y, x_axis, y_axis, path), drawn in zip(
        cases, in_node(FILES, expression, cases, tmp_path), strict=True
    ):
        for letter, axis in (("x", x_axis), ("y", y_axis)):
            places = positions(np.array(drawn[letter], dtype=float), axis)
            low, high = axis["range"]
            reach = np.nanmax(np.maximum(low - places, places - high), initial=0)
            assert reach <= 20 * (high - low) * (1 + 1e-12)
        found = find_exit(np.array(x), np.array(y), x_axis, y_axis, path)
        assert (drawn["mark"] is None) == (found is None)
        if found is None:
            continue
        for value, axis in zip(drawn["mark"], (x_axis, y_axis), strict=True):
            place = float(positions(np.array(value), axis))
            assert axis["range"][0] - 1e-9 <= place <= axis["range"][1] + 1e-9
        if found.index:
            assert drawn["x"][-1] == drawn["mark"][0] and drawn["y"][-1] == drawn["mark"][1]
            assert len(drawn["y"]) == found.index + 1


def test_the_edge_lies_on_the_segment(tmp_path):
    case = [[0.0, 1.0, 2.0], [0.0, 1.0, 7.0], {"range": [0.0, 4.0]}, {"range": [-2.0, 3.0]}, False]
    [drawn] = in_node(
        FILES, "drawableCurve(...one.slice(0, 4), { index: 2 }, true)", [case], tmp_path
    )
    np.testing.assert_allclose(drawn["mark"], [1.0 + 2.0 / 6.0, 3.0], rtol=1e-12)


def test_bars_beyond_the_plot_are_counted(tmp_path):
    values = [1.0, math.inf, math.nan, -7.0, 2.0]
    expected = bar_sentence("gap", np.array(values), LINEAR)
    assert expected == "3 of 5 bars of gap end beyond the plot."
    case = ["gap", values, dict(LINEAR)]
    assert in_node(FILES, "barSentence(...one)", [case], tmp_path) == [expected]
    assert bar_sentence("gap", np.array([1.0]), LINEAR) is None
