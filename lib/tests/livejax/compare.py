"""How compiled JavaScript is compared with JAX, and what tolerance is fair.

The rule, here once for all tests: an output agrees when it differs by at most `tolerance` of its
scale, the largest finite magnitude in that output leaf. Integers, booleans and the places of NaN
and inf agree exactly. Two correct evaluations of a function that amplifies rounding differ by more.
Then each entry may differ by `ROUNDINGS` times its response in JAX to a one-ulp change of the
inputs, and it counts as compared only where that bound stays below `COVERED` of the scale.

An output of dtype float32 comes from arithmetic in single precision. Its tolerance is `SINGLE`, and
its response is measured for changes of one ulp of single precision. A step count at which such a
run fails is an integer, and exact.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from noderun import Node, as_float64

from livejax.controls import Choice, Integer, Point, Slider, Switch

SUITE = 1e-12  # tolerance of the compiler's own cases, in units of the scale
SHIPPED = 1e-10  # tolerance of functions that the book ships
ROUNDINGS = SUITE / 2.0**-52  # ulps that SUITE grants a function whose amplification is one
COVERED = 1e-6
SINGLE = 1e-4  # tolerance of an output in single precision: a thousand steps, each rounded
SINGLE_ULP = 2**29  # one ulp of single precision, in ulps of double precision
ROUNDINGS_SINGLE = SINGLE / 2.0**-23
MEASURED = 20  # settings at which the response is measured in any case
TINY = 2.3e-308  # XLA flushes subnormals, JavaScript does not


@dataclass(frozen=True)
class Leaf:
    """One output leaf: what JAX gives, and whether it is exact, or single, by type."""

    name: str
    want: np.ndarray
    exact: bool
    single: bool = False


def leaves_of(tree) -> list[Leaf]:
    """The leaves of a pytree of JAX results in `jax.tree` order."""
    found = []
    for path, value in jax.tree_util.tree_leaves_with_path(tree):
        value = jnp.asarray(value)
        exact = not jnp.issubdtype(value.dtype, jnp.floating)
        name = jax.tree_util.keystr(path) or "output"
        found.append(Leaf(name, as_float64(value), exact, value.dtype == jnp.float32))
    return found


def scale_of(want: np.ndarray) -> float:
    """The largest finite magnitude, 0 where there is none."""
    finite = np.abs(want[np.isfinite(want)])
    return float(finite.max()) if finite.size else 0.0


def disagreement(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Entrywise |got - want|; 0 where both are NaN or the same infinity, inf where only one is."""
    with np.errstate(all="ignore"):
        gap = np.abs(got - want)
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))


def check_leaf(
    leaf: Leaf,
    got: np.ndarray,
    tolerance: float = SUITE,
    *,
    entrywise: bool = False,
    allowed: np.ndarray | None = None,
    signed_zero: bool = False,
) -> None:
    """Raise AssertionError where `got` (flat) is not the leaf.

    Args:
        leaf: What JAX gives.
        got: What JavaScript gives, flat.
        tolerance: Largest difference, in units of the leaf's scale.
        entrywise: Measure against each entry's own magnitude instead.
        allowed: Further absolute difference granted to each entry (see `one_ulp_response`).
        signed_zero: Also compare the signs of zeros.
    """
    want = leaf.want.ravel()
    assert got.shape == want.shape, f"{leaf.name}: {got.size} numbers, JAX gives {want.size}"
    if not want.size:
        return
    if leaf.exact:
        bound = np.zeros(want.shape)
    elif entrywise:
        bound = np.where(np.isfinite(want), tolerance * np.abs(want), 0.0) + TINY
    else:
        bound = np.full(want.shape, tolerance * scale_of(want) + TINY)
    if allowed is not None:
        bound = np.maximum(bound, allowed.ravel())
    gap = disagreement(got, want)
    with np.errstate(all="ignore"):
        worst = int(np.argmax(np.where(gap <= bound, -1.0, gap)))
    assert gap[worst] <= bound[worst], (
        f"{leaf.name}[{worst}]: JavaScript {got[worst]!r}, JAX {want[worst]!r}, "
        f"difference {gap[worst]:.3g}, allowed {bound[worst]:.3g}, scale {scale_of(want):.3g}"
    )
    if signed_zero:
        flipped = (want == 0) & (np.signbit(want) != np.signbit(got))
        assert not flipped.any(), f"{leaf.name}: wrong sign of zero at {np.flatnonzero(flipped)}"


def small_changes(args, draws: int, ulps: int, seed: int = 0, *, zero_step: float = 0.0) -> list:
    """Copies of `args` with every float moved by `ulps` units in its last place.

    A zero has no such unit; it moves up by `ulps` times `zero_step`.
    """
    rng = np.random.default_rng(seed)

    def move(leaf):
        value = np.asarray(leaf)
        if not np.issubdtype(value.dtype, np.floating):
            return leaf
        sign = np.where(rng.random(value.shape) < 0.5, -1, 1)
        change = np.where(value == 0, zero_step, sign * np.spacing(value))
        return (value + ulps * change).astype(value.dtype)

    return [jax.tree.map(move, args) for _ in range(draws)]


def one_ulp_response(
    evaluate: Callable, args: Sequence, draws: int = 6, *, zero_step: float = 0.0, unit: int = 1
) -> list[np.ndarray]:
    """Largest change of each output entry, in JAX and per ulp, over small changes of the inputs.

    An output that is itself a rounding error often keeps its value when an input moves by one ulp;
    so the inputs are moved by 1, 8 and 64.

    Args:
        evaluate: The function in JAX, best jitted, of the positional `args`.
        args: Its arguments; integers stay as they are.
        draws: How many random changes of each size are tried.
        zero_step: What counts as one ulp of a zero among the arguments.
        unit: How many ulps of double precision count as one.

    Returns:
        One array for each output leaf, of its shape: absolute changes for each ulp, inf where an
        entry becomes finite or stops being so.
    """
    base = leaves_of(evaluate(*args))
    response = [np.zeros(leaf.want.shape) for leaf in base]
    for ulps in (1, 8, 64):
        for moved in small_changes(tuple(args), draws, ulps * unit, zero_step=zero_step):
            for index, leaf in enumerate(leaves_of(evaluate(*moved))):
                gap = disagreement(leaf.want, base[index].want) / ulps
                response[index] = np.maximum(response[index], gap)
    return response


def covered_rows(response: np.ndarray, want: np.ndarray) -> int:
    """How many leading rows of an output are reproducible to `COVERED` of its scale.

    Args:
        response: What `one_ulp_response` gives for this output.
        want: The output, of the same shape; a scalar counts as one row.

    Returns:
        The rows before the first one that is not. A row after it does not count even if it responds
        little: once two correct evaluations have parted, a chance meeting says nothing.
    """
    rows = len(want) if want.ndim else 1
    if not want.size:
        return rows
    worst = response.reshape(rows, -1).max(axis=1)
    bad = np.flatnonzero(ROUNDINGS * worst > COVERED * scale_of(want) + TINY)
    return int(bad[0]) if bad.size else rows


@dataclass(frozen=True)
class Report:
    """What a comparison covered.

    Attributes:
        samples: How many settings were compared.
        length: For each output, its number of rows (1 for a scalar).
        covered: For each output, the fewest leading rows, over the settings, that are reproducible:
            all of them where the function does not amplify rounding.
        worst: The largest difference among covered entries, in units of the output's scale.
    """

    samples: int
    length: dict[str, int]
    covered: dict[str, int]
    worst: float


def compare_function(
    compiled: Any,
    evaluate: Callable,
    samples: Sequence[tuple],
    *,
    node: Node,
    tolerance: float = SHIPPED,
    zero_step: float = 0.0,
) -> Report:
    """Compare a compiled function with JAX at many arguments.

    Args:
        compiled: What `livejax.compile` returned; its inputs are the leaves of the arguments.
        evaluate: The same function in JAX, best jitted.
        samples: One tuple of positional arguments a setting.
        node: A running node process.
        tolerance: Largest difference in units of each output's scale. Where a function amplifies
            rounding, `ROUNDINGS` times the measured response is granted; never widen by hand.
        zero_step: What counts as one ulp of a zero among the arguments.

    Returns:
        What was covered.

    Raises:
        AssertionError: A setting disagrees; the message names the setting and the output.
    """
    results = node.call(compiled.source, [jax.tree.leaves(args) for args in samples])
    length: dict[str, int] = {}
    covered: dict[str, int] = {}
    worst = 0.0
    for number, (args, got) in enumerate(zip(samples, results, strict=True)):
        leaves = leaves_of(evaluate(*args))
        assert len(got) == len(leaves), f"{len(got)} outputs, JAX gives {len(leaves)}"
        # JavaScript may agree by luck, so what one ulp does is measured at some settings anyway.
        response = (
            one_ulp_response(evaluate, args, zero_step=zero_step) if number < MEASURED else None
        )
        for index, (leaf, values) in enumerate(zip(leaves, got, strict=True)):
            rows = reproducible = len(leaf.want) if leaf.want.ndim else 1
            if response:
                reproducible = covered_rows(response[index], leaf.want)
            fair = tolerance_of(leaf, tolerance)
            if not agrees(leaf, values, fair):
                response = response or one_ulp_response(evaluate, args, zero_step=zero_step)
                grant = grant_of(index, leaf, response, evaluate, args, zero_step=zero_step)
                try:
                    check_leaf(leaf, values, fair, allowed=grant)
                except AssertionError as error:
                    raise AssertionError(f"at {show(args)}: {error}") from None
                reproducible = covered_rows(response[index], leaf.want)
            length[leaf.name] = rows
            covered[leaf.name] = min(covered.get(leaf.name, rows), reproducible)
            scale = scale_of(leaf.want)
            if scale and reproducible:
                head = slice(0, reproducible * (leaf.want.size // rows))
                gap = disagreement(values, leaf.want.ravel())[head]
                worst = max(worst, float(gap.max(initial=0.0)) / scale)
    return Report(len(samples), length, covered, worst)


def tolerance_of(leaf: Leaf, tolerance: float) -> float:
    """The tolerance of an output in units of its scale; `tolerance` is double precision's."""
    return max(tolerance, SINGLE) if leaf.single else tolerance


def grant_of(
    index: int,
    leaf: Leaf,
    response: Sequence[np.ndarray],
    evaluate: Callable,
    args: Sequence,
    *,
    zero_step: float,
) -> np.ndarray:
    """What each entry of output `index` is granted beyond the tolerance, by measured amplification.

    Args:
        index: The place of the output among the leaves.
        leaf: That output in JAX.
        response: What `one_ulp_response` gives in double precision.
        evaluate: The function in JAX, jitted.
        args: Its arguments.
        zero_step: What counts as one ulp of a zero among the arguments.
    """
    if leaf.single:
        moved = one_ulp_response(evaluate, args, zero_step=zero_step, unit=SINGLE_ULP)
        return ROUNDINGS_SINGLE * moved[index]
    return response[index] * (1 if leaf.exact else ROUNDINGS)


def agrees(leaf: Leaf, got: np.ndarray, tolerance: float) -> bool:
    """Whether `check_leaf` passes without any grant."""
    try:
        check_leaf(leaf, got, tolerance)
    except AssertionError:
        return False
    return True


def show(args: tuple) -> str:
    """The arguments in a form that can be pasted into a test."""
    return repr(jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), args))


def random_states(controls: dict, count: int, seed: int = 0) -> list[dict]:
    """Settings of a live figure: all controls at one end, at the other, then at random places."""
    rng = np.random.default_rng(seed)
    ends = [{name: value_at(c, u, u) for name, c in controls.items()} for u in (0.0, 1.0)]
    places = rng.random((count - 2, len(controls), 2))
    inside = [
        {name: value_at(c, *uv) for (name, c), uv in zip(controls.items(), row, strict=True)}
        for row in places
    ]
    return ends + inside


def value_at(control: Any, u: float, v: float) -> Any:
    """A control's value at the fraction u (for a point: u, v) of its range."""
    match control:
        case Slider(log=True):
            low, high = math.log(control.min), math.log(control.max)
            return min(max(math.exp(low + (high - low) * u), control.min), control.max)
        case Slider():
            return control.min + (control.max - control.min) * u
        case Integer():
            steps = (control.max - control.min) // control.step
            return control.min + control.step * min(int(u * (steps + 1)), steps)
        case Choice():
            keys = list(control.options)
            return keys[min(int(u * len(keys)), len(keys) - 1)]
        case Switch():
            return bool(u >= 0.5)
        case Point():
            (left, right), (bottom, top) = control.x, control.y
            return (left + (right - left) * u, bottom + (top - bottom) * v)
    raise TypeError(f"unknown control {control!r}")


def compare_figure(figure: Any, *, node: Node, count: int = 200, seed: int = 0) -> Report:
    """Compare the compiled function of a live figure with JAX at `count` settings of its controls.

    Both ends of all controls are among the settings. Raises AssertionError as `compare_function`.
    """
    samples = [
        ({name: control.argument(state[name]) for name, control in figure.controls.items()},)
        for state in random_states(figure.controls, count, seed)
    ]
    return compare_function(
        figure.compiled,
        figure._jitted,
        samples,
        node=node,
        zero_step=zero_step_of(figure.controls),
    )


def zero_step_of(controls: dict) -> float:
    """One ulp of a slider that stands at zero: that of the shortest range of `controls`."""
    ranges = [(c.min, c.max) for c in controls.values() if hasattr(c, "log")]
    ranges += [bounds for c in controls.values() if hasattr(c, "axes") for bounds in (c.x, c.y)]
    return float(np.finfo(np.float64).eps) * min((high - low for low, high in ranges), default=0.0)
