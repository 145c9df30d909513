"""Random small programs of elementwise, layout, reduction and loop steps: JavaScript against JAX.

Deterministic: hypothesis is derandomized. A program is a list of step numbers, so that a failure
shrinks to a short one.
"""

import jax
import jax.numpy as jnp
import numpy as np
from compare import ROUNDINGS, check_leaf, leaves_of, one_ulp_response
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jax import lax

import livejax


def rows(x):
    """The array with at least one axis, the first one not empty."""
    return x.reshape(-1) if x.ndim == 0 else x


def scanned(x):
    carry, path = lax.scan(lambda c, v: (0.5 * c + v, c - v), jnp.zeros(rows(x).shape[1:]), rows(x))
    return path + carry


def halved(x):
    return lax.while_loop(lambda c: jnp.sum(c * c) > 0.5, lambda c: 0.5 * c, x)


STEPS = [
    lambda x: x + 1.5,
    lambda x: x * -0.75,
    lambda x: jnp.sin(x) + 0.1 * x,
    lambda x: jnp.tanh(x),
    lambda x: x / (1 + x * x),
    lambda x: jnp.maximum(x, 0.2),
    lambda x: jnp.where(x > 0.1, x, -2 * x),
    lambda x: jnp.exp(-jnp.abs(x)),
    lambda x: x.T,
    lambda x: x.reshape(-1),
    lambda x: rows(x)[::-1],
    lambda x: rows(x)[1:] if rows(x).shape[0] > 1 else x,
    lambda x: rows(x)[::2],
    lambda x: rows(x)[..., :1],
    lambda x: jnp.concatenate([rows(x), 2 * rows(x)]) if x.size < 40 else x,
    lambda x: x[None],
    lambda x: jnp.squeeze(x),
    lambda x: jnp.stack([x, jnp.cos(x)], axis=-1) if x.size < 40 else x,
    lambda x: jnp.pad(rows(x), [(1, 0)] + [(0, 0)] * (rows(x).ndim - 1)),
    lambda x: jnp.broadcast_to(x, (2, *x.shape)) if x.size < 40 else x,
    lambda x: rows(x).sum(0),
    lambda x: rows(x).max(-1),
    lambda x: rows(x).mean(-1, keepdims=True) + x,
    lambda x: jnp.cumsum(rows(x), axis=0),
    lambda x: jnp.sort(rows(x), axis=-1),
    lambda x: rows(x)[jnp.argmax(rows(x).reshape(rows(x).shape[0], -1)[:, 0])],
    lambda x: rows(x).at[0].add(0.5),
    lambda x: rows(x)[jnp.array([0, -1, 0])],
    lambda x: jnp.tensordot(x, x, axes=min(x.ndim, 1)) if 0 < x.size < 12 else x,
    lambda x: jnp.einsum("i,j->ij", x.ravel()[:3], x.ravel()[-2:]),
    scanned,
    lambda x: lax.fori_loop(0, 3, lambda k, c: 0.5 * c + k * x, x),
    lambda x: lax.while_loop(lambda c: jnp.sum(jnp.abs(c)) > 1, lambda c: c / 2, x),
    lambda x: lax.cond(jnp.sum(x) > 0, lambda v: v * 2, lambda v: v - 1, x),
    lambda x: jax.vmap(halved)(rows(x)),
    lambda x: jax.vmap(lambda r: lax.cond(jnp.sum(r) > 0, jnp.sin, jnp.cos, r))(rows(x)),
    lambda x: jax.grad(lambda v: jnp.sum(jnp.sin(v) * v))(x),
    lambda x: lax.select_n(jnp.floor(x).astype(jnp.int32) % 3, x, 2 * x, x - 1),
]  # fmt: skip
SHAPES = [(), (1,), (4,), (9,), (2, 3), (3, 1), (1, 5), (2, 1, 3)]


@settings(
    max_examples=120, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)  # fmt: skip
@given(
    program=st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=7),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 99),
)
@example(program=[30, 31, 32], shape=(9,), seed=0)
@example(program=[34, 35, 36], shape=(2, 3), seed=1)
@example(program=[8, 14, 23, 20], shape=(2, 3), seed=2)
def test_random_programs(node, program, shape, seed):
    def fn(x):
        values = [x]
        for step in program:
            values.append(STEPS[step](values[-1]))
        return values[1:]

    x = np.random.default_rng(seed).normal(size=shape)
    evaluate = jax.jit(fn)
    got = node.call(livejax.compile(fn, x).source, [[x]])[0]
    response = one_ulp_response(evaluate, (x,), draws=3)
    for leaf, values, change in zip(leaves_of(evaluate(x)), got, response, strict=True):
        check_leaf(leaf, values, allowed=ROUNDINGS * change)
