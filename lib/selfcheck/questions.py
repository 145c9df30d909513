"""The four kinds of question. Each function checks its input and returns a `Question`."""

import math
import random
import re
from collections.abc import Mapping, Sequence

from selfcheck.arithmetic import GREEK, RESERVED, UnreadableError, parse
from selfcheck.question import Question
from selfcheck.verdict import same

POINTS = 16  # at which expressions are compared


def number(
    id: str,
    answer: float,
    *,
    prompt: str,
    rel_tol: float = 1e-2,
    abs_tol: float = 0.0,
    unit: str = "",
    wrong: Sequence[tuple[float, str]] = (),
    right: str = "",
) -> Question:
    """Ask for a number; arithmetic such as `1/4` or `2 sqrt(2)` is read too.

    Args:
        id: starts with "ex-" or "predict-", unique in the book.
        answer: the right value, finite.
        prompt: the question, plain text.
        rel_tol: accepted distance as a fraction of the right value, in [0, 1).
        abs_tol: accepted distance, at least 0; needed where `answer` is 0.
        unit: shown after the field; the reader may type it or not.
        wrong: pairs (value, feedback) for the usual wrong answers, met to the same tolerances.
        right: what to say after "Right."

    Raises:
        ValueError: for any input outside these ranges, and if two of the values listed could not
            be told apart.
    """
    answer = _finite(answer, "answer")
    pairs = [(_finite(value, "a wrong value"), _text(why, "feedback")) for value, why in wrong]
    if not 0 <= rel_tol < 1:
        raise ValueError(f"rel_tol is {rel_tol}; allowed is 0 <= rel_tol < 1")
    if not (math.isfinite(abs_tol) and abs_tol >= 0):
        raise ValueError(f"abs_tol is {abs_tol}; allowed is a finite number, at least 0")

    def width(value: float) -> float:
        return max(float(abs_tol), rel_tol * abs(value))

    if width(answer) == 0:
        raise ValueError(
            f"nothing but {answer} itself would be right (rel_tol={rel_tol}, abs_tol={abs_tol}); "
            "give a tolerance above 0"
        )
    taken = [answer]
    for value, _ in pairs:
        for other in taken:
            if abs(value - other) <= max(width(value), width(other)):
                raise ValueError(f"the wrong value {value} cannot be told from {other}")
        taken.append(value)
    return Question(
        {
            **_head("number", id, prompt),
            "help": "A number or arithmetic, such as 0.25, 1/4, 2e-3 or sqrt(2).",
            "answer": answer,
            "rel_tol": float(rel_tol),
            "abs_tol": float(abs_tol),
            "unit": unit,
            "wrong": [list(pair) for pair in pairs],
            "right": right,
        },
        [repr(value) for value in taken],
    )


def expression(
    id: str,
    answer: str,
    *,
    prompt: str,
    variables: Mapping[str, tuple[float, float]],
    wrong: Sequence[tuple[str, str]] = (),
    right: str = "",
) -> Question:
    """Ask for a formula; every equivalent way of writing it is right.

    The typed formula is compared with `answer` at 16 points, drawn once from `variables` with a
    seed that is the question's id, to 1e-9 relative.

    Args:
        id: starts with "ex-" or "predict-", unique in the book.
        answer: the right formula, in the grammar of `selfcheck.arithmetic`.
        prompt: the question, plain text.
        variables: ASCII name -> (low, high), the range in which the formula is compared.
        wrong: pairs (formula, feedback) for the usual wrong answers.
        right: what to say after "Right."

    Raises:
        ValueError: for a formula that cannot be read, uses a name missing from `variables`, has
            no finite value in the ranges or is zero throughout, for a wrong formula equivalent to
            another one listed, and for bad names or ranges (the message says which).
    """
    points = _points(id, variables)

    def values(formula: str, what: str) -> list[float]:
        try:
            evaluate = parse(_text(formula, what), list(variables))
            return [evaluate(point) for point in points]
        except UnreadableError as error:
            raise ValueError(f"{what} is {formula!r}: {error}") from None

    right_values = values(answer, "answer")
    size = max(map(abs, right_values))
    if not 1e-100 < size < 1e100:
        raise ValueError(
            f"answer is {answer!r}, in size at most {size}; between 1e-100 and 1e100 is needed"
        )
    taken = [(answer, right_values)]
    pairs = []
    for formula, why in wrong:
        wrong_values = values(formula, "a wrong formula")
        for other, other_values in taken:
            if same(wrong_values, other_values):
                raise ValueError(f"the wrong formula {formula!r} is equivalent to {other!r}")
        taken.append((formula, wrong_values))
        pairs.append([wrong_values, _text(why, "feedback")])
    letters = {name: letter for letter, name in reversed(GREEK.items())}
    shown = [f"{name} ({letters[name]})" if name in letters else name for name in variables]
    return Question(
        {
            **_head("expression", id, prompt),
            "help": f"A formula in {', '.join(shown)}. Write powers as in 2^3.",
            "points": points,
            "places": [", ".join(f"{k} = {v:.10g}" for k, v in p.items()) for p in points],
            "values": right_values,
            "wrong": pairs,
            "right": right,
        },
        [formula for formula, _ in taken],
    )


def choice(id: str, options: Sequence[tuple[str, str]], answer: int, *, prompt: str) -> Question:
    """Ask to pick one of several options.

    Args:
        id: starts with "ex-" or "predict-", unique in the book.
        options: pairs (text, feedback), at least two, all texts different.
        answer: index of the right option, counted from 0.
        prompt: the question, plain text.

    Raises:
        ValueError: for any input outside these ranges.
    """
    texts = _options([text for text, _ in options])
    if isinstance(answer, bool) or answer not in range(len(texts)):
        raise ValueError(f"answer is {answer!r}; allowed are the indices 0 to {len(texts) - 1}")
    return Question(
        {
            **_head("choice", id, prompt),
            "options": texts,
            "feedback": [_text(why, "feedback") for _, why in options],
            "answer": answer,
        },
        sorted(range(len(texts)), key=lambda index: index != answer),
    )


def predict(id: str, options: Sequence[str], *, prompt: str, after: str) -> Question:
    """Ask for a prediction; nothing is judged, and any answer (or none) reveals `after`.

    Args:
        id: starts with "ex-" or "predict-", unique in the book.
        options: texts, at least two, all different.
        prompt: the question, plain text.
        after: what to look at now, plain text.

    Raises:
        ValueError: for any input outside these ranges.
    """
    return Question(
        {
            **_head("predict", id, prompt),
            "options": _options(options),
            "after": _text(after, "after"),
        },
        range(len(options)),
    )


def _head(kind: str, id: str, prompt: str) -> dict[str, str]:
    if not re.fullmatch(r"(ex|predict)-[a-z0-9]+(-[a-z0-9]+)*", id):
        raise ValueError(
            f"id is {id!r}; it must start with 'ex-' or 'predict-' and go on with lower-case "
            "letters, digits and single hyphens"
        )
    return {"kind": kind, "id": id, "prompt": _text(prompt, "prompt")}


def _text(value: str, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} is {value!r}; a text that is not empty is needed")
    return value


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}; a finite number is needed")
    return float(value)


def _options(texts: Sequence[str]) -> list[str]:
    if len(texts) < 2:
        raise ValueError(f"there are {len(texts)} options; at least 2 are needed")
    checked = [_text(text, "an option") for text in texts]
    for text in checked:
        if checked.count(text) > 1:
            raise ValueError(f"the option {text!r} is listed twice")
    return checked


def _points(id: str, variables: Mapping[str, tuple[float, float]]) -> list[dict[str, float]]:
    """Points with about three digits, so that a reader can check one by hand."""
    if not variables:
        raise ValueError("variables is empty; ask for a number, or name the variables")
    for name, (low, high) in variables.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in RESERVED:
            raise ValueError(
                f"the variable {name!r} must be an ASCII name other than {sorted(RESERVED)}"
            )
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"the range of {name} is ({low}, {high}); low < high is needed")
    draw = random.Random(id)

    def between(low: float, high: float) -> float:
        digits = 2 - math.floor(math.log10(high - low))
        return min(max(round(draw.uniform(low, high), digits), low), high)

    return [
        {name: between(float(low), float(high)) for name, (low, high) in variables.items()}
        for _ in range(POINTS)
    ]
