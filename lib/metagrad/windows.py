"""Cut a long run into windows, and differentiate each as if its first state were given.

A run of T steps is cut from its end into windows of `length` steps; the first may be shorter.
What one window does to the next is left out of the derivative: that is the truncation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metagrad import checks
from metagrad.runs import Run, advance_all, outcome, times, zero_loss


class Window(NamedTuple):
    """One window, differentiated.

    Attributes:
        value: what the window adds to F(w), shape ().
        gradient: whatever the differentiation returned for it, a pytree.
        state: the state after the window.
    """

    value: Any
    gradient: Any
    state: Any


# (f, w, key) to a Window, where f maps w to (what the window adds to F(w), the state after it).
Differentiate = Callable[[Callable[[Any], tuple[Any, Any]], Any, Any], Window]


def first_window(name: str, length: int, inner_steps: int) -> int:
    """How many steps the first window has: 1 to `length`, the argument called `name`.

    >>> first_window("truncation", 4, inner_steps=10), first_window("truncation", 5, 10)
    (2, 5)
    """
    checks.require_at_most(name, length, "inner_steps", inner_steps)
    return inner_steps - length * ((inner_steps - 1) // length)


def stack_windows(first: Any, rest: Any) -> Any:
    """The first window's pytree in front of the others, which are stacked along axis 0."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)


def over_windows(
    run: Run, w: Any, first: int, length: int, differentiate: Differentiate, keys: Any
) -> Window:
    """Differentiate a run window by window.

    With `every_step` each window adds to F(w); otherwise only the last one does, and the
    earlier ones are just run.

    Args:
        run: the run.
        w: its meta-parameters.
        first: how many steps the first window has, from `first_window`.
        length: how many each other one has.
        differentiate: what to do with a window; it gets one of the keys.
        keys: a function of the number of windows that returns as many keys.

    Returns:
        Windows stacked along axis 0: all of them with `every_step`, else the last alone. The
        state is that after the last window.
    """
    count = (run.inner_steps - first) // length
    ts = times(run.inner_steps)

    def part(w, state, ts):
        carry = advance_all(run, (state, zero_loss(run, state, w)), w, ts)
        return outcome(run, carry, w), carry[0]

    def opening(w):
        return part(w, run.start(w), ts[:first])

    if run.every_step and count:
        keys = keys(count + 1)
        begin = differentiate(opening, w, keys[0])

        def body(state, window):
            ts, key = window
            done = differentiate(lambda w: part(w, state, ts), w, key)
            return done.state, (done.value, done.gradient)

        state, rest = jax.lax.scan(body, begin.state, (ts[first:].reshape(count, length), keys[1:]))
        value, gradient = stack_windows((begin.value, begin.gradient), rest)
        return Window(value, gradient, state)

    if count:  # only the last window counts
        state = run.start(w)
        state, _ = advance_all(run, (state, zero_loss(run, state, w)), w, ts[:-length])
        last = differentiate(lambda w: part(w, state, ts[-length:]), w, keys(1)[0])
    else:
        last = differentiate(opening, w, keys(1)[0])
    value, gradient = jax.tree.map(lambda leaf: leaf[None], (last.value, last.gradient))
    return Window(value, gradient, last.state)
