// Dense linear algebra on flat row-major arrays, for the small matrices of a figure. The loops are
// LAPACK's unblocked ones; `out` may not overlap an input.

// Lower Cholesky factor of the n x n matrix whose lower triangle is in a (the upper one is not read).
// A pivot <= 0 means "not positive definite": the lower triangle is then NaN, as in JAX.
function cholesky(a, n, out) {
  out.fill(0);
  for (let j = 0; j < n; j++) {
    let pivot = a[j * n + j];
    for (let k = 0; k < j; k++) pivot -= out[j * n + k] * out[j * n + k];
    if (pivot <= 0) {
      for (let r = 0; r < n; r++) out.fill(NaN, r * n, r * n + r + 1);
      return;
    }
    const root = Math.sqrt(pivot);
    out[j * n + j] = root;
    for (let i = j + 1; i < n; i++) {
      let sum = a[i * n + j];
      for (let k = 0; k < j; k++) sum -= out[i * n + k] * out[j * n + k];
      out[i * n + j] = sum / root;
    }
  }
}

// P A = L U of an m x n matrix with partial pivoting (LAPACK getrf). outLU holds L (unit diagonal,
// not stored) under U; outPivots[j] is the row swapped with row j; outPermutation, when given, is the
// order in which the rows of A appear in L U. A singular A gives a zero on U's diagonal, no error.
function lu(a, m, n, outLU, outPivots, outPermutation) {
  for (let i = 0; i < m * n; i++) outLU[i] = a[i];
  if (outPermutation) for (let i = 0; i < m; i++) outPermutation[i] = i;
  const steps = Math.min(m, n);
  for (let j = 0; j < steps; j++) {
    let best = j;
    for (let i = j + 1; i < m; i++) {
      if (Math.abs(outLU[i * n + j]) > Math.abs(outLU[best * n + j])) best = i;
    }
    outPivots[j] = best;
    if (best !== j) {
      for (let k = 0; k < n; k++) {
        const swap = outLU[j * n + k];
        outLU[j * n + k] = outLU[best * n + k];
        outLU[best * n + k] = swap;
      }
      if (outPermutation) {
        const swap = outPermutation[j];
        outPermutation[j] = outPermutation[best];
        outPermutation[best] = swap;
      }
    }
    const pivot = outLU[j * n + j];
    if (pivot === 0) continue;
    for (let i = j + 1; i < m; i++) {
      const factor = outLU[i * n + j] / pivot;
      outLU[i * n + j] = factor;
      for (let k = j + 1; k < n; k++) outLU[i * n + k] -= factor * outLU[j * n + k];
    }
  }
}

// The row order that the row swaps of lu() make: outPermutation[i] is the row of A at place i, for
// `steps` swaps of m rows.
function luPivotsToPermutation(pivots, steps, m, outPermutation) {
  for (let i = 0; i < m; i++) outPermutation[i] = i;
  for (let j = 0; j < steps; j++) {
    const swap = outPermutation[j];
    outPermutation[j] = outPermutation[pivots[j]];
    outPermutation[pivots[j]] = swap;
  }
}

// Solves op(A) X = B (leftSide, B is n x m) or X op(A) = B (B is m x n) for a triangular n x n matrix
// A by substitution; op transposes if transposeA. Only the named triangle is read, and not the
// diagonal if unitDiagonal. A zero on the diagonal gives inf or NaN.
function triangularSolve(a, b, n, m, leftSide, lower, transposeA, unitDiagonal, out) {
  for (let i = 0; i < n * m; i++) out[i] = b[i];
  // X op(A) = B is op(A)^T X^T = B^T: the same substitution, strides exchanged.
  const transposed = transposeA !== !leftSide;
  const rowA = transposed ? 1 : n;
  const colA = transposed ? n : 1;
  const row = leftSide ? m : 1;
  const col = leftSide ? 1 : n;
  const forward = lower !== transposed;
  for (let c = 0; c < m; c++) {
    for (let s = 0; s < n; s++) {
      const i = forward ? s : n - 1 - s;
      const at = i * row + c * col;
      if (!unitDiagonal) out[at] /= a[i * n + i];
      const x = out[at];
      const from = forward ? i + 1 : 0;
      const to = forward ? n : i;
      for (let k = from; k < to; k++) out[k * row + c * col] -= x * a[k * rowA + i * colA];
    }
  }
}

// Eigenvalues (ascending, in outW) and eigenvectors (columns of outV, row-major) of the symmetric
// n x n matrix whose lower triangle is in a, by cyclic Jacobi rotations (Golub and Van Loan, section
// 8.5). Accurate to a few units of the last place of ||A||. Sign: in each eigenvector the entry of
// largest absolute value (the first of them) is positive; LAPACK's signs are arbitrary. A matrix with
// NaN or inf gives NaN throughout.
function eighJacobi(a, n, outV, outW) {
  const s = new Float64Array(n * n);
  const v = new Float64Array(n * n);
  let norm = 0;
  for (let i = 0; i < n; i++) {
    v[i * n + i] = 1;
    for (let j = 0; j <= i; j++) {
      s[i * n + j] = s[j * n + i] = a[i * n + j];
      norm = Math.max(norm, Math.abs(a[i * n + j]));
      if (!Number.isFinite(a[i * n + j])) norm = NaN;
    }
  }
  if (norm !== norm) {
    outV.fill(NaN);
    outW.fill(NaN);
    return;
  }
  // Quadratic convergence: a handful of sweeps; the bound only guards against a cycle of roundings.
  for (let sweep = 0; sweep < 60; sweep++) {
    let rotated = false;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const apq = s[p * n + q];
        if (Math.abs(apq) <= 1e-17 * norm) continue;
        rotated = true;
        const theta = (s[q * n + q] - s[p * n + p]) / (2 * apq);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(1, theta));
        const c = 1 / Math.sqrt(1 + t * t);
        const d = t * c;
        for (let k = 0; k < n; k++) {
          const x = s[k * n + p];
          const y = s[k * n + q];
          s[k * n + p] = c * x - d * y;
          s[k * n + q] = d * x + c * y;
        }
        for (let k = 0; k < n; k++) {
          const x = s[p * n + k];
          const y = s[q * n + k];
          s[p * n + k] = c * x - d * y;
          s[q * n + k] = d * x + c * y;
        }
        s[p * n + q] = s[q * n + p] = 0;
        for (let k = 0; k < n; k++) {
          const x = v[k * n + p];
          const y = v[k * n + q];
          v[k * n + p] = c * x - d * y;
          v[k * n + q] = d * x + c * y;
        }
      }
    }
    if (!rotated) break;
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => s[i * n + i] - s[j * n + j]);
  for (let j = 0; j < n; j++) {
    const from = order[j];
    outW[j] = s[from * n + from];
    let top = 0;
    for (let i = 0; i < n; i++) {
      if (Math.abs(v[i * n + from]) > Math.abs(top)) top = v[i * n + from];
    }
    for (let i = 0; i < n; i++) outV[i * n + j] = top < 0 ? -v[i * n + from] : v[i * n + from];
  }
}
