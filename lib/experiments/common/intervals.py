"""Numbers over seeds, with 95% intervals."""

from typing import Any

import numpy as np
import scipy.stats


def _vector(name: str, values: Any) -> np.ndarray:
    """Return the values as a vector without NaN; infinity is left in."""
    numbers = np.asarray(values, float)
    if numbers.ndim != 1 or np.isnan(numbers).any():
        raise ValueError(f"{name} must be a vector of numbers without NaN, got {values!r}")
    return numbers


def mean_interval(values: Any) -> list[float]:
    """Return [mean, low, high]: the mean of independent values and Student's t interval for it.

    Args:
        values: at least two finite numbers, shape (n,); the interval is exact if they are normal.

    Raises:
        ValueError: if there are fewer than two values, or one is not finite.

    >>> [round(number, 3) for number in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    numbers = _vector("values", values)
    if numbers.size < 2 or not np.isfinite(numbers).all():
        raise ValueError(f"values must be two or more finite numbers, got {values!r}")
    mean = float(numbers.mean())
    error = float(numbers.std(ddof=1)) / numbers.size**0.5
    half = error * float(scipy.stats.t.ppf(0.975, numbers.size - 1))
    return [mean, mean - half, mean + half]


def ratio_interval(top: Any, bottom: Any) -> list[float]:
    """Return [ratio, low, high]: the geometric mean of top / bottom, seed by seed.

    Args:
        top: positive numbers, shape (n,).
        bottom: positive numbers, shape (n,), of the same seeds.

    >>> [round(number, 3) for number in ratio_interval([2.0, 8.0, 4.0], [1.0, 4.0, 2.0])]
    [2.0, 2.0, 2.0]
    """
    tops, bottoms = _vector("top", top), _vector("bottom", bottom)
    for name, values in (("top", tops), ("bottom", bottoms)):
        if not (values > 0).all():
            raise ValueError(f"{name} must be positive, got {values!r}")
    return [float(np.exp(number)) for number in mean_interval(np.log(tops / bottoms))]


def median_interval(values: Any) -> list[float]:
    """Return [median, low, high]: the interval is between two order statistics.

    It covers the true median with probability at least 0.95 whatever the distribution: the number
    of values below the median is binomial. Runs that blew up may be given as infinity.

    Args:
        values: at least six numbers, shape (n,).

    Raises:
        ValueError: if there are fewer than six values (no such interval exists), or one is NaN.

    >>> median_interval([5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    [3.5, 1.0, 6.0]
    """
    numbers = np.sort(_vector("values", values))
    if numbers.size < 6:
        raise ValueError(f"values must be six numbers or more, got {values!r}")
    cut = int(scipy.stats.binom.ppf(0.025, numbers.size, 0.5))  # P(fewer than cut) <= 0.025
    return [float(np.median(numbers)), float(numbers[cut - 1]), float(numbers[-cut])]


def rounded(numbers: list[float], digits: int = 5) -> list[float]:
    """Return the numbers to so many significant digits."""
    return [float(f"{number:.{digits}g}") for number in numbers]
