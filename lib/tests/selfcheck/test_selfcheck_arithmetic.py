"""The grammar, on cases worked by hand."""

import math

import pytest

from selfcheck.arithmetic import UnreadableError, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1/4", 0.25), (".5", 0.5), ("5.", 5), ("-2^2", -4), ("2^3^2", 512),
        ("2**3", 8), ("2^-1", 0.5), ("--5", 5), ("1/2*3", 1.5), ("2(3+4)", 14), ("2 - -3", 5),
        ("π", math.pi), ("2π", 2 * math.pi), ("e", math.e), ("2e1", 20), ("−0.25", -0.25),
        ("√(4)", 2), ("sqrt(9)(2)", 6), ("3²", 9), ("3·4÷6", 2), ("log(e^2)", 2), ("ln(e^2)", 2),
        ("abs(-3)", 3),
        ("sin(pi/2) + cos(0)", 2), ("exp(0)", 1), ("0^0", 1), ("Sqrt(4)", 2),
    ],
)  # fmt: skip
def test_values(text, value):
    assert parse(text)({}) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["2 beta (1+mu)", "2β(1+μ)", "β_1 + 2 β (1+µ) − beta_1", "2Beta(1+Mu)"]
)
def test_names(text):
    at = {"beta": 3.0, "mu": 0.5, "beta_1": 0.25}
    assert parse(text, list(at))(at) == 9.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Type an answer"), ("0,25", "with a point"), ("abc", "“abc”. Type a number"),
        ("1/0", "division by zero"), ("0/0", "division by zero"), ("1/(1/0)", "division by zero"),
        ("1/2 3", "two ways"), ("2 3", "Put a * between 2 and 3"), ("(1", "closing"),
        ("1)", "too many"), ("2+", "end is missing"), ("*2", "before the “*”"),
        ("sqrt 2", "sqrt(...)"), ("25%", "0.25"), ("=1", "right of"), ("|2|", "abs(x)"),
        ("[1]", "round"), ("(" * 60, "nested"), ("1" * 201, "200 characters"),
        ("1e999", "overflow"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(text, said):
    with pytest.raises(UnreadableError) as error:
        parse(text)({})
    assert said in str(error.value)


def test_an_unknown_name_is_named_and_the_known_ones_listed():
    with pytest.raises(UnreadableError, match=r"“gamma”\. The names here are beta, mu"):
        parse("beta + gamma", ["beta", "mu"])
