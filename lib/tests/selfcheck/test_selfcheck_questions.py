"""What the author may write, and what the reader is told."""

import json
import math

import numpy as np
import pytest

import selfcheck

NUMBER = {"prompt": "?"}
FORMULA = {"prompt": "?", "variables": {"x": (1.0, 2.0)}}
PAIR = (("yes", "Well seen."), ("no", "Look again."))


@pytest.mark.parametrize(
    ("typed", "right", "said"),
    [
        ("0.25", True, "Right. A quarter."), ("0.2521", True, "Right"), ("0.2479", True, "Right"),
        ("1/4 ms", True, "Right"), ("0.5", False, "Not yet. Half it."), ("4", False, "Turn it"),
        ("-0.25", False, "the sign is not"), ("0.256", False, "more digits"),
        ("30", False, "ten times too large"), ("0.001", False, "ten times too small"),
        ("0.3", False, "hint"), ("0,25", None, "with a point"), ("", None, "Type an answer"),
        (0.25, True, "Right"), (np.float64(0.5), False, "Half it"),
    ],
)  # fmt: skip
def test_number(typed, right, said):
    question = selfcheck.number(
        "ex-a", 0.25, prompt="?", unit="ms", right="A quarter.",
        wrong=((0.5, "Half it."), (4.0, "Turn it over.")),
    )  # fmt: skip
    reply = question.check(typed)
    assert reply.right is right
    assert said in reply.text


@pytest.mark.parametrize(
    ("typed", "right", "said"),
    [
        ("x(1+y)", True, "Right."), ("x + x y", True, "Right"), ("x − (−x)·y", True, "Right"),
        ("exp(log(x))*(1+y)", True, "Right"), ("x(1-y)", False, "Mind the sign"),
        ("-x(1+y)", False, "wrong way around"), ("3 x (1+y)", False, "constant factor"),
        ("x", False, "the answer is"), ("1.00001 x + x y", False, "exact fractions"),
        ("z", None, "“z”. The names here are x, y"), ("1/(x-x)", None, "division by zero"),
    ],
)  # fmt: skip
def test_expression(typed, right, said):
    question = selfcheck.expression(
        "ex-a", "x*(1+y)", prompt="?", variables={"x": (1.0, 2.0), "y": (0.1, 0.9)},
        wrong=(("x*(1-y)", "Mind the sign."),),
    )  # fmt: skip
    reply = question.check(typed)
    assert reply.right is right
    assert said in reply.text


def test_a_counterexample_can_be_checked_by_hand():
    question = selfcheck.expression("ex-a", "x^2", prompt="?", variables={"x": (1.0, 2.0)})
    where = question.question["points"][0]["x"]
    assert f"{where}" == f"{where:.2f}".rstrip("0")
    said = f"At x = {where:g} the answer is {where**2:.4g}, and yours gives {where + 1:.4g}."
    assert said in question.check("x + 1").text


def test_points_stay_in_their_ranges_and_depend_on_nothing_but_the_id():
    ranges = {"x": (0.1, 0.9), "y": (-2e-3, 1e-3), "z": (1000.0, 1001.0)}
    first, again, other = (
        selfcheck.expression(id, "x + y + z", prompt="?", variables=ranges).question["points"]
        for id in ("ex-a", "ex-a", "ex-b")
    )
    assert first == again != other
    assert len(first) >= 12
    for name, (low, high) in ranges.items():
        values = [point[name] for point in first]
        assert all(low <= value <= high for value in values)
        assert len(set(values)) > 10


def test_choice_and_prediction():
    choice = selfcheck.choice("ex-a", PAIR, 0, prompt="?")
    assert choice.check(0) == selfcheck.Feedback(True, "Right. Well seen.")
    assert choice.check(1) == selfcheck.Feedback(False, "Not yet. Look again.")
    assert choice.check(None).right is None
    predict = selfcheck.predict("predict-a", ("up", "down"), prompt="?", after="Move it.")
    assert predict.check(1) == selfcheck.Feedback(None, "You predicted: “down”. Move it.")
    assert predict.check(None) == selfcheck.Feedback(None, "Move it.")
    for question in (choice, predict):
        for bad in (2, -1):
            with pytest.raises(ValueError, match=rf"value is {bad}; allowed .* 0 to 1"):
                question.check(bad)
        with pytest.raises(TypeError):
            question.check("yes")


def test_each_listed_answer_gets_its_reply():
    number = selfcheck.number("ex-a", 1e-7, prompt="?", wrong=((-2e300, "Far off."),))
    formula = selfcheck.expression("ex-a", "2 x", wrong=(("x", "Twice."),), **FORMULA)
    choice = selfcheck.choice("ex-a", PAIR[::-1], 1, prompt="?")
    for question, why in ((number, "Far off."), (formula, "Twice."), (choice, "Look again.")):
        right, wrong = (question.check(typed) for typed in question.listed)
        assert right.right
        assert wrong == selfcheck.Feedback(False, f"Not yet. {why}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: selfcheck.number("a", 1, **NUMBER), "'ex-' or 'predict-'"),
        (lambda: selfcheck.number("ex-A b", 1, **NUMBER), "id is 'ex-A b'"),
        (lambda: selfcheck.number("ex-a", math.nan, **NUMBER), "answer is nan"),
        (lambda: selfcheck.number("ex-a", math.inf, **NUMBER), "answer is inf"),
        (lambda: selfcheck.number("ex-a", 1, prompt=" "), "prompt is ' '"),
        (lambda: selfcheck.number("ex-a", 1, rel_tol=1.5, **NUMBER), "rel_tol is 1.5"),
        (lambda: selfcheck.number("ex-a", 1, rel_tol=math.nan, **NUMBER), "rel_tol is nan"),
        (lambda: selfcheck.number("ex-a", 1, abs_tol=-1, **NUMBER), "abs_tol is -1"),
        (lambda: selfcheck.number("ex-a", 0, **NUMBER), "give a tolerance above 0"),
        (
            lambda: selfcheck.number("ex-a", 1, wrong=((1.001, "no"),), **NUMBER),
            "1.001 cannot be told",
        ),
        (
            lambda: selfcheck.number("ex-a", 1, wrong=((2, "a"), (2, "b")), **NUMBER),
            "cannot be told",
        ),
        (
            lambda: selfcheck.number("ex-a", 1, wrong=((math.nan, "a"),), **NUMBER),
            "wrong value is nan",
        ),
        (lambda: selfcheck.number("ex-a", 1, wrong=((2, ""),), **NUMBER), "feedback is ''"),
        (lambda: selfcheck.choice("ex-a", (), 0, prompt="?"), "0 options"),
        (lambda: selfcheck.choice("ex-a", PAIR, 2, prompt="?"), "answer is 2"),
        (lambda: selfcheck.choice("ex-a", PAIR, -1, prompt="?"), "answer is -1"),
        (lambda: selfcheck.choice("ex-a", PAIR, True, prompt="?"), "answer is True"),
        (lambda: selfcheck.choice("ex-a", PAIR[:1] * 2, 0, prompt="?"), "listed twice"),
        (lambda: selfcheck.choice("ex-a", (("yes", ""), PAIR[1]), 0, prompt="?"), "feedback is ''"),
        (lambda: selfcheck.predict("ex-a", ("a",), prompt="?", after="b"), "1 options"),
        (lambda: selfcheck.predict("ex-a", ("a", "b"), prompt="?", after=""), "after is ''"),
        (lambda: selfcheck.expression("ex-a", "x + y", **FORMULA), "“y”"),
        (lambda: selfcheck.expression("ex-a", "x +", **FORMULA), "answer is 'x [+]': The end"),
        (lambda: selfcheck.expression("ex-a", "1/(x-x)", **FORMULA), "division by zero"),
        (lambda: selfcheck.expression("ex-a", "x - x", **FORMULA), "at most 0.0"),
        (lambda: selfcheck.expression("ex-a", "1e101 x", **FORMULA), "1e-100 and 1e100"),
        (lambda: selfcheck.expression("ex-a", "1", prompt="?", variables={}), "variables is empty"),
        (lambda: selfcheck.expression("ex-a", "β", prompt="?", variables={"β": (0, 1)}), "ASCII"),
        (
            lambda: selfcheck.expression("ex-a", "e", prompt="?", variables={"e": (0, 1)}),
            "other than",
        ),
        (
            lambda: selfcheck.expression("ex-a", "x", prompt="?", variables={"x": (1, 1)}),
            "low < high",
        ),
        (
            lambda: selfcheck.expression("ex-a", "2 x", wrong=(("x + x", "no"),), **FORMULA),
            "'x [+] x' is equivalent to '2 x'",
        ),
    ],
)
def test_bad_input_names_the_argument(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_without_scripts_the_question_can_be_read():
    html = selfcheck.choice(
        "ex-a", (("a < b", "No."), ("a > b", "Yes.")), 1, prompt="Is <it>?"
    )._html
    assert "Is &lt;it&gt;?" in html
    assert "<span>a &lt; b</span>" in html
    assert "<noscript>With scripts on, the page checks your answer; the solution is below." in html
    assert html.count("disabled") == html.count("<input") + html.count("<button")


def test_the_notebook_bundle_holds_the_page_and_the_widget():
    data, _ = selfcheck.number("ex-a", 1, prompt="?")._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    island = data["text/html"].split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(island)["question"]["id"] == "ex-a"
