"""The page and the notebook give the same reply, word for word, to right, wrong and odd answers."""

import random

from selfcheck_node import verdicts

import selfcheck
from selfcheck.verdict import short

ODD = [
    "", " ", "abc", "0,25", "1,000", "1e-3", "1E-3", "1e", "1e+", "1e999", "1/4", "1//4", "1/0",
    "0/0", "0^-1", "0^0", "(-8)^(1/3)", "sqrt(-1)", "log(0)", "exp(1000)", "10^400", "1/exp(-800)",
    "π", "2π", "pi", "PI", "e", "2e", "2 e", "2e+1", ".5", "5.", ".", "+5", "--5", "-+-5", "2--3",
    "2^-1", "-2^2", "2^3^2", "2**3", "2***3", "2 3", "2(3)", "(2)(3)", "(2)3", "1/2 3", "1/2(3)",
    "1/(2)3", "1/2*3", "(1", "1)", "()", "((", "2+", "*2", "sqrt 2", "sqrt2", "√2", "√(2)",
    "sqrt(2", "Sqrt(2)", "sin(pi/6)", "cos()", "abs(-3)", "log(e)", "ln(e)", "ln 2",
    "−0.25", "–0.25", "0.25−",
    "3·4", "3×4", "3÷4", "1⁄4", "2²", "x³", "²", "25%", "= 0.25", "|x|", "[1]", "{1}", "1_000",
    "1 000", "x₁", "x_1", "NaN", "nan", "Infinity", "inf", "∞", "undefined", "null", "0x10",
    "1.2.3", "١", "１", "😀", "𝛽", "constructor", "toString", "__proto__", "alert(1)", "9" * 201,
    "(" * 60, "-" * 60, "2^" * 60 + "2", "1" + "+1" * 90, "\u00a00.25", "0.25\t", "\u200b0.25",
    "\ufeff1", "\x1c1", "0.25 ms", "0.25ms", "ms", "0.25 s", "beta", "β", "Beta", "betamu",
    "beta mu", "βμ", "µβ", "2 beta", "2beta", "beta2", "β2", "beta 2", "2*beta*(1+mu)", "2β(1+μ)",
    "beta(1 + mu)", "β (1+μ)", "(1+mu) beta", "beta + beta mu", "gamma", "γ", "theta",
    "beta*(1 - mu)", "−β(1+μ)", "beta/(beta-beta)", "1/(mu-mu)", "log(-beta)",
    "beta*(1.0000001+mu)", "beta*(1.0000000000001+mu)", "beta^2 (1+mu)/beta",
    "exp(log(beta))(1+mu)",
]  # fmt: skip

NUMBERS = [
    selfcheck.number(
        "ex-quarter",
        0.25,
        prompt="?",
        unit="ms",
        wrong=((4.0, "That is one over it."), (0.5, "Half.")),
    ),
    selfcheck.number("ex-zero", 0.0, prompt="?", abs_tol=1e-9),
    selfcheck.number("ex-negative", -3.0, prompt="?", rel_tol=0.1, right="It points down."),
]
EXPRESSION = selfcheck.expression(
    "ex-momentum",
    "beta*(1 + mu)",
    prompt="?",
    variables={"beta": (0.5, 3.0), "mu": (0.1, 0.9)},
    wrong=(("beta*(1 - mu)", "The sign of mu is lost."), ("beta", "And mu?")),
)
CHOICE = selfcheck.choice("ex-pick", (("a", "No: a."), ("b", "Yes: b.")), 1, prompt="?")
PREDICT = selfcheck.predict("predict-it", ("up.", "down"), prompt="?", after="Look.")


def assert_twins_agree(cases, folder):
    replies = verdicts([(question.question, typed) for question, typed in cases], folder)
    for (question, typed), reply in zip(cases, replies, strict=True):
        ours = question.check(typed)
        assert {"right": ours.right, "text": ours.text} == reply, (question.question["id"], typed)


def test_odd_input(tmp_path):
    cases = [(question, typed) for question in (*NUMBERS, EXPRESSION) for typed in ODD]
    assert_twins_agree(cases, tmp_path)
    for question, typed in cases:
        reply = question.check(typed)
        assert reply.text
        for word in ("NaN", "Infinity", "undefined"):
            # An echo of what was typed is fine, a computed one is not.
            assert word not in reply.text or word == typed


def test_options(tmp_path):
    cases = [(question, typed) for question in (CHOICE, PREDICT) for typed in (None, 0, 1)]
    assert_twins_agree(cases, tmp_path)


def test_random_numbers(tmp_path):
    draw = random.Random(1)
    values = [draw.uniform(-1, 1) * 10.0 ** draw.randint(-6, 6) for _ in range(300)]
    typed = [f"{value:.{draw.randint(0, 12)}g}" for value in values]
    assert_twins_agree([(question, text) for question in NUMBERS for text in typed], tmp_path)


def random_formula(draw, depth):
    if depth == 0:
        return draw.choice(["beta", "mu", "β", "μ", "2", "0.5", "1e-1", "pi", "1"])
    inner = [random_formula(draw, depth - 1) for _ in range(2)]
    shape = draw.choice(
        ["{}+{}", "({}) - {}", "({})*({})", "({})/({})", "({})({})", "-{}", "({})^2", "sqrt({})",
         "exp({})", "abs({} − {})", "({})^({})", "log({})", "cos {}", "{} {}"]
    )  # fmt: skip
    return shape.format(*inner)


def test_random_formulas(tmp_path):
    draw = random.Random(2)
    cases = [(EXPRESSION, random_formula(draw, draw.randint(0, 4))) for _ in range(1500)]
    assert_twins_agree(cases, tmp_path)
    replies = [EXPRESSION.check(typed) for _, typed in cases]
    assert len({reply.text for reply in replies}) > 200
    assert {reply.right for reply in replies} >= {False, None}


def test_random_characters(tmp_path):
    draw = random.Random(3)
    letters = "0123456789.eE+-*/^() betamuβμπ,%²₁−√"
    typed = ["".join(draw.choices(letters, k=draw.randint(1, 8))) for _ in range(2000)]
    for question in (NUMBERS[0], EXPRESSION):
        assert_twins_agree([(question, text) for text in typed], tmp_path)


def test_short_numbers_read_the_same(tmp_path):
    """Also at exact ties (0.03125), where Python's own formats round to even."""
    draw = random.Random(4)
    values = [
        draw.choice((-1, 1)) * draw.randint(1, 4096) / 2.0 ** draw.randint(0, 20)
        for _ in range(500)
    ]
    values += [draw.uniform(-1, 1) * 10.0 ** draw.randint(-90, 90) for _ in range(500)]
    values += [99995.0, 999950.0, 9.9995e-5, 1e-4, 1e6, 0.03125, 1e-99, 9e99]
    question = {
        "kind": "expression", "points": [{"x": 0.0}, {"x": 1.0}], "places": ["x = 0", "x = 1"],
        "wrong": [], "right": "",
    }  # fmt: skip
    cases = [({**question, "values": [value, value]}, "x + 12345.678") for value in values]
    for (asked, _), reply in zip(cases, verdicts(cases, tmp_path), strict=True):
        shown = short(asked["values"][0])
        assert f"At x = 0 the answer is {shown}, and yours gives 12350." in reply["text"]
