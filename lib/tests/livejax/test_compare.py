"""The comparison itself: it must see errors, and grant exactly what amplification explains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import (
    COVERED,
    ROUNDINGS,
    Leaf,
    check_leaf,
    compare_figure,
    compare_function,
    covered_rows,
    one_ulp_response,
    random_states,
)
from jax import lax
from noderun import NodeError

import livejax
from livejax.controls import Choice, Integer, Point, Slider, Switch


def leaf(values, exact=False):
    return Leaf("x", np.asarray(values, float), exact)


def test_a_difference_is_measured_in_units_of_the_scale():
    check_leaf(leaf([1e6, 1.0]), np.array([1e6, 1.0 + 0.9e-6]))
    with pytest.raises(AssertionError, match=r"x\[1\]"):
        check_leaf(leaf([1e6, 1.0]), np.array([1e6, 1.0 + 1.1e-6]))
    with pytest.raises(AssertionError):
        check_leaf(leaf([1e6, 1.0]), np.array([1e6, 1.0 + 1e-10]), entrywise=True)


@pytest.mark.parametrize(
    ("want", "got"),
    [
        ([np.nan], [0.0]),
        ([0.0], [np.nan]),
        ([np.inf], [1e308]),
        ([np.inf], [-np.inf]),
        ([1.0], [np.inf]),
    ],
)
def test_nan_and_infinity_must_stand_where_jax_has_them(want, got):
    check_leaf(leaf(want), np.array(want))
    with pytest.raises(AssertionError):
        check_leaf(leaf(want), np.array(got))


def test_integers_are_exact_and_shapes_must_fit():
    with pytest.raises(AssertionError):
        check_leaf(leaf([1e15], exact=True), np.array([1e15 + 1]))
    with pytest.raises(AssertionError, match="2 numbers"):
        check_leaf(leaf([1.0]), np.array([1.0, 1.0]))


def test_the_sign_of_zero_counts_where_asked():
    check_leaf(leaf([0.0]), np.array([-0.0]))
    with pytest.raises(AssertionError, match="sign of zero"):
        check_leaf(leaf([0.0]), np.array([-0.0]), signed_zero=True)


@jax.jit
def logistic_map(x):
    return lax.scan(lambda v, _: (4 * v * (1 - v), v), x, None, length=200)[1]


def test_chaos_is_covered_up_to_the_step_where_one_ulp_has_grown():
    response = one_ulp_response(logistic_map, (0.3,))[0]
    rows = covered_rows(response, np.asarray(logistic_map(0.3)))
    # One ulp doubles each step, so the bound is reached after about log2(COVERED / SUITE) steps.
    assert abs(rows - np.log2(COVERED / (ROUNDINGS * 2**-52))) < 8
    assert response[-1] > 0.01


def test_cancellation_shows_in_the_response():
    response = one_ulp_response(lambda x: (x + 1e8) - x, (0.1,))
    assert response[0] <= 2e-8
    assert one_ulp_response(jnp.sin, (np.array([0.3, 0.0]),))[0].max() < 1e-15


def test_integers_and_zeros_are_not_moved():
    assert one_ulp_response(lambda x, n: x * n, (0.0, 3))[0] == 0.0


def test_chaos_passes_but_a_wrong_start_does_not(node):
    compiled = livejax.compile(logistic_map, 0.3)
    samples = [(x,) for x in (0.1, 0.3, 0.77)]
    report = compare_function(compiled, logistic_map, samples, node=node)
    assert report.length == {"output": 200}
    assert 10 < report.covered["output"] < 50
    assert report.worst < COVERED
    with pytest.raises(AssertionError, match="JavaScript"):
        compare_function(compiled, lambda x: logistic_map(x + 1e-9), samples, node=node)


def test_a_wrong_formula_is_caught(node):
    compiled = livejax.compile(lambda x: x * x, 0.3)
    with pytest.raises(AssertionError, match=r"at \(0\.5,\)"):
        compare_function(compiled, lambda x: x * x * (1 + 3e-10), [(0.5,)], node=node)


def test_single_precision_is_told_by_its_type_and_held_to_its_own_ulp(node):
    def fn(x):
        start = jnp.float32(x)
        points = lax.scan(lambda v, _: (v - 0.1 * v * v, v), start, None, length=30)[1]
        return {"single": points, "x": x}

    compiled = livejax.compile(fn, 0.3)
    report = compare_function(compiled, fn, [(0.3,), (0.9,)], node=node)
    assert report.covered == {"['single']": 30, "['x']": 1}

    def off(x, single, double):
        made = fn(x)
        return {"single": made["single"] * (1 + single), "x": made["x"] * (1 + double)}

    compare_function(compiled, lambda x: off(x, 5e-5, 0.0), [(0.3,)], node=node)
    with pytest.raises(AssertionError, match=r"\['x'\]"):
        compare_function(compiled, lambda x: off(x, 0.0, 5e-5), [(0.3,)], node=node)
    with pytest.raises(AssertionError, match=r"\['single'\]"):
        compare_function(compiled, lambda x: off(x, 1e-3, 0.0), [(0.3,)], node=node)


def test_chaos_in_single_precision_passes_but_a_wrong_start_does_not(node):
    def chaos(x):
        return logistic_map(jnp.float32(x))

    compiled = livejax.compile(chaos, 0.3)

    def other_rounding(x):
        return chaos(x * (1 + 1e-7))

    compare_function(compiled, other_rounding, [(0.3,), (0.77,)], node=node)
    with pytest.raises(AssertionError, match="JavaScript"):
        compare_function(compiled, lambda x: chaos(x + 1e-3), [(0.3,)], node=node)


def test_node_reports_what_javascript_throws(node):
    with pytest.raises(NodeError, match="Error: no"):
        node.call("export default () => { throw new Error('no'); };", [[]])
    with pytest.raises(NodeError, match="not a Float64Array"):
        node.call("export default () => [[1]];", [[]])


CONTROLS = {
    "step": Slider(1e-3, 1.0, 0.1, log=True, label="step size"),
    "mu": Slider(0.0, 1.0, 0.5, label="momentum"),
    "steps": Integer(1, 9, 3, step=2, label="steps"),
    "kind": Choice({"a": "first", "b": "second"}, "a", label="kind"),
    "on": Switch(False, label="on"),
    "start": Point((0.0, 1.0), label="start", x=(-1.0, 1.0), y=(0.0, 2.0)),
}


def test_random_states_are_allowed_and_reach_the_ends():
    states = random_states(CONTROLS, 60)
    assert len(states) == 60
    for state in states:
        for name, control in CONTROLS.items():
            control.clean(name, state[name])
    assert [s["step"] for s in states[:2]] == pytest.approx([1e-3, 1.0])
    assert {s["steps"] for s in states} == {1, 3, 5, 7, 9}
    assert {s["kind"] for s in states} == {"a", "b"} and {s["on"] for s in states} == {False, True}
    assert states == random_states(CONTROLS, 60)


class Figure:
    """What `compare_figure` needs of a live figure."""

    controls = CONTROLS

    @staticmethod
    def fn(step, mu, steps, kind, on, start):
        curve = start[0] * mu ** jnp.arange(5.0) + step * jnp.where(on, kind, steps)
        return {"y": curve, "sum": jnp.sum(curve) + start[1]}

    def __init__(self):
        arguments = {name: control.argument(control.default) for name, control in CONTROLS.items()}
        self.compiled = livejax.compile(lambda a: self.fn(**a), arguments)
        self._jitted = jax.jit(lambda a: self.fn(**a))


def test_compare_figure_takes_every_kind_of_control(node):
    report = compare_figure(Figure(), node=node)
    assert report.samples == 200
    assert report.covered == {"['sum']": 1, "['y']": 5}
    figure = Figure()
    figure.fn = lambda **state: {k: v * (1 + 1e-9) for k, v in Figure.fn(**state).items()}
    with pytest.raises(AssertionError):
        compare_figure(figure, node=node)
