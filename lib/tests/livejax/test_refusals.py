"""What the compiler cannot translate it refuses, naming primitive, function and source line."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from noderun import NodeError

import livejax

R = jax.random


def fourier(x):
    return jnp.abs(jnp.fft.fft(x))


def complex_numbers(x):
    return jnp.real(x * 1j)


def convolution(x):
    return jnp.convolve(x, x)


def windows(x):
    return lax.reduce_window(x, 0.0, lax.add, (2,), (1,), "VALID")


def own_reduction(x):
    return lax.reduce(x, 0.0, lambda a, b: a + 2 * b, (0,))


def orthogonal(x):
    return jnp.linalg.qr(jnp.outer(x, x))[1]


def singular_values(x):
    return jnp.linalg.svd(jnp.outer(x, x))[1]


def general_eigenvalues(x):
    return jnp.abs(jnp.linalg.eigvals(jnp.outer(x, x)))


def host_callback(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((3,), float), x)


def printing(x):
    jax.debug.print("{}", x)
    return x


def gamma_draws(x):
    return R.gamma(R.key(0), x)


def half_precision(x):
    return x.astype(jnp.float16).sum()


def inside_a_scan(x):
    return lax.scan(lambda c, v: (c + jnp.fft.fft(x).real.sum(), c), 0.0, x)


def inside_a_branch(x):
    return lax.cond(x[0] > 0, lambda v: jnp.fft.fft(v).real, lambda v: v, x)


def inside_a_gradient(x):
    return jax.grad(lambda v: jnp.sum(jnp.convolve(v, v)))(x)


X = np.array([1.0, 2.0, 3.0])
REFUSED = {
    fourier: "fft|convert_element_type",
    complex_numbers: "mul|convert_element_type",
    convolution: "conv_general_dilated",
    windows: "reduce_window_sum",
    own_reduction: "reduce",
    orthogonal: "qr",
    singular_values: "svd",
    general_eigenvalues: "eig",
    host_callback: "pure_callback",
    printing: "debug_print",
    gamma_draws: "random_gamma",
    half_precision: "convert_element_type",
    inside_a_scan: "fft|convert_element_type",
    inside_a_branch: "fft|convert_element_type",
    inside_a_gradient: "conv_general_dilated",
}


@pytest.mark.parametrize("fn", REFUSED, ids=lambda fn: fn.__name__)
def test_refusal_names_primitive_function_and_line(fn):
    with pytest.raises(livejax.UnsupportedPrimitive) as caught:
        livejax.compile(fn, X)
    message = str(caught.value)
    assert re.search(rf"\b({REFUSED[fn]})\b", message)
    assert fn.__name__ in message
    lines, start = inspect.getsourcelines(fn)
    named = re.search(r"test_refusals\.py:(\d+)", message)
    assert named, message
    assert start <= int(named[1]) < start + len(lines)


def wide_bits(seed):
    return R.bits(R.key(seed), (2,), jnp.uint64)


def a_key_as_result(seed):
    return R.key(seed)


def other_generator(seed):
    return R.bits(R.key(seed, impl="rbg"), (2,), jnp.uint32)


@pytest.mark.parametrize(
    ("fn", "says"),
    [(wide_bits, "64"), (a_key_as_result, "key"), (other_generator, "rbg")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_random_numbers_that_need_more_are_refused(fn, says):
    with pytest.raises(livejax.UnsupportedPrimitive, match=says) as caught:
        livejax.compile(fn, 0)
    assert fn.__name__ in str(caught.value)


def test_a_random_key_is_no_argument():
    with pytest.raises(livejax.UnsupportedPrimitive, match="key"):
        livejax.compile(lambda key: R.uniform(key, (), jnp.float32), R.key(0))


@pytest.mark.parametrize(
    "fn",
    [
        lambda n: n * n,
        lambda n: n + n,
        lambda n: -n - n,
        lambda n: n**3,
        lambda n: jnp.sum(jnp.stack([n, n, n])),
    ],
    ids=["mul", "add", "sub", "pow", "sum"],
)
def test_64_bit_integers_beyond_2_to_the_53_never_come_out_rounded(fn, node):
    try:
        compiled = livejax.compile(fn, 1)
    except livejax.UnsupportedPrimitive:
        return
    assert node.call(compiled.source, [[3]])[0][0].tolist() == [float(fn(3))]
    with pytest.raises(NodeError, match=r"2\^53"):
        node.call(compiled.source, [[2**53 - 1]])


def test_a_large_integer_constant_is_refused_or_exact(node):
    with pytest.raises((livejax.UnsupportedPrimitive, NodeError)):
        compiled = livejax.compile(lambda n: n + (2**53 + 1), 0)
        node.call(compiled.source, [[0]])


def test_python_errors_of_the_function_pass_through():
    with pytest.raises(TypeError, match="incompatible shapes"):
        livejax.compile(lambda a, b: a + b, np.ones(3), np.ones(4))


def test_precision_is_checked():
    with pytest.raises(ValueError, match="float16"):
        livejax.compile(jnp.sin, 1.0, precision="float16")
