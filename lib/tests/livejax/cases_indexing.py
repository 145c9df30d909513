"""Slices, gathers and scatters in the forms that NumPy-style indexing makes."""

import jax
import jax.numpy as jnp
import numpy as np
from casetable import Table
from jax import lax

T = Table("indexing")
rng = np.random.default_rng(11)
V = rng.normal(size=6)
M = rng.normal(size=(4, 5))
C = rng.normal(size=(2, 3, 4))
I = np.array([3, 0, 2, 0], np.int32)  # noqa: E741
J = np.array([1, 4, 0, 4], np.int32)

# Static
T.add("slices", lambda x: (x[1:3], x[:, ::2], x[::-1, 1:], x[-2:, -1], x[2], x[..., 3]), M)
T.add("slices-3d-strides", lambda x: (x[:, 1:, ::3], x[1, ::2, 1:4:2], x[:, -1:, :1]), C)
T.add("slice-to-nothing", lambda x: (x[3:3], x[5:2], x[:, 5:]), M)
T.add("static-integer-lists", lambda x: (x[jnp.array([0, 2])], x[np.array([0, 2, 1])], x[:, jnp.array([4, 4, 0])]), M)

# Traced scalar indices, negative and out of bounds
more = tuple((V, np.int32(k)) for k in (0, 5, -1, -6, 6, 100, -7))
T.add("x[i]", lambda x, i: x[i], V, np.int32(2), more=more)
T.add("x[i]-of-matrix", lambda x, i: (x[i], x[:, i], x[i, 1:3]), M, np.int32(1), more=tuple((M, np.int32(k)) for k in (3, -1, 9)))
T.add("x[i,j]", lambda x, i, j: (x[i, j], x[j, i]), M, np.int32(1), np.int32(2), more=((M, np.int32(-1), np.int32(3)), (M, np.int32(4), np.int32(0))))
T.add("x[i]-int64-index", lambda x, i: x[i], V, 4)
T.add("x[i]-uint-index", lambda x, i: x[i], V, np.uint32(4), more=((V, np.uint32(2**32 - 1)),))
T.add("x[i]-of-integers-fills", lambda x, i: x.at[i].get(mode="fill"), np.arange(5, dtype=np.int32), np.int32(9))
T.add("x[i]-3d", lambda x, i: (x[i], x[:, i], x[..., i], x[i, :, i]), C, np.int32(1))
for mode in ("clip", "fill", "drop", "promise_in_bounds"):
    inside = mode == "promise_in_bounds"
    index = np.array([0, 2, 1], np.int32) if inside else np.array([0, 5, 6, -1, -6, -7, 100], np.int32)
    T.add(f"get-mode-{mode}", lambda x, i, mode=mode: x.at[i].get(mode=mode), V, index)
    T.add(f"set-mode-{mode}", lambda x, i, mode=mode: (x.at[i].set(7.0, mode=mode), x.at[i].add(1.0, mode=mode)), V, index)
T.add("get-fill-value", lambda x, i: x.at[i].get(mode="fill", fill_value=-5.0), V, np.array([1, 9], np.int32))

# Arrays of indices
T.add("x[I]", lambda x, i: x[i], V, I)
T.add("x[I]-2d-index", lambda x, i: x[i], V, I.reshape(2, 2))
T.add("x[I]-rows", lambda x, i: (x[i], x[i][:, 1]), M, I)
T.add("x[:,J]", lambda x, j: x[:, j], M, J)
T.add("x[I,J]", lambda x, i, j: x[i, j], M, I, J)
T.add("x[I,J]-broadcast", lambda x, i, j: (x[i[:, None], j[None, :]], x[i, 2], x[1, j]), M, I, J)
T.add("x[I,:,K]", lambda x, i, k: (x[i, :, k], x[:, i, k]), C, np.array([0, 1, 1], np.int32), np.array([3, 0, 2], np.int32))
T.add("x[None,I]", lambda x, i: (x[None, i], x[i, None]), M, I)
T.add("x[I]-empty-index", lambda x, i: (x[i], x.at[i].set(1.0)), V, np.zeros((0,), np.int32))
T.add("x[I]-one-index", lambda x, i: x[i], M, np.array([2], np.int32))
T.add("take", lambda x, i: (jnp.take(x, i), jnp.take(x, i, axis=1), jnp.take(x, i, mode="clip")), M, np.array([0, 4, 2], np.int32))
T.add("take-along-axis", lambda x, i: (jnp.take_along_axis(x, i, axis=1), jnp.take_along_axis(x, jnp.argsort(x, axis=0), axis=0)), M, np.array([[0], [4], [2], [1]], np.int32))
T.add("take-diagonal", lambda x: x[jnp.arange(4), jnp.arange(4)], M)
T.add("choose", lambda i, a: jnp.choose(i, a, mode="clip"), np.array([0, 1, 2, 1], np.int32), np.arange(12.0).reshape(3, 4))
T.add("lookup-table", lambda k: jnp.array([0.1, 0.5, 2.5])[k], np.int32(1), more=((np.int32(0),), (np.int32(2),)))
T.add("one-hot", lambda i: (jax.nn.one_hot(i, 5), jax.nn.one_hot(i, 3)), I)

# Dynamic slices clamp their start
for start in (0, 2, 4, 9, -1, -9):
    T.add(f"dynamic-slice-{start}", lambda x, s: (lax.dynamic_slice(x, (s,), (3,)), lax.dynamic_update_slice(x, jnp.array([10.0, 20.0]), (s,))), V, np.int32(start))
T.add("dynamic-slice-2d", lambda x, s, t: lax.dynamic_slice(x, (s, t), (2, 3)), M, np.int32(1), np.int32(4), more=((M, np.int32(-5), np.int32(1)),))
T.add("dynamic-slice-whole", lambda x, s: lax.dynamic_slice(x, (s, s), (4, 5)), M, np.int32(3))
T.add("dynamic-update-slice-2d", lambda x, u, s, t: lax.dynamic_update_slice(x, u, (s, t)), M, np.ones((2, 2)), np.int32(3), np.int32(1))
T.add("dynamic-index-in-dim", lambda x, i: (lax.dynamic_index_in_dim(x, i, 1), lax.dynamic_index_in_dim(x, i, 0, keepdims=False), lax.dynamic_update_index_in_dim(x, jnp.zeros(5), i, 0)), M, np.int32(2))
T.add("dynamic-slice-unsigned-start", lambda x, s: lax.dynamic_slice(x, (s,), (2,)), V, np.uint32(3))

# Scatters
for op in ("set", "add", "multiply", "min", "max", "subtract", "divide"):
    T.add(f"at-I-{op}", lambda x, i, u, op=op: getattr(x.at[i], op)(u), V, np.array([3, 0, 5], np.int32), np.array([2.0, -1.0, 0.5]))
    T.add(f"at-scalar-{op}", lambda x, i, op=op: (getattr(x.at[i], op)(0.25), getattr(x.at[0], op)(3.0)), V, np.int32(2), more=((V, np.int32(-1)), (V, np.int32(17))))
for op in ("add", "multiply", "min", "max"):
    T.add(f"at-repeated-{op}", lambda x, i, u, op=op: getattr(x.at[i], op)(u), V, np.array([1, 1, 4, 1], np.int32), np.array([2.0, -3.0, 0.5, 7.0]))
T.add("at-I,J", lambda x, i, j, u: (x.at[i, j].set(u), x.at[i, j].add(1.0), x.at[i, 2].max(u)), M, np.array([0, 3, 1], np.int32), np.array([4, 0, 1], np.int32), np.array([5.0, 6.0, 7.0]))
T.add("at-row-column", lambda x, i, u: (x.at[i].set(u), x.at[:, i].add(u[:4]), x.at[i, 1:4].set(0.0)), M, np.int32(2), np.arange(5.0))
T.add("at-rows", lambda x, i, u: x.at[i].add(u), M, I, np.arange(20.0).reshape(4, 5))
T.add("at-slice", lambda x: (x.at[1:3].set(0.0), x.at[:, ::2].add(10.0), x.at[1].multiply(-1.0), x.at[..., -1].set(3.0)), M)
T.add("at-broadcast-update", lambda x, i: (x.at[i].set(1.5), x.at[i].add(jnp.arange(5.0))), M, np.array([0, 2], np.int32))
T.add("at-power", lambda x, i: x.at[i].power(2.0), V, np.array([0, 2], np.int32))
T.add("at-integers", lambda x, i: (x.at[i].add(2**30), x.at[i].set(5), x.at[i].min(-3)), np.full(4, 2**30 + 5, np.int32), np.array([1, 1, 2], np.int32))
T.add("at-bools", lambda p, i: p.at[i].set(True), np.zeros(4, bool), np.int32(2))
T.add("at-nan-max", lambda x, i: (x.at[i].max(jnp.nan), x.at[i].min(0.0)), np.array([1.0, np.nan, 2.0]), np.array([0, 1], np.int32))
T.add("segment-sum", lambda x, s: (jax.ops.segment_sum(x, s, 3), jax.ops.segment_max(x, s, 3)), V, np.array([0, 2, 2, 1, 0, 2], np.int32))
T.add("vmap-x[i]", lambda x, i: jax.vmap(lambda r, k: r[k])(x, i), M, I)
T.add("vmap-x[i]-shared", lambda x, i: (jax.vmap(lambda k: x[k])(i), jax.vmap(lambda k: x[:, k])(i)), M, I)
T.add("vmap-at-set", lambda x, i, u: jax.vmap(lambda r, k, v: r.at[k].set(v))(x, i, u), M, I, np.arange(4.0))
T.add("vmap-at-add-shared", lambda v, i: jax.vmap(lambda k: v.at[k].add(1.0))(i), V, I)
T.add("vmap-dynamic-slice", lambda x, s: jax.vmap(lambda k: lax.dynamic_slice(x, (k,), (2,)))(s), V, np.array([0, 3, 9], np.int32))
T.add("vmap-dynamic-slice-batched", lambda x, s: jax.vmap(lambda r, k: lax.dynamic_slice(r, (k,), (2,)))(x, s), M, I)
T.add("vmap-dynamic-update-slice", lambda x, s: jax.vmap(lambda r, k: lax.dynamic_update_slice(r, jnp.zeros(2), (k,)))(x, s), M, I)
T.add("double-vmap-x[i]", lambda x, i: jax.vmap(jax.vmap(lambda r, k: r[k], (None, 0)), (0, None))(x, i), M, I)
T.add("vmap-take-along", lambda x, i: jax.vmap(lambda r: jnp.take_along_axis(r, i, axis=0))(x), C, np.array([[0, 1, 2, 0]], np.int32))
T.add("grad-of-x[i]", lambda x, i: jax.grad(lambda v: jnp.sum(v[i] ** 2))(x), V, np.array([1, 1, 3], np.int32))
T.add("grad-of-at-set", lambda x, u, i: jax.grad(lambda v, w: jnp.sum(v.at[i].set(w) ** 3), (0, 1))(x, u), V, np.array([1.0, 2.0]), np.array([1, 4], np.int32))
T.add("grad-of-at-add-mul", lambda x, u, i: jax.grad(lambda v, w: jnp.sum(v.at[i].add(w) ** 2) + jnp.sum(v.at[i].multiply(w, unique_indices=True)), (0, 1))(x, u), V, np.array([1.0, 2.0]), np.array([1, 4], np.int32))
T.add("grad-of-dynamic-slice", lambda x, s: jax.grad(lambda v: jnp.sum(lax.dynamic_slice(v, (s,), (3,)) ** 2))(x), V, np.int32(2), more=((V, np.int32(9)),))
T.add("grad-of-dynamic-update", lambda x, u, s: jax.grad(lambda v, w: jnp.sum(lax.dynamic_update_slice(v, w, (s,)) ** 3), (0, 1))(x, u), V, np.array([1.0, 2.0]), np.int32(3))
T.add("grad-of-slices", lambda x: jax.grad(lambda v: jnp.sum(v[1:, ::2] * v[:-1, ::2]))(x), M)
T.add("grad-of-matrix-fancy", lambda x, i, j: jax.grad(lambda v: jnp.sum(jnp.sin(v[i, j])))(x), M, I, J)
T.add("grad-of-take-along-sort", lambda x: jax.grad(lambda v: jnp.sum(jnp.sort(v) * jnp.arange(6.0)))(x), V)
