"""From a Python function to a jaxpr: JAX's own record of what the function computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax._src import source_info_util
from jax._src.interpreters import partial_eval

DTYPES = (
    *("float64", "float32", "bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)


class UnsupportedPrimitive(NotImplementedError):
    """The function uses an operation that the compiler cannot translate exactly.

    The message names the JAX primitive, the compiled function and the source line.
    """


@dataclass(frozen=True)
class ArraySpec:
    """One leaf of the arguments or of the result.

    Attributes:
        name: path of the leaf in its pytree, such as ``x['w'][0]``.
        shape: shape.
        dtype: dtype, as JAX names it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Traced:
    """A traced function: its jaxpr, the arrays it closes over, and its leaves."""

    name: str
    jaxpr: Any
    consts: list[Any]
    inputs: tuple[ArraySpec, ...]
    outputs: tuple[ArraySpec, ...]


@contextmanager
def precision_context(precision: str):
    """JAX's 64-bit mode for the given precision, as long as the context lasts."""
    if precision not in ("float64", "float32"):
        raise ValueError(f'precision must be "float64" or "float32", not {precision!r}')
    with jax.enable_x64(precision == "float64"):
        yield


def trace(fn: Callable, example_args: Sequence[Any]) -> Traced:
    """Traces `fn` at the shapes and dtypes of the example arguments.

    Raises:
        UnsupportedPrimitive: if an argument or result has a dtype that cannot be translated.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*example_args)
    # Drops what no output needs, also inside loops.
    jaxpr, used = partial_eval.dce_jaxpr(
        closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True
    )
    assert all(used)
    paths, _ = jax.tree_util.tree_flatten_with_path(tuple(example_args))
    inputs = [
        ArraySpec(leaf_name(path, argument_names(fn)), aval.shape, dtype_name(aval, name))
        for (path, _), aval in zip(paths, avals(jaxpr.invars), strict=True)
    ]
    paths, _ = jax.tree_util.tree_flatten_with_path(shapes)
    outputs = [
        ArraySpec(leaf_name(path, None), aval.shape, str(aval.dtype))
        for (path, _), aval in zip(paths, avals(jaxpr.outvars), strict=True)
    ]
    for spec in (*inputs, *outputs):
        if spec.dtype.startswith("key"):
            raise UnsupportedPrimitive(
                f"{name}: {spec.name} is a random key; pass or return its seed or "
                "jax.random.key_data of it instead"
            )
    return Traced(name, jaxpr, closed.consts, tuple(inputs), tuple(outputs))


def avals(variables: Sequence[Any]) -> list[Any]:
    """Shapes and dtypes of the variables of a jaxpr."""
    return [v.aval for v in variables]


def dtype_name(aval: Any, where: str) -> str:
    """Name of an abstract value's dtype; "key" for random keys.

    Raises:
        UnsupportedPrimitive: if the compiler has no such dtype.
    """
    dtype = aval.dtype
    if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        if str(dtype) != "key<fry>":
            raise UnsupportedPrimitive(f"{where}: random keys of kind {dtype}; only threefry is")
        return "key"
    name = str(np.dtype(dtype)) if dtype != jax.dtypes.float0 else "float0"
    if name not in DTYPES:
        raise UnsupportedPrimitive(f"{where}: dtype {name} cannot be translated")
    return name


def argument_names(fn: Callable) -> list[str] | None:
    """Names of the positional arguments, where Python knows them."""
    code = getattr(fn, "__code__", None)
    if code is None or code.co_flags & 0x04:  # *args
        return None
    return list(code.co_varnames[: code.co_argcount])


def leaf_name(path: tuple, names: list[str] | None) -> str:
    """Readable path of a leaf: the argument's name, then keys and positions."""
    if names is None:
        return jax.tree_util.keystr(path) or "result"
    first = path[0].idx
    head = names[first] if first < len(names) else f"argument {first}"
    return head + jax.tree_util.keystr(path[1:])


def source_line(eqn: Any) -> str:
    """File and line of the user's code that an equation comes from."""
    return source_info_util.summarize(eqn.source_info)
