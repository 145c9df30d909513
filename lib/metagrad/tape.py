"""The tape of a run: everything that forward and reverse accumulation pass on the way.

The methods in `metagrad.exact` return the gradient alone; here the recursions are written out,
one line each, so that a figure can show them and a test can compare.
"""

from functools import reduce
from operator import add
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from metagrad import checks
from metagrad.runs import Parameters, Run, times
from metagrad.unroll import prepend

Points: TypeAlias = PyTree[Float[Array, "points ..."]]


class Tape(NamedTuple):
    """A run of T steps, forward and backward.

    Attributes:
        states: x_0, ..., x_T, with a new axis 0 of length T + 1.
        adjoints: a_t, the derivative of F in x_t with w held fixed, for t = 0, ..., T.
        contributions: c_t = B_tᵀ a_t, what step t adds to ∇F(w), for t = 1, ..., T: like w,
            with a new axis 0 of length T. Here B_t is the derivative of step t in w.
        start: what the start adds, (D x_0)ᵀ a_0; like w.
        direct: what the loss adds where it depends on w itself; like w.
        gradient: ∇F(w), the sum of all of these.
    """

    states: Points
    adjoints: Points
    contributions: PyTree[Float[Array, "steps ..."]]
    start: Parameters
    direct: Parameters
    gradient: Parameters


def tape(run: Run, meta_parameters: Any) -> Tape:
    """Reverse accumulation, written out:  a_{t-1} = J_tᵀ a_t  and  c_t = B_tᵀ a_t.

    J_t and B_t are the derivatives of step t in the state and in w. They are not formed: each
    product with a transposed Jacobian is one call of `jax.vjp`.
    Source: Griewank and Walther, 2008, chapter 3.

    Args:
        run: the run, see `make_run`.
        meta_parameters: w.

    >>> from metagrad.runs import make_run
    >>> run = make_run(lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)
    >>> made = tape(run, 0.5)
    >>> made.states.tolist(), made.adjoints.tolist(), made.contributions.tolist()
    ([2.0, 1.0, 0.5, 0.25], [0.0625, 0.125, 0.25, 0.5], [0.25, 0.25, 0.25])
    """
    w = checks.float_tree("meta_parameters", meta_parameters)
    x0, pull_start = jax.vjp(run.start, w)

    def forward(state, t):
        state = run.step(state, w, t)
        return state, state

    ts = times(run.inner_steps)
    states = prepend(x0, jax.lax.scan(forward, x0, ts)[1])

    def loss_gradients(state):
        share = 1.0 / run.inner_steps if run.every_step else 1.0
        gradients = jax.grad(run.loss, (0, 1))(state, w)
        return jax.tree.map(lambda leaf: share * leaf, gradients)

    def backward(carry, item):
        adjoint, direct = carry
        before, after, t = item
        if run.every_step:  # every x_t has a loss of its own; that of x_T is already counted
            here, more = loss_gradients(after)
            last = t == run.inner_steps
            adjoint, direct = jax.tree.map(
                lambda old, new: jnp.where(last, old, old + new), (adjoint, direct), (here, more)
            )
        _, pull = jax.vjp(lambda x, w: run.step(x, w, t), before, w)
        earlier, contribution = pull(adjoint)
        return (earlier, direct), (adjoint, contribution)

    before, after = (jax.tree.map(lambda x, s=s: x[s], states) for s in (slice(-1), slice(1, None)))
    final = jax.tree.map(lambda x: x[-1], states)
    (first, direct), (adjoints, contributions) = jax.lax.scan(
        backward, loss_gradients(final), (before, after, ts), reverse=True
    )
    (start,) = pull_start(first)
    gradient = jax.tree.map(
        lambda c, s, d: jnp.sum(c, axis=0) + s + d, contributions, start, direct
    )
    return Tape(states, prepend(first, adjoints), contributions, start, direct, gradient)


def tangents(run: Run, meta_parameters: Any, direction: Any) -> Points:
    """Forward accumulation, written out:  X_t u = J_t X_{t-1} u + B_t u.

    Args:
        run: the run.
        meta_parameters: w.
        direction: u, like w: which way the meta-parameters move.

    Returns:
        The derivatives of x_0, ..., x_T in that direction: like the state, with a new axis 0 of
        length T + 1.

    Raises:
        TypeError: if the direction is not like w.

    >>> from metagrad.runs import make_run
    >>> run = make_run(lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)
    >>> tangents(run, 0.5, 1.0).tolist()
    [0.0, 2.0, 2.0, 1.5]
    """
    w = checks.float_tree("meta_parameters", meta_parameters)
    direction = checks.float_tree("direction", direction)
    checks.require_like("direction", direction, "meta_parameters", w)
    carry = jax.jvp(run.start, (w,), (direction,))

    def step(carry, t):
        state, tangent = carry
        carry = jax.jvp(lambda x, w: run.step(x, w, t), (state, w), (tangent, direction))
        return carry, carry[1]

    return prepend(carry[1], jax.lax.scan(step, carry, times(run.inner_steps))[1])


def meeting(made: Tape, moved: Points) -> Float[Array, " points"]:
    """Where forward and reverse meet: the sum of a_tᵀ X_t over the leaves, for t = 0, ..., T.

    Adding the contributions of the steps after t (and what the loss adds directly) gives the
    meta-gradient in the direction of the tangents, for every t.

    Args:
        made: from `tape`.
        moved: from `tangents`.

    >>> from metagrad.runs import make_run
    >>> run = make_run(lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)
    >>> meeting(tape(run, 0.5), tangents(run, 0.5, 1.0)).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    products = jax.tree.map(
        lambda a, x: jnp.sum((a * x).reshape(a.shape[0], -1), axis=1), made.adjoints, moved
    )
    return reduce(add, jax.tree.leaves(products))
