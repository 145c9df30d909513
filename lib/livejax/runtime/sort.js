// Sorting as lax.sort does it.

// Sorts several arrays of one shape (outer, n, inner) together along the middle axis, stable, by the
// first numKeys of them in order of importance. Order of keys: numbers ascending, -0 equal to 0, all
// NaN equal and last. Equal keys keep their places, so every operand keeps its bits.
function sortTogether(operands, outer, n, inner, numKeys, outs) {
  const order = new Uint32Array(n);
  let base = 0;
  const compare = (i, j) => {
    for (let k = 0; k < numKeys; k++) {
      const x = operands[k][base + i * inner];
      const y = operands[k][base + j * inner];
      if (x < y) return -1;
      if (x > y) return 1;
      if (x !== y) {
        const later = (x !== x) - (y !== y);
        if (later !== 0) return later;
      }
    }
    return i - j;
  };
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < inner; c++) {
      base = o * n * inner + c;
      for (let i = 0; i < n; i++) order[i] = i;
      order.sort(compare);
      for (let k = 0; k < operands.length; k++) {
        for (let i = 0; i < n; i++) outs[k][base + i * inner] = operands[k][base + order[i] * inner];
      }
    }
  }
}
