"""The worst loss of a method with fixed steps, over all smooth convex functions.

The worst value f(x_T) - f*, over all convex f with an L-Lipschitz gradient in any dimension and
all starts at distance D from a minimizer, is the value of a semidefinite program (Drori and
Teboulle, 2014; exact by the interpolation theorem of Taylor, Hendrickx and Glineur, 2017).
Here L = D = 1, and the minimizer, point 0, and its value are zero.

A method is a strictly lower triangular step matrix H: x_t = x_1 - Σ_s H[t, s] g_s, g_s = ∇f(x_s),
for t = 1, ..., T. The unknowns are the values f_1, ..., f_T and the Gram matrix G of the vectors
x_1, g_1, ..., g_T, in which all inner products below are linear:

    maximize f_T   over positive semidefinite G with |x_1|² <= 1 and, for all i ≠ j in 0, ..., T,
    f_i - f_j - <g_j, x_i - x_j> - |g_i - g_j|² / 2 >= 0,   where f_0 = 0 and g_0 = x_0 = 0.

The last line holds if and only if some convex function with 1-Lipschitz gradient has the values
f_i and the gradients g_i at the points x_i: a feasible G is an example. Its multipliers λ_ij >= 0
are a proof: let Q_ij be the matrix with <Q_ij, G> = <g_j, x_i - x_j> + |g_i - g_j|² / 2. If

    δ_kT + Σ_j λ_kj - Σ_i λ_ik = 0 for k = 1, ..., T,   and   S = τ E_00 + Σ λ_ij Q_ij

is positive semidefinite, then adding up λ_ij times line ij gives f_T <= τ |x_1|² - <S, G> <= τ.
(E_00 has a one where |x_1|² stands in G, and zeros elsewhere.)
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse


class Lines(NamedTuple):
    """The lines i ≠ j of the program: the pairs (N, 2) and the matrices Q_ij (N, T+1, T+1)."""

    pairs: np.ndarray
    matrices: np.ndarray


def lines(steps: np.ndarray) -> Lines:
    """Return the lines of the program for the step matrix H."""
    count = len(steps)
    points, gradients = np.zeros((2, count + 1, count + 1))  # row i in terms of x_1, g_1, ..., g_T
    points[1:, 0] = 1.0
    points[1:, 1:] = -steps
    gradients[1:, 1:] = np.eye(count)
    pairs = np.array([(i, j) for i in range(count + 1) for j in range(count + 1) if i != j])
    i, j = pairs.T
    product = gradients[j][:, :, None] * (points[i] - points[j])[:, None, :]
    change = gradients[i] - gradients[j]
    square = change[:, :, None] * change[:, None, :]
    return Lines(pairs, 0.5 * (product + product.transpose(0, 2, 1) + square))


def surplus(steps: np.ndarray, gram: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the left sides of all lines, shape (N,); none is negative for a true example."""
    pairs, matrices = lines(steps)
    known = np.concatenate([[0.0], values])
    return known[pairs[:, 0]] - known[pairs[:, 1]] - np.einsum("kab,ab->k", matrices, gram)


def slack(steps: np.ndarray, bound: float, multipliers: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return the imbalance of the multipliers, shape (T,), and S, shape (T+1, T+1).

    The bound is proved if the imbalance is zero, S positive semidefinite and no λ_ij negative.
    """
    pairs, matrices = lines(steps)
    balance = np.zeros(len(steps) + 1)
    np.add.at(balance, pairs[:, 0], multipliers)
    np.add.at(balance, pairs[:, 1], -multipliers)
    balance[-1] += 1.0
    matrix = np.tensordot(multipliers, matrices, 1)
    matrix[0, 0] += bound
    return balance[1:], matrix


class Solution(NamedTuple):
    """What the solver found; `lower` and `upper` are the primal and the dual value, τ."""

    lower: float
    upper: float
    gram: np.ndarray
    values: np.ndarray
    multipliers: np.ndarray
    tolerance: float


def solve(steps: np.ndarray, tolerances: list[float]) -> Solution:
    """Solve the program for the step matrix H with Clarabel, an interior-point solver.

    Raises:
        ImportError: if Clarabel is not installed (the extra `experiments`).
        RuntimeError: if it does not report "Solved" at any of the tolerances.
    """
    import clarabel  # here: loading a stored result must not need the solver

    count = len(steps)
    pairs, matrices = lines(steps)
    column, row = np.tril_indices(count + 1)  # the upper triangle, column by column
    scale = np.where(row == column, 1.0, np.sqrt(2.0))
    size = row.size
    change = np.zeros((len(pairs), count + 1))
    change[np.arange(len(pairs)), pairs[:, 0]] -= 1.0
    change[np.arange(len(pairs)), pairs[:, 1]] += 1.0
    top = scipy.sparse.csc_matrix(np.hstack([matrices[:, row, column] * scale, change[:, 1:]]))
    start = scipy.sparse.csc_matrix(([1.0], ([0], [0])), (1, size + count))
    psd = scipy.sparse.hstack([-scipy.sparse.eye(size), scipy.sparse.csc_matrix((size, count))])
    right = np.zeros(len(pairs) + 1 + size)
    right[len(pairs)] = 1.0
    objective = np.zeros(size + count)
    objective[-1] = -1.0

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cones = [clarabel.NonnegativeConeT(len(pairs) + 1), clarabel.PSDTriangleConeT(count + 1)]
    nothing = scipy.sparse.csc_matrix((size + count, size + count))
    matrix = scipy.sparse.vstack([top, start, psd]).tocsc()
    for tolerance in tolerances:
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
        found = clarabel.DefaultSolver(nothing, objective, matrix, right, cones, settings).solve()
        if found.status == clarabel.SolverStatus.Solved:
            break
    else:
        raise RuntimeError(f"tolerances {tolerances}: Clarabel reports {found.status} at the last")
    unknowns = np.array(found.x)
    gram = np.zeros((count + 1, count + 1))
    gram[row, column] = gram[column, row] = unknowns[:size] / scale
    multipliers = np.array(found.z)[: len(pairs)]
    return Solution(
        -found.obj_val, -found.obj_val_dual, gram, unknowns[size:], multipliers, tolerance
    )


def vectors(gram: np.ndarray, cutoff: float) -> np.ndarray:
    """Return x_1, g_1, ..., g_T, shape (T + 1, r), with this Gram matrix up to the cutoff."""
    eigenvalues, basis = np.linalg.eigh(gram)
    kept = eigenvalues > cutoff * eigenvalues[-1]
    return (basis[:, kept] * np.sqrt(eigenvalues[kept]))[:, ::-1]
