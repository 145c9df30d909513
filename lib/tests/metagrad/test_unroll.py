import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same

from metagrad import unroll


def test_step_is_called_with_t_from_one_to_inner_steps():
    _, seen = unroll.unroll(lambda state, t: t, jnp.int32(0), 5)
    assert seen.tolist() == [1, 2, 3, 4, 5]


def test_states_are_those_after_each_step():
    final, states = unroll.unroll(lambda x, t: 2 * x, jnp.int32(3), 4)
    assert states.tolist() == [6, 12, 24, 48]
    assert int(final) == 48


def test_state_may_be_any_pytree():
    start = {"a": jnp.zeros(2), "b": (jnp.ones(()),)}
    final, states = unroll.unroll(lambda s, t: {"a": s["a"] + s["b"][0], "b": s["b"]}, start, 3)
    assert final["a"].tolist() == [3.0, 3.0]
    assert states["a"].shape == (3, 2) and states["b"][0].shape == (3,)


def _decay(rate, start):
    return unroll.unroll(lambda x, t: x - rate * x, start, 10)[0]


def test_gradient_through_a_run_is_that_of_its_closed_form():
    # x_T = (1 - a)^T x_0, so dx_T/da = -T (1 - a)^(T-1) x_0
    assert_same(jax.grad(_decay)(0.1, 2.0), -10 * 0.9**9 * 2.0)
    assert_same(jax.jacfwd(_decay)(0.1, 2.0), -10 * 0.9**9 * 2.0)


def test_vmap_equals_a_loop_and_jit_compiles_once():
    traces = []

    @jax.jit
    def run(rate):
        traces.append(rate)
        return _decay(rate, 1.0)

    rates = np.linspace(0.0, 0.5, 4)
    looped = np.array([run(rate) for rate in rates])
    assert len(traces) == 1
    assert_same(jax.vmap(lambda rate: _decay(rate, 1.0))(jnp.asarray(rates)), looped)


def test_prepend_works_leaf_by_leaf():
    joined = unroll.prepend({"x": jnp.zeros(2)}, {"x": jnp.ones((3, 2))})
    assert joined["x"].tolist() == [[0, 0], [1, 1], [1, 1], [1, 1]]


@pytest.mark.parametrize("steps", [0, -3])
def test_too_few_steps_are_refused(steps):
    with pytest.raises(ValueError, match=rf"inner_steps must be .* at least 1, got {steps}"):
        unroll.unroll(lambda x, t: x, jnp.zeros(()), steps)


@pytest.mark.parametrize("steps", [2.5, 3.0, True, "4", None])
def test_steps_that_are_no_integer_are_refused(steps):
    with pytest.raises(TypeError, match="inner_steps must be an integer of at least 1, got"):
        unroll.unroll(lambda x, t: x, jnp.zeros(()), steps)


def test_traced_steps_are_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"inner_steps.*static_argnames='inner_steps'"):
        jax.jit(lambda n: unroll.unroll(lambda x, t: x, jnp.zeros(()), n))(3)


def test_numpy_integers_are_steps():
    assert unroll.unroll(lambda x, t: x, jnp.zeros(()), np.int64(3))[1].shape == (3,)
