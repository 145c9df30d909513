"""How numbers are held, and how an expression is brought into the range of its dtype.

Every number is a JavaScript number (a float64). float32 values are float64 values that a float32
can hold: each result is rounded and, as on XLA's CPU, subnormals become zero (`flush32`), on the
way in as well. 32-bit integers wrap by JavaScript's own int32 operators. 64-bit integers are exact
below 2^53, and `int53` throws beyond. Booleans are true/false or 1/0.
"""

from __future__ import annotations

from collections.abc import Callable

from .lower import Lowering, Op

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
