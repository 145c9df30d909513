"""Elementwise primitives: floats at edge values, integers that wrap, comparisons, selection, types."""

import jax
import jax.numpy as jnp
import numpy as np
from casetable import Table
from jax import lax

T = Table("elementwise")
INF, NAN = np.inf, np.nan

# Each float primitive sees signs, zeros, large and tiny numbers, infinities and NaN.
EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.75, -3.2, 1e-9, -1e-9, 20.25, -20.5, 700.0,
     -700.0, 1e8, -1e8, 1e200, -1e200, 1e-200, INF, -INF, NAN]
)  # fmt: skip
INSIDE = np.array([-1.0, -0.999999, -0.75, -0.3, -1e-9, -0.0, 0.0, 1e-9, 0.2, 0.5, 0.9, 1.0, 1.5])

UNARY = dict(
    abs=jnp.abs, acos=jnp.arccos, acosh=jnp.arccosh, asin=jnp.arcsin, asinh=jnp.arcsinh,
    atan=jnp.arctan, atanh=jnp.arctanh, cbrt=jnp.cbrt, ceil=jnp.ceil, cos=jnp.cos, cosh=jnp.cosh,
    erf=lax.erf, erfc=lax.erfc, exp=jnp.exp, exp2=jnp.exp2, expm1=jnp.expm1, floor=jnp.floor,
    isfinite=jnp.isfinite, isinf=jnp.isinf, isnan=jnp.isnan, log=jnp.log, log1p=jnp.log1p,
    log2=jnp.log2, log10=jnp.log10, logistic=lax.logistic, neg=jnp.negative, rsqrt=lax.rsqrt,
    sign=jnp.sign, sin=jnp.sin, sinh=jnp.sinh, sqrt=jnp.sqrt, square=jnp.square, tan=jnp.tan,
    tanh=jnp.tanh, trunc=jnp.trunc, reciprocal=jnp.reciprocal, signbit=jnp.signbit,
    softplus=jax.nn.softplus, relu=jax.nn.relu, silu=jax.nn.silu, gelu=jax.nn.gelu,
    nan_to_num=jnp.nan_to_num,
)  # fmt: skip
for name, fn in UNARY.items():
    inside = name in ("acos", "asin", "atanh")
    # gelu and silu of large negative numbers are differences that cancel; JAX's own error shows.
    T.add(name, fn, INSIDE if inside else EDGES, entrywise=True, amplifies=name in ("gelu", "tan"))

for name in ("abs", "neg", "sqrt", "floor", "ceil", "trunc", "sin", "tanh", "sign", "expm1", "cbrt"):
    T.add(f"{name}-of-zeros", UNARY[name], np.array([0.0, -0.0]), signed_zero=True)

T.add("round-half-away", lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
      np.array([-2.5, -1.5, -0.5, -0.2, 0.49999999999999994, 0.5, 1.5, 2.5, 3.7, 4503599627370497.0,
                INF, NAN]), signed_zero=True)  # fmt: skip
T.add("round-half-even", lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
      np.array([-2.5, -1.5, -0.5, -0.2, 0.49999999999999994, 0.5, 1.5, 2.5, 3.5, 4503599627370497.0,
                -INF, NAN]), signed_zero=True)  # fmt: skip
T.add("round-decimals", lambda x: jnp.round(x, 2), np.array([1.235, -2.345, 0.005, 1e6]))
T.add("erf-inv", lax.erf_inv, np.array([-1.0, -0.99, -0.5, -0.0, 0.0, 1e-8, 0.3, 0.999, 1.0, 1.5, NAN]))
T.add("lgamma", lax.lgamma, np.array([0.1, 0.5, 1.0, 1.7, 2.0, 3.3, 10.0, 171.0, 1e6, -0.5, -3.7, 0.0, -1.0, INF, -INF, NAN]))
T.add("digamma", lax.digamma, np.array([0.1, 0.5, 1.0, 2.3, 10.0, 100.0, -0.5, -2.7, 0.0, -1.0, INF, NAN]))
T.add("bessel-i0e-i1e", lambda x: (lax.bessel_i0e(x), lax.bessel_i1e(x)), np.array([-30.0, -2.0, 0.0, 0.5, 8.0, 9.0]))
T.add("scalar-argument", lambda x: jnp.sin(x) * 2 + 1, 0.3, more=((-1.2,), (INF,), (NAN,)))
T.add("no-elements", lambda x: jnp.sin(x) * 2, np.zeros((0,)))
T.add("no-elements-2d", lambda x: (x + 1, x.sum(), x.T), np.zeros((3, 0)))
T.add("one-element", lambda x: jnp.exp(x) - x, np.array([[0.7]]))
T.add("no-arguments", lambda: jnp.arange(3.0) * 2)
T.add("constant-output", lambda x: (x, 3.0, jnp.ones(2), True, 7), 1.5)
T.add("argument-unused", lambda x, y: y * 2, 1.0, np.array([1.0, 2.0]))
T.add("same-output-twice", lambda x: (x, x, x + 0), np.array([1.0, 2.0]))
T.add("pytree-arguments", lambda p: {"b": p["w"] @ p["x"], "a": [p["c"][0] - p["c"][1], None]},
      {"w": np.arange(6.0).reshape(2, 3), "x": np.array([1.0, -1.0, 2.0]), "c": (1.5, np.array([2.0, 3.0]))})

A = np.array([1.5, -2.0, 0.0, -0.0, 1e300, INF, -INF, NAN, 3.0, -7.25, 5.0, 0.0])
B = np.array([2.0, 3.0, -0.0, 0.0, 1e300, INF, INF, 1.0, NAN, 2.5, -3.0, 0.0])
BINARY = dict(
    add=jnp.add, sub=jnp.subtract, mul=jnp.multiply, div=jnp.divide, rem=lax.rem, max=jnp.maximum,
    min=jnp.minimum, atan2=jnp.arctan2, mod=jnp.mod, floor_divide=jnp.floor_divide, pow=jnp.power,
    nextafter=jnp.nextafter, hypot=jnp.hypot, logaddexp=jnp.logaddexp, copysign=jnp.copysign,
    eq=jnp.equal, ne=jnp.not_equal, lt=jnp.less, le=jnp.less_equal, gt=jnp.greater,
    ge=jnp.greater_equal, heaviside=jnp.heaviside, fmax=jnp.fmax, fmin=jnp.fmin,
)  # fmt: skip
for name, fn in BINARY.items():
    T.add(name, fn, A, B, entrywise=True, more=((B, A),))
T.add("max-min-of-zeros", lambda a, b: (jnp.maximum(a, b), jnp.minimum(a, b)), np.array([0.0, -0.0]), np.array([-0.0, 0.0]))
T.add("mul-div-signed-zero", lambda a, b: (a * b, a / b, -a, b - b), np.array([0.0, -0.0, 0.0, -0.0]),
      np.array([-1.0, 2.0, 3.0, -4.0]), signed_zero=True)
T.add("rem-signs", lambda a, b: (lax.rem(a, b), a % b), np.array([5.5, -5.5, 5.5, -5.5, 6.0, -6.0]),
      np.array([2.0, 2.0, -2.0, -2.0, 3.0, 3.0]), signed_zero=True)
T.add("pow-edges", jnp.power, np.array([0.0, 0.0, -8.0, -8.0, 1.0, 1.0, -1.0, INF, -INF, 0.5, NAN, -0.0, 2.0]),
      np.array([0.0, -1.0, 3.0, 0.5, NAN, INF, INF, -1.0, 3.0, INF, 0.0, -3.0, 0.5]))
T.add("pow-integer-exponents", lambda x: tuple(x**n for n in (0, 1, 2, 3, 5, -1, -2, -3)), EDGES[:17], entrywise=True)
T.add("pow-traced-integer", lambda x, n: x**n, np.array([1.5, -2.0, 0.0]), np.array([3, -2, 0], np.int32))
T.add("broadcast-size-1", lambda a, b: (a + b, a * b, jnp.maximum(a, b)), np.arange(3.0).reshape(3, 1), np.arange(4.0).reshape(1, 4))
T.add("broadcast-scalar-array", lambda s, a: s * a + s, 2.5, np.arange(6.0).reshape(2, 3))
T.add("broadcast-1x1-to-large", lambda a, b: a * b - a, np.array([[3.0]]), np.arange(12.0).reshape(3, 4))
T.add("broadcast-lax-size-1-equal", lambda a, b: lax.add(a, b), np.array([[3.0]]), np.array([[4.0]]))
T.add("broadcast-rank", lambda a, b: a[None, :, None] + b, np.arange(3.0), np.arange(8.0).reshape(2, 1, 4))
T.add("clamp", lambda lo, x, hi: (lax.clamp(lo, x, hi), jnp.clip(x, -1.0, 1.0)), -0.5, EDGES, 2.0)
T.add("clamp-array-bounds", lax.clamp, np.array([0.0, 1.0, 2.0]), np.array([-1.0, 5.0, NAN]), np.array([1.0, 3.0, 4.0]))
T.add("clamp-crossed-bounds", lax.clamp, 3.0, np.array([0.0, 2.0, 5.0]), 1.0)

# Selection
T.add("where-3", lambda x: jnp.where(x > 0, x, jnp.where(x < -1, -1.0, 0.0)), EDGES)
T.add("where-broadcast", lambda c, a, b: jnp.where(c, a, b), np.array([[True], [False]]), np.arange(3.0), -1.0)
T.add("where-scalar-predicate-array", lambda c, a, b: jnp.where(c, a, b), True, np.arange(3.0), np.zeros(3), more=((False, np.ones(3), np.arange(3.0)),))
T.add("where-no-leak-of-nan", lambda x: jnp.where(x > 0, jnp.log(x), 0.0), np.array([-1.0, 0.0, 2.0]))
T.add("select-n-bool", lambda p, a, b: lax.select_n(p, a, b), np.array([True, False, True]), np.arange(3.0), np.arange(3.0) + 10)
T.add("select-n-many", lambda p, *cases: lax.select_n(p, *cases), np.array([0, 1, 2, 3, 4], np.int32),
      *(np.arange(5.0) + 10 * k for k in range(5)))
T.add("select-n-many-scalar", lambda p, a, b, c, d: lax.select_n(p, a, b, c, d), np.int32(2), *(np.arange(4.0) + 10 * k for k in range(4)),
      more=tuple((np.int32(k), *(np.arange(4.0) + 10 * j for j in range(4))) for k in (0, 1, 3)))
T.add("select-n-many-large", lambda p, *cases: lax.select_n(p, *cases), (np.arange(60) % 3).astype(np.int32),
      *(np.arange(60.0) * (k + 1) for k in range(3)))
T.add("select-list", lambda x: jnp.select([x < 0, x < 1, x < 2], [x, x * 10, x * 100], -1.0), np.array([-1.0, 0.5, 1.5, 5.0, NAN]))
T.add("piecewise", lambda x: jnp.piecewise(x, [x < 0, x >= 2], [lambda v: -v, lambda v: v * v, lambda v: v + 0.5]), np.linspace(-1, 3, 9))

# Booleans
P, Q = np.array([True, True, False, False]), np.array([True, False, True, False])
T.add("booleans", lambda p, q: (p & q, p | q, p ^ q, ~p, p == q, p < q), P, Q)
T.add("booleans-arithmetic", lambda p, q: (p + q, p * q, p * 2.5, p.sum(), jnp.where(p, 1, q)), P, Q)
T.add("boolean-scalar", lambda p, x: jnp.where(p, x, -x) + p, True, 2.0, more=((False, 2.0),))

# 32-bit and narrower integers wrap; 64-bit ones are exact to 2**53.
I32 = np.array([2**31 - 1, -(2**31), 123456789, -987654321, 0, -1, 46341, 65536], np.int32)
J32 = np.array([1, -1, 1000003, 77777777, 5, -(2**31), 46341, 65537], np.int32)
U32 = np.array([2**32 - 1, 2**31, 123456789, 4000000000, 0, 1, 65536, 99999], np.uint32)
V32 = np.array([1, 2, 1000003, 3999999999, 7, 2**32 - 1, 65537, 99999], np.uint32)
for label, a, b in (("int32", I32, J32), ("uint32", U32, V32)):
    T.add(f"{label}-add-sub-mul", lambda a, b: (a + b, a - b, a * b, -a, a * a * a), a, b)
    T.add(f"{label}-div-rem", lambda a, b: (lax.div(a, b), lax.rem(a, b), a // b, a % b), a, b)
    T.add(f"{label}-bits", lambda a, b: (a & b, a | b, a ^ b, ~a, lax.population_count(a), lax.clz(a)), a, b)
    T.add(f"{label}-compare", lambda a, b: (a < b, a >= b, a == b, jnp.maximum(a, b), jnp.minimum(a, b), jnp.sign(a)), a, b)
    shift = np.array([0, 1, 31, 32, 33, 7, 16, 40]).astype(a.dtype)
    T.add(f"{label}-shifts", lambda a, s: (lax.shift_left(a, s), lax.shift_right_logical(a, s), lax.shift_right_arithmetic(a, s)), a, shift)
    T.add(f"{label}-sum-prod-wrap", lambda a: (jnp.sum(a, dtype=a.dtype), jnp.prod(a, dtype=a.dtype), jnp.cumsum(a, dtype=a.dtype)), a[[0, 1, 2, 3, 6]])
    T.add(f"{label}-pow", lambda a: (a**2, a**3, lax.integer_pow(a, 5)), a)
    T.add(f"{label}-dot-wraps", lambda a, b: a @ b, a, b)
T.add("int32-division-by-zero", lambda a: (lax.div(a, jnp.zeros_like(a)), lax.rem(a, jnp.zeros_like(a))), I32)
T.add("int32-overflowing-division", lambda a, b: (lax.div(a, b), lax.rem(a, b)), np.array([-(2**31)], np.int32), np.array([-1], np.int32))
T.add("int32-abs-of-least", jnp.abs, I32)
T.add("int8-uint8-wrap", lambda a, b: (a + a, a * a, a - 100, b + b, b * b, b - 200), np.array([127, -128, 50], np.int8), np.array([255, 128, 3], np.uint8))
T.add("int16-wrap", lambda a: (a * a, a + a, lax.shift_left(a, jnp.int16(3))), np.array([32767, -32768, 300], np.int16))
T.add("int64-exact", lambda a, b: (a * b, a + b, a - b, a // b, a % b, -a), np.array([94906265, -94906265, 2**52, -7]), np.array([94906265, 3, 1, 2]))
T.add("int64-bits", lambda a, b: (a & b, a | b, a ^ b), np.array([2**31 + 5, 12345]), np.array([2**31 + 3, 54321]))
T.add("int64-sign-abs-minmax", lambda a: (jnp.sign(a), jnp.abs(a), a.max(), a.min(), a.sum()), np.array([-3, 0, 2**40]))

# Conversions
FLOATS = np.array([0.0, -0.5, 0.5, 1.99, -1.99, 3e9, -3e9, 5e9, 1e20, -1e20, INF, -INF, NAN, 255.7, 300.0])
for dtype in ("int32", "uint32", "int8", "uint8", "int16"):
    T.add(f"float64-to-{dtype}", lambda x, dtype=dtype: x.astype(dtype), FLOATS)
T.add("float64-to-bool", lambda x: x.astype(bool), FLOATS)
T.add("float64-to-int64", lambda x: x.astype(int), np.array([0.5, -1.9, 1e15, -2.0**52]))
T.add("float64-to-float32", lambda x: x.astype(jnp.float32), np.array([0.1, 1 / 3, 1e30, 1e39, -1e39, 1e-50, NAN, 16777217.0]))
T.add("float32-to-float64", lambda x: x.astype(jnp.float64) * 3, np.array([0.1, 1 / 3, 7e20], np.float32))
T.add("int32-to-others", lambda a: (a.astype(jnp.uint32), a.astype(jnp.int8), a.astype(jnp.float32), a.astype(bool), a.astype(jnp.int64), a.astype(float)), I32)
T.add("uint32-to-others", lambda a: (a.astype(jnp.int32), a.astype(jnp.uint8), a.astype(jnp.float32), a.astype(jnp.int64)), U32)
T.add("int64-to-int32-wraps", lambda a: (a.astype(jnp.int32), a.astype(jnp.uint32), a.astype(jnp.int16)), np.array([2**31, -(2**31) - 1, 2**40 + 17, -5]))
T.add("bool-to-number", lambda p: (p.astype(float), p.astype(jnp.int32), p.astype(jnp.uint8)), P)
T.add("bitcast-float32", lambda x: lax.bitcast_convert_type(x, jnp.uint32), np.array([0.0, -0.0, 1.0, -1.5, INF, 1e-3], np.float32))
T.add("bitcast-uint32", lambda x: lax.bitcast_convert_type(x, jnp.float32), np.array([0, 2**31, 0x3F800000, 0xC0490FDB], np.uint32))
T.add("bitcast-int32-uint32", lambda a: (lax.bitcast_convert_type(a, jnp.uint32), lax.bitcast_convert_type(a, jnp.int32)), I32)
T.add("reduce-precision", lambda x: lax.reduce_precision(x, 8, 23), np.array([0.1, 1 / 3, 1e30, 1e39]))
T.add("float32-inside-float64", lambda x: (x.astype(jnp.float32) * jnp.float32(0.1) + jnp.float32(1.0)).astype(float), np.array([0.1, 0.7, 123456.789]))
T.add("iota-arange-linspace", lambda x: (jnp.arange(5) * x, jnp.linspace(0.0, x, 7), lax.broadcasted_iota(jnp.int32, (2, 3), 1), jnp.eye(3) * x, jnp.tri(3)), 2.5)
T.add("logspace-geomspace", lambda x: (jnp.logspace(-2, x, 5), jnp.geomspace(1e-3, x, 6)), 1.5)
T.add("stop-gradient", lambda x: lax.stop_gradient(x) * 2, np.array([1.0, 2.0]))
T.add("optimization-barrier", lambda x: lax.optimization_barrier(x) + 1, np.array([1.0, 2.0]))
T.add("long-chain", lambda x: jnp.tanh(jnp.sin(x) * jnp.cos(x + 1) - jnp.exp(-x * x) / (1 + x**2)) ** 3, np.linspace(-3, 3, 31))
T.add("many-uses-of-one-value", lambda x: (lambda y: (y * y + y, y - y * 3, jnp.sqrt(y)))(jnp.exp(x)), np.linspace(-1, 1, 12))
T.add("polynomials", lambda x: jnp.polyval(jnp.array([1.0, -2.0, 0.5, 3.0]), x), np.linspace(-2, 2, 9))
T.add("interp", lambda x: jnp.interp(x, jnp.array([0.0, 1.0, 3.0]), jnp.array([2.0, -1.0, 4.0])), np.array([-1.0, 0.0, 0.25, 1.0, 2.0, 3.0, 9.0]))
