// Functions whose float32 version on XLA's CPU is more than an ulp off the true value. A lesson on
// float32 must show JAX's numbers, so these repeat XLA's steps, each rounded to float32. Arguments
// and results are float64 numbers that a float32 holds. Those not here are within 2 ulp of JAX when
// the float64 function is rounded.

// exp in float32: 2^n times a polynomial on [-log(2)/2, log(2)/2] (Cephes, expf). Within 1 ulp;
// underflow saturates near 1e-38, as on XLA's CPU.
function exp32(x) {
  const f = Math.fround;
  if (x !== x) return NaN;
  const y = f(Math.min(Math.max(x, f(-87.8)), f(88.8)));
  const n = Math.min(Math.max(Math.floor(f(f(y * f(1.442695)) + 0.5)), -127), 127);
  const r = f(f(y - f(n * 0.693359375)) - f(n * f(-0.00021219444)));
  let p = f(f(r * f(0.00019875691)) + f(0.0013981999));
  p = f(f(p * r) + f(0.008333452));
  p = f(f(p * r) + f(0.041665796));
  p = f(f(p * r) + f(0.16666666));
  p = f(f(p * r) + 0.5);
  p = f(1 + f(r + f(p * f(r * r))));
  return n === -127 ? 0 : f(p * 2 ** n);
}

// 2^x in float32, by exp. Within 66 ulp of the true value, and 2 ulp of JAX.
// needs: exp32
function exp232(x) {
  return exp32(Math.fround(x * Math.fround(0.6931472)));
}

// tanh in float32: a rational approximation (Eigen's), +-1 beyond 20. Within 6 ulp of the true value.
function tanh32(x) {
  const f = Math.fround;
  const a = Math.abs(x);
  if (a >= 20) return Math.sign(x);
  if (!(a >= f(0.0004))) return x;
  const y = Math.min(Math.max(x, f(-7.9988117)), f(7.9988117));
  const z = f(y * y);
  let p = f(f(z * f(-2.7607684e-16)) + f(2.000188e-13));
  p = f(f(z * p) + f(-8.604672e-11));
  p = f(f(z * p) + f(5.1222973e-8));
  p = f(f(z * p) + f(0.0000148572235));
  p = f(f(z * p) + f(0.00063726195));
  p = f(f(z * p) + f(0.0048935246));
  let q = f(f(z * f(0.0000011982584)) + f(0.00011853471));
  q = f(f(z * q) + f(0.0022684347));
  q = f(f(z * q) + f(0.004893525));
  return f(f(y * p) / q);
}

// exp(x) - 1 in float32: tanh(x/2) (exp(x) + 1) near 0. Within 6 ulp of the true value.
// needs: exp32, tanh32
function expm132(x) {
  const f = Math.fround;
  if (x === 0) return x;
  const e = exp32(x);
  return Math.abs(x) > 0.5 ? f(e - 1) : f(tanh32(f(x * 0.5)) * f(e + 1));
}

// sinh in float32. Within 24 ulp of the true value.
// needs: exp32, expm132
function sinh32(x) {
  const f = Math.fround;
  const logHalf = f(-0.6931472);
  if (Math.abs(x) < 1) {
    const e = expm132(x);
    return f(f(e + f(e / f(e + 1))) * 0.5);
  }
  return f(exp32(f(x + logHalf)) - exp32(f(logHalf - x)));
}

// cosh in float32. Within 24 ulp of the true value.
// needs: exp32
function cosh32(x) {
  const f = Math.fround;
  const logHalf = f(-0.6931472);
  return f(exp32(f(x + logHalf)) + exp32(f(logHalf - x)));
}

// asinh in float32. Within 4 ulp of the true value.
function asinh32(x) {
  const f = Math.fround;
  const a = Math.abs(x);
  if (a >= 18446743e12) return f(Math.sign(x) * f(f(Math.log(a)) + f(0.6931472)));
  const square = f(x * x);
  const root = f(Math.sqrt(f(square + 1)));
  return Math.sign(x) * f(Math.log1p(f(a + f(square / f(root + 1)))));
}

// acosh in float32. Within 4 ulp of the true value.
function acosh32(x) {
  const f = Math.fround;
  if (x >= 1.70141173e38) return f(f(Math.log(x)) + f(0.6931472));
  const root = f(Math.sqrt(f(x - 1)));
  return f(Math.log1p(f(root * f(f(Math.sqrt(f(x + 1))) + root))));
}

// atanh in float32. Within 4 ulp of the true value.
function atanh32(x) {
  const f = Math.fround;
  if (Math.abs(x) > 1) return NaN;
  return f(f(f(Math.log1p(x)) - f(Math.log1p(-x))) * 0.5);
}

// erf in float32: a rational approximation (Eigen's), +-1 beyond 3.74. Within 5 ulp of the true
// value. The sums are fused on XLA's CPU, so only they are rounded.
function erf32(x) {
  const f = Math.fround;
  if (Math.abs(x) >= f(3.7439213)) return Math.sign(x);
  const z = f(x * x);
  let p = f(z * f(0.00022905065) + f(0.003408291));
  p = f(p * z + f(0.050955694));
  p = f(p * z + f(0.18520832));
  p = f(p * z + f(1.1283791));
  let q = f(z * f(-1.1791603e-7) + f(0.000023547966));
  q = f(q * z + f(0.0010179626));
  q = f(q * z + f(0.01407047));
  q = f(q * z + f(0.11098505));
  q = f(q * z + f(0.49746925));
  q = f(q * z + 1);
  return f(f(x * p) / q);
}

// erfc in float32 (Cephes, ndtrf). Within 64 ulp of the true value.
// needs: exp32
function erfc32(x) {
  const f = Math.fround;
  const a = Math.abs(x);
  const z = f(x * x);
  const horner = (coefficients, t) => {
    let p = f(coefficients[0]);
    for (let i = 1; i < coefficients.length; i++) p = f(f(p * t) + f(coefficients[i]));
    return p;
  };
  if (a < 1) {
    return f(1 - f(x * horner([0.0000785386146, -0.000801019371, 0.00518832775, -0.0268538129,
      0.112835854, -0.37612626, 1.12837911], z)));
  }
  const coefficients = a < 2
    ? [0.0232682, -0.138703942, 0.368742466, -0.582473278, 0.621000469, -0.494451523, 0.340488,
       -0.274112701, 0.563825965]
    : [-10.477664, 12.9772, -7.49551868, 2.92101908, -1.01526523, 0.42184633, -0.282076746,
       0.564189494];
  const tail = f(f(exp32(-z) * f(1 / a)) * horner(coefficients, f(1 / z)));
  const y = -z < f(-88.7228394) ? 0 : tail;
  return x < 0 ? f(2 - y) : y;
}
