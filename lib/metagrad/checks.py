"""Input checks, shared by every module.

A check of a *value* (positive, finite, symmetric) runs only where the value is
known: inside `jax.jit`, `jax.vmap` or `jax.grad` an argument is a tracer, a
stand-in without a value, and the check is skipped. A check of a *shape* or of a
number of steps always runs, since these are known even then.

Every message names the argument, says what is allowed, and repeats what was given.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_known(value: Any) -> bool:
    """Whether `value` holds numbers, rather than tracers that stand for numbers."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def _known_numbers(name: str, value: Any) -> np.ndarray | None:
    """The numbers in `value` as a NumPy array, or None where they are traced."""
    if not is_known(value):
        return None
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "fiu" and not jnp.issubdtype(numbers.dtype, jnp.floating):
        raise TypeError(f"{name} must hold real numbers, got {value!r}")
    if not np.all(np.isfinite(numbers)):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return numbers


def as_float(name: str, value: Any) -> jax.Array:
    """`value` as a floating-point array; a floating-point dtype is kept.

    Raises:
        TypeError: if `value` does not hold real numbers.
        ValueError: if one of them is NaN or infinite.
    """
    _known_numbers(name, value)
    array = jnp.asarray(value)
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    # Naming the dtype also makes Python numbers strongly typed, as a scan's carry must be.
    return jnp.asarray(array, dtype=array.dtype if is_float else jnp.result_type(float))


def float_tree(name: str, tree: Any) -> Any:
    """Every leaf of a pytree through `as_float`."""
    return jax.tree.map(lambda leaf: as_float(name, leaf), tree)


def require_positive(name: str, value: Any) -> None:
    """Every number in `value` must be above 0."""
    numbers = _known_numbers(name, value)
    if numbers is not None and not np.all(numbers > 0):
        raise ValueError(f"{name} must be positive, got {value!r}")


def require_nonnegative(name: str, value: Any) -> None:
    """Every number in `value` must be at least 0."""
    numbers = _known_numbers(name, value)
    if numbers is not None and not np.all(numbers >= 0):
        raise ValueError(f"{name} must be at least 0, got {value!r}")


def require_in(name: str, value: Any, low: float, high: float) -> None:
    """Every number in `value` must lie in the closed interval [low, high]."""
    numbers = _known_numbers(name, value)
    if numbers is not None and not np.all((numbers >= low) & (numbers <= high)):
        raise ValueError(f"{name} must lie between {low} and {high}, got {value!r}")


def require_at_least(name: str, value: Any, low_name: str, low: Any) -> None:
    """`value` must be at least `low`, the argument called `low_name`."""
    number, bound = _known_numbers(name, value), _known_numbers(low_name, low)
    if number is not None and bound is not None and not np.all(number >= bound):
        raise ValueError(f"{name} must be at least {low_name} = {low!r}, got {value!r}")


def require_at_most(name: str, value: Any, high_name: str, high: Any) -> None:
    """`value` must be at most `high`, the argument called `high_name`."""
    number, bound = _known_numbers(name, value), _known_numbers(high_name, high)
    if number is not None and bound is not None and not np.all(number <= bound):
        raise ValueError(f"{name} must be at most {high_name} = {high!r}, got {value!r}")


def require_increasing(name: str, value: Any) -> None:
    """The numbers in the vector `value` must increase strictly."""
    numbers = _known_numbers(name, value)
    if numbers is not None and not np.all(np.diff(numbers) > 0):
        raise ValueError(f"{name} must increase strictly, got {value!r}")


def require_steps(name: str, value: Any) -> None:
    """`value` must be a whole number of at least 1, known when the function is traced."""
    if isinstance(value, jax.core.Tracer):
        raise TypeError(
            f"{name} must be a Python integer, got a traced value: it is the length of a scan, "
            f"so mark it static (jax.jit(..., static_argnames='{name}'))"
        )
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer of at least 1, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def require_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """`value` must be an array (or a number, for the shape `()`) of the given shape."""
    if isinstance(value, list | tuple | dict):
        raise TypeError(
            f"{name} must be an array of shape {shape}, got a {type(value).__name__}; "
            "use jnp.array(...)"
        )
    if jnp.shape(value) != shape:
        raise ValueError(f"{name} must have shape {shape}, got shape {jnp.shape(value)}")


def require_vector(name: str, value: Any, length: int | None = None) -> None:
    """`value` must be one-dimensional and not empty, of the given length if one is given."""
    shape = jnp.asarray(value).shape
    if len(shape) != 1 or shape[0] == 0 or (length is not None and shape[0] != length):
        wanted = "(n,) with n at least 1" if length is None else f"({length},)"
        raise ValueError(f"{name} must have shape {wanted}, got shape {shape}")


def require_symmetric_positive(name: str, value: Any) -> None:
    """`value` must be a square, symmetric, positive semidefinite matrix (up to rounding)."""
    shape = jnp.asarray(value).shape
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"{name} must be a square matrix of shape (n, n), got shape {shape}")
    matrix = _known_numbers(name, value)
    if matrix is None:
        return
    rounding = 1e-12 * np.max(np.abs(matrix))
    asymmetry = np.max(np.abs(matrix - matrix.T))
    if asymmetry > rounding:
        raise ValueError(
            f"{name} must be symmetric, got a matrix that differs from its transpose by up to "
            f"{asymmetry:.3g}"
        )
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest < -rounding:
        raise ValueError(
            f"{name} must be positive semidefinite, got a matrix whose smallest eigenvalue "
            f"is {smallest:.3g}"
        )


def require_scalar_loss(name: str, loss: Callable, *arguments: Any) -> None:
    """`loss(*arguments)` must be one number, as `jax.grad` needs it to be."""
    result = jax.eval_shape(loss, *arguments)
    if not hasattr(result, "shape") or result.shape != ():
        raise TypeError(f"{name} must return one number (shape ()), got {result}")
    if not jnp.issubdtype(result.dtype, jnp.floating):
        raise TypeError(f"{name} must return a floating-point number, got one of {result.dtype}")


def require_leaves(name: str, tree: Any) -> None:
    """A pytree must hold at least one array, and only floating-point ones."""
    leaves = jax.tree.leaves(tree)
    if not leaves:
        raise ValueError(f"{name} must hold at least one array, got {tree!r}")
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{name} must hold floating-point arrays, got one of {leaf.dtype}")


def _tree_difference(got: Any, wanted: Any) -> str | None:
    """How the structure, shapes or dtypes of two pytrees differ, or None."""
    structures = str(jax.tree.structure(wanted)), str(jax.tree.structure(got))
    if structures[0] != structures[1]:
        return f"{structures[0]}, got {structures[1]}"
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return f"{other.dtype}{list(other.shape)}, got {one.dtype}{list(one.shape)}"
    return None


def require_same_tree(name: str, result: Any, like: Any) -> None:
    """The `result` of the function `name` must have the structure, shapes and dtypes of `like`.

    Both may be arrays, or the shapes and dtypes that `jax.eval_shape` gives.
    """
    difference = _tree_difference(result, like)
    if difference:
        raise TypeError(f"{name} must return a pytree like its first argument: {difference}")


def require_like(name: str, tree: Any, like_name: str, like: Any) -> None:
    """The argument `name` must have the structure, shapes and dtypes of the one `like_name`."""
    difference = _tree_difference(tree, like)
    if difference:
        raise TypeError(f"{name} must be a pytree like {like_name}: {difference}")


def require_one_dtype(name: str, tree: Any) -> None:
    """All arrays of a pytree must have one dtype."""
    dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(tree)})
    if len(dtypes) > 1:
        raise TypeError(f"{name} must hold arrays of one dtype here, got {' and '.join(dtypes)}")


def require_key(key: Any, reader: str) -> None:
    """`key` must be one random key; `reader` is who draws from it."""
    is_key = hasattr(key, "dtype") and (
        (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ())
        or (key.dtype == jnp.uint32 and key.shape == (2,))
    )
    if not is_key:
        raise TypeError(
            f"key must be one random key, such as jax.random.key(0), for {reader}, got {key!r}"
        )


def require_update_rule(name: str, rule: Callable, x: Any, w: Any) -> None:
    """`rule(x, w)` must be an array with the shape and dtype of x."""
    result = jax.eval_shape(rule, x, w)
    if not hasattr(result, "shape") or (result.shape, result.dtype) != (x.shape, x.dtype):
        raise TypeError(
            f"{name} must return a point like x0, of shape {x.shape} and dtype {x.dtype}, "
            f"got {result}"
        )
