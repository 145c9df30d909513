"""Operations on the bits of integers as JavaScript expressions."""

from __future__ import annotations

from .site import is_literal
from .writer import BITS, BITWISE, WIDE, Write, Writer, expression


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
        # Beyond the width: all sign bits, or zero. (A uint32 is shifted as the int32 of its bits.)
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
