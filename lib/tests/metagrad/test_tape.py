"""The tape: adjoints, contributions and tangents against derivatives of a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimator_cases import CASES, assert_tree_same

from metagrad import make_run, tape
from metagrad.runs import Run


def _separated(case, every_step):
    """F with a copy of w for each place that w is used at: start, each step, and the losses.

    Adding `bumps` to the states x_0, ..., x_T makes their adjoints derivatives as well.
    """
    loss, step = jax.jit(case.loss), jax.jit(case.step)

    def objective(w_start, w_steps, w_loss, bumps):
        add = lambda state, bump: jax.tree.map(jnp.add, state, bump)  # noqa: E731
        state = case.start(w_start) if callable(case.start) else case.start
        state = add(state, bumps[0])
        states, losses = [state], []
        for t, w in enumerate(w_steps, start=1):
            state = add(step(state, w, jnp.int32(t)), bumps[t])
            states.append(state)
            losses.append(loss(state, w_loss))
        return (sum(losses) / len(losses) if every_step else losses[-1]), states

    return objective


def _stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@pytest.fixture(scope="module", params=[(n, e) for n in CASES for e in (False, True)], ids=str)
def made(request):
    """A case, its tape, and the reference: states, and gradients in every copy of w."""
    name, every_step = request.param
    case = CASES[name]
    run = case.run(every_step)
    state = jax.eval_shape(run.start, case.w)
    bumps = [jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), state)] * (case.inner_steps + 1)
    objective = _separated(case, every_step)
    gradients, states = jax.grad(objective, (0, 1, 2, 3), has_aux=True)(
        case.w, [case.w] * case.inner_steps, case.w, bumps
    )
    return case, run, jax.jit(lambda: tape.tape(run, case.w))(), states, gradients


def test_every_entry_of_the_tape(made):
    _, _, found, states, (start, steps, direct, adjoints) = made
    assert_tree_same(found.states, _stack(states))
    assert_tree_same(found.adjoints, _stack(adjoints))
    assert_tree_same(found.contributions, _stack(steps))
    assert_tree_same(found.start, start)
    assert_tree_same(found.direct, direct)
    total = jax.tree.map(lambda *parts: sum(parts), start, direct, *steps)
    assert_tree_same(found.gradient, total)


def test_tangents_are_the_derivatives_of_the_states(made):
    case, run, *_ = made
    rng = np.random.default_rng(5)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), case.w)
    step = jax.jit(case.step)

    def states(w):
        state = run.start(w)
        found = [state]
        for t in range(1, case.inner_steps + 1):
            state = step(state, w, jnp.int32(t))
            found.append(state)
        return _stack(found)

    expected = jax.jvp(states, (case.w,), (direction,))[1]
    moved = jax.jit(lambda: tape.tangents(run, case.w, direction))()
    assert_tree_same(moved, expected)


def test_forward_and_reverse_meet_everywhere(made):
    case, run, found, *_ = made
    direction = jax.tree.map(jnp.ones_like, case.w)
    moved = jax.jit(lambda: tape.tangents(run, case.w, direction))()
    met = np.asarray(tape.meeting(found, moved))
    total = sum(np.sum(leaf) for leaf in jax.tree.leaves(found.gradient))
    direct = sum(np.sum(leaf) for leaf in jax.tree.leaves(found.direct))
    by_step = sum(
        np.sum(np.reshape(c, (case.inner_steps, -1)), axis=1)
        for c in jax.tree.leaves(found.contributions)
    )
    later = np.append(np.cumsum(by_step[::-1])[::-1], 0.0)  # the steps after t
    start = sum(np.sum(leaf) for leaf in jax.tree.leaves(found.start))
    assert_tree_same(met[0], np.asarray(start), 1e-12, max(abs(start), 1e-300))
    if not run.every_step:
        size = np.sum(np.abs(by_step)) + abs(start) + abs(direct)
        assert np.max(np.abs(met + later + direct - total)) <= 1e-12 * size


def test_what_the_adjoints_look_like_when_a_run_contracts():
    # x_t = x_{t-1} / 2 + w with F = x_T: a_t = 2^(t - T), c_t = a_t, tangents 2 - 2^(1 - t).
    run = make_run(lambda x, w: x, lambda x, w, t: 0.5 * x + w, 1.0, jnp.array(0.0), 6)
    found = tape.tape(run, 1.0)
    powers = 0.5 ** np.arange(6, -1, -1.0)
    assert found.adjoints.tolist() == powers.tolist()
    assert found.contributions.tolist() == powers[1:].tolist()
    assert float(found.gradient) == 2 - 2.0**-5
    assert tape.tangents(run, 1.0, 1.0).tolist() == (2 - 2.0 ** -(np.arange(7.0) - 1)).tolist()


def test_tape_takes_numbers_and_refuses_others():
    run = make_run(lambda x, w: x**2, lambda x, w, t: w * x, 0.5, jnp.array(2.0), 3)
    assert isinstance(run, Run)
    assert float(tape.tape(run, 0.5).gradient) == 0.75
    with pytest.raises(ValueError, match="meta_parameters must be finite, got nan"):
        tape.tape(run, np.nan)
    with pytest.raises(ValueError, match="meta_parameters must be finite, got inf"):
        tape.tangents(run, np.inf, 1.0)
    with pytest.raises(ValueError, match="direction must be finite, got nan"):
        tape.tangents(run, 0.5, np.nan)
    message = r"direction must be a pytree like meta_parameters: float64\[\], got float64\[1\]"
    with pytest.raises(TypeError, match=message):
        tape.tangents(run, 0.5, jnp.ones(1))
    with pytest.raises(TypeError, match="direction must be a pytree like meta_parameters"):
        tape.tangents(run, 0.5, {"a": 1.0})
