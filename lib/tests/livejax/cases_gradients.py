"""grad, jvp, vjp, jacobians and hessians, first and second order, through everything else."""

import jax
import jax.numpy as jnp
import numpy as np
from cases_control import heavy_ball
from casetable import Table
from jax import lax

T = Table("gradients")
rng = np.random.default_rng(19)
V = rng.normal(size=5)
M = rng.normal(size=(3, 4))
X = np.array([-2.0, -0.7, -0.2, 0.3, 0.9, 2.5])
POSITIVE = np.array([0.1, 0.5, 1.0, 2.5, 10.0])

SMOOTH = dict(
    sin=jnp.sin, cos=jnp.cos, tan=jnp.tan, tanh=jnp.tanh, sinh=jnp.sinh, cosh=jnp.cosh, exp=jnp.exp,
    expm1=jnp.expm1, atan=jnp.arctan, asinh=jnp.arcsinh, logistic=jax.nn.sigmoid, erf=lax.erf, erfc=lax.erfc,
    softplus=jax.nn.softplus, square=jnp.square, cube=lambda x: x**3, reciprocal=lambda x: 1 / x,
    abs=jnp.abs, relu=jax.nn.relu, gelu=jax.nn.gelu, silu=jax.nn.silu, cbrt=jnp.cbrt, sign=jnp.sign,
    floor=jnp.floor, clip=lambda x: jnp.clip(x, -0.5, 1.0), sinc=jnp.sinc,
)  # fmt: skip
for name, fn in SMOOTH.items():
    T.add(f"of-{name}", lambda x, fn=fn: (jax.vmap(jax.grad(fn))(x), jax.vmap(jax.grad(jax.grad(fn)))(x)), X)
HALF_LINE = dict(log=jnp.log, log1p=jnp.log1p, sqrt=jnp.sqrt, rsqrt=lax.rsqrt, lgamma=lax.lgamma, log2=jnp.log2, acosh=lambda x: jnp.arccosh(x + 1),
                 power=lambda x: x**2.5, xlogy=lambda x: jax.scipy.special.xlogy(x, x), entropy=lambda x: -x * jnp.log(x))  # fmt: skip
for name, fn in HALF_LINE.items():
    T.add(f"of-{name}", lambda x, fn=fn: jax.vmap(jax.value_and_grad(fn))(x), POSITIVE)
T.add("of-asin-acos-atanh", lambda x: [jax.vmap(jax.grad(f))(x) for f in (jnp.arcsin, jnp.arccos, jnp.arctanh, lax.erf_inv)], np.array([-0.9, -0.1, 0.0, 0.5]))
T.add("of-binary", lambda a, b: [jax.grad(lambda u, v, f=f: jnp.sum(f(u, v)), (0, 1))(a, b) for f in (jnp.multiply, jnp.divide, jnp.arctan2, jnp.maximum, jnp.minimum, jnp.power, jnp.hypot, jnp.logaddexp)],
      np.array([0.5, 1.5, 2.0]), np.array([2.0, 1.5, -1.0]) + 2)
T.add("of-pow-at-zero", lambda x: (jax.vmap(jax.grad(lambda v: v**2))(x), jax.vmap(jax.grad(lambda v: v**3))(x)), np.array([0.0, -0.0, 1.0]))
T.add("of-max-ties", lambda x: (jax.grad(jnp.max)(x), jax.grad(lambda v: jnp.maximum(v[0], v[1]))(x), jax.grad(jnp.min)(x)), np.array([2.0, 2.0, -1.0]))
T.add("of-where-safe", lambda x: jax.vmap(jax.grad(lambda v: jnp.where(v > 0, jnp.sqrt(jnp.where(v > 0, v, 1.0)), 0.0)))(x), np.array([-1.0, 0.0, 4.0]))
T.add("of-where-nan-leak", lambda x: jax.vmap(jax.grad(lambda v: jnp.where(v > 0, jnp.sqrt(v), 0.0)))(x), np.array([-1.0, 4.0]))
T.add("of-reductions", lambda x: [jax.grad(f)(x) for f in (jnp.sum, jnp.prod, jnp.max, jnp.mean, jnp.var, jnp.linalg.norm, jax.nn.logsumexp)], M)
T.add("of-prod-with-zero", lambda x: jax.grad(jnp.prod)(x), np.array([2.0, 0.0, 3.0]))
T.add("of-cumulative", lambda x: [jax.grad(lambda v, f=f: jnp.sum(f(v) * jnp.arange(5.0)))(x) for f in (jnp.cumsum, jnp.cumprod, lax.cummax, lax.cumlogsumexp)], V)
T.add("of-softmax", lambda x: (jax.jacobian(jax.nn.softmax)(x), jax.jacfwd(jax.nn.log_softmax)(x)), V)
T.add("of-sort-and-argmax", lambda x: jax.grad(lambda v: jnp.sort(v)[0] * 2 + v[jnp.argmax(v)])(x), V)
T.add("of-layout", lambda x: jax.grad(lambda v: jnp.sum(jnp.concatenate([v.T.ravel(), jnp.pad(v, 1).ravel(), v[::-1, 1:].ravel()]) ** 2))(x), M)
T.add("of-broadcast", lambda a, b: jax.grad(lambda u, v: jnp.sum((u[:, None] + v[None, :]) ** 2 * u[:, None]), (0, 1))(a, b), V, V[:3])
T.add("of-size-1-broadcast", lambda a, b: jax.grad(lambda u, v: jnp.sum(jnp.sin(u * v)), (0, 1))(a, b), np.array([[1.0], [2.0]]), np.array([[3.0, 4.0, 5.0]]))
T.add("of-clip-bounds", lambda x, lo: jax.grad(lambda v, b: jnp.sum(jnp.clip(v, b, 1.0) ** 2), (0, 1))(x, lo), X, -0.5)
T.add("of-pytree", lambda p: jax.value_and_grad(lambda q: jnp.sum(jnp.tanh(q["w"] @ q["x"]) + q["b"]) ** 2)(p), {"w": M, "b": 0.5, "x": np.ones(4)})
T.add("with-aux", lambda x: jax.value_and_grad(lambda v: (jnp.sum(v**2), v * 3), has_aux=True)(x), V)
T.add("jvp", lambda x, t: jax.jvp(lambda v: (jnp.sin(v), jnp.sum(v**3)), (x,), (t,)), V, V[::-1].copy())
T.add("vjp", lambda x, g: (lambda out, pull: (out, pull(g)))(*jax.vjp(lambda v: jnp.sin(v) * v.sum(), x)), V, V[::-1].copy())
T.add("linearize-transpose", lambda x, t: (jax.linearize(jnp.tanh, x)[1](t), jax.linear_transpose(lambda v: M @ v, jnp.ones(4))(jnp.ones(3))), V, V[::-1].copy())
T.add("hessian", lambda x: jax.hessian(lambda v: jnp.sum(jnp.sin(v) * v[::-1]) + jnp.prod(v))(x), V)
T.add("hessian-vector-product", lambda x, v: (jax.jvp(jax.grad(lambda w: jnp.sum(w**4) + w[0] * w[1] ** 2), (x,), (v,))[1], jax.grad(lambda w: jnp.vdot(jax.grad(lambda u: jnp.sum(u**4) + u[0] * u[1] ** 2)(w), v))(x)), V, V + 1)
T.add("jacobians", lambda x: (jax.jacfwd(lambda v: jnp.outer(v, jnp.sin(v)))(x), jax.jacrev(lambda v: jnp.outer(v, jnp.sin(v)))(x)), V[:3])
T.add("third-derivative", lambda x: jax.vmap(jax.grad(jax.grad(jax.grad(lambda v: jnp.sin(v) * v**4))))(x), X)
T.add("non-finite", lambda x: (jax.vmap(jax.grad(jnp.sqrt))(x), jax.vmap(jax.grad(jnp.log))(x)), np.array([0.0, -1.0, np.inf, np.nan]))
T.add("stop-gradient", lambda x: jax.grad(lambda v: jnp.sum(v * lax.stop_gradient(v)))(x), V)

# Through loops and branches
T.add("through-scan", lambda s, m: jax.grad(lambda a, b: heavy_ball(a, b, 20)[1][-1], (0, 1))(s, m), 0.1, 0.6, more=((0.25, 0.9), (0.01, 0.0)))
T.add("through-scan-all-losses", lambda s: jax.jacfwd(lambda a: heavy_ball(a, 0.5, 8)[1])(s), 0.1)
T.add("through-scan-second-order", lambda s: jax.grad(jax.grad(lambda a: heavy_ball(a, 0.5, 8)[1][-1]))(s), 0.1)
T.add("through-scan-xs", lambda x: jax.grad(lambda v: jnp.sum(lax.scan(lambda c, u: (jnp.tanh(c + u), c * u), 0.5, v)[1]))(x), V)
T.add("through-scan-reverse", lambda x: jax.grad(lambda v: jnp.sum(lax.scan(lambda c, u: (jnp.tanh(c + u), c * u), 0.5, v, reverse=True)[1]))(x), V)
T.add("through-scan-matrix-carry", lambda a: jax.grad(lambda m: jnp.sum(lax.scan(lambda c, _: (jnp.tanh(m @ c), None), jnp.eye(3), None, length=5)[0]))(a), rng.normal(size=(3, 3)))
T.add("through-nested-scan", lambda x: jax.grad(lambda v: lax.scan(lambda c, row: (lax.scan(lambda d, u: (jnp.sin(d + u), None), c, row)[0], None), 0.1, v)[0])(x), M)
T.add("through-scan-length-0-and-1", lambda x: (jax.grad(lambda v: lax.scan(lambda c, u: (c * u, None), v, jnp.zeros(0))[0])(x), jax.grad(lambda v: lax.scan(lambda c, u: (c * u * v, None), v, jnp.ones(1))[0])(x)), 1.5)
T.add("through-fori-static", lambda x: jax.grad(lambda v: lax.fori_loop(0, 6, lambda k, c: jnp.sin(c) + k * v, v))(x), 0.3)
T.add("forward-through-while", lambda x: jax.jvp(lambda v: lax.while_loop(lambda c: c < 10, lambda c: c * v, v), (x,), (1.0,)), 1.5)
T.add("forward-through-fori-traced", lambda x, n: jax.jvp(lambda v: lax.fori_loop(0, n, lambda k, c: c * v + k, v), (x,), (1.0,)), 1.1, 5)
T.add("through-cond", lambda p, x: jax.grad(lambda v: lax.cond(p, lambda u: jnp.sum(jnp.sin(u)), lambda u: jnp.prod(u), v))(x), True, V, more=((False, V),))
T.add("through-cond-on-value", lambda x: jax.vmap(jax.grad(lambda v: lax.cond(v > 0, lambda u: u**2, lambda u: -u, v)))(x), X)
T.add("through-switch", lambda k, x: jax.grad(lambda v: lax.switch(k, [jnp.sum, jnp.prod, lambda u: jnp.sum(u**3)], v))(x), np.int32(2), V, more=((np.int32(0), V), (np.int32(1), V)))
T.add("through-scan-with-cond", lambda x: jax.grad(lambda v: lax.scan(lambda c, u: (lax.cond(u > 0, lambda a: a * u, lambda a: a + u, c), None), 1.0, v)[0])(x), V)
T.add("through-scan-with-indexing", lambda x: jax.grad(lambda v: jnp.sum(lax.scan(lambda c, k: (c.at[k].multiply(v[k]), c[k - 1]), v, jnp.arange(5))[0]))(x), V)
T.add("through-map", lambda x: jax.grad(lambda v: jnp.sum(lax.map(lambda r: jnp.prod(r), v)))(x), M)
T.add("through-remat-scan", lambda s: jax.grad(lambda a: lax.scan(jax.checkpoint(lambda c, _: (c - a * jnp.sin(c), None)), 1.0, None, length=10)[0])(s), 0.3)
T.add("vmap-grad-scan", lambda s: jax.vmap(jax.value_and_grad(lambda a: heavy_ball(a, 0.5, 12)[1][-1]))(s), np.linspace(0.01, 0.3, 11))
T.add("grad-in-scan-in-grad", lambda s: jax.grad(lambda a: lax.scan(lambda w, _: (w - a * jax.grad(lambda v: jnp.sum(v**4 - v**2))(w), None), jnp.array([0.3, -0.8]), None, length=6)[0].sum())(s), 0.05)
T.add("hypergradient-jacfwd-jacrev-agree", lambda s: (lambda f: (jax.jacfwd(f)(s), jax.jacrev(f)(s)))(lambda a: lax.scan(lambda w, _: (w * (1 - a[0]) + a[1] * jnp.sin(w), None), 1.0, None, length=10)[0]), np.array([0.1, 0.2]))


def loss(params, x, y):
    hidden = x[:, None]
    for w, b in params[:-1]:
        hidden = jnp.tanh(hidden @ w + b)
    w, b = params[-1]
    return jnp.mean(((hidden @ w + b)[:, 0] - y) ** 2)


def adapted(params, x, y, step):
    inner = jax.grad(loss)(params, x, y)
    return loss(jax.tree.map(lambda p, g: p - step * g, params, inner), x, y)


SIZES = ((1, 4), (4, 4), (4, 1))
PARAMS = [(rng.normal(size=s), rng.normal(size=s[1])) for s in SIZES]
T.add("mlp", lambda p, x, y: jax.value_and_grad(loss)(p, x, y), PARAMS, V, np.sin(V))
T.add("maml-second-order", lambda p, x, y, s: jax.value_and_grad(adapted)(p, x, y, s), PARAMS, V, np.sin(V), 0.1)
T.add("maml-over-tasks", lambda p, xs, s: jax.grad(lambda q: jnp.mean(jax.vmap(lambda x: adapted(q, x, jnp.sin(x), s))(xs)))(p), PARAMS, rng.normal(size=(3, 5)), 0.1)
T.add("maml-step-size-gradient", lambda p, x, y, s: jax.grad(adapted, 3)(p, x, y, s), PARAMS, V, np.sin(V), 0.1)
