"""A run, what a method of differentiating it returns, and how a run is run.

A *run* applies a step T times and looks at the loss:

    x_0 = start(w),   x_t = step(x_{t-1}, w, t) for t = 1, ..., T,   F(w) = loss(x_T, w).

Every method of `metagrad.estimators` differentiates F, and all of them run it with the functions
of this module.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from metagrad import checks

State: TypeAlias = PyTree[Float[Array, "..."]]
Parameters: TypeAlias = PyTree[Float[Array, "..."]]
Carry: TypeAlias = tuple[State, Float[Array, ""]]


class Run(NamedTuple):
    """A run whose outcome is to be differentiated.

    Attributes:
        loss: maps (state, w) to one number.
        step: maps (state, w, t) to the next state; t is a traced int32, from 1 to inner_steps.
        start: maps w to the state x_0.
        inner_steps: T, at least 1.
        every_step: False if F(w) is the loss at x_T, True if it is the mean of the losses at
            x_1, ..., x_T.
    """

    loss: Callable[[Any, Any], Any]
    step: Callable[[Any, Any, Any], Any]
    start: Callable[[Any], Any]
    inner_steps: int
    every_step: bool


class Estimate(NamedTuple):
    """What a method returns.

    Attributes:
        value: F(w), or the method's estimate of it; shape ().
        gradient: ∇F(w), or the method's estimate of it; like w.
        finite: whether value and gradient are finite. A run that diverges says so here.
        info: what the method saw on the way, a NamedTuple of its own.
    """

    value: Float[Array, ""]
    gradient: Parameters
    finite: Bool[Array, ""]
    info: Any


def make_run(
    loss: Callable,
    step: Callable,
    meta_parameters: Any,
    start: Any,
    inner_steps: int,
    *,
    every_step: bool = False,
) -> Run:
    """A `Run`, its pieces checked against each other at the given meta-parameters.

    Args:
        loss: maps (state, w) to one number.
        step: maps (state, w, t) to the next state.
        meta_parameters: w, any pytree of floating-point arrays or numbers.
        start: x_0, any pytree of floating-point arrays or numbers; or a function of w.
        inner_steps: T, at least 1.
        every_step: whether F(w) is the mean of all losses rather than the last one.

    Raises:
        TypeError: if loss does not return one number, or step not a state like the start.
        ValueError: if inner_steps is below 1, or a number given is not finite.

    >>> make_run(lambda x, w: x**2, lambda x, w, t: w * x, 0.5, 2.0, 3).inner_steps
    3
    """
    checks.require_steps("inner_steps", inner_steps)
    w = checks.float_tree("meta_parameters", meta_parameters)
    checks.require_leaves("meta_parameters", w)
    if not callable(start):
        start = partial(_constant, checks.float_tree("start", start))
    state = jax.eval_shape(start, w)
    checks.require_leaves("start", state)
    t = jax.ShapeDtypeStruct((), jnp.int32)
    checks.require_same_tree("step", jax.eval_shape(step, state, w, t), state)
    checks.require_scalar_loss("loss", loss, state, w)
    return Run(loss, step, start, int(inner_steps), every_step)


def single_step(loss: Callable, update_rule: Callable, x: Any) -> Run:
    """The run of one step x → φ(x, w), from a point x that is taken as given.

    Args:
        loss: maps (state, w) to one number.
        update_rule: φ, maps (x, w) to the next point.
        x: the point.

    >>> run = single_step(lambda x, w: x**2, lambda x, w: x - w, jnp.array(3.0))
    >>> float(objective(run, jnp.array(1.0))[0])
    4.0
    """
    return Run(loss, lambda x, w, t: update_rule(x, w), lambda w: x, 1, False)


def _constant(value: Any, _: Any) -> Any:
    """`value`, whatever the meta-parameters: the start of a run that does not depend on them."""
    return value


# (run, w, key) to an estimate; key is None for methods that draw no random numbers.
Method = Callable[[Run, Any, Any], Estimate]


def estimate(value: Float[Array, ""], gradient: Parameters, info: Any) -> Estimate:
    """An `Estimate`, with `finite` filled in."""
    leaves = jax.tree.leaves((value, gradient))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    return Estimate(value, gradient, finite, info)


def times(inner_steps: int) -> Int[Array, " steps"]:
    """The times 1, ..., T of a run."""
    return jnp.arange(1, inner_steps + 1, dtype=jnp.int32)


def zero_loss(run: Run, state: State, w: Parameters) -> Float[Array, ""]:
    """Where a sum of losses starts: 0, in the loss's own dtype."""
    return jnp.zeros((), jax.eval_shape(run.loss, state, w).dtype)


def advance(run: Run, carry: Carry, w: Parameters, t: Int[Array, ""]) -> Carry:
    """One step of (state, sum of the losses so far); the sum stays 0 if only the last counts."""
    state, total = carry
    state = run.step(state, w, t)
    return state, total + run.loss(state, w) if run.every_step else total


def advance_all(run: Run, carry: Carry, w: Parameters, ts: Int[Array, " steps"]) -> Carry:
    """The steps at the times ts, shape (k,). A single step is not wrapped in a loop."""
    if ts.shape[0] == 1:
        return advance(run, carry, w, ts[0])
    return jax.lax.scan(lambda carry, t: (advance(run, carry, w, t), None), carry, ts)[0]


def outcome(run: Run, carry: Carry, w: Parameters) -> Float[Array, ""]:
    """F(w), from the last state and the sum of the losses; or what a window adds to it."""
    state, total = carry
    return total / run.inner_steps if run.every_step else run.loss(state, w)


def objective(run: Run, w: Parameters) -> tuple[Float[Array, ""], State]:
    """F(w) and the last state, with the plain loop."""
    state = run.start(w)
    carry = advance_all(run, (state, zero_loss(run, state, w)), w, times(run.inner_steps))
    return outcome(run, carry, w), carry[0]
