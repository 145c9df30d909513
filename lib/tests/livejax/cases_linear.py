"""dot_general in its layouts, einsum, and dense linear algebra."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from casetable import Table
from jax import lax

T = Table("linear")
rng = np.random.default_rng(17)
A = rng.normal(size=(3, 4))
B = rng.normal(size=(4, 5))
S = rng.normal(size=(3, 3))
SPD = S @ S.T + 2 * np.eye(3)
V3, V4 = rng.normal(size=3), rng.normal(size=4)
P = rng.normal(size=(2, 3, 4))
Q = rng.normal(size=(2, 4, 5))
L = np.tril(rng.normal(size=(4, 4))) + 3 * np.eye(4)

# Products
T.add("matrix-matrix", lambda a, b: a @ b, A, B)
T.add("matrix-vector", lambda a, v, w: (a @ v, w @ a, v @ v, jnp.dot(w, w)), A, V4, V3)
T.add("transposed", lambda a: (a.T @ a, a @ a.T, (a.T @ a).T), A)
T.add("batched", lambda p, q: p @ q, P, Q)
T.add("batched-broadcast", lambda p, b, v: (p @ b, p @ v, jnp.matmul(p, b[None])), P, B, V4)
T.add("outer-tensordot", lambda a, b, p: (jnp.tensordot(a, b, 1), jnp.tensordot(p, a, ((1, 2), (0, 1))), jnp.tensordot(a, b, 0)), A, B, P)
T.add("inner-vdot", lambda a, v: (jnp.inner(a, a), jnp.vdot(v, v), jnp.inner(a, v)), A, V4)
T.add("size-1-and-0", lambda a, z: (a[:1] @ a[:1].T, a[:, :1] @ a[:1], z @ z.T, z.T @ z), A, np.zeros((3, 0)))
T.add("integers", lambda a, b: (a @ b, jnp.dot(a[0], a[1])), np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4))
T.add("bools-and-mixed", lambda p, a: p @ a, np.array([[True, False, True]]), A)
T.add("non-finite", lambda a, b: a @ b, np.array([[np.inf, 1.0], [np.nan, 0.0]]), np.array([[0.0, 1.0], [2.0, 3.0]]))
T.add("preferred-type", lambda a, b: lax.dot(a, b, preferred_element_type=jnp.float64), np.float32([[0.1, 0.2]]), np.float32([[0.3], [0.7]]))
DIMS = {
    "first-first": (((0,), (0,)), ((), ())),
    "last-last": (((2,), (2,)), ((), ())),
    "two-axes": (((0, 2), (0, 2)), ((), ())),
    "two-axes-crossed": (((0, 2), (0, 2)), ((1,), (1,))),
    "batch-first": (((2,), (2,)), ((0,), (0,))),
    "batch-middle": (((0,), (0,)), ((1,), (1,))),
    "batch-last": (((1,), (1,)), ((2,), (2,))),
    "two-batches": (((1,), (1,)), ((0, 2), (0, 2))),
    "two-batches-swapped": (((1,), (1,)), ((2, 0), (2, 0))),
    "all-batch": (((), ()), ((0, 1, 2), (0, 1, 2))),
    "no-contraction": (((), ()), ((), ())),
    "all-contracted": (((0, 1, 2), (0, 1, 2)), ((), ())),
}
for name, dims in DIMS.items():
    T.add(f"dot-general-{name}", lambda a, b, dims=dims: lax.dot_general(a, b, dims), P, P[::-1].copy() + 1)
T.add("dot-general-mixed-axes", lambda a, b: lax.dot_general(a, b, (((1, 3), (2, 0)), ((2,), (1,)))), rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(5, 4, 3, 6)))
EINSUM = {
    "ij,jk->ik": (A, B), "ij,jk->ki": (A, B), "ij,ij->": (A, A), "ij,ij->ij": (A, A), "ij->ji": (A,), "ij->": (A,), "ii->i": (S,),
    "ii->": (S,), "i,j->ij": (V3, V4), "bij,bjk->bik": (P, Q), "bij,jk->bki": (P, B), "bij,bij->b": (P, P), "ij,jk,k->i": (A, B, rng.normal(size=5)),
    "...ij,jk->...ik": (P, B), "ij,kj->ik": (A, A), "bi,bj->ij": (A, A), "ijk,k->ij": (P, V4), "ijk,ilk->ijl": (P, P),
}  # fmt: skip
for spec, operands in EINSUM.items():
    T.add(f"einsum-{spec}", lambda *xs, spec=spec: jnp.einsum(spec, *xs), *operands)
T.add("vmap-matmul-axes", lambda p, q: (jax.vmap(jnp.dot, (0, 0))(p, q), jax.vmap(jnp.dot, (1, None))(p, q[0]), jax.vmap(jnp.dot, (None, 2), 1)(p[0], q[:, :, :3].transpose(1, 0, 2))), P, Q)
T.add("vmap-quadratic-form", lambda a, x: jax.vmap(lambda v: v @ a @ v)(x), S, rng.normal(size=(5, 3)))
T.add("grad-matmul", lambda a, b: jax.grad(lambda u, v: jnp.sum(jnp.sin(u @ v)), (0, 1))(a, b), A, B)
T.add("grad-square-matmul", lambda a: jax.grad(lambda u: jnp.sum((u @ u) * jnp.arange(9.0).reshape(3, 3)))(a), S)
T.add("grad-batched-matmul", lambda p, q: jax.grad(lambda u, v: jnp.sum((u @ v) ** 2), (0, 1))(p, q), P, Q)
T.add("grad-einsum", lambda a, b: jax.grad(lambda u, v: jnp.sum(jnp.einsum("ij,jk->ki", u, v) ** 3), (0, 1))(a, b), A, B)
T.add("matrix-power", lambda a: (jnp.linalg.matrix_power(a, 3), jnp.linalg.matrix_power(a, 0)), S)
T.add("multi-dot", lambda a, b, v: jnp.linalg.multi_dot([a, b, v]), A, B, rng.normal(size=5))

# Factorizations and solves
T.add("cholesky", jnp.linalg.cholesky, SPD)
T.add("cholesky-upper-1x1", lambda a, s: (jnp.linalg.cholesky(a, upper=True), jnp.linalg.cholesky(s)), SPD, np.array([[4.0]]))
T.add("cholesky-indefinite-is-nan", jnp.linalg.cholesky, np.array([[1.0, 2.0], [2.0, 1.0]]))
T.add("cholesky-reads-lower", lambda a: lax.linalg.cholesky(a, symmetrize_input=False), np.array([[4.0, 99.0], [2.0, 5.0]]))
T.add("cholesky-batched", lambda s: jax.vmap(lambda k: jnp.linalg.cholesky(SPD * k + jnp.eye(3)))(s), np.array([0.5, 1.0, -9.0]))
T.add("grad-cholesky", lambda a: jax.grad(lambda m: jnp.sum(jnp.linalg.cholesky(m) ** 3))(a), SPD)
for left in (True, False):
    for lower in (True, False):
        for transpose in (True, False):
            for unit in (True, False):
                side = "left" if left else "right"
                label = f"{side}-{'lower' if lower else 'upper'}{'-transposed' if transpose else ''}{'-unit' if unit else ''}"
                T.add(f"triangular-solve-{label}", lambda a, b, left=left, lower=lower, transpose=transpose, unit=unit: lax.linalg.triangular_solve(
                    a, b, left_side=left, lower=lower, transpose_a=transpose, unit_diagonal=unit), L + np.triu(L.T, 1), rng.normal(size=(4, 2) if left else (2, 4)))
T.add("triangular-solve-vector-batched", lambda a, b: (jsl.solve_triangular(a, b[0], lower=True), jax.vmap(lambda v: jsl.solve_triangular(a, v, lower=True, trans=1))(b)), L, rng.normal(size=(3, 4)))
T.add("triangular-solve-batched-matrices", lambda s, b: jax.vmap(lambda k: jsl.solve_triangular(L * k, b, lower=True))(s), np.array([1.0, 2.0]), V4)
T.add("grad-triangular-solve", lambda a, b: jax.grad(lambda m, v: jnp.sum(jsl.solve_triangular(m, v, lower=True) ** 2), (0, 1))(a, b), L, V4)
T.add("lu", lambda a: jsl.lu(a), rng.normal(size=(4, 4)))
T.add("lu-shapes", lambda a, b: (lax.linalg.lu(a), lax.linalg.lu(b)), A, B.T.copy())
T.add("lu-factor-solve", lambda a, b: jsl.lu_solve(jsl.lu_factor(a), b), S, V3)
T.add("solve-vector-matrix", lambda a, v, b: (jnp.linalg.solve(a, v), jnp.linalg.solve(a, b)), S, V3, A)
T.add("solve-needs-pivoting", lambda a, v: jnp.linalg.solve(a, v), np.array([[0.0, 2.0], [1.0, 3.0]]), np.array([1.0, 2.0]))
T.add("solve-singular", lambda a, v: jnp.isfinite(jnp.linalg.solve(a, v)), np.zeros((2, 2)), np.array([1.0, 2.0]))
T.add("solve-batched", lambda a, v: jnp.linalg.solve(a, v[..., None]), np.stack([S, S.T, SPD]), np.stack([V3, V3 + 1, V3 * 2]))
T.add("solve-1x1", lambda a, v: jnp.linalg.solve(a, v), np.array([[4.0]]), np.array([2.0]))
T.add("solve-assume-positive", lambda a, v: jsl.solve(a, v, assume_a="pos"), SPD, V3)
T.add("cho-solve", lambda a, v: jsl.cho_solve(jsl.cho_factor(a), v), SPD, V3)
T.add("inv-det-slogdet", lambda a: (jnp.linalg.inv(a), jnp.linalg.det(a), jnp.linalg.slogdet(a)), S)
T.add("det-sizes", lambda a, b, c: (jnp.linalg.det(a), jnp.linalg.det(b), jnp.linalg.det(c)), S[:1, :1], S[:2, :2], rng.normal(size=(5, 5)))
T.add("grad-solve", lambda a, v: jax.grad(lambda m, u: jnp.sum(jnp.linalg.solve(m, u) ** 2), (0, 1))(a, v), S, V3)
T.add("grad-inv-det", lambda a: (jax.grad(lambda m: jnp.sum(jnp.linalg.inv(m)))(a), jax.grad(jnp.linalg.det)(a), jax.grad(lambda m: jnp.linalg.slogdet(m)[1])(a)), S)
T.add("vmap-grad-solve", lambda s: jax.vmap(jax.grad(lambda k: jnp.sum(jnp.linalg.solve(SPD * k + jnp.eye(3), jnp.ones(3)))))(s), np.array([0.1, 1.0, 3.0]))
T.add("hessian-solve", lambda x: jax.hessian(lambda v: v @ jnp.linalg.solve(SPD + jnp.diag(v), v))(x), np.abs(V3))
T.add("implicit-ridge", lambda reg: jax.grad(lambda r: jnp.sum(jnp.linalg.solve(SPD + r * jnp.eye(3), jnp.ones(3)) ** 2))(reg), 0.3)
T.add("lstsq-normal-equations", lambda a, y: jnp.linalg.solve(a.T @ a, a.T @ y), B.T.copy(), rng.normal(size=5))
T.add("eigvalsh", jnp.linalg.eigvalsh, SPD)
T.add("eigvalsh-sizes", lambda a, b: (jnp.linalg.eigvalsh(a), jnp.linalg.eigvalsh(b)), S[:1, :1], (lambda g: g + g.T)(rng.normal(size=(6, 6))))
T.add("eigh-sign-free", lambda a: (lambda w, v: (w, v * v, v @ jnp.diag(w) @ v.T))(*jnp.linalg.eigh(a)), SPD)
T.add("eigh-diagonal", lambda d: jnp.linalg.eigh(jnp.diag(d))[0], np.array([3.0, -1.0, 2.0]))
T.add("eigh-repeated-values", lambda a: (lambda w, v: (w, v @ jnp.diag(jnp.exp(w)) @ v.T))(*jnp.linalg.eigh(a)), np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 5.0]]))
T.add("eigh-batched", lambda s: jax.vmap(lambda k: jnp.linalg.eigvalsh(SPD + k * jnp.eye(3)))(s), np.array([0.0, 1.0]))
T.add("grad-eigvalsh", lambda a: jax.grad(lambda m: jnp.sum(jnp.linalg.eigvalsh(m) ** 3))(a), SPD)
T.add("grad-eigh-sign-free", lambda a: jax.grad(lambda m: (lambda w, v: jnp.sum(v[:, 0] ** 4) + w[0] * w[2])(*jnp.linalg.eigh(m)))(a), SPD)
T.add("matrix-square-root", lambda a: (lambda w, v: (v * jnp.sqrt(w)) @ v.T)(*jnp.linalg.eigh(a)), SPD)
T.add("spectral-norm-by-eigh", lambda a: jnp.sqrt(jnp.linalg.eigvalsh(a.T @ a)[-1]), A)
T.add("power-iteration", lambda a: lax.fori_loop(0, 200, lambda _, v: (lambda w: w / jnp.linalg.norm(w))(a @ v), jnp.ones(3)), SPD)
T.add("conjugate-gradient", lambda a, b: jax.scipy.sparse.linalg.cg(lambda v: a @ v, b, maxiter=5)[0], SPD, V3)
