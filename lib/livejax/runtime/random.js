// JAX's default random numbers, bit for bit: Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and
// Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and the counters of
// `jax_threefry_partitionable=True`: element i of an array is the hash of the 64-bit counter i.
// Words are numbers in [0, 2^32).

// One block: key words k0, k1 and counter words x0, x1 (high, low) to the pair of output words.
function threefry2x32(k0, k1, x0, x1) {
  const k2 = k0 ^ k1 ^ 0x1bd11bda;
  let x = (x0 + k0) | 0;
  let y = (x1 + k1) | 0;
  // A round: x += y; y = rotate_left(y, r) ^ x. Key words are added after each four.
  x = (x + y) | 0; y = ((y << 13) | (y >>> 19)) ^ x;
  x = (x + y) | 0; y = ((y << 15) | (y >>> 17)) ^ x;
  x = (x + y) | 0; y = ((y << 26) | (y >>> 6)) ^ x;
  x = (x + y) | 0; y = ((y << 6) | (y >>> 26)) ^ x;
  x = (x + k1) | 0; y = (y + k2 + 1) | 0;
  x = (x + y) | 0; y = ((y << 17) | (y >>> 15)) ^ x;
  x = (x + y) | 0; y = ((y << 29) | (y >>> 3)) ^ x;
  x = (x + y) | 0; y = ((y << 16) | (y >>> 16)) ^ x;
  x = (x + y) | 0; y = ((y << 24) | (y >>> 8)) ^ x;
  x = (x + k2) | 0; y = (y + k0 + 2) | 0;
  x = (x + y) | 0; y = ((y << 13) | (y >>> 19)) ^ x;
  x = (x + y) | 0; y = ((y << 15) | (y >>> 17)) ^ x;
  x = (x + y) | 0; y = ((y << 26) | (y >>> 6)) ^ x;
  x = (x + y) | 0; y = ((y << 6) | (y >>> 26)) ^ x;
  x = (x + k0) | 0; y = (y + k1 + 3) | 0;
  x = (x + y) | 0; y = ((y << 17) | (y >>> 15)) ^ x;
  x = (x + y) | 0; y = ((y << 29) | (y >>> 3)) ^ x;
  x = (x + y) | 0; y = ((y << 16) | (y >>> 16)) ^ x;
  x = (x + y) | 0; y = ((y << 24) | (y >>> 8)) ^ x;
  x = (x + k1) | 0; y = (y + k2 + 4) | 0;
  x = (x + y) | 0; y = ((y << 13) | (y >>> 19)) ^ x;
  x = (x + y) | 0; y = ((y << 15) | (y >>> 17)) ^ x;
  x = (x + y) | 0; y = ((y << 26) | (y >>> 6)) ^ x;
  x = (x + y) | 0; y = ((y << 6) | (y >>> 26)) ^ x;
  x = (x + k2) | 0; y = (y + k0 + 5) | 0;
  return [x >>> 0, y >>> 0];
}

// random_bits of width 32: n words into out. (Widths 8 and 16 are the low bits of these.)
// needs: threefry2x32
function randomBits32(k0, k1, n, out) {
  for (let i = 0; i < n; i++) {
    const [high, low] = threefry2x32(k0, k1, Math.floor(i / 4294967296), i);
    out[i] = (high ^ low) >>> 0;
  }
}

// The top 52 of 64 random bits as an integer below 2^52, n of them: what a float64 uniform draw uses
// (`random_bits[bit_width=64] >> 12`). Exact in a float64, which the 64 bits are not.
// needs: threefry2x32
function randomBits64Top52(k0, k1, n, out) {
  for (let i = 0; i < n; i++) {
    const [high, low] = threefry2x32(k0, k1, Math.floor(i / 4294967296), i);
    out[i] = high * 1048576 + (low >>> 12);
  }
}

// random_split into n keys: 2 n words into out, key after key.
// needs: threefry2x32
function randomSplit(k0, k1, n, out) {
  for (let i = 0; i < n; i++) {
    const pair = threefry2x32(k0, k1, Math.floor(i / 4294967296), i);
    out[2 * i] = pair[0];
    out[2 * i + 1] = pair[1];
  }
}

// random_fold_in of a 32-bit integer (taken modulo 2^32): 2 words into out.
// needs: threefry2x32
function randomFoldIn(k0, k1, data, out) {
  const pair = threefry2x32(k0, k1, 0, data >>> 0);
  out[0] = pair[0];
  out[1] = pair[1];
}

// random_seed: the key of an integer seed, two's complement in 64 bits (exact for |seed| <= 2^53). A
// seed of a 32-bit type has no high word: bits32 is then true.
function randomSeed(seed, bits32, out) {
  out[0] = bits32 ? 0 : Math.floor(seed / 4294967296) >>> 0;
  out[1] = seed >>> 0;
}
