"""jax.random: threefry words are exact, so draws that need 32 bits agree as far as their maths does."""

import jax
import jax.numpy as jnp
import numpy as np
from casetable import Table
from jax import lax

T = Table("random")
R = jax.random
SEEDS = tuple((k,) for k in (1, 2**31 - 1, -3, 2**40 + 5))
F32 = jnp.float32

T.add("key-of-seed", lambda s: R.key_data(R.key(s)), 0, more=SEEDS)
T.add("key-of-int32-seed", lambda s: R.key_data(R.key(s)), np.int32(5), more=((np.int32(-5),),))
T.add("legacy-key", lambda s: R.PRNGKey(s), 42)
T.add("key-constant", lambda x: R.bits(R.key(7), (4,), jnp.uint32) + 0 * x, np.uint32(1))
T.add("split", lambda s: R.key_data(R.split(R.key(s), 5)), 0, more=SEEDS)
T.add("split-shape", lambda s: R.key_data(R.split(R.key(s), (2, 3))), 3)
T.add("fold-in", lambda s, k: R.key_data(R.fold_in(R.key(s), k)), 0, np.int32(17), more=((5, np.int32(0)), (5, np.int32(-1))))
T.add("split-of-split", lambda s: R.key_data(R.split(R.split(R.key(s))[1], 2)), 9)
T.add("legacy-split", lambda s: R.split(R.PRNGKey(s), 3), 4)
for dtype in ("uint32", "uint8", "uint16"):
    T.add(f"bits-{dtype}", lambda s, dtype=dtype: R.bits(R.key(s), (7,), dtype), 0, more=SEEDS)
T.add("bits-shapes", lambda s: (R.bits(R.key(s), (), jnp.uint32), R.bits(R.key(s), (2, 3), jnp.uint32), R.bits(R.key(s), (0,), jnp.uint32), R.bits(R.key(s), (1, 1), jnp.uint32)), 8)
T.add("uniform-float32", lambda s: R.uniform(R.key(s), (50,), F32), 0, more=SEEDS)
T.add("uniform-float32-range", lambda s, a, b: R.uniform(R.key(s), (20,), F32, a, b), 1, np.float32(-2.0), np.float32(5.0))
T.add("normal-float32-from-words", lambda s: R.normal(R.key(s), (64,), F32) > 0.5, 0, more=SEEDS)
# float64 uniforms need 52 of 64 bits, which a float64 holds.
T.add("uniform-float64", lambda s: (R.uniform(R.key(s), (9,)), R.uniform(R.key(s), (2, 3), minval=-1.0, maxval=4.0)), 0, more=SEEDS)
T.add("normal-float64", lambda s: R.normal(R.key(s), (50,)), 0, more=SEEDS)
T.add("distributions-float64", lambda s: [f(R.key(s), shape=(8,)) for f in (R.exponential, R.gumbel, R.logistic, R.laplace, R.cauchy)], 1)
T.add("truncated-multivariate-normal", lambda s: (R.truncated_normal(R.key(s), -1.0, 2.0, (8,)), R.multivariate_normal(R.key(s), jnp.ones(2), jnp.array([[2.0, 0.5], [0.5, 1.0]]), (3,))), 1)
T.add("categorical-bernoulli-float64", lambda s: (R.categorical(R.key(s), jnp.log(jnp.array([0.1, 0.2, 0.7])), shape=(30,)), R.bernoulli(R.key(s), 0.3, (30,))), 0, more=SEEDS)
T.add("scan-of-normal-noise", lambda s: lax.scan(lambda x, k: (0.9 * x + 0.1 * R.normal(k, (2,)), x), jnp.zeros(2), R.split(R.key(s), 20))[1], 0)
T.add("grad-through-noise", lambda s, m: jax.grad(lambda v: jnp.mean((v + R.normal(R.key(s), (20,))) ** 3))(m), 0, 0.5)
T.add("randint", lambda s: (R.randint(R.key(s), (30,), 0, 10, jnp.int32), R.randint(R.key(s), (30,), -5, 1000003, jnp.int32)), 0, more=SEEDS)
T.add("bernoulli-float32", lambda s, p: R.bernoulli(R.key(s), p, (40,)), 0, np.float32(0.3), more=((1, np.float32(0.0)), (1, np.float32(1.0))))
T.add("permutation-of-range", lambda s: R.permutation(R.key(s), 10), 0, more=SEEDS)
T.add("permutation-of-rows", lambda s: R.permutation(R.key(s), jnp.arange(12.0).reshape(6, 2)), 5)
T.add("choice-replace", lambda s: R.choice(R.key(s), 8, (10,)), 3)
T.add("randint-int64", lambda s: (R.randint(R.key(s), (30,), 0, 10), R.randint(R.key(s), (30,), -(2**33), 2**40), R.rademacher(R.key(s), (9,))), 0, more=SEEDS)
T.add("choice-weighted", lambda s: R.choice(R.key(s), 8, (10,), p=jnp.arange(8.0) / 28), 3)
T.add("choice-weighted-no-replacement", lambda s: R.choice(R.key(s), 8, (5,), replace=False, p=jnp.arange(1.0, 9.0) / 36), 3)
T.add("choice-no-replacement", lambda s: R.choice(R.key(s), jnp.arange(8.0) * 2, (5,), replace=False), 3)
T.add("rademacher", lambda s: R.rademacher(R.key(s), (20,), jnp.int32), 2)
T.add("categorical-float32", lambda s: R.categorical(R.key(s), jnp.log(jnp.array([0.1, 0.2, 0.7], F32)), shape=(30,)), 0, more=SEEDS)
T.add("vmap-split-draw", lambda s: jax.vmap(lambda k: R.uniform(k, (3,), F32))(R.split(R.key(s), 4)), 6)
T.add("vmap-fold-in", lambda s: R.key_data(jax.vmap(lambda k: R.fold_in(R.key(s), k))(jnp.arange(5))), 6)
T.add("scan-carries-key", lambda s: lax.scan(lambda k, _: (R.split(k)[0], R.bits(R.split(k)[1], (), jnp.uint32)), R.key(s), None, length=6)[1], 1)
T.add("scan-over-keys", lambda s: lax.scan(lambda c, k: (c + R.uniform(k, (), F32), c), F32(0.0), R.split(R.key(s), 5))[1], 1)
T.add("scan-of-legacy-keys", lambda s: lax.scan(lambda k, _: (R.split(k)[0], R.uniform(R.split(k)[1], (), F32)), R.PRNGKey(s), None, length=6)[1], 1)
T.add("fori-fold-in", lambda s: lax.fori_loop(0, 5, lambda i, c: c ^ R.bits(R.fold_in(R.key(s), i), (), jnp.uint32), jnp.uint32(0)), 2)
T.add("cond-on-draw", lambda s: lax.cond(R.uniform(R.key(s), (), F32) > 0.5, lambda: 1, lambda: 0), 0, more=SEEDS)
T.add("key-indexing", lambda s, i: R.bits(R.split(R.key(s), 4)[i], (2,), jnp.uint32), 0, np.int32(2))
T.add("keys-reshaped-stacked", lambda s: R.key_data(jnp.stack([R.key(s), R.key(s + 1)])), 0)
T.add("stochastic-gradient-descent", lambda s: lax.scan(lambda w, k: (w - 0.1 * (w - jnp.where(R.bernoulli(k, F32(0.5)), 1.0, -1.0)), w), 0.0, R.split(R.key(s), 20))[1], 0)
T.add("exponential-gumbel-words", lambda s: (R.exponential(R.key(s), (10,), F32) > 1, R.gumbel(R.key(s), (10,), F32) > 0), 4)
