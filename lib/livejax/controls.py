"""The controls of a live figure: what the reader moves, and what the function then receives."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import traitlets

from livejax.format import check_spec, format_number, with_unit


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{what} is {value!r}; allowed is a number")
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value!r}; allowed is a finite number")
    return float(value)


def _range(kind: str, low: Any, high: Any) -> tuple[float, float]:
    low, high = _number(f"min of {kind}", low), _number(f"max of {kind}", high)
    if low >= high:
        raise ValueError(f"{kind} has min={low:g} and max={high:g}; min must be below max")
    return low, high


def _within(kind: str, value: Any, low: float, high: float) -> float:
    value = _number(f"value of {kind}", value)
    if not low <= value <= high:
        raise ValueError(f"value of {kind} is {value:g}; allowed is {low:g} to {high:g}")
    return value


def _check_label(kind: str, label: Any) -> None:
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"label of {kind} is {label!r}; allowed is a text that readers see")


def _divides(step: float, span: float) -> bool:
    return abs(span / step - round(span / step)) < 1e-6


def tidy_step(span: float, offset: float = 0.0) -> float:
    """The largest step 1, 2, 2.5 or 5 times a power of ten with 100 stops or more on `span`.

    It divides `span`, and `offset` too where such a step exists; otherwise it is `span / 200`.
    """
    top = math.floor(math.log10(span / 100))
    steps = [m * 10.0**p for p in (top, top - 1, top - 2) for m in (5.0, 2.5, 2.0, 1.0)]
    steps = [step for step in steps if step <= span / 100 * (1 + 1e-9) and _divides(step, span)]
    for step in steps:
        if _divides(step, offset):
            return step
    return steps[0] if steps else span / 200


@dataclass(frozen=True)
class Slider:
    """A real number in [min, max], moved linearly or (`log=True`) by equal ratios.

    Args:
        min: lower end; above 0 if `log`.
        max: upper end.
        value: default, in [min, max].
        label: what readers see.
        step: distance of two stops; divides `max - min`. For a logarithmic slider in decades,
            dividing log10(max / min). Chosen if left out.
        log: whether equal distances on the slider are equal ratios.
        unit: printed after the value.
        format: how the value is printed.

    Raises:
        ValueError: if a number is out of the range given here, naming it.
        TypeError: if a number is none.
    """

    min: float
    max: float
    value: float
    label: str = field(kw_only=True)
    step: float | None = field(default=None, kw_only=True)
    log: bool = field(default=False, kw_only=True)
    unit: str = field(default="", kw_only=True)
    format: str = field(default=".3g", kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        kind = f"Slider {self.label!r}"
        _check_label("Slider", self.label)
        check_spec(self.format)
        low, high = _range(kind, self.min, self.max)
        if self.log and low <= 0:
            raise ValueError(f"{kind} has log=True and min={low:g}; min must be above 0")
        _within(kind, self.value, low, high)
        if self.step is not None:
            step = _number(f"step of {kind}", self.step)
            if step <= 0:
                raise ValueError(f"step of {kind} is {step:g}; it must be above 0")
            if not _divides(step, self._span):
                raise ValueError(f"step of {kind} is {step:g}; it must divide {self._span:g}")

    @property
    def _span(self) -> float:
        return math.log10(self.max / self.min) if self.log else float(self.max) - self.min

    @property
    def stops(self) -> int:
        """Number of steps from one end to the other."""
        step = self.step
        if step is None:
            step = self._span / 200 if self.log else tidy_step(self._span, self.value - self.min)
        return round(self._span / step)

    @property
    def default(self) -> float:
        """The value before the reader moves anything."""
        return float(self.value)

    def clean(self, name: str, value: Any) -> float:
        """`value` if this control can have it, else an error that names `name`."""
        return _within(name, value, self.min, self.max)

    def argument(self, value: float) -> np.float64:
        """What the function receives."""
        return np.float64(value)

    def trait(self) -> traitlets.TraitType:
        """The synced trait of the widget."""
        return traitlets.Float(self.default, min=float(self.min), max=float(self.max))

    def text(self, value: float) -> str:
        """The value as readers see it."""
        return with_unit(format_number(value, self.format), self.unit)

    def spec(self) -> dict[str, Any]:
        """What the page needs to know."""
        return {
            "kind": "slider", "label": self.label, "min": float(self.min), "max": float(self.max),
            "value": self.default, "stops": self.stops, "log": self.log, "unit": self.unit,
            "format": self.format,
        }  # fmt: skip


@dataclass(frozen=True)
class Integer:
    """A whole number `min`, `min + step`, ..., `max`; the function receives an int32.

    Raises:
        ValueError: if `value` is no such number, or `step` does not divide `max - min`.
        TypeError: if a number is not whole.
    """

    min: int
    max: int
    value: int
    label: str = field(kw_only=True)
    step: int = field(default=1, kw_only=True)
    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        kind = f"Integer {self.label!r}"
        _check_label("Integer", self.label)
        for name in ("min", "max", "value", "step"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int | np.integer):
                raise TypeError(f"{name} of {kind} is {number!r}; allowed is a whole number")
        _range(kind, self.min, self.max)
        if self.step <= 0 or (self.max - self.min) % self.step:
            raise ValueError(
                f"step of {kind} is {self.step}; it must be above 0 and divide "
                f"{self.max - self.min}"
            )
        self.clean(f"value of {kind}", self.value)

    @property
    def default(self) -> int:
        """The value before the reader moves anything."""
        return int(self.value)

    def clean(self, name: str, value: Any) -> int:
        """`value` if this control can have it, else an error that names `name`."""
        number = _within(name, value, self.min, self.max)
        if (number - self.min) % self.step:
            raise ValueError(
                f"{name} is {value!r}; allowed are steps of {self.step} from {self.min}"
            )
        return int(number)

    def argument(self, value: int) -> np.int32:
        """What the function receives."""
        return np.int32(value)

    def trait(self) -> traitlets.TraitType:
        """The synced trait of the widget."""
        return traitlets.Int(self.default, min=int(self.min), max=int(self.max))

    def text(self, value: int) -> str:
        """The value as readers see it."""
        return with_unit(format_number(value, "d"), self.unit)

    def spec(self) -> dict[str, Any]:
        """What the page needs to know."""
        return {
            "kind": "integer", "label": self.label, "min": int(self.min), "max": int(self.max),
            "value": self.default, "step": int(self.step), "unit": self.unit, "format": "d",
        }  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """One of several named options; the function receives its index as an int32.

    Args:
        options: key -> label. A key is a word (letters, digits, `_`, `-`), for links and traits.
        value: key of the default.
        label: what readers see.

    Raises:
        ValueError: if there are fewer than two options, a key is no word, or `value` is no key.
    """

    options: Mapping[str, str]
    value: str
    label: str = field(kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        kind = f"Choice {self.label!r}"
        _check_label("Choice", self.label)
        if len(self.options) < 2:
            raise ValueError(f"{kind} has {len(self.options)} options; it needs two or more")
        for key, label in self.options.items():
            if not isinstance(key, str) or not re.fullmatch(r"[\w-]+", key):
                raise ValueError(f"{kind} has the key {key!r}; allowed is a word such as 'heavy'")
            _check_label(f"option {key!r} of {kind}", label)
        self.clean(f"value of {kind}", self.value)

    @property
    def default(self) -> str:
        """The key before the reader moves anything."""
        return self.value

    def clean(self, name: str, value: Any) -> str:
        """`value` if this control can have it, else an error that names `name`."""
        if value not in self.options:
            raise ValueError(f"{name} is {value!r}; allowed is one of {list(self.options)}")
        return value

    def argument(self, value: str) -> np.int32:
        """What the function receives: the index of the key."""
        return np.int32(list(self.options).index(value))

    def trait(self) -> traitlets.TraitType:
        """The synced trait of the widget."""
        return traitlets.Enum(list(self.options), self.default)

    def text(self, value: str) -> str:
        """The option's label."""
        return self.options[value]

    def spec(self) -> dict[str, Any]:
        """What the page needs to know."""
        return {
            "kind": "choice", "label": self.label, "value": self.value,
            "options": [[key, label] for key, label in self.options.items()],
        }  # fmt: skip


@dataclass(frozen=True)
class Switch:
    """On or off; the function receives a bool.

    Raises:
        TypeError: if `value` is no bool.
    """

    value: bool
    label: str = field(kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_label("Switch", self.label)
        self.clean(f"value of Switch {self.label!r}", self.value)

    @property
    def default(self) -> bool:
        """The value before the reader moves anything."""
        return bool(self.value)

    def clean(self, name: str, value: Any) -> bool:
        """`value` if this control can have it, else an error that names `name`."""
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} is {value!r}; allowed is True or False")
        return bool(value)

    def argument(self, value: bool) -> np.bool_:
        """What the function receives."""
        return np.bool_(value)

    def trait(self) -> traitlets.TraitType:
        """The synced trait of the widget."""
        return traitlets.Bool(self.default)

    def text(self, value: bool) -> str:
        """The value as readers see it."""
        return "on" if value else "off"

    def spec(self) -> dict[str, Any]:
        """What the page needs to know."""
        return {"kind": "switch", "label": self.label, "value": self.default}


@dataclass(frozen=True)
class Point:
    """A point that readers drag on the plot; the function receives a float64 array of shape (2,).

    Two sliders beside the plot do the same from the keyboard.

    Args:
        value: default (x, y).
        label: what readers see.
        x: (min, max) of the first coordinate.
        y: (min, max) of the second coordinate.
        axes: the plotly axes that carry the handle.
        format: how a coordinate is printed.

    Raises:
        ValueError: if a coordinate is out of range or an axis has no such name.
    """

    value: tuple[float, float]
    label: str = field(kw_only=True)
    x: tuple[float, float] = field(kw_only=True)
    y: tuple[float, float] = field(kw_only=True)
    axes: tuple[str, str] = field(default=("x", "y"), kw_only=True)
    format: str = field(default=".3g", kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        kind = f"Point {self.label!r}"
        _check_label("Point", self.label)
        check_spec(self.format)
        for name in ("x", "y"):
            bounds = getattr(self, name)
            if len(bounds) != 2:
                raise ValueError(f"{name} of {kind} is {bounds!r}; allowed is (min, max)")
            _range(f"{kind}, {name}", *bounds)
        if len(self.axes) != 2 or not all(
            re.fullmatch(rf"{letter}\d*", axis)
            for letter, axis in zip("xy", self.axes, strict=True)
        ):
            raise ValueError(f"axes of {kind} is {self.axes!r}; allowed is for example ('x', 'y2')")
        self.clean(f"value of {kind}", self.value)

    @property
    def default(self) -> tuple[float, float]:
        """The value before the reader moves anything."""
        return (float(self.value[0]), float(self.value[1]))

    def clean(self, name: str, value: Any) -> tuple[float, float]:
        """`value` if this control can have it, else an error that names `name`."""
        if np.shape(value) != (2,):
            raise ValueError(f"{name} is {value!r}; allowed is a pair (x, y)")
        return (
            _within(f"{name} (x)", value[0], *self.x),
            _within(f"{name} (y)", value[1], *self.y),
        )

    def argument(self, value: tuple[float, float]) -> np.ndarray:
        """What the function receives."""
        return np.asarray(value, dtype=np.float64)

    def trait(self) -> traitlets.TraitType:
        """The synced trait of the widget."""
        first = traitlets.Float(min=float(self.x[0]), max=float(self.x[1]))
        second = traitlets.Float(min=float(self.y[0]), max=float(self.y[1]))
        return traitlets.Tuple(first, second, default_value=self.default)

    def text(self, value: tuple[float, float]) -> str:
        """The value as readers see it."""
        return "({}, {})".format(*(format_number(part, self.format) for part in value))

    def spec(self) -> dict[str, Any]:
        """What the page needs to know."""
        bounds = [[float(end) for end in pair] for pair in (self.x, self.y)]
        stops = [
            round((high - low) / tidy_step(high - low, start - low))
            for (low, high), start in zip(bounds, self.default, strict=True)
        ]
        return {
            "kind": "point", "label": self.label, "value": list(self.default), "bounds": bounds,
            "stops": stops, "axes": list(self.axes), "format": self.format,
        }  # fmt: skip


Control = Slider | Integer | Choice | Switch | Point
