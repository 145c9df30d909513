"""The runtime's numerical kernels alone, against SciPy and NumPy rather than JAX."""

import importlib.resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.special

RNG = np.random.default_rng(29)
RUNTIME = importlib.resources.files("livejax") / "runtime"
KERNELS = "".join(
    (RUNTIME / f"{name}.js").read_text() for name in ("special", "linalg", "random", "sort")
)


def run(node, body, *arrays):
    """Evaluates statements in which a, b, ... are the arrays; they return an array of arrays."""
    names = "abcdef"[: len(arrays)]
    return node.call(f"{KERNELS}\nexport default ({','.join(names)}) => {{{body}}};", [arrays])[0]


SPECIAL = {
    "erf": (scipy.special.erf, -6, 6, 1e-15),
    "erfc": (scipy.special.erfc, -6, 5, 1e-15),
    "erfInv": (scipy.special.erfinv, -0.9999, 0.9999, 2e-14),  # the formula itself, JAX's too
    "besselI0e": (scipy.special.i0e, -60, 60, 1e-15),
    "besselI1e": (scipy.special.i1e, -60, 60, 1e-15),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_function(name, node):
    truth, low, high, accuracy = SPECIAL[name]
    x = RNG.uniform(low, high, 20000)
    (got,) = run(node, f"return [a.map((x) => {name}(x))];", x)
    np.testing.assert_allclose(got, truth(x), rtol=accuracy)


@pytest.mark.parametrize(
    ("name", "truth"), [("lgamma", scipy.special.gammaln), ("digamma", scipy.special.digamma)]
)
def test_gamma_functions(name, truth, node):
    x = np.concatenate([RNG.uniform(0.01, 3, 10000), RNG.uniform(3, 200, 10000)])
    (got,) = run(node, f"return [a.map((x) => {name}(x))];", x)
    error = np.abs(got - truth(x)) / np.maximum(1, np.abs(truth(x)))
    assert error.max() < 1e-14


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 20])
def test_cholesky(n, node):
    g = RNG.normal(size=(n, n))
    spd = g @ g.T + np.eye(n)
    (got,) = run(
        node,
        f"const out = new Float64Array({n * n}); cholesky(a, {n}, out); return [out];",
        np.tril(spd),
    )
    np.testing.assert_allclose(
        got.reshape(n, n), np.linalg.cholesky(spd), atol=1e-14 * n * np.abs(spd).max()
    )


@pytest.mark.parametrize("m, n", [(1, 1), (3, 3), (8, 8), (2, 5), (5, 2)])
def test_lu(m, n, node):
    a = RNG.normal(size=(m, n))
    k = min(m, n)
    body = f"""const [packed, p, q, r] = [{m * n}, {k}, {m}, {m}].map((n) => new Float64Array(n));
        lu(a, {m}, {n}, packed, p, q); luPivotsToPermutation(p, {k}, {m}, r);
        return [packed, p, q, r];"""
    packed, pivots, order, again = run(node, body, a)
    packed = packed.reshape(m, n)
    lower = np.tril(packed[:, :k], -1) + np.eye(m, k)
    np.testing.assert_allclose(lower @ np.triu(packed[:k]), a[order.astype(int)], atol=1e-14)
    np.testing.assert_array_equal(order, again)
    if m == n:
        np.testing.assert_array_equal(pivots, scipy.linalg.lu_factor(a)[1])


EIGH = """const v = new Float64Array(%d), w = new Float64Array(%d);
    eighJacobi(a, %d, v, w); return [v, w];"""


@pytest.mark.parametrize("n", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("kind", ["random", "repeated", "diagonal", "graded", "zero"])
def test_eigh(n, kind, node):
    g = RNG.normal(size=(n, n))
    q = np.linalg.qr(g)[0]
    matrix = {
        "random": g + g.T, "repeated": (q * np.repeat([1.0, 2.0], n)[:n]) @ q.T,
        "diagonal": np.diag(RNG.normal(size=n)),
        "graded": (q * 10.0 ** -np.arange(n)) @ q.T,
        "zero": np.zeros((n, n)),
    }[kind]  # fmt: skip
    matrix = np.tril(matrix) + np.tril(matrix, -1).T
    v, w = run(node, EIGH % (n * n, n, n), np.tril(matrix))  # only the lower triangle counts
    v = v.reshape(n, n)
    size = max(np.abs(matrix).max(), 1e-300)
    np.testing.assert_allclose(w, np.linalg.eigvalsh(matrix), atol=1e-14 * n * size)
    np.testing.assert_allclose(v.T @ v, np.eye(n), atol=1e-14 * n)
    np.testing.assert_allclose(matrix @ v, v * w, atol=1e-14 * n * size)
    tallest = np.take_along_axis(v, np.abs(v).argmax(0)[None], 0)
    assert (tallest > 0).all()


def test_eigh_of_nan_is_nan(node):
    for out in run(node, EIGH % (4, 2, 2), np.array([1.0, 0.0, np.nan, 1.0])):
        assert np.isnan(out).all()


def test_threefry_known_answer(node):
    # The test vectors of the authors' Random123 library (kat_vectors, threefry2x32 with 20 rounds).
    vectors = [
        ((0, 0, 0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 4, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for words, answer in vectors:
        (got,) = run(
            node, f"return [Float64Array.from(threefry2x32({','.join(map(str, words))}))];"
        )
        assert got.tolist() == list(answer)


@pytest.mark.parametrize("seed", [0, 1, -1, 2**31, 2**40 + 3, -(2**40)])
def test_random_helpers_match_jax(seed, node):
    key = jax.random.key(seed)
    body = f"""const k = new Float64Array(2); randomSeed({seed}, false, k);
        const out = [100, 100, 14, 2].map((n) => new Float64Array(n));
        randomBits32(k[0], k[1], 100, out[0]); randomBits64Top52(k[0], k[1], 100, out[1]);
        randomSplit(k[0], k[1], 7, out[2]); randomFoldIn(k[0], k[1], -5, out[3]);
        return [k, ...out];"""
    words, bits, top, split, folded = run(node, body)
    np.testing.assert_array_equal(words, jax.random.key_data(key))
    np.testing.assert_array_equal(bits, jax.random.bits(key, (100,), jnp.uint32))
    np.testing.assert_array_equal(
        top, np.asarray(jax.random.bits(key, (100,), jnp.uint64)) >> np.uint64(12)
    )
    np.testing.assert_array_equal(split, np.ravel(jax.random.key_data(jax.random.split(key, 7))))
    np.testing.assert_array_equal(
        folded, jax.random.key_data(jax.random.fold_in(key, jnp.int32(-5)))
    )
