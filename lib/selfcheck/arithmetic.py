"""Reads what a reader types, for example `2 beta^2 / (1 - mu)`, and nothing else.

`static/arithmetic.js` is the same program for the page; the tests hold the two together. Grammar:

    sum     = product { ("+" | "-") product }
    product = signed { ("*" | "/") signed | power }        two factors side by side are multiplied
    signed  = { "+" | "-" } power
    power   = atom [ ("^" | "**") signed ]                 so -2^2 = -4 and 2^3^2 = 2^9
    atom    = number | name | function "(" sum ")" | "(" sum ")"

A product by juxtaposition right after a division, as in `1/2 x`, can be read in two ways and is
refused. Greek letters stand for their names. Every intermediate value must be finite.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

Expression = Callable[[Mapping[str, float]], float]

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "ln": math.log,
    "sin": math.sin, "cos": math.cos, "abs": abs,
}  # fmt: skip
CONSTANTS = {"pi": math.pi, "e": math.e}
RESERVED = frozenset(FUNCTIONS) | frozenset(CONSTANTS)

MAX_LENGTH = 200
MAX_DEPTH = 40

GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψωΓΔΘΛΞΠΣΦΨΩµϵϑϕϱ",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho "
        "sigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega "
        "mu epsilon theta phi rho".split(),
        strict=True,
    )
)
_SYNONYMS = {
    "**": "^", "−": "-", "–": "-", "·": "*", "⋅": "*", "×": "*", "∗": "*", "÷": "/", "⁄": "/",
    "∕": "/", "√": "sqrt", "²": "^2", "³": "^3", "\N{NO-BREAK SPACE}": " ",
    "\N{THIN SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ", "\t": " ", "\n": " ",
    **{digit: f"_{value}" for value, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")},
}  # fmt: skip
_ADVICE = {
    ",": "Write decimals with a point, as in 0.25, and nothing between thousands.",
    "=": "Type only what stands on the right of the “=”.",
    "%": "Write percent as a fraction: 25 percent is 0.25.",
    "|": "Write abs(x) for an absolute value.",
    "[": "Use round parentheses.", "]": "Use round parentheses.",
    "{": "Use round parentheses.", "}": "Use round parentheses.",
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    rf"|(?P<name>[A-Za-z][A-Za-z0-9_]*|[{''.join(GREEK)}][0-9]*(?:_[A-Za-z0-9_]+)?)"
    r"|(?P<op>[-+*/^()])"
)


class UnreadableError(ValueError):
    """The input cannot be read or has no finite value; the message is meant for the reader."""


@dataclass(frozen=True)
class _Token:
    kind: str  # "number", "name", "op" or "end"
    text: str


def parse(text: str, names: Collection[str] = ()) -> Expression:
    """The expression in `text` as a function of its variables' values.

    Args:
        text: what was typed, at most 200 characters.
        names: the variables that may occur, spelled in ASCII (`"beta"`, not `"β"`).

    Returns:
        A function from `{name: value}` to a finite float. It raises `UnreadableError` where the
        expression, or a part of it, has no finite value.

    Raises:
        UnreadableError: if `text` does not follow the grammar or uses another name.
    """
    if len(text) > MAX_LENGTH:
        raise UnreadableError(f"That is longer than {MAX_LENGTH} characters.")
    for char, meaning in _SYNONYMS.items():
        text = text.replace(char, meaning)
    if not text.strip(" "):
        raise UnreadableError("Type an answer first.")
    return _Parser(_tokens(text), names).whole()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match:
            found.append(_Token(str(match.lastgroup), match.group()))
            at = match.end()
        elif text[at] == " ":
            at += 1
        else:
            advice = _ADVICE.get(text[at], "")
            raise UnreadableError(f"I cannot read “{text[at]}”. {advice}".rstrip())
    return [*found, _Token("end", "")]


class _Parser:
    def __init__(self, tokens: list[_Token], names: Collection[str]) -> None:
        self.tokens, self.names = tokens, names
        self.at = self.depth = 0

    def whole(self) -> Expression:
        value = self.sum()
        if self.next.kind != "end":
            raise UnreadableError(f"There is a “{self.next.text}” too many.")
        return value

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *ops: str) -> str:
        """The operator that comes next if it is one of `ops`, else an empty string."""
        if self.next.kind == "op" and self.next.text in ops:
            self.at += 1
            return self.tokens[self.at - 1].text
        return ""

    def sum(self) -> Expression:
        value = self.product()
        while op := self.take("+", "-"):
            value = _combine(op, value, self.product())
        return value

    def product(self) -> Expression:
        value, last = self.signed(), ""
        while True:
            if op := self.take("*", "/"):
                value, last = _combine(op, value, self.signed()), op
            elif self.next.kind in ("number", "name") or self.next.text == "(":
                self.check_juxtaposition(last)
                value = _combine("*", value, self.power())
            else:
                return value

    def check_juxtaposition(self, last: str) -> None:
        if last == "/":
            raise UnreadableError(
                f"What follows the “/” can be read in two ways: put a * before “{self.next.text}”, "
                "or parentheses around the denominator."
            )
        before = self.tokens[self.at - 1]
        if before.kind == self.next.kind == "number":
            raise UnreadableError(f"Put a * between {before.text} and {self.next.text}.")

    def signed(self) -> Expression:
        # Every recursion passes here, so this bound keeps deep nests off the call stack.
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("That is nested too deeply.")
        sign = self.take("+", "-")
        if sign:
            inner = self.signed()
            value = _combine("*", lambda at: -1.0, inner) if sign == "-" else inner
        else:
            value = self.power()
        self.depth -= 1
        return value

    def power(self) -> Expression:
        base = self.atom()
        return _combine("^", base, self.signed()) if self.take("^") else base

    def atom(self) -> Expression:
        token = self.next
        self.at += 1
        if token.kind == "number":
            value = float(token.text)
            return lambda at: _finite(value)
        if token.kind == "name":
            return self.name(token.text)
        if token.text == "(":
            return self.closed()
        if token.kind == "end":
            raise UnreadableError("The end is missing.")
        raise UnreadableError(f"Something is missing before the “{token.text}”.")

    def closed(self) -> Expression:
        value = self.sum()
        if not self.take(")"):
            raise UnreadableError("A closing parenthesis is missing.")
        return value

    def name(self, typed: str) -> Expression:
        spelled = GREEK[typed[0]] + typed[1:] if typed[0] in GREEK else typed
        for name in (spelled, spelled.lower()):
            if name in self.names:
                return lambda at: at[name]
            if name in CONSTANTS:
                return lambda at: CONSTANTS[name]
            if name in FUNCTIONS:
                if not self.take("("):
                    raise UnreadableError(f"Write {name} with parentheses: {name}(...).")
                return _call(FUNCTIONS[name], self.closed())
        known = f"The names here are {', '.join(self.names)}." if self.names else "Type a number."
        raise UnreadableError(f"I do not know “{typed}”. {known}")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise UnreadableError(
            "This has no finite value (a division by zero, an overflow, or the root or log of a "
            "number outside its domain)."
        )
    return value


def _guarded(function: Callable[..., float], *args: float) -> float:
    """`function(*args)`, with Python's errors (JavaScript gives inf or nan) made the same."""
    try:
        return _finite(function(*args))
    except (ZeroDivisionError, OverflowError):
        return _finite(math.inf)
    except ValueError:
        return _finite(math.nan)


_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": lambda a, b: a / b, "^": math.pow,
}  # fmt: skip


def _combine(op: str, left: Expression, right: Expression) -> Expression:
    return lambda at: _guarded(_OPERATIONS[op], left(at), right(at))


def _call(function: Callable[[float], float], inner: Expression) -> Expression:
    return lambda at: _guarded(function, inner(at))
