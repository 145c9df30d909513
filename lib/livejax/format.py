"""Numbers as text. `static/format.js` is the same in JavaScript; the tests hold both together."""

import math
import re

_SPEC = re.compile(r"(?P<sign>\+?)(?P<group>,?)(?:\.(?P<digits>\d{1,2}))?(?P<kind>[gfed])")
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
# Neither of them breaks.
NARROW_SPACE = "\u202f"
SPACE = "\u00a0"


def check_spec(spec: str) -> str:
    """Return the format `spec`, if both languages know it.

    Raises:
        ValueError: if `spec` is not `[+][,][.digits](g|f|e|d)`.
    """
    match = _SPEC.fullmatch(spec)
    if not match or (match["kind"] == "d" and match["digits"]):
        raise ValueError(
            f"format {spec!r} is not supported; allowed is [+][,][.digits] followed by "
            "g, f, e or d, for example '.3g'"
        )
    return spec


def format_number(value: float, spec: str = ".3g") -> str:
    """Write `value` as Python's `format(value, spec)` does, in print rather than in code.

    A number is written with a true minus sign and a power of ten, a NaN as "undefined", an infinity
    as "beyond range", and a negative number that rounds to zero as zero.

    Raises:
        ValueError: if `spec` is not supported.
    """
    check_spec(spec)
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "beyond range"
    text = format(float(value), spec.replace("d", ".0f"))
    mantissa, _, exponent = text.partition("e")
    if mantissa.startswith("-") and not re.search("[1-9]", mantissa):
        mantissa = mantissa.replace("-", "+" if spec.startswith("+") else "")
    mantissa = mantissa.replace("-", "\N{MINUS SIGN}")
    if not exponent:
        return mantissa
    power = str(int(exponent)).translate(_SUPERSCRIPT)
    return f"{mantissa}{NARROW_SPACE}×{NARROW_SPACE}10{power}"


def with_unit(text: str, unit: str) -> str:
    """`text` followed by `unit`, which stays on the same line."""
    return f"{text}{SPACE}{unit}" if unit else text
