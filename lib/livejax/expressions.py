"""Elementwise operations as JavaScript expressions: arithmetic, functions, comparisons.

Each function writes the expression for one primitive, from the expressions of its operands.
"""

from __future__ import annotations

from .writer import ARITHMETIC, BITS, BITWISE, Write, Writer, expression, is_float

# -- arithmetic ---------------------------------------------------------------------------------


@expression("add", "add_any")
def _add(w: Writer, a: str, b: str) -> str:
    if w.dtype == "bool":
        return f"(({a})|({b}))"
    return w.wrap(f"({a}+{b})")


@expression("sub")
def _sub(w: Writer, a: str, b: str) -> str:
    return w.wrap(f"({a}-{b})")


@expression("mul")
def product(w: Writer, a: str, b: str) -> str:
    """A product; 32-bit ones wrap."""
    if w.dtype == "bool":
        return f"({a}&{b})"
    if w.dtype in BITS:
        product = f"Math.imul({a},{b})"
        return product if w.dtype == "int32" else w.wrap(product)
    return w.wrap(f"({a}*{b})")


@expression("div")
def quotient(w: Writer, a: str, b: str) -> str:
    """A quotient; that of integers is rounded toward zero."""
    if is_float(w.dtype):
        return w.wrap(f"({a}/{b})")
    return w.wrap(w.call("quotient", a, b))


@expression("rem")
def _rem(w: Writer, a: str, b: str) -> str:
    if is_float(w.dtype):
        return w.wrap(f"({a}%{b})")
    return w.call("remainder", a, b)


@expression("neg", table=BITWISE)
def _neg(w: Writer, a: str) -> str:
    return f"(-{a})" if is_float(w.dtype) else w.wrap(f"(-{a})")


@expression("abs", table=BITWISE)
def _abs(w: Writer, a: str) -> str:
    return f"Math.abs({a})" if is_float(w.dtype) else w.wrap(f"Math.abs({a})")


@expression("sign")
def _sign(w: Writer, a: str) -> str:
    return f"Math.sign({a})"


@expression("max")
def _max(w: Writer, a: str, b: str) -> str:
    return f"({a}|{b})" if w.dtype == "bool" else f"Math.max({a},{b})"


@expression("min")
def _min(w: Writer, a: str, b: str) -> str:
    return f"({a}&{b})" if w.dtype == "bool" else f"Math.min({a},{b})"


@expression("clamp")
def _clamp(w: Writer, low: str, x: str, high: str) -> str:
    return f"Math.min(Math.max({low},{x}),{high})"


@expression("square")
def _square(w: Writer, a: str) -> str:
    return product(w, a, a)


@expression("pow")
def _pow(w: Writer, a: str, b: str) -> str:
    if is_float(w.dtype):
        return w.wrap(w.call("power", a, b))
    return w.call("integerPower32" if w.dtype in BITS else "integerPower53", a, b)


@expression("rsqrt")
def _rsqrt(w: Writer, a: str) -> str:
    return w.wrap(f"(1/Math.sqrt({a}))")


@expression("logistic")
def _logistic(w: Writer, a: str) -> str:
    if w.dtype == "float32":
        return w.wrap(f"(1/Math.fround(1+{w.call('exp32', f'-{a}')}))")
    return w.wrap(f"(1/(1+Math.exp(-{a})))")


@expression("exp2")
def _exp2(w: Writer, a: str) -> str:
    return w.call("exp232", a) if w.dtype == "float32" else f"Math.pow(2,{a})"


@expression("atan2")
def _atan2(w: Writer, a: str, b: str) -> str:
    return w.wrap(f"Math.atan2({a},{b})")


@expression("nextafter", table=BITWISE)
def _nextafter(w: Writer, a: str, b: str) -> str:
    return w.call("nextAfter32" if w.dtype == "float32" else "nextAfter", a, b)


# The functions of Math, and those of the runtime under their names there.
MATH = (
    *("sqrt", "exp", "log", "expm1", "log1p", "sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt"),
)
RUNTIME = {
    **{"erf": "erf", "erfc": "erfc", "erf_inv": "erfInv", "lgamma": "lgamma"},
    **{"digamma": "digamma", "bessel_i0e": "besselI0e", "bessel_i1e": "besselI1e"},
}
# float32 versions that repeat XLA's own steps, where rounding a float64 result is not close enough.
FLOAT32 = {
    **{"exp": "exp32", "expm1": "expm132", "tanh": "tanh32", "sinh": "sinh32", "cosh": "cosh32"},
    **{"asinh": "asinh32", "acosh": "acosh32", "atanh": "atanh32", "erf": "erf32"},
    **{"erfc": "erfc32", "erf_inv": "erfInv32"},
}


def _function(name: str) -> Write:
    def write(w: Writer, a: str) -> str:
        if w.op.params.get("accuracy") is not None:
            raise w.op.refuse(f"accuracy={w.op.params['accuracy']}")
        if w.dtype == "float32" and name in FLOAT32:
            return w.wrap(w.call(FLOAT32[name], a))
        if name in MATH:
            return w.wrap(f"Math.{name}({a})")
        if w.dtype == "float32":
            # JAX's own float32 results are off by many units in the last place.
            raise w.refuse()
        return w.call(RUNTIME[name], a)

    return write


for _name in (*MATH, *RUNTIME):
    ARITHMETIC[_name] = _function(_name)


@expression("floor")
def _floor(w: Writer, a: str) -> str:
    return f"Math.floor({a})"


@expression("ceil")
def _ceil(w: Writer, a: str) -> str:
    return f"Math.ceil({a})"


@expression("round")
def _round(w: Writer, a: str) -> str:
    method = int(w.op.params["rounding_method"])
    if method not in (0, 1):
        raise w.op.refuse(f"rounding_method={method}")
    return w.call(("roundAwayFromZero", "roundToEven")[method], a)


@expression("is_finite")
def _is_finite(w: Writer, a: str) -> str:
    return f"Number.isFinite({a})"


# -- comparisons and choice ---------------------------------------------------------------------

COMPARISONS = {
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="},
}
TOTAL_ORDER = {"lt_to": "<", "le_to": "<=", "eq_to": "==="}


def _comparison(sign: str) -> Write:
    return lambda w, a, b: f"({a}{sign}{b})"


def _total_comparison(sign: str) -> Write:
    def write(w: Writer, a: str, b: str) -> str:
        if not is_float(w.op.inputs[0].dtype):
            return f"({a}{sign}{b})"
        return f"({w.call('totalOrder', a, b)}{sign}0)"

    return write


for _name, _text in COMPARISONS.items():
    ARITHMETIC[_name] = _comparison(_text)
for _name, _text in TOTAL_ORDER.items():
    BITWISE[_name] = _total_comparison(_text)


@expression("select_n", table=BITWISE)
def _select_n(w: Writer, which: str, *cases: str) -> str:
    if w.op.inputs[0].dtype == "bool" and len(cases) == 2:
        return f"({which}?{cases[1]}:{cases[0]})"
    text = cases[-1]
    for number, case in reversed(list(enumerate(cases[:-1]))):
        text = f"{which}<{number + 1}?{case}:{text}"
    return f"({text})"
