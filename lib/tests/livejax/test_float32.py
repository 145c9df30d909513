"""precision="float32": true float32 arithmetic, compared with JAX in its 32-bit mode.

The reference is XLA without fused multiply-adds (`--xla_cpu_max_isa=AVX`, see conftest.py).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import livejax

RNG = np.random.default_rng(23)
LEAST = np.finfo(np.float32).tiny  # the least normal number


def pattern(count):
    """Random float32 bit patterns: all exponents alike, so subnormals, inf and NaN occur."""
    words = RNG.integers(0, 2**32, count, dtype=np.uint32)
    special = np.array(
        [0, 0x80000000, 1, 0x80000001, 0x7FFFFF, 0x800000, 0x807FFFFF, 0x7F800000, 0xFF800000,
         0x7FC00000, 0x7F7FFFFF, 0x3F800000, 0xBF800000], np.uint32,
    )  # fmt: skip
    words[RNG.integers(0, count, count // 8)] = RNG.choice(special, count // 8)
    return words.view(np.float32)


def near(x, spread):
    """Numbers within some ulps of x, where cancellation leaves subnormals and zeros."""
    with np.errstate(all="ignore"):
        return (x * (1 + RNG.integers(-3, 4, x.shape) * np.float32(spread))).astype(np.float32)


def both(node, fn, *args):
    """The outputs of JAX and of JavaScript as float32 arrays (or integers), leaf by leaf."""
    compiled = livejax.compile(fn, *args, precision="float32")
    with jax.enable_x64(False):
        want = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(fn)(*args))]
    got = node.call(compiled.source, [jax.tree.leaves(args)])[0]
    pairs = []
    for values, leaf in zip(got, want, strict=True):
        with np.errstate(invalid="ignore"):
            narrow = values.astype(leaf.dtype)
        if leaf.dtype == np.float32:
            np.testing.assert_array_equal(narrow.astype(np.float64), values, "not a float32 number")
        pairs.append((leaf.ravel(), narrow))
    return pairs


def assert_same_bits(want, got):
    """Equal bit for bit; any NaN equals any NaN."""
    nan = np.isnan(want)
    np.testing.assert_array_equal(nan, np.isnan(got))
    differ = np.flatnonzero(want[~nan].view(np.uint32) != got[~nan].view(np.uint32))
    first = [(want[~nan][k], got[~nan][k]) for k in differ[:1]]
    assert not differ.size, f"{differ.size} differ, first (JAX, JavaScript): {first}"


def ulps(want, got):
    """Distance in float32 numbers; 0 where both are NaN, huge where one is."""

    def position(x):
        word = x.view(np.int32).astype(np.int64)
        return np.where(word < 0, -(word & 0x7FFFFFFF), word)

    distance = np.abs(position(want) - position(got))
    nan = np.isnan(want), np.isnan(got)
    return np.where(nan[0] & nan[1], 0, np.where(nan[0] ^ nan[1], 2**33, distance))


OPERANDS = [
    (pattern(20000), pattern(20000)),
    (x := pattern(5000), near(x, 2**-23)),
    (y := (RNG.normal(size=5000) * 1e-38).astype(np.float32), near(y, 2**-3)),
]
EXACT = dict(
    add=lambda a, b: a + b, sub=lambda a, b: a - b, mul=lambda a, b: a * b, div=lambda a, b: a / b,
    sqrt=lambda a, b: jnp.sqrt(a), square=lambda a, b: a * a, reciprocal=lambda a, b: 1 / b,
    scale=lambda a, b: a * 1e-3 + 0.1, multiply_add=lambda a, b: a * b + a,
    chain=lambda a, b: (a - b) * (a + b) / (a * a - b),
    cube=lambda a, b: a**3, horner=lambda a, b: ((a * b + 2) * b - 3) * b + 0.1,
)  # fmt: skip


@pytest.mark.parametrize("fn", EXACT.values(), ids=EXACT)
def test_arithmetic_is_bit_for_bit(fn, node):
    for a, b in OPERANDS:
        ((want, got),) = both(node, fn, a, b)
        assert_same_bits(want, got)


COMPARE = dict(
    lt=lambda a, b: a < b, eq=lambda a, b: a == b, ge=lambda a, b: a >= b, ne=lambda a, b: a != b,
    positive=lambda a, b: a > 0, floor=lambda a, b: jnp.floor(a), ceil=lambda a, b: jnp.ceil(a),
    to_int=lambda a, b: a.astype(jnp.int32),
    finite=lambda a, b: jnp.isfinite(a),
)  # fmt: skip


@pytest.mark.parametrize("fn", COMPARE.values(), ids=COMPARE)
def test_comparisons_and_rounding_are_exact(fn, node):
    for a, b in OPERANDS:
        ((want, got),) = both(node, fn, a, b)
        np.testing.assert_array_equal(want, got)


TRANSCENDENTAL = dict(
    exp=jnp.exp, exp2=lax.exp2, expm1=jnp.expm1, log=jnp.log, log1p=jnp.log1p, sin=jnp.sin,
    cos=jnp.cos, tan=jnp.tan, tanh=jnp.tanh, sinh=jnp.sinh, cosh=jnp.cosh, asin=jnp.arcsin,
    acos=jnp.arccos, atan=jnp.arctan, asinh=jnp.arcsinh, acosh=jnp.arccosh, cbrt=jnp.cbrt,
    logistic=lax.logistic, rsqrt=lax.rsqrt, erfc=lax.erfc, erf_inv=lax.erf_inv,
)  # fmt: skip


def normal_range(*arrays):
    """Where all numbers are zero, normal, or not finite; XLA flushes subnormals here, not there."""
    keep = np.ones(arrays[0].shape, bool)
    for array in arrays:
        size = np.abs(array)
        keep &= ~((size > 0) & (size < 4 * LEAST))
    return keep


@pytest.mark.parametrize("name", TRANSCENDENTAL)
def test_transcendentals_are_within_2_ulp(name, node):
    spread = np.concatenate(
        [RNG.uniform(-10, 10, 6000), RNG.uniform(-90, 90, 3000), RNG.normal(size=3000) * 1e-2]
    )
    x = np.concatenate([pattern(6000), spread.astype(np.float32)])
    ((want, got),) = both(node, TRANSCENDENTAL[name], x)
    distance = ulps(want, got)[normal_range(x, want)]
    assert distance.max() <= 2, f"{distance.max()} ulp"


def test_erf_is_within_2_ulp_where_xla_agrees_with_itself(node):
    # Near 3.8 XLA's scalar and vector code differ by 6 ulp.
    x = RNG.uniform(-3.7, 3.7, 10000).astype(np.float32)
    ((want, got),) = both(node, lax.erf, x)
    assert ulps(want, got).max() <= 2


def test_two_argument_functions_are_within_2_ulp(node):
    a = np.abs(RNG.normal(size=10000)).astype(np.float32) * 3
    b = (RNG.normal(size=10000) * 4).astype(np.float32)
    for want, got in both(node, lambda a, b: (a**b, jnp.arctan2(b, a)), a, b):
        assert ulps(want, got).max() <= 2


@pytest.mark.parametrize("name", ["lgamma", "digamma", "bessel_i0e", "atanh"])
def test_functions_that_xla_computes_badly_are_refused_or_close(name, node):
    x = RNG.uniform(0.1, 0.9, 2000).astype(np.float32)
    try:
        ((want, got),) = both(node, getattr(lax, name), x)
    except livejax.UnsupportedPrimitive:
        return
    assert ulps(want, got).max() <= 4


def test_subnormals_are_flushed_on_input_and_on_output(node):
    # (XLA drops x + 0 and x * 1 before they could flush anything, so these are not here.)
    tiny = np.array([1e-40, -1e-40, LEAST, -LEAST, 1e-45], np.float32)

    def fn(x):
        return (
            x * 2,
            x / 2,
            x * x,
            x > 0,
            x == 0,
            x - x,
            jnp.maximum(x, 0),
            jnp.where(x > 0, 1.0, 2.0),
        )

    for want, got in both(node, fn, tiny):
        if want.dtype == np.float32:
            assert_same_bits(want, got)
        else:
            np.testing.assert_array_equal(want, got)


def test_operations_that_only_move_numbers_keep_subnormals(node):
    tiny = np.array([1e-40, -1e-40, 1e-45, 3.0], np.float32)
    fn = lambda x: (x, x[::-1], jnp.concatenate([x, x]), -x, jnp.abs(x), x.reshape(2, 2).T)  # noqa: E731
    for want, got in both(node, fn, tiny):
        assert_same_bits(want, got)


def in_order(terms, start=0.0):
    """The stated order of a reduction: one element after the other, each sum rounded."""
    total = np.float32(start)
    for term in terms:
        total = np.float32(total + term)
    return total


def bound(terms):
    """Two orders of summation differ by no more than this (Higham 2002, section 4.2)."""
    return 2 * len(terms) * 2.0**-24 * np.abs(terms.astype(np.float64)).sum()


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 64, 1000])
def test_sums_are_taken_in_the_stated_order(count, node):
    x = (RNG.normal(size=count) * 10.0 ** RNG.uniform(-3, 3, count)).astype(np.float32)
    ((want, got),) = both(node, jnp.sum, x)
    assert got[0] == in_order(x)
    assert abs(float(want[0]) - float(got[0])) <= bound(x)


def test_sums_over_axes_are_row_major(node):
    x = (RNG.normal(size=(4, 5, 6)) * 100).astype(np.float32)
    fn = lambda x: (x.sum((0, 2)), x.sum(1), x.sum())  # noqa: E731
    (_, middle), (_, axis1), (_, total) = both(node, fn, x)
    assert middle.tolist() == [in_order(x[:, k].ravel()) for k in range(5)]
    assert axis1.tolist() == [in_order(x[i, :, k]) for i in range(4) for k in range(6)]
    assert total[0] == in_order(x.ravel())


def test_products_of_matrices_are_summed_in_order(node):
    a, b = RNG.normal(size=(3, 40)).astype(np.float32), RNG.normal(size=(40, 2)).astype(np.float32)
    ((want, got),) = both(node, lambda a, b: a @ b, a, b)
    terms = [a[i] * b[:, j] for i in range(3) for j in range(2)]
    assert got.tolist() == [in_order(t) for t in terms]
    for t, w, g in zip(terms, want, got, strict=True):
        assert abs(float(w) - float(g)) <= bound(t) + 2.0**-23 * abs(t).sum()


def test_cumulative_sums_are_sequential(node):
    x = (RNG.normal(size=50) * 1e3).astype(np.float32)
    ((_, got),) = both(node, jnp.cumsum, x)
    assert got.tolist() == [in_order(x[: k + 1]) for k in range(50)]


def test_a_recurrence_drifts_exactly_like_jax(node):
    def fn(step, start):
        def body(c, _):
            x, m = c
            m = 0.9 * m - step * x
            return (x + m, m), x

        return lax.scan(body, (start, jnp.zeros(2)), None, length=300)[1]

    ((want, got),) = both(node, fn, np.float32(0.01), np.array([1.0, -3.7], np.float32))
    assert_same_bits(want, got)


def test_absorption_and_overflow_happen_where_jax_has_them(node):
    fn = lambda x: lax.scan(lambda c, _: (c + 1.0, c), x, None, length=10)[1]  # noqa: E731
    ((want, got),) = both(node, fn, np.float32(2**24 - 4))
    assert_same_bits(want, got)
    fn = lambda x: lax.scan(lambda c, _: (c * 1e10, c), x, None, length=6)[1]  # noqa: E731
    ((want, got),) = both(node, fn, np.float32(1.0))
    assert_same_bits(want, got)


def test_gradients_in_float32(node):
    fn = jax.grad(lambda x: jnp.sum((x * x - 0.3) * x / (x * x + 1)))
    ((want, got),) = both(node, fn, RNG.normal(size=9).astype(np.float32))
    assert_same_bits(want, got)


def test_integers_are_32_bit(node):
    fn = lambda n: (n * 65537, n + 2**30, n // 3, jnp.sum(n))  # noqa: E731
    for want, got in both(node, fn, np.array([65536, 2**30, -7], np.int32)):
        np.testing.assert_array_equal(want, got)


def test_constants_are_rounded(node):
    table = np.linspace(0, 1, 11)
    ((want, got),) = both(
        node, lambda x: x * 0.1 + jnp.asarray(table) + np.float32(1 / 3), np.float32(0.7)
    )
    assert_same_bits(want, got)


def test_random_draws_carry_the_words_of_jax(node):

    def fn(s):
        return (
            jax.random.uniform(jax.random.key(s), (100,)),
            jax.random.normal(jax.random.key(s), (100,)),
        )

    uniform, normal = both(node, fn, np.int32(3))
    assert_same_bits(*uniform)
    assert ulps(*normal).max() <= 4


def test_arguments_are_rounded_to_float32(node):
    compiled = livejax.compile(
        lambda x, v: (x, v + 0), np.float32(0), np.zeros(2, np.float32), precision="float32"
    )
    scalar, vector = node.call(compiled.source, [[np.float64(0.1), np.array([0.1, 1 / 3])]])[0]
    assert scalar[0] == np.float32(0.1)
    assert vector.tolist() == [np.float32(0.1), np.float32(1 / 3)]


def test_the_inputs_of_a_float32_module_are_float32():
    compiled = livejax.compile(lambda x, n: x * n, 1.0, 3, precision="float32")
    assert [str(s.dtype) for s in compiled.inputs] == ["float32", "int32"]
    assert [str(s.dtype) for s in compiled.outputs] == ["float32"]
    assert jax.config.jax_enable_x64
