"""The form of a compiler case."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One small function, compiled once and compared with JAX at each of its arguments.

    Attributes:
        id: Readable name, unique in the suite.
        fn: The function.
        samples: Tuples of arguments; all of the same shapes.
        entrywise: Compare each entry with its own magnitude, not with the largest of the output.
        signed_zero: Compare signs of zeros too.
        amplifies: The function amplifies rounding; the measured response scales the tolerance.
    """

    id: str
    fn: Callable
    samples: tuple[tuple, ...]
    entrywise: bool = False
    signed_zero: bool = False
    amplifies: bool = False


@dataclass
class Table:
    """A list of cases of one family."""

    family: str
    cases: list[Case] = field(default_factory=list)

    def add(self, name: str, fn: Callable, *args, more: tuple[tuple, ...] = (), **options) -> None:
        """Add a case with one tuple of arguments, and `more` of them."""
        self.cases.append(Case(f"{self.family}-{name}", fn, (args, *more), **options))
