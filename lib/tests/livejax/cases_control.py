"""Loops, branches, and what vmap makes of them; nested calls and custom rules."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from casetable import Table
from jax import lax

T = Table("control")
rng = np.random.default_rng(13)
V = rng.normal(size=5)
M = rng.normal(size=(3, 4))
X3 = np.array([0.5, -1.0, 2.0])


def heavy_ball(step_size, momentum, steps=20):
    spectrum = jnp.array([1.0, 10.0])

    def body(carry, _):
        x, m = carry
        m = momentum * m - step_size * spectrum * x
        return (x + m, m), jnp.sum(spectrum * x * x) / 2

    return lax.scan(body, (jnp.ones(2), jnp.zeros(2)), None, length=steps)


# scan
T.add("scan-cumsum", lambda x: lax.scan(lambda c, v: (c + v, c * v), 0.0, x), V)
T.add("scan-reverse", lambda x: lax.scan(lambda c, v: (c + v, c * v), 0.0, x, reverse=True), V)
T.add("scan-stacked-matrix", lambda x: lax.scan(lambda c, v: (c * 0.5 + v, (c, jnp.outer(c, v), v.sum())), jnp.zeros(4), x), M)
T.add("scan-no-xs", lambda s: lax.scan(lambda c, _: (c * s, c), 1.0, None, length=6), 1.5)
T.add("scan-no-ys", lambda x: lax.scan(lambda c, v: (c + v.sum(), None), 0.0, x)[0], M)
T.add("scan-no-carry", lambda x: lax.scan(lambda _, v: (None, v * v), None, x)[1], V)
T.add("scan-length-0", lambda x: lax.scan(lambda c, v: (c + v, c), 1.5, x), np.zeros((0,)))
T.add("scan-length-0-rows", lambda x: lax.scan(lambda c, v: (c + v, (c, v)), jnp.arange(3.0), x), np.zeros((0, 3)))
T.add("scan-length-1", lambda x: lax.scan(lambda c, v: (c + v, c), 1.5, x), np.array([2.0]))
T.add("scan-two-xs", lambda a, b: lax.scan(lambda c, v: (c + v[0] * v[1].sum(), c), 0.0, (a, b)), V[:3], M)
T.add("scan-swap-carry", lambda x: lax.scan(lambda c, v: ((c[1], c[0] + v), c), (0.0, 1.0), x), V)
T.add("scan-swap-array-carry", lambda x: lax.scan(lambda c, v: ((c[1], c[0] * v), c[0] - c[1]), (x, x[::-1]), x), np.arange(9.0))
T.add("scan-rotate-three", lambda n: lax.scan(lambda c, _: ((c[1], c[2], c[0]), c[0]), (n, n + 1, n + 2), None, length=5), np.arange(10.0))
T.add("scan-carry-is-output", lambda x: lax.scan(lambda c, v: (v, c), x[0], x), V)
T.add("scan-constant-output", lambda x: lax.scan(lambda c, v: (c, jnp.ones(2)), 0.0, x), V)
T.add("scan-unroll", lambda x: lax.scan(lambda c, v: (jnp.sin(c) + v, c), 0.0, x, unroll=3), rng.normal(size=7))
T.add("scan-integer-carry", lambda x: lax.scan(lambda c, v: (c * 1103515245 + 12345, c), np.int32(7), x), V)
T.add("scan-bool-carry", lambda x: lax.scan(lambda c, v: (c ^ (v > 0), c), False, x), V)
T.add("scan-large-carry", lambda x: lax.scan(lambda c, v: (c * 0.9 + v, c.max()), jnp.arange(40.0), x), V)
T.add("scan-heavy-ball", heavy_ball, 0.1, 0.6, more=((0.25, 0.9), (0.01, 0.0)))
T.add("scan-diverging", lambda s: lax.scan(lambda x, _: (x - s * x**3, x), 2.0, None, length=12), 3.0)
T.add("scan-nested", lambda x: lax.scan(lambda c, row: (lax.scan(lambda d, v: (d + v * c, d), c, row)[0] * 0.1, c), 1.0, x), M)
T.add("scan-nested-stacked", lambda x: lax.scan(lambda c, row: lax.scan(lambda d, v: (d * 0.5 + v, d * v), c, row), 1.0, x), M)
T.add("scan-nested-reverse", lambda x: lax.scan(lambda c, row: lax.scan(lambda d, v: (d * 0.5 + v, d), c, row, reverse=True), 1.0, x, reverse=True), M)
T.add("scan-uses-index", lambda x: lax.scan(lambda c, k: (c.at[k].add(x[k]), c[k]), jnp.zeros(5), jnp.arange(5)), V)
T.add("scan-body-grad", lambda s: lax.scan(lambda w, _: (w - s * jax.grad(lambda v: jnp.sum(jnp.cos(v) + v**2))(w), w), jnp.array(X3), None, length=8), 0.1)
T.add("scan-of-cond", lambda x: lax.scan(lambda c, v: (lax.cond(v > 0, lambda a: a + v, lambda a: a * 0.5, c), c), 1.0, x), V)
T.add("scan-of-while", lambda x: lax.scan(lambda c, v: (lax.while_loop(lambda a: a > 1, lambda a: a / 2, c + jnp.abs(v) * 5), c), 1.0, x), V)
T.add("scan-closure-constants", lambda a, x: lax.scan(lambda c, v: (a @ c + v, c), jnp.ones(3), x), rng.normal(size=(3, 3)) / 3, rng.normal(size=(4, 3)))
T.add("map", lambda x: lax.map(lambda r: jnp.sort(r)[0] + r.sum(), x), M)
T.add("map-batched", lambda x: lax.map(lambda r: r.sum() ** 2, x, batch_size=2), M)

# fori and while
T.add("fori", lambda x: lax.fori_loop(0, 10, lambda k, c: c * 0.5 + k, x), 1.0)
T.add("fori-array", lambda x: lax.fori_loop(0, 5, lambda k, c: c.at[k].set(c[k - 1] + 1), x), V)
T.add("fori-traced-bounds", lambda a, b, x: lax.fori_loop(a, b, lambda k, c: c * 2 + k, x), 1, 6, 0.5, more=((3, 3, 0.5), (5, 2, 0.5)))
T.add("fori-traced-int32", lambda n: lax.fori_loop(jnp.int32(0), n, lambda k, c: c + k * k, jnp.int32(0)), np.int32(9), more=((np.int32(0),), (np.int32(-3),)))
T.add("fori-negative-range", lambda x: lax.fori_loop(-3, 2, lambda k, c: c + k, x), 0.5)
T.add("fori-nothing", lambda x: lax.fori_loop(4, 4, lambda k, c: c + 1, x), V)
T.add("fori-nested", lambda x: lax.fori_loop(0, 3, lambda i, c: lax.fori_loop(0, 4, lambda j, d: d.at[i, j].set(d[i, j] * i + j), c), x), M)
T.add("fori-swap", lambda a, b: lax.fori_loop(0, 3, lambda k, c: (c[1], c[0] + k), (a, b)), np.arange(10.0), np.ones(10))
T.add("while-collatz", lambda n: lax.while_loop(lambda c: c[0] != 1, lambda c: (jnp.where(c[0] % 2 == 0, c[0] // 2, 3 * c[0] + 1), c[1] + 1), (n, 0)), 27, more=((1,), (6,)))
T.add("while-newton", lambda a: lax.while_loop(lambda c: jnp.abs(c[0] ** 2 - a) > 1e-10, lambda c: ((c[0] + a / c[0]) / 2, c[1] + 1), (a, 0)), 2.0, more=((100.0,), (1.0,)))
T.add("while-array-carry", lambda x: lax.while_loop(lambda c: jnp.sum(c) < 100, lambda c: c * 1.5 + 1, x), np.abs(V))
T.add("while-never", lambda x: lax.while_loop(lambda c: False, lambda c: c + 1, x), V)
T.add("while-condition-constants", lambda x, limit: lax.while_loop(lambda c: c.sum() < limit, lambda c: c + limit / 7, x), V, 20.0)
T.add("while-nan-stops", lambda x: lax.while_loop(lambda c: c < 10, lambda c: c * 2, x), np.nan)
T.add("while-swap", lambda a, b: lax.while_loop(lambda c: c[2] < 3, lambda c: (c[1], c[0], c[2] + 1), (a, b, 0)), np.arange(9.0), np.ones(9))
T.add("while-condition-array-work", lambda x: lax.while_loop(lambda c: jnp.max(jnp.abs(c - jnp.mean(c))) > 0.1, lambda c: (c + jnp.roll(c, 1)) / 2, x), rng.normal(size=12))
T.add("while-nested", lambda n: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, lax.while_loop(lambda d: d < c[0] * 10, lambda d: d + 3, c[1])), (0, 0)), 4)

# cond and switch
T.add("cond", lambda p, x: lax.cond(p, jnp.sin, jnp.cos, x), True, 0.3, more=((False, 0.3),))
T.add("cond-arrays", lambda p, x: lax.cond(p > 0, lambda v: (v * 2, v.sum()), lambda v: (v[::-1], v.max()), x), 1.0, np.arange(10.0), more=((-1.0, np.arange(10.0)), (np.nan, np.arange(10.0))))
T.add("cond-no-operands", lambda p: lax.cond(p, lambda: 1.0, lambda: 2.0), True, more=((False,),))
T.add("cond-integer-predicate", lambda k, x: lax.cond(k, lambda v: v + 1, lambda v: v - 1, x), 3, 1.0, more=((0, 1.0),))
T.add("cond-passes-input-through", lambda p, x, y: lax.cond(p, lambda a, b: (a, b), lambda a, b: (b, a), x, y), True, np.arange(9.0), np.ones(9), more=((False, np.arange(9.0), np.ones(9)),))
T.add("cond-nested", lambda a, x: lax.cond(a > 0, lambda v: lax.cond(a > 1, lambda u: u * 3, lambda u: u * 2, v), lambda v: -v, x), 0.5, V, more=((2.0, V), (-1.0, V)))
T.add("cond-guards-division", lambda x: lax.cond(x == 0, lambda v: 0.0, lambda v: 1 / v, x), 0.0, more=((4.0,),))
for k in (-5, 0, 1, 2, 3, 100):
    T.add(f"switch-{k}", lambda i, x: lax.switch(i, [lambda v: v, lambda v: v * 10, lambda v: v * v, jnp.exp], x), np.int32(k), V)
T.add("switch-int64", lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.tan], x), 1, 0.4)
T.add("switch-vectors", lambda i: lax.switch(i, [lambda: jnp.arange(3.0), lambda: jnp.ones(3), lambda: jnp.zeros(3)]), np.int32(1), more=((np.int32(2),),))

# vmap of control flow: predicates become arrays
T.add("vmap-cond", lambda x: jax.vmap(lambda v: lax.cond(v > 0, jnp.sin, jnp.cos, v))(x), V)
T.add("vmap-cond-arrays", lambda x: jax.vmap(lambda r: lax.cond(r[0] > 0, lambda v: (v * 2, v.sum()), lambda v: (-v, 0.0), r))(x), M)
T.add("vmap-cond-shared-predicate", lambda p, x: jax.vmap(lambda v: lax.cond(p, jnp.sin, jnp.cos, v))(x), True, V, more=((False, V),))
T.add("vmap-switch", lambda i, x: jax.vmap(lambda k, v: lax.switch(k, [jnp.sin, jnp.cos, jnp.exp, lambda u: u * 0], v))(i, x), np.array([0, 3, 1, 2, 9], np.int32), V)
T.add("vmap-while-batched-predicate", lambda n: jax.vmap(lambda k: lax.while_loop(lambda c: c[0] < k, lambda c: (c[0] + 1, c[1] * 1.5), (0, 1.0)))(n), np.array([0, 3, 7, 1]))
T.add("vmap-while-newton", lambda a: jax.vmap(lambda v: lax.while_loop(lambda c: jnp.abs(c[0] ** 2 - v) > 1e-9, lambda c: ((c[0] + v / c[0]) / 2, c[1] + 1), (v, 0)))(a), np.array([2.0, 100.0, 1.0, 0.01]))
T.add("vmap-while-array-carry", lambda x: jax.vmap(lambda r: lax.while_loop(lambda c: jnp.sum(c) < 50, lambda c: c * 1.5 + 1, r))(x), np.abs(M) * np.array([[1.0], [20.0], [0.1]]))
T.add("vmap-while-shared-predicate", lambda x: jax.vmap(lambda v: lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * v), (0, 1.0)))(x), V)
T.add("vmap-while-predicate-constant-batched", lambda n: jax.vmap(lambda k: lax.while_loop(lambda c: c < k, lambda c: c * 2, 1.0))(n), np.array([0.5, 3.0, 100.0]))
T.add("vmap-while-nan-lane", lambda a: jax.vmap(lambda v: lax.while_loop(lambda c: c < 10, lambda c: c * 2, v))(a), np.array([1.0, np.nan, 50.0]))
T.add("vmap-vmap-while", lambda n, m: jax.vmap(lambda a: jax.vmap(lambda b: lax.while_loop(lambda c: c < a, lambda c: c + b, 0.0))(m))(n), np.array([1.0, 5.0]), np.array([0.3, 1.0, 7.0]))
T.add("vmap-fori-traced", lambda n: jax.vmap(lambda k: lax.fori_loop(0, k, lambda i, c: c + i, 0))(n), np.array([0, 1, 5, 3]))
T.add("vmap-scan", lambda s: jax.vmap(lambda a: heavy_ball(a, 0.5, 10)[1])(s), np.array([0.01, 0.1, 0.15]))
T.add("vmap-vmap-scan", lambda a, b: jax.vmap(lambda s: jax.vmap(lambda m: heavy_ball(s, m, 6)[1][-1])(b))(a), np.array([0.01, 0.1]), np.array([0.0, 0.5, 0.9]))
T.add("vmap-scan-cond", lambda x: jax.vmap(lambda s: lax.scan(lambda c, _: (lax.cond(c > 1, lambda a: a * 0.5, lambda a: a + s, c), c), s, None, length=6))(x), np.abs(V))
T.add("vmap-map-in-axes", lambda a, b: jax.vmap(lambda u, v: u * v.sum(), (1, None), 1)(a, b), M, V)
T.add("vmap-reductions", lambda x: jax.vmap(lambda r: (r.sum(), r.argmax(), jnp.sort(r), jnp.cumsum(r)))(x), M)
T.add("vmap-select-many", lambda k, x: jax.vmap(lambda i, r: lax.select_n(i, r, r * 2, r * 3))(k, x), np.array([2, 0, 1], np.int32), M)
T.add("vmap-clamp", lambda lo, x: jax.vmap(lambda a, r: jnp.clip(r, a, 1.0))(lo, x), np.array([-1.0, 0.0, 0.5]), M)

# Calls, custom rules, checkpoint
T.add("jit-nested", lambda x: jax.jit(lambda v: jax.jit(jnp.sin)(v) + jax.jit(jnp.sin)(v * 2))(x), V)
T.add("jit-static", lambda x: jax.jit(lambda v, n: v**n, static_argnums=1)(x, 3), V)
T.add("jit-same-function-different-shapes", lambda x, m: (lambda f: (f(x), f(m), f(x * 2)))(jax.jit(lambda v: jnp.sum(v * v))), V, M)
T.add("partial-and-lambda", functools.partial(lambda k, x: x * k, 3.0), V)


@jax.custom_jvp
def safe_log(x):
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), -10.0)


safe_log.defjvp(lambda primals, tangents: (safe_log(primals[0]), tangents[0] / (primals[0] ** 2 + 1)))


@jax.custom_vjp
def clipped(x, bound):
    return x * 2


clipped.defvjp(lambda x, b: (x * 2, b), lambda b, g: (jnp.clip(g, -b, b), 0.0))

T.add("custom-jvp", lambda x: (safe_log(x), jax.vmap(jax.grad(safe_log))(x), jax.jvp(safe_log, (x,), (x,))), V)
T.add("custom-vjp", lambda x: (clipped(x, 0.5), jax.grad(lambda v: jnp.sum(clipped(v, 0.5) ** 2))(x)), V)
T.add("custom-vjp-in-scan", lambda x: jax.grad(lambda v: lax.scan(lambda c, u: (clipped(c + u, 0.3), c), 0.0, v)[0])(x), V)
T.add("custom-jvp-vmapped-in-scan", lambda x: jax.vmap(lambda v: lax.scan(lambda c, _: (safe_log(c + v), c), v, None, length=3)[1])(x), np.abs(V))
T.add("checkpoint", lambda x: (jax.checkpoint(lambda v: jnp.sum(jnp.sin(v) ** 2))(x), jax.grad(jax.checkpoint(lambda v: jnp.sum(jnp.sin(v) ** 2)))(x)), V)
T.add("checkpoint-policy", lambda x: jax.grad(jax.checkpoint(lambda v: jnp.sum(jnp.tanh(v @ v.T)), policy=jax.checkpoint_policies.dots_saveable))(x), M)
T.add("checkpoint-in-scan", lambda x: jax.grad(lambda v: lax.scan(jax.checkpoint(lambda c, u: (jnp.sin(c * u), c)), 1.0, v)[0])(x), V)
T.add("jax-nn-relu6-elu", lambda x: (jax.nn.relu6(x * 5), jax.nn.elu(x), jax.grad(lambda v: jnp.sum(jax.nn.relu(v)))(x)), V)
T.add("custom-root", lambda a: lax.custom_root(lambda x: x**2 - a, 1.0, lambda f, x0: lax.fori_loop(0, 8, lambda _, x: (x + a / x) / 2, x0), lambda g, y: y / g(1.0)), 2.0)
T.add("grad-of-custom-root", jax.grad(lambda a: lax.custom_root(lambda x: x**2 - a, 1.0, lambda f, x0: lax.fori_loop(0, 8, lambda _, x: (x + a / x) / 2, x0), lambda g, y: y / g(1.0))), 2.0)
T.add("named-call-closed-over", lambda x: jax.named_call(lambda v: v + V, name="shift")(x), V)
T.add("captured-array-constant", lambda x: x @ M + jnp.asarray(M).sum(0), np.ones(3))
T.add("captured-scalars", lambda x: x * np.float64(0.1) + np.int32(3), V)
