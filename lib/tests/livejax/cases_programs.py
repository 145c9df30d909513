"""Whole small programs, and shapes of code that optimizing compilers get wrong."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from cases_gradients import PARAMS, loss
from casetable import Table
from jax import lax

T = Table("programs")
rng = np.random.default_rng(31)
X = rng.normal(size=(12, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + 0.1 * rng.normal(size=12)
V = rng.normal(size=20)
A = rng.normal(size=(10, 10)) / 4


def repeat(count, step):
    """Python's loop: the step unrolled `count` times."""

    def fn(x):
        for k in range(count):
            x = step(x, k)
        return x

    return fn


# Memory: old and new state of loops, reads before and after writes
T.add("shift-register", lambda x: lax.scan(lambda c, v: (jnp.concatenate([c[1:], v[None]]), c @ c), jnp.zeros(12), x), V)
T.add("in-place-update-reads-old", lambda x: lax.fori_loop(0, 19, lambda k, c: c.at[k].set(c[k + 1] + c[k]), x), V)
T.add("in-place-reversal", lambda x: lax.fori_loop(0, 10, lambda k, c: c.at[k].set(c[19 - k]).at[19 - k].set(c[k]), x), V)
T.add("bubble-sort", lambda x: lax.fori_loop(0, 20, lambda i, c: lax.fori_loop(0, 19, lambda j, d: lax.cond(
    d[j] > d[j + 1], lambda e: e.at[j].set(e[j + 1]).at[j + 1].set(e[j]), lambda e: e, d), c), x), V)
T.add("carry-and-its-update-both-stacked", lambda x: lax.scan(lambda c, k: (c.at[k].set(0.0), (c, c.at[k].set(0.0), c.sum())), x, jnp.arange(20)), V)
T.add("carry-transposed-in-place", lambda a: lax.fori_loop(0, 3, lambda k, c: c.T + k * jnp.eye(10), a), A)
T.add("carry-rolled-and-mixed", lambda x: lax.fori_loop(0, 5, lambda k, c: 0.5 * c + jnp.roll(c, 1) - c[::-1] * 0.1, x), V)
T.add("two-carries-read-each-other", lambda x: lax.fori_loop(0, 5, lambda k, c: (c[1] * 0.5 + c[0][::-1], c[0] - c[1][::-1]), (x, x * 2)), V)
T.add("four-carries-rotate-conditionally", lambda x: lax.fori_loop(0, 7, lambda k, c: lax.cond(k % 2 == 0, lambda t: (t[1], t[0], t[3], t[2]), lambda t: (t[3], t[1] + 1, t[0], t[2]), c), (x, x + 1, x + 2, x + 3)), V)
T.add("while-cond-reads-old-array", lambda x: lax.while_loop(lambda s: jnp.any(jnp.abs(s[0] - s[1]) > 1e-3), lambda s: (jnp.cos(s[0]), s[0]), (x, x + 1)), V)
T.add("value-used-before-and-after-loop", lambda x: (lambda y: (lax.fori_loop(0, 3, lambda k, c: c * 0.5 + y, y), y, y.sum()))(x * 2), V)
T.add("loop-invariant-work", lambda x, a: lax.scan(lambda c, v: (jnp.tanh(a @ a.T @ c + jnp.exp(x).sum() * 1e-3) + v, c), jnp.zeros(10), a), V, A)
T.add("loop-result-feeds-loop", lambda x: lax.scan(lambda c, v: (c + v, c * v), 0.0, lax.scan(lambda c, v: (c * 0.5 + v, c), 1.0, x)[1]), V)
T.add("nested-loops-share-outer-values", lambda a: lax.scan(lambda c, r: (c + r, lax.scan(lambda d, v: (d + v * c[0] + r[1], d * c.sum()), 0.0, r)[1]), jnp.ones(10), a), A)
T.add("three-deep-scans", lambda x: lax.scan(lambda a, _: (lax.scan(lambda b, _: (lax.scan(lambda c, v: (jnp.sin(c + v), None), b, x)[0] + a, None), a, None, length=3)[0], a), 0.1, None, length=4), V)
T.add("scan-stack-of-scan-stacks", lambda a: lax.scan(lambda c, r: (c * 0.9, lax.scan(lambda d, v: (d + v, (d, r * v)), c, r)), 1.0, a), A)
T.add("cond-writes-one-array-in-two-ways", lambda p, x: lax.cond(p, lambda v: v.at[3].set(1.0), lambda v: v[::-1], x) + x, True, V, more=((False, V),))
T.add("switch-with-loops", lambda k, x: lax.switch(k, [lambda v: lax.fori_loop(0, 3, lambda i, c: c * 0.5 + i, v), lambda v: jnp.sort(v), lambda v: lax.scan(lambda c, u: (c + u, c), 0.0, v)[1]], x), np.int32(0), V, more=((np.int32(1), V), (np.int32(2), V)))
T.add("scatter-then-gather-then-scatter", lambda x, i: (lambda y: y.at[i[::-1]].multiply(y[i] + 1))(x.at[i].add(x[::-1][i])), V, np.array([3, 7, 3, 0], np.int32))
T.add("overlapping-slices-assigned", lambda x: x.at[2:10].set(x[0:8]).at[0:8].add(x[2:10]), V)
T.add("duplicate-subexpressions", lambda x: (jnp.sin(x) + jnp.sin(x) * jnp.sin(x), lax.fori_loop(0, 2, lambda k, c: jnp.sin(c) + jnp.sin(c), x)), V)

# Size of the emitted code: lazily evaluated views must not be evaluated again and again
T.add("unrolled-mixing", repeat(25, lambda x, k: jnp.sin(x + x[::-1]) + 0.1 * k), V)
T.add("unrolled-doubling-use", repeat(40, lambda x, k: 0.5 * x + 0.25 * x * x - 0.1 * x[::-1]), V)
T.add("unrolled-scalars", repeat(120, lambda x, k: jnp.tanh(x * 1.01 + x * x * 0.1 - k * 1e-3)), 0.3)
T.add("unrolled-small-vectors", repeat(30, lambda x, k: jnp.cos(x + jnp.roll(x, 1) * x.sum())), V[:6], amplifies=True)
T.add("unrolled-matrix-products", repeat(8, lambda a, k: jnp.tanh(a @ a) + jnp.eye(10)), A)
T.add("unrolled-momentum", lambda s: repeat(30, lambda c, k: (c[0] + 0.9 * c[1] - s * c[0], 0.9 * c[1] - s * c[0]))((V, V * 0))[0], 0.1)
T.add("broadcast-of-reduction-chain", repeat(8, lambda x, k: x - x.mean() + jnp.max(x) * 0.1), V)
T.add("large-constant-table", lambda x: x @ jnp.asarray(A) + jnp.asarray(A).sum(1), V[:10])
T.add("outer-sum-of-views", lambda x: jnp.sum((x[:, None] - x[None, :]) ** 2, axis=1) + (x[:, None] * x[None, :])[::-1, ::2].sum(1), V)

# Kernels inside loops and batches
T.add("solve-inside-scan", lambda a: lax.scan(lambda c, k: (jnp.linalg.solve(jnp.eye(10) * 3 + a * k, c), c.sum()), jnp.ones(10), jnp.linspace(0, 1, 4)), A)
T.add("cholesky-inside-vmap-scan", lambda s: jax.vmap(lambda k: lax.scan(lambda c, _: (jnp.linalg.cholesky(c @ c.T + k * jnp.eye(3)), c[2, 0]), jnp.eye(3), None, length=4))(s), np.array([0.5, 1.0]))
T.add("eigh-inside-while", lambda a: lax.while_loop(lambda c: jnp.linalg.eigvalsh(c)[-1] > 1.0, lambda c: c * 0.7, a @ a.T), A)
T.add("sort-inside-scan", lambda x: lax.scan(lambda c, v: (jnp.sort(c * 0.9 + v), jnp.argsort(c)[0]), jnp.arange(12.0)[::-1], x), V)
T.add("sort-inside-vmap-grad", lambda a: jax.vmap(jax.grad(lambda r: jnp.sum(jnp.sort(r)[:4] ** 2)))(a), A)
T.add("random-walk-with-resets", lambda s: lax.scan(lambda x, k: (jnp.where(jax.random.bernoulli(k, 0.2), 0.0, x + jax.random.normal(k)), x), 0.0, jax.random.split(jax.random.key(s), 30))[1], 3)
T.add("vmap-over-seeds", lambda s: jax.vmap(lambda k: jax.random.normal(jax.random.key(k), (3,)).sum())(s), np.arange(5))

# Programs
T.add("adam-on-least-squares", lambda rate: lax.scan(lambda c, t: (lambda w, m, v, g: (lambda m2, v2: ((w - rate * (m2 / (1 - 0.9 ** (t + 1))) / (jnp.sqrt(v2 / (1 - 0.99 ** (t + 1))) + 1e-8), m2, v2), w))(0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g))(
    *c, jax.grad(lambda u: jnp.mean((X @ u - Y) ** 2))(c[0])), (jnp.zeros(3), jnp.zeros(3), jnp.zeros(3)), jnp.arange(50.0))[1], 0.1)
T.add("adam-hypergradient", lambda rate: jax.grad(lambda r: jnp.sum(lax.scan(lambda c, t: (lambda w, m, g: (lambda m2: ((w - r * m2 / (jnp.abs(m2) + 0.1), m2), None))(0.9 * m + 0.1 * g))(*c, X.T @ (X @ c[0] - Y)), (jnp.zeros(3), jnp.zeros(3)), None, length=20)[0][0] ** 2))(rate), 0.05)
T.add("soft-thresholding", lambda lam: lax.fori_loop(0, 60, lambda _, w: (lambda z: jnp.sign(z) * jnp.maximum(jnp.abs(z) - lam * 0.02, 0.0))(w - 0.02 * X.T @ (X @ w - Y)), jnp.zeros(3)), 1.0)
T.add("k-means", lambda x: lax.scan(lambda c, _: ((lambda d: (lambda h: (h.T @ x) / jnp.maximum(h.sum(0)[:, None], 1))(jax.nn.one_hot(jnp.argmin(d, 1), 3)))(jnp.sum((x[:, None] - c[None]) ** 2, -1)), c), x[:3], None, length=5), X)
T.add("kalman-filter", lambda q: lax.scan(lambda c, y: (lambda m, p: (lambda g: ((m + g * (y - m), (1 - g) * p), (m, p)))(p / (p + 0.5)))(c[0] * 0.95, c[1] * 0.9 + q), (0.0, 1.0), Y), 0.1)
T.add("rk4-pendulum", lambda w: (lambda f, h: lax.scan(lambda s, _: ((lambda a: (lambda b: (lambda c: (lambda d: s + h / 6 * (a + 2 * b + 2 * c + d))(f(s + h * c)))(f(s + h / 2 * b)))(f(s + h / 2 * a)))(f(s)), s), jnp.array([1.0, 0.0]), None, length=100)[1])(lambda s: jnp.stack([s[1], -w * jnp.sin(s[0])]), 0.05), 2.0)
T.add("min-max-game", lambda s: lax.scan(lambda z, _: ((lambda g: z - s * jnp.array([g[0], -g[1]]))(jax.grad(lambda u: u[0] * u[1] + 0.1 * u[0] ** 2)(z)), z), jnp.ones(2), None, length=60)[1], 0.1)
T.add("multiplicative-weights", lambda eta: lax.scan(lambda w, row: ((lambda u: u / u.sum())(w * jnp.exp(-eta * row)), (w, w @ row)), jnp.ones(3) / 3, X), 0.3)
T.add("gaussian-process", lambda scale: (lambda k: (lambda c: (jsl.cho_solve((c, True), Y), 2 * jnp.sum(jnp.log(jnp.diag(c)))))(jnp.linalg.cholesky(k + 0.1 * jnp.eye(12))))(jnp.exp(-jnp.sum((X[:, None] - X[None]) ** 2, -1) / scale**2)), 1.3)
T.add("gaussian-process-gradient", lambda scale: jax.grad(lambda s: (lambda c: jnp.sum(jsl.solve_triangular(c, Y, lower=True) ** 2) + jnp.sum(jnp.log(jnp.diag(c))))(jnp.linalg.cholesky(jnp.exp(-jnp.sum((X[:, None] - X[None]) ** 2, -1) / s**2) + 0.1 * jnp.eye(12))))(scale), 1.3)


def edit_distance(a, b):
    def row(previous, i):
        def cell(left, j):
            change = previous[j] + jnp.where(a[i] != b[j], 1, 0)
            value = jnp.minimum(jnp.minimum(left, previous[j + 1]) + 1, change)
            return value, value

        return jnp.concatenate([i[None] + 1, lax.scan(cell, i + 1, jnp.arange(5))[1]]), None

    return lax.scan(row, jnp.arange(6), jnp.arange(4))[0]


T.add("edit-distance", edit_distance, np.array([1, 2, 3, 4]), np.array([2, 3, 3, 4, 1]))
T.add("sieve", lambda n: lax.fori_loop(2, 8, lambda k, p: jnp.where((jnp.arange(50) % k == 0) & (jnp.arange(50) > k), False, p), jnp.arange(50) >= n), 2)
T.add("fibonacci-wraps", lambda n: lax.fori_loop(0, n, lambda _, c: (c[1], c[0] + c[1]), (jnp.int32(0), jnp.int32(1))), np.int32(60))
T.add("game-of-life", lambda g: lax.scan(lambda c, _: ((lambda n: jnp.where((n == 3) | (c & (n == 2)), True, False))(sum(jnp.roll(c.astype(jnp.int32), (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)), c.sum()), g, None, length=6), rng.random((8, 8)) < 0.4)
T.add("newton-with-hessian", lambda x: lax.scan(lambda w, _: ((lambda f: w - jnp.linalg.solve(jax.hessian(f)(w), jax.grad(f)(w)))(lambda u: jnp.sum(jnp.cosh(u)) + 0.5 * jnp.sum(u) ** 2), w), x, None, length=4)[1], V[:3])
T.add("line-search", lambda x: lax.while_loop(lambda s: jnp.sum((x - s * 2 * x * 5) ** 2 * 5) > jnp.sum(x**2 * 5) - 1e-4 * s * jnp.sum((10 * x) ** 2), lambda s: s / 2, 1.0), V[:3])


@jax.custom_vjp
def fixed_point(a):
    return lax.while_loop(lambda c: jnp.abs(c - jnp.cos(a * c)) > 1e-13, lambda c: jnp.cos(a * c), 0.5)


def fixed_point_pull(residual, g):
    a, x = residual
    return (g * -x * jnp.sin(a * x) / (1 + a * jnp.sin(a * x)),)


fixed_point.defvjp(lambda a: (lambda x: (x, (a, x)))(fixed_point(a)), fixed_point_pull)
T.add("implicit-differentiation", lambda a: (fixed_point(a), jax.grad(fixed_point)(a), jax.vmap(jax.grad(fixed_point))(jnp.array([0.3, 0.9]))), 0.7)


def lstm_step(weights, state, g):
    hidden, cell = state
    gates = jnp.concatenate([hidden, g[None]]) @ weights
    i, f, o, u = jnp.split(gates, 4)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(u)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    return (hidden, cell), hidden.sum()


def learned_optimizer(weights, start):
    def body(carry, _):
        x, states = carry
        g = jax.grad(lambda u: jnp.sum(u**2 * jnp.array([1.0, 3.0])))(x)
        states, steps = jax.vmap(lambda s, v: lstm_step(weights, s, v))(states, g)
        return (x + 0.1 * steps, states), jnp.sum(x**2)

    zero = (jnp.zeros((2, 4)), jnp.zeros((2, 4)))
    return lax.scan(body, (start, zero), None, length=15)[1]


W = rng.normal(size=(5, 16)) * 0.5
T.add("learned-optimizer", learned_optimizer, W, np.array([1.0, -1.0]))
T.add("learned-optimizer-meta-gradient", lambda w, x: jax.grad(lambda u: learned_optimizer(u, x).sum())(w), W, np.array([1.0, -1.0]))
T.add("mlp-training", lambda p, rate: lax.scan(lambda q, _: (jax.tree.map(lambda a, g: a - rate * g, q, jax.grad(loss)(q, V[:8], jnp.sin(V[:8]))), loss(q, V[:8], jnp.sin(V[:8]))), p, None, length=10), PARAMS, 0.05)
T.add("mlp-training-hypergradient", lambda p, rate: jax.grad(lambda r: loss(lax.fori_loop(0, 5, lambda _, q: jax.tree.map(lambda a, g: a - r * g, q, jax.grad(loss)(q, V[:8], jnp.sin(V[:8]))), p), V[8:], jnp.sin(V[8:])))(rate), PARAMS, 0.05)
T.add("stability-map", lambda top: jax.vmap(lambda m: jax.vmap(lambda s: jnp.max(jnp.abs(jnp.linalg.eigvalsh(jnp.array([[1 + m - s, 0.0], [0.0, m]])))))(jnp.linspace(0, top, 5)))(jnp.linspace(0, 1, 4)), 4.0)
T.add("online-to-batch-ledger", lambda s: (lambda xs: (lambda bar: (jnp.cumsum(xs, 0), bar, jnp.sum(jnp.diff(bar, axis=0) ** 2, -1), jnp.sum(xs[1:] * bar[:-1], -1)))(jnp.cumsum(xs, 0) / jnp.arange(1.0, 13.0)[:, None]))(lax.scan(lambda w, row: (w - s * row * (row @ w), w), jnp.ones(3), X)[1]), 0.1)
T.add("chaos-logistic-map", lambda r: lax.scan(lambda x, _: (r * x * (1 - x), x), 0.3, None, length=40)[1], 3.9, amplifies=True)
