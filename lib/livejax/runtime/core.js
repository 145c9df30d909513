// Arithmetic that JavaScript lacks: float32, integers, rounding. Each follows XLA on a CPU.

// Nearest float32, with subnormals flushed to a zero of the same sign.
function flush32(x) {
  const y = Math.fround(x);
  return y < 1.1754943508222875e-38 && y > -1.1754943508222875e-38 ? y * 0 : y;
}

// A 64-bit integer that a float64 holds exactly; -0 becomes 0.
function int53(x) {
  if (x >= 9007199254740992 || x <= -9007199254740992) {
    throw new RangeError("a 64-bit integer left the range that JavaScript holds exactly (2^53)");
  }
  return x + 0;
}

// The same for an unsigned one.
function uint53(x) {
  if (x >= 9007199254740992 || x < 0) {
    throw new RangeError("an unsigned 64-bit integer left the range below 2^53");
  }
  return x + 0;
}

// Integer quotient, rounded toward zero. Division by zero gives -1 (all bits set).
function quotient(a, b) {
  return b === 0 ? -1 : (a - (a % b)) / b;
}

// Integer remainder with the sign of a; modulo zero it is a.
function remainder(a, b) {
  return b === 0 ? a : (a % b) + 0;
}

// Remainder of the unsigned 64-bit integer with the given words, by an integer below 2^53.
function remainder64(high, low, by) {
  if (by === 0) throw new RangeError("remainder of 64 bits by zero");
  return Number(((BigInt(high) << 32n) | BigInt(low)) % BigInt(by));
}

// a to the power b as in C: 1 to any power is 1, and so is -1 to an infinite one.
function power(a, b) {
  if (a === 1 || (a === -1 && (b === Infinity || b === -Infinity))) return 1;
  return Math.pow(a, b);
}

// Power of 32-bit integers, wrapping; negative exponents give 0 except for the bases 1 and -1.
function integerPower32(a, b) {
  if (b < 0) return a === 1 ? 1 : a === -1 ? (b & 1 ? -1 : 1) : 0;
  let result = 1;
  for (let base = a | 0, rest = b; rest > 0; rest >>>= 1) {
    if (rest & 1) result = Math.imul(result, base);
    base = Math.imul(base, base);
  }
  return result;
}

// Power of 64-bit integers.
// needs: int53
function integerPower53(a, b) {
  if (b < 0) return a === 1 ? 1 : a === -1 ? (b % 2 ? -1 : 1) : 0;
  return int53(Math.pow(a, b));
}

// Float to integer: toward zero, out of range to the nearest bound, NaN to 0.
function saturate(x, low, high) {
  return x !== x ? 0 : x <= low ? low : x >= high ? high : Math.trunc(x) + 0;
}

// Nearest integer, halves to the even one; keeps the sign of zero.
function roundToEven(x) {
  if (!(Math.abs(x) < 4503599627370496)) return x;
  const y = Math.abs(x) + 4503599627370496 - 4503599627370496;
  return x < 0 || Object.is(x, -0) ? -y : y;
}

// Nearest integer, halves away from zero.
function roundAwayFromZero(x) {
  const y = Math.trunc(x);
  return Math.abs(x - y) >= 0.5 ? y + Math.sign(x) : y;
}

// -1, 0 or 1 as a comes before b in the total order -NaN < -inf < -0 < 0 < inf < NaN (NaN unsigned).
function totalOrder(a, b) {
  if (a !== a || b !== b) return (a !== a) - (b !== b);
  if (a === b) return Object.is(a, -0) - Object.is(b, -0) === 0 ? 0 : Object.is(a, -0) ? -1 : 1;
  return a < b ? -1 : 1;
}

// log(exp(a) + exp(b)) without overflow.
function logAddExp(a, b) {
  const top = Math.max(a, b);
  if (top === Infinity || top === -Infinity || top !== top) return top;
  return top + Math.log1p(Math.exp(-Math.abs(a - b)));
}

// The number of bits that are set.
function populationCount(x) {
  let count = 0;
  for (let rest = x >>> 0; rest !== 0; rest &= rest - 1) count++;
  return count;
}

// Bitwise operations on 64-bit integers, two's complement.
function and64(a, b) {
  return Number(BigInt(a) & BigInt(b));
}

function or64(a, b) {
  return Number(BigInt(a) | BigInt(b));
}

function xor64(a, b) {
  return Number(BigInt(a) ^ BigInt(b));
}

// Shifts of 64-bit integers.
function shiftLeft53(a, by) {
  return by < 0 || by > 63 ? 0 : a * Math.pow(2, by);
}

function shiftRight53(a, by) {
  return by < 0 || by > 63 ? (a < 0 ? -1 : 0) : Math.floor(a / Math.pow(2, by));
}

function shiftRightLogical53(a, by) {
  if (by < 0 || by > 63) return 0;
  return Number(BigInt.asUintN(64, BigInt(a)) >> BigInt(by));
}

// The 32 bits of a float32 as an integer, and back.
function bitsOfFloat32(x) {
  return new Int32Array(Float32Array.of(x).buffer)[0];
}

function float32OfBits(x) {
  return new Float32Array(Int32Array.of(x | 0).buffer)[0];
}

// The float64 next to a in the direction of b.
function nextAfter(a, b) {
  if (a !== a || b !== b) return NaN;
  if (a === b) return b;
  if (a === 0) return b > 0 ? 5e-324 : -5e-324;
  const bits = new BigInt64Array(Float64Array.of(a).buffer);
  bits[0] += a < b === a > 0 ? 1n : -1n;
  return new Float64Array(bits.buffer)[0];
}

// The float32 next to a in the direction of b.
function nextAfter32(a, b) {
  if (a !== a || b !== b) return NaN;
  if (a === b) return b;
  if (a === 0) return b > 0 ? 1.401298464324817e-45 : -1.401298464324817e-45;
  const bits = new Int32Array(Float32Array.of(a).buffer);
  bits[0] += a < b === a > 0 ? 1 : -1;
  return new Float32Array(bits.buffer)[0];
}

// A number argument of main, checked.
function scalarArgument(value, name) {
  const one = typeof value === "object" && value !== null && value.length === 1 ? value[0] : value;
  if (typeof one !== "number" && typeof one !== "boolean") {
    throw new TypeError(`${name} must be a number, not ${typeof value}`);
  }
  return Number(one);
}

// An integer or boolean argument of main.
function integerArgument(value, name) {
  if (!Number.isInteger(value)) throw new TypeError(`${name} must be an integer, not ${value}`);
  return value + 0;
}

// An array argument of main, checked and copied to memory; a Float32Array rounds on the way.
function arrayArgument(value, name, length, h, start, kind) {
  if (typeof value !== "object" || value === null || value.length !== length) {
    const got = value && value.length !== undefined ? `${value.length} numbers` : String(value);
    throw new TypeError(`${name} must be an array of ${length} numbers, not ${got}`);
  }
  h.set(kind === Float64Array ? value : kind.from(value), start);
}
