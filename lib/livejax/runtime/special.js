// Special functions that Math lacks, on one float64 each. They follow the approximations that XLA
// evaluates on a CPU, so that a figure agrees with JAX even where both are off the true value.
// Coefficients are those of the cited sources.

// erfc(x), relative error below 1e-15 up to x = 5 and below 1e-13 in the far tail, where exp(-x^2)
// amplifies the rounding of x^2. Rational minimax approximations on [0, 1], [1, 8] and beyond
// (W. J. Cody, Math. Comp. 23 (1969); coefficients of S. Moshier, Cephes, ndtr).
// needs: erfNearZero
function erfc(x) {
  const a = Math.abs(x);
  if (a < 1) return 1 - erfNearZero(x);
  if (x !== x) return NaN;
  const z = -x * x;
  let p, q;
  if (z < -709.782712893384) {
    return x < 0 ? 2 : 0;
  } else if (a < 8) {
    p = 2.461969814735305e-10;
    p = p * a + 0.5641895648310689; p = p * a + 7.463210564422699;
    p = p * a + 48.63719709856814; p = p * a + 196.5208329560771;
    p = p * a + 526.4451949954773; p = p * a + 934.5285271719577;
    p = p * a + 1027.5518868951572; p = p * a + 557.5353353693994;
    q = a + 13.2281951154745;
    q = q * a + 86.70721408859897; q = q * a + 354.9377788878199;
    q = q * a + 975.7085017432055; q = q * a + 1823.9091668790973;
    q = q * a + 2246.3376081871097; q = q * a + 1656.6630919416134;
    q = q * a + 557.5353408177277;
  } else {
    p = 0.5641895835477551;
    p = p * a + 1.275366707599781; p = p * a + 5.019050422511805;
    p = p * a + 6.160210979930536; p = p * a + 7.4097426995044895;
    p = p * a + 2.9788666537210022;
    q = a + 2.2605286322011726;
    q = q * a + 9.396035249380015; q = q * a + 12.048953980809666;
    q = q * a + 17.08144507475659; q = q * a + 9.608968090632859;
    q = q * a + 3.369076451000815;
  }
  const y = Math.exp(z) * p / q;
  return x < 0 ? 2 - y : y;
}

// erf(x) for |x| < 1, relative error below 1e-15 (same source as erfc). Keeps the sign of zero.
function erfNearZero(x) {
  const z = x * x;
  let p = 9.604973739870516;
  p = p * z + 90.02601972038427; p = p * z + 2232.005345946843;
  p = p * z + 7003.325141128051; p = p * z + 55592.30130103949;
  let q = z + 33.56171416475031;
  q = q * z + 521.3579497801527; q = q * z + 4594.323829709801;
  q = q * z + 22629.000061389095; q = q * z + 49267.39426086359;
  return x * p / q;
}

// erf(x), relative error below 1e-15.
// needs: erfc, erfNearZero
function erf(x) {
  return Math.abs(x) < 1 ? erfNearZero(x) : 1 - erfc(x);
}

// Inverse of erf on [-1, 1]; +-1 give +-Infinity, beyond is NaN. M. Giles, "Approximating the erfinv
// function" (2010), double precision: three polynomials in w = -log(1 - x^2). Relative error below
// 1e-14 while 1 - |x| > 1e-4; nearer to 1 the rounding of x^2 costs what a change of x by one unit
// in its last place costs.
function erfInv(x) {
  if (Math.abs(x) === 1) return x * Infinity;
  const w = -Math.log1p(-x * x);
  let p, t;
  if (w < 6.25) {
    t = w - 3.125;
    p = -3.64441206401782e-21; p = p * t - 1.6850591381820166e-19;
    p = p * t + 1.28584807152564e-18; p = p * t + 1.1157877678025181e-17;
    p = p * t - 1.333171662854621e-16; p = p * t + 2.0972767875968562e-17;
    p = p * t + 6.637638134358324e-15; p = p * t - 4.054566272975207e-14;
    p = p * t - 8.151934197605472e-14; p = p * t + 2.6335093153082323e-12;
    p = p * t - 1.2975133253453532e-11; p = p * t - 5.415412054294628e-11;
    p = p * t + 1.0512122733215323e-9; p = p * t - 4.112633980346984e-9;
    p = p * t - 2.9070369957882005e-8; p = p * t + 4.2347877827932404e-7;
    p = p * t - 1.3654692000834679e-6; p = p * t - 1.3882523362786469e-5;
    p = p * t + 0.00018673420803405714; p = p * t - 0.000740702534166267;
    p = p * t - 0.006033670871430149; p = p * t + 0.24015818242558962;
    p = p * t + 1.6536545626831027;
  } else if (w < 16) {
    t = Math.sqrt(w) - 3.25;
    p = 2.2137376921775787e-9; p = p * t + 9.075656193888539e-8;
    p = p * t - 2.7517406297064545e-7; p = p * t + 1.8239629214389228e-8;
    p = p * t + 1.5027403968909828e-6; p = p * t - 4.013867526981546e-6;
    p = p * t + 2.9234449089955446e-6; p = p * t + 1.2475304481671779e-5;
    p = p * t - 4.7318229009055734e-5; p = p * t + 6.828485145957318e-5;
    p = p * t + 2.4031110387097894e-5; p = p * t - 0.0003550375203628475;
    p = p * t + 0.0009532893797373805; p = p * t - 0.0016882755560235047;
    p = p * t + 0.002491442096107851; p = p * t - 0.003751208507569241;
    p = p * t + 0.005370914553590064; p = p * t + 1.0052589676941592;
    p = p * t + 3.0838856104922208;
  } else {
    t = Math.sqrt(w) - 5;
    p = -2.7109920616438573e-11; p = p * t - 2.555641816996525e-10;
    p = p * t + 1.5076572693500548e-9; p = p * t - 3.789465440126737e-9;
    p = p * t + 7.61570120807834e-9; p = p * t - 1.496002662714924e-8;
    p = p * t + 2.914795345090108e-8; p = p * t - 6.771199775845234e-8;
    p = p * t + 2.2900482228026655e-7; p = p * t - 9.9298272942317e-7;
    p = p * t + 4.526062597223154e-6; p = p * t - 1.968177810553167e-5;
    p = p * t + 7.599527703001776e-5; p = p * t - 0.00021503011930044477;
    p = p * t - 0.00013871931833623122; p = p * t + 1.0103004648645344;
    p = p * t + 4.849906401408584;
  }
  return p * x;
}

// erfInv with every operation rounded to float32, for float32 normal draws: Giles (2010), single
// precision. Within 4 units in the last place of JAX in float32.
function erfInv32(x) {
  const f = Math.fround;
  if (Math.abs(x) === 1) return x * Infinity;
  const w = f(-Math.log1p(f(-x * x)));
  const c = w < 5
    ? [2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087,
       -0.00125372503, -0.00417768164, 0.246640727, 1.50140941]
    : [-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
       -0.0076224613, 0.00943887047, 1.00167406, 2.83297682];
  const t = w < 5 ? f(w - 2.5) : f(f(Math.sqrt(w)) - 3);
  let p = f(c[0]);
  for (let i = 1; i < 9; i++) p = f(f(p * t) + f(c[i]));
  return f(p * x);
}

// log |gamma(x)|: Lanczos (SIAM J. Numer. Anal. B 1 (1964)) with g = 7 and the nine coefficients of
// P. Godfrey, reflected below 1/2. Error below 1e-14 of max(1, |lgamma|); the zeros at 1 and 2 (and
// those on the negative axis) are not relatively accurate, as in JAX.
function lgamma(x) {
  const a = Math.abs(x);
  if (a === Infinity) return Infinity;
  const reflect = x < 0.5;
  const z = reflect ? -x : x - 1;
  const sum = 0.9999999999998099 + 676.5203681218851 / (z + 1) - 1259.1392167224028 / (z + 2)
    + 771.3234287776531 / (z + 3) - 176.6150291621406 / (z + 4) + 12.507343278686905 / (z + 5)
    - 0.13857109526572012 / (z + 6) + 0.000009984369578019572 / (z + 7)
    + 1.5056327351493116e-7 / (z + 8);
  const logT = Math.log1p(z / 7.5) + 2.0149030205422647;  // log(z + 7.5)
  const y = (z + 0.5 - (z + 7.5) / logT) * logT + 0.9189385332046727 + Math.log(sum);
  if (!reflect) return y;
  const part = a - Math.floor(a);
  const logSin = Math.log(Math.sin(Math.PI * Math.min(part, 1 - part)));
  return logSin === -Infinity ? Infinity : 1.1447298858494002 - logSin - y;
}

// digamma(x), the derivative of lgamma: the same Lanczos sum, differentiated. Error below 1e-14 of
// max(1, |digamma|); NaN at 0, -1, -2, ...
function digamma(x) {
  if (x <= 0 && x === Math.floor(x)) return NaN;
  const reflect = x < 0.5;
  const z = reflect ? -x : x - 1;
  const c = [676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406,
    12.507343278686905, -0.13857109526572012, 0.000009984369578019572, 1.5056327351493116e-7];
  let slope = 0;
  let sum = 0.9999999999998099;
  for (let i = 0; i < 8; i++) {
    const d = z + i + 1;
    slope -= c[i] / (d * d);
    sum += c[i] / d;
  }
  const y = Math.log1p(z / 7.5) + 2.0149030205422647 + slope / sum - 7 / (z + 7.5);
  if (!reflect) return y;
  // Near a pole cot(pi x) needs x as an offset from the nearest integer.
  const near = Math.PI * (x + Math.abs(Math.floor(x + 0.5)));
  return y - Math.PI * Math.cos(near) / Math.sin(near);
}

// Sum of a Chebyshev series at t in [-2, 2] by Clenshaw's recurrence, highest coefficient first, the
// constant one halved by the formula.
function chebyshev(c, t) {
  let b0 = 0;
  let b1 = 0;
  let b2 = 0;
  for (let i = 0; i < c.length; i++) {
    b2 = b1;
    b1 = b0;
    b0 = t * b1 - b2 + c[i];
  }
  return 0.5 * (b0 - b2);
}

// Modified Bessel function exp(-|x|) I0(x), relative error below 1e-15. Chebyshev series of
// S. Moshier (Cephes, i0e).
// needs: chebyshev
function besselI0e(x) {
  const a = Math.abs(x);
  return a <= 8
    ? chebyshev([
    -4.4153416464793395e-18, 3.3307945188222384e-17, -2.431279846547955e-16, 1.715391285555133e-15,
    -1.1685332877993451e-14, 7.676185498604936e-14, -4.856446783111929e-13, 2.95505266312964e-12,
    -1.726826291441556e-11, 9.675809035373237e-11, -5.189795601635263e-10, 2.6598237246823866e-9,
    -1.300025009986248e-8, 6.046995022541919e-8, -2.670793853940612e-7, 1.1173875391201037e-6,
    -4.4167383584587505e-6, 1.6448448070728896e-5, -5.754195010082104e-5, 0.00018850288509584165,
    -0.0005763755745385824, 0.0016394756169413357, -0.004324309995050576, 0.010546460394594998,
    -0.02373741480589947, 0.04930528423967071, -0.09490109704804764, 0.17162090152220877,
    -0.3046826723431984, 0.6767952744094761,
    ], a / 2 - 2)
    : chebyshev([
    -7.233180487874754e-18, -4.830504485944182e-18, 4.46562142029676e-17, 3.461222867697461e-17,
    -2.8276239805165836e-16, -3.425485619677219e-16, 1.7725601330565263e-15, 3.8116806693526224e-15,
    -9.554846698828307e-15, -4.150569347287222e-14, 1.54008621752141e-14, 3.8527783827421426e-13,
    7.180124451383666e-13, -1.7941785315068062e-12, -1.3215811840447713e-11, -3.1499165279632416e-11,
    1.1889147107846439e-11, 4.94060238822497e-10, 3.3962320257083865e-9, 2.266668990498178e-8,
    2.0489185894690638e-7, 2.8913705208347567e-6, 6.889758346916825e-5, 0.0033691164782556943,
    0.8044904110141088,
    ], 32 / a - 2) / Math.sqrt(a);
}

// Modified Bessel function exp(-|x|) I1(x), relative error below 1e-15. Chebyshev series of
// S. Moshier (Cephes, i1e).
// needs: chebyshev
function besselI1e(x) {
  const a = Math.abs(x);
  const y = a <= 8
    ? a * chebyshev([
    2.7779141127610464e-18, -2.111421214358166e-17, 1.5536319577362005e-16, -1.1055969477353862e-15,
    7.600684294735408e-15, -5.042185504727912e-14, 3.223793365945575e-13, -1.9839743977649436e-12,
    1.1736186298890901e-11, -6.663489723502027e-11, 3.625590281552117e-10, -1.8872497517228294e-9,
    9.381537386495773e-9, -4.445059128796328e-8, 2.0032947535521353e-7, -8.568720264695455e-7,
    3.4702513081376785e-6, -1.3273163656039436e-5, 4.781565107550054e-5, -0.00016176081582589674,
    0.0005122859561685758, -0.0015135724506312532, 0.004156422944312888, -0.010564084894626197,
    0.024726449030626516, -0.05294598120809499, 0.1026436586898471, -0.17641651835783406,
    0.25258718644363365,
    ], a / 2 - 2)
    : chebyshev([
    7.517296310842105e-18, 4.414348323071708e-18, -4.6503053684893586e-17, -3.209525921993424e-17,
    2.96262899764595e-16, 3.3082023109209285e-16, -1.8803547755107825e-15, -3.8144030724370075e-15,
    1.0420276984128802e-14, 4.272440016711951e-14, -2.1015418427726643e-14, -4.0835511110921974e-13,
    -7.198551776245908e-13, 2.0356285441470896e-12, 1.4125807436613782e-11, 3.2526035830154884e-11,
    -1.8974958123505413e-11, -5.589743462196584e-10, -3.835380385964237e-9, -2.6314688468895196e-8,
    -2.512236237870209e-7, -3.882564808877691e-6, -0.00011058893876262371, -0.009761097491361469,
    0.7785762350182801,
    ], 32 / a - 2) / Math.sqrt(a);
  return Math.sign(x) * y;
}
