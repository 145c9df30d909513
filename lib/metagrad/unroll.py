"""Unrolled runs: apply a step many times and keep every state.

A run is one `jax.lax.scan`, so it compiles once whatever its length, and it can be
differentiated, mapped over and compiled like any other JAX function.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from metagrad import checks

State = TypeVar("State")


def unroll(
    step: Callable[[State, jax.Array], State], state: State, inner_steps: int
) -> tuple[State, State]:
    """Apply `step` to `state` again and again.

    Args:
        step: maps (state, t) to the next state; t = 1, ..., inner_steps is a traced int32.
        state: where to start, any pytree of arrays.
        inner_steps: how many steps, at least 1.

    Returns:
        The final state, and the states after each step: a pytree like `state` whose leaves
        have a new axis 0 of length inner_steps.

    Raises:
        TypeError: if inner_steps is not an integer.
        ValueError: if inner_steps is below 1.

    >>> final, states = unroll(lambda x, t: x + t, jnp.int32(0), 4)
    >>> int(final), states.tolist()
    (10, [1, 3, 6, 10])
    """
    checks.require_steps("inner_steps", inner_steps)

    def body(carry, t):
        carry = step(carry, t)
        return carry, carry

    return jax.lax.scan(body, state, jnp.arange(1, inner_steps + 1, dtype=jnp.int32))


def prepend(start: Any, states: Any) -> Any:
    """Put a state in front of stacked states, leaf by leaf: (T, ...) becomes (T + 1, ...).

    >>> prepend(jnp.int32(0), jnp.array([1, 3, 6], dtype=jnp.int32)).tolist()
    [0, 1, 3, 6]
    """
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, states)
