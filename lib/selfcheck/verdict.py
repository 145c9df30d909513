"""Says whether an answer is right, and if not, why: the Python twin of `static/verdict.js`.

A question is a plain dictionary (see `question.py`), so that both twins read the same one.
What a wrong answer gets back is meant to teach and not to be searched by bisection: the feedback
written for that answer, else the slip it looks like (sign, missing factor, lost digits, order of
magnitude), else for an expression one point where it can be checked by hand. Never "too small".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from selfcheck.arithmetic import UnreadableError, parse

NOT_YET = "Not yet."
REL_TOL = 1e-9  # for expressions


@dataclass(frozen=True)
class Feedback:
    """The reply to one answer.

    Attributes:
        right: True or False; None where nothing is judged (an answer that could not be read, a
            prediction).
        text: what the reader is told.
    """

    right: bool | None
    text: str


def verdict(question: Mapping[str, Any], typed: Any) -> Feedback:
    """The reply to `typed`: a string, or for choices and predictions an option's index or None."""
    try:
        return _VERDICTS[question["kind"]](question, typed)
    except UnreadableError as error:
        return Feedback(None, str(error))


def _right(question: Mapping[str, Any]) -> Feedback:
    return Feedback(True, f"Right. {question['right']}".rstrip())


def _not_yet(why: str) -> Feedback:
    return Feedback(False, f"{NOT_YET} {why}")


def _number(question: Mapping[str, Any], typed: str) -> Feedback:
    unit = question["unit"]
    typed = typed.strip(" ")
    value = parse(typed.removesuffix(unit) if unit else typed)({})
    answer = question["answer"]

    def near(target: float, widths: float = 1.0) -> bool:
        width = max(question["abs_tol"], question["rel_tol"] * abs(target))
        return abs(value - target) <= widths * width

    if near(answer):
        return _right(question)
    for wrong, why in question["wrong"]:
        if near(wrong):
            return _not_yet(why)
    if near(-answer):
        return _not_yet("The size is right, the sign is not.")
    if near(answer, 5.0):
        return _not_yet("Very close: keep more digits until the last step.")
    if abs(value) > 10 * abs(answer) > 0:
        return _not_yet("This is more than ten times too large in size.")
    if 10 * abs(value) < abs(answer):
        return _not_yet("This is more than ten times too small in size.")
    return _not_yet("Check the steps that lead here, or open a hint.")


def _expression(question: Mapping[str, Any], typed: str) -> Feedback:
    evaluate = parse(typed, list(question["points"][0]))
    values = [evaluate(point) for point in question["points"]]
    answer = question["values"]
    if same(values, answer):
        return _right(question)
    for wrong, why in question["wrong"]:
        if same(values, wrong):
            return _not_yet(why)
    if same([-value for value in values], answer):
        return _not_yet("The sign is the wrong way around.")
    factor = sum(map(_product, values, answer)) / sum(map(_product, answer, answer))
    if same(values, [factor * value for value in answer]):
        return _not_yet("This differs from the answer by a constant factor.")
    return _not_yet(_counterexample(question, values))


def _product(a: float, b: float) -> float:
    return a * b


def same(values: Sequence[float], answer: Sequence[float]) -> bool:
    """Whether `values` equals `answer` at every point, to 1e-9 relative.

    Where the answer almost vanishes, a thousandth of its mean size stands in for its own.
    """
    floor = 1e-3 * sum(map(abs, answer)) / len(answer)
    return all(
        abs(value - right) <= REL_TOL * max(abs(right), floor)
        for value, right in zip(values, answer, strict=True)
    )


def _counterexample(question: Mapping[str, Any], values: Sequence[float]) -> str:
    for where, value, right in zip(question["places"], values, question["values"], strict=True):
        if short(value) != short(right):
            return f"At {where} the answer is {short(right)}, and yours gives {short(value)}."
    return "Very close: write exact fractions in place of rounded decimals."


def short(value: float) -> str:
    """`value` to four significant digits, in the same characters as the JavaScript twin's."""
    if value == 0:
        return "0"
    # toExponential rounds exact ties away from zero, Python's own formats round them to even.
    exact = Decimal(value)
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted() - 3), rounding=ROUND_HALF_UP)
    exponent = rounded.adjusted()
    if -4 <= exponent < 6:
        text = f"{rounded:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    digits = f"{rounded.scaleb(-exponent):f}".rstrip("0").rstrip(".")
    return f"{digits}e{exponent}"


def _choice(question: Mapping[str, Any], typed: int | None) -> Feedback:
    if typed is None:
        return Feedback(None, "Choose an answer first.")
    why = question["feedback"][typed]
    right = typed == question["answer"]
    return Feedback(right, f"{'Right.' if right else NOT_YET} {why}".rstrip())


def _predict(question: Mapping[str, Any], typed: int | None) -> Feedback:
    if typed is None:
        return Feedback(None, question["after"])
    guess = question["options"][typed].removesuffix(".")
    return Feedback(None, f"You predicted: “{guess}”. {question['after']}")


_VERDICTS: dict[str, Callable[[Mapping[str, Any], Any], Feedback]] = {
    "number": _number, "choice": _choice, "expression": _expression, "predict": _predict,
}  # fmt: skip
