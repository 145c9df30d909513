"""Elementwise operations: each is a JavaScript expression, chosen by dtype.

How numbers are held: every number is a JavaScript number (a float64). float32 values are float64
values that a float32 can hold: each result is rounded and, as on XLA's CPU, subnormals become zero
(`flush32`), on the way in as well. 32-bit integers wrap by JavaScript's own int32 operators. 64-bit
integers are exact up to 2^53, and `int53` throws beyond. Booleans are true/false or 1/0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .index import Index, Ix
from .lower import Lowering, Op, rule
from .values import Const, DoubleBits, Member, Site, Value, is_literal

WRAP = {
    "float64": "{}",
    "float32": "flush32({})",
    "int8": "({}<<24>>24)",
    "int16": "({}<<16>>16)",
    "int32": "({}|0)",
    "int64": "int53({})",
    "uint8": "({}&255)",
    "uint16": "({}&65535)",
    "uint32": "({}>>>0)",
    "uint64": "uint53({})",
    "bool": "{}",
}
BITS = {"int8": 8, "int16": 16, "int32": 32, "uint8": 8, "uint16": 16, "uint32": 32}
WIDE = ("int64", "uint64")


def is_float(dtype: str) -> bool:
    """Whether the dtype is one of the two floating ones."""
    return dtype in ("float64", "float32")


class Writer:
    """Writes expressions whose result has a given dtype."""

    def __init__(self, lowering: Lowering, op: Op, dtype: str):
        self.program = lowering.program
        self.op = op
        self.dtype = dtype

    def call(self, function: str, *arguments: str) -> str:
        """A call of a runtime function."""
        return self.program.call(function, *arguments)

    def wrap(self, expression: str, dtype: str | None = None) -> str:
        """The expression, brought into the range of the dtype."""
        dtype = dtype or self.dtype
        template = WRAP[dtype]
        if template.endswith("({})"):
            self.program.runtime.add(template[:-4])
        return template.format(expression)

    def refuse(self) -> Exception:
        """The error for a dtype that the operation cannot be translated for."""
        return self.op.refuse(f"not for dtype {self.dtype}")


Write = Callable[..., str]
ARITHMETIC: dict[str, Write] = {}
"""Operations that flush subnormal float32 operands, as machine arithmetic does."""
BITWISE: dict[str, Write] = {}
"""Operations that pass all bits of a float32 on."""


def expression(*names: str, table: dict[str, Write] = ARITHMETIC) -> Callable[[Write], Write]:
    """Registers how to write an elementwise operation: ``write(writer, *operands, **params)``."""

    def register(write: Write) -> Write:
        for name in names:
            table[name] = write
        return write

    return register


def spread(index: Index, shape: Sequence[int]) -> Index:
    """The operand's index: scalars and axes of extent 1 are broadcast by elementwise primitives."""
    if not shape:
        return ()
    return tuple(Ix() if n == 1 else i for i, n in zip(index, shape, strict=True))


def elementwise(
    lowering: Lowering, op: Op, combine: Callable[[Site, list[str]], str], flush: bool = True
) -> list[Member]:
    """Computes one element of the result from one element of each operand."""
    for value in op.inputs:
        if value.shape and len(value.shape) != len(op.out.shape):
            raise op.refuse(f"operand of shape {value.shape} for a result of {op.out.shape}")

    def element(index: Index, site: Site) -> str:
        operands = [read(lowering, v, spread(index, v.shape), site, flush) for v in op.inputs]
        return combine(site, operands)

    normal = flush or all(v.normal for v in op.inputs if v.dtype == "float32")
    return [lowering.compute(op.out.shape, op.out.dtype, op.inputs, element, normal=normal)]


def read(lowering: Lowering, value: Value, index: Index, site: Site, flush: bool = True) -> str:
    """One operand; a float32 that may be subnormal is flushed."""
    text = value.at(index, site)
    if flush and value.dtype == "float32" and not value.normal:
        return site.let(lowering.program.call("flush32", text))
    return text


def define(name: str, write: Write, flush: bool) -> None:
    """Makes a rule of a way to write an expression."""

    @rule(name)
    def apply(lowering: Lowering, op: Op) -> list[Member]:
        # Named after the operands, so that comparisons know what they compare.
        dtype = op.inputs[0].dtype if name in COMPARISONS else op.out.dtype
        writer = Writer(lowering, op, dtype)

        def combine(site: Site, operands: list[str]) -> str:
            names = [site.let(o) for o in operands] if name in REUSES else operands
            return write(writer, *names)

        return elementwise(lowering, op, combine, flush)


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
def _mul(w: Writer, a: str, b: str) -> str:
    if w.dtype == "bool":
        return f"({a}&{b})"
    if w.dtype in BITS:
        product = f"Math.imul({a},{b})"
        return product if w.dtype == "int32" else w.wrap(product)
    return w.wrap(f"({a}*{b})")


@expression("div")
def _div(w: Writer, a: str, b: str) -> str:
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
    return _mul(w, a, a)


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


# -- bits ---------------------------------------------------------------------------------------


def _bitwise(sign: str, name: str) -> Write:
    def write(w: Writer, a: str, b: str) -> str:
        if w.dtype in WIDE:
            return w.wrap(w.call(name, a, b))
        result = f"({a}{sign}{b})"
        return w.wrap(result) if w.dtype == "uint32" else result

    return write


for _name, _text, _kernel in (("and", "&", "and64"), ("or", "|", "or64"), ("xor", "^", "xor64")):
    BITWISE[_name] = _bitwise(_text, _kernel)


@expression("not", table=BITWISE)
def _not(w: Writer, a: str) -> str:
    if w.dtype == "bool":
        return f"(!{a})"
    return f"(-1-{a})" if w.dtype == "int64" else w.wrap(f"(~{a})")


def _shift(name: str) -> Write:
    def write(w: Writer, a: str, by: str) -> str:
        bits = BITS.get(w.dtype)
        signed = w.dtype.startswith("int")
        if bits is None:
            return w.wrap(
                w.call(
                    {"<<": "shiftLeft53", ">>": "shiftRight53"}.get(name, "shiftRightLogical53"),
                    a,
                    by,
                )
            )
        if name == ">>" and not signed and bits != 32:
            raise w.refuse()
        value = a if name != ">>>" or not signed or bits == 32 else f"({a}&{2**bits - 1})"
        shifted = w.wrap(f"({value}{name}{by})")
        if is_literal(by) and 0 <= int(by.strip("()")) < bits:
            return shifted
        # Beyond the width: all sign bits, or zero. (The bits of a uint32 are shifted as an int32's.)
        beyond = w.wrap(f"({a}>>31)") if name == ">>" else "0"
        return f"({by}>=0&&{by}<{bits}?{shifted}:{beyond})"

    return write


for _name, _text in (
    ("shift_left", "<<"),
    ("shift_right_arithmetic", ">>"),
    ("shift_right_logical", ">>>"),
):
    BITWISE[_name] = _shift(_text)


@expression("population_count")
def _population_count(w: Writer, a: str) -> str:
    if w.dtype in WIDE:
        raise w.refuse()
    return w.call("populationCount", f"({a}&{2 ** BITS[w.dtype] - 1})")


@expression("clz")
def _clz(w: Writer, a: str) -> str:
    if w.dtype in WIDE:
        raise w.refuse()
    bits = BITS[w.dtype]
    return f"(Math.clz32({a}&{2**bits - 1})-{32 - bits})"


REUSES = {
    *("square", "clamp", "shift_left", "shift_right_arithmetic", "shift_right_logical"),
    *("select_n",),
}
"""Operations whose expression mentions an operand more than once."""

for _name, _write in ARITHMETIC.items():
    define(_name, _write, flush=True)
for _name, _write in BITWISE.items():
    define(_name, _write, flush=False)


# -- operations that need their parameters --------------------------------------------------------


@rule("integer_pow")
def _integer_pow(lowering: Lowering, op: Op) -> Sequence[Value]:
    """By repeated squaring, as JAX does."""
    writer = Writer(lowering, op, op.out.dtype)
    exponent = op.params["y"]

    def combine(site: Site, operands: list[str]) -> str:
        base, rest, result = site.let(operands[0]), abs(exponent), ""
        while rest:
            if rest & 1:
                result = site.let(_mul(writer, result, base)) if result else base
            rest >>= 1
            if rest:
                base = site.let(_mul(writer, base, base))
        result = result or "1"
        return _div(writer, "1", result) if exponent < 0 else result

    return elementwise(lowering, op, combine)


@rule("convert_element_type")
def _convert(lowering: Lowering, op: Op) -> Sequence[Value]:
    source, target = op.inputs[0].dtype, op.out.dtype
    if source == target:
        return op.inputs
    writer = Writer(lowering, op, target)

    def combine(_: Site, operands: list[str]) -> str:
        (a,) = operands
        if target == "bool":
            return f"({a}!=0)"
        if source == "bool":
            return f"({a}?1:0)"
        if target == "float64":
            return a
        if target == "float32" or not is_float(source):
            return writer.wrap(a)
        info = np.iinfo(target)
        return writer.call("saturate", a, str(float(info.min)), str(float(info.max)))

    return elementwise(lowering, op, combine)


@rule("reduce_precision")
def _reduce_precision(lowering: Lowering, op: Op) -> Sequence[Value]:
    bits = (op.params["exponent_bits"], op.params["mantissa_bits"])
    if bits == (11, 52) or (bits == (8, 23) and op.out.dtype == "float32"):
        return op.inputs
    if bits != (8, 23):
        raise op.refuse(f"exponent_bits={bits[0]}, mantissa_bits={bits[1]}")
    lowering.program.runtime.add("flush32")
    return elementwise(lowering, op, lambda _, operands: f"flush32({operands[0]})")


@rule("bits of a float64")
def _double_bits(lowering: Lowering, op: Op) -> Sequence[Value]:
    """The sign bit is all that can be had of 64 bits (`jnp.signbit`, `jnp.copysign`)."""
    bits, *others = op.inputs
    by = others[0] if others else None
    right = op.name in ("shift_right_arithmetic", "shift_right_logical")
    if not (right and isinstance(bits, DoubleBits) and isinstance(by, Const) and by.size == 1):
        raise op.refuse("the bits of a float64")
    if by.array.reshape(-1)[0] != 63:
        raise op.refuse("the bits of a float64")
    set_bit = "-1" if op.name == "shift_right_arithmetic" else "1"

    def element(index: Index, site: Site) -> str:
        x = site.let(bits.value.at(index, site))
        return f"({x}<0||Object.is({x},-0)?{set_bit}:0)"

    return [lowering.compute(op.out.shape, "int64", [bits.value], element)]


@rule("bitcast_convert_type")
def _bitcast(lowering: Lowering, op: Op) -> Sequence[Value]:
    source, target = op.inputs[0].dtype, op.out.dtype
    if source == target:
        return op.inputs
    if (source, target) == ("float64", "int64"):
        return [DoubleBits(op.inputs[0], op.refuse("the bits of a float64"))]
    if BITS.get(source, 32) != 32 or BITS.get(target, 32) != 32 or "64" in source + target:
        raise op.refuse(f"from {source} to {target}; only 32-bit types are exact")
    writer = Writer(lowering, op, target)

    def combine(_: Site, operands: list[str]) -> str:
        (a,) = operands
        if source == "float32":
            return writer.wrap(writer.call("bitsOfFloat32", a))
        if target == "float32":
            return writer.call("float32OfBits", a)
        return writer.wrap(a)

    return elementwise(lowering, op, combine, flush=False)


@rule(
    "copy",
    "copy_p",
    "stop_gradient",
    "pvary",
    "name",
    "device_put",
    "random_clone",
    "pin",
    "unpin",
    "optimization_barrier",
    "tie",
    "reshard",
    "sharding_constraint",
    "layout_constraint",
)
def _same(_: Lowering, op: Op) -> Sequence[Value]:
    if len(op.inputs) != len(op.outputs):
        raise op.refuse(f"{len(op.inputs)} operands for {len(op.outputs)} results")
    return op.inputs
