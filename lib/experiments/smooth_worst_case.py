"""How fast is averaging with weights and hints on the worst of all smooth convex functions?

For each method of `quadratic_worst_case`: the worst loss of x̄_T over all convex functions with an
L-Lipschitz gradient, in any dimension, and all starts at distance D from a minimizer, from the
semidefinite program in `common.performance_estimation`. Here L = D = 1. The points are
x̄_t = x_0 - Σ_s H[t, s] g_s with x̄_1 = x_0, so that x̄_T has seen T - 1 gradients.

For `certified_steps` the solution is stored whole, as an example (a lower bound) and a proof (an
upper bound); the tests check both without a solver.
"""

from typing import Any

import numpy as np

from experiments.common.performance_estimation import Solution, slack, solve, surplus, vectors
from experiments.quadratic_worst_case import METHODS, Schedule, schedule, worst_curvature

SETTINGS: dict[str, Any] = {
    "methods": METHODS,
    "inner_steps": [2, 3, 4, 6, 8, 12, 16, 24, 32],
    # Only where it matters: a program with T = 64 takes a minute.
    "more_steps": {"growing, no hint, step 1/4": [48, 64]},
    "certified_steps": 8,
    # Of the solver: feasibility and gap, absolute and relative. The first that it reaches counts.
    "tolerances": [1e-8, 1e-7],
    "cutoff": 1e-6,  # eigenvalues of G below this share of the largest count as zero
    "quadratics": {"points_per_step": 4, "least_points": 4096, "zooms": 3},
}


def step_matrix(numbers: Schedule) -> np.ndarray:
    """Return H, shape (T, T): x̄_t = x_0 - Σ_s H[t, s] g_s; only earlier gradients count."""
    weights, shares, hints, step_sizes = numbers
    count = weights.size
    matrix = np.zeros((count, count))
    for t in range(1, count):
        iterate = np.zeros(count)
        iterate[:t] = step_sizes[t] * weights[:t]
        iterate[t - 1] += step_sizes[t] * hints[t]
        matrix[t] = (1.0 - shares[t]) * matrix[t - 1] + shares[t] * iterate
    return matrix


def certificate(solution: Solution, cutoff: float) -> dict[str, Any]:
    """Return the example and the proof in a solution; rows i and columns j of λ from 0 to T."""
    count = len(solution.values)
    multipliers = np.zeros((count + 1, count + 1))
    multipliers[~np.eye(count + 1, dtype=bool)] = solution.multipliers
    start, *gradients = vectors(solution.gram, cutoff).round(10).tolist()
    return {
        "start": start,
        "gradients": gradients,
        "values": solution.values.round(10).tolist(),
        "multipliers": multipliers.round(10).tolist(),
    }


def run(
    *,
    methods: dict[str, dict[str, Any]],
    inner_steps: list[int],
    more_steps: dict[str, list[int]],
    certified_steps: int,
    tolerances: list[float],
    cutoff: float,
    quadratics: dict[str, int],
) -> dict[str, Any]:
    """Solve the program for each method and T.

    Returns:
        For each method its `inner_steps` T and one list over them of: `lower` and `upper`, the
        values of the program and its dual; `dimensions` of the example found; the solver's
        `tolerances`; `violations`, how far example and proof are from feasible, computed anew;
        `quadratics`, the worst loss over quadratics only. And `certificate`, the example and the
        proof for `certified_steps`.
    """
    import clarabel

    table: dict[str, Any] = {}
    for name, method in methods.items():
        columns: dict[str, Any] = {
            key: [] for key in ("lower", "upper", "dimensions", "tolerances", "violations")
        }
        columns["quadratics"] = []
        columns["inner_steps"] = inner_steps + more_steps.get(name, [])
        for count in columns["inner_steps"]:
            numbers = schedule(method, count)
            steps = step_matrix(numbers)
            found = solve(steps, tolerances)
            balance, matrix = slack(steps, found.upper, found.multipliers)
            violation = max(
                -surplus(steps, found.gram, found.values).min(),
                np.abs(balance).max(),
                -np.linalg.eigvalsh(matrix)[0],
                -found.multipliers.min(),
            )
            columns["lower"].append(round(found.lower, 10))
            columns["upper"].append(round(found.upper, 10))
            columns["dimensions"].append(vectors(found.gram, cutoff).shape[1])
            columns["tolerances"].append(found.tolerance)
            columns["violations"].append(float(f"{violation:.1e}"))
            columns["quadratics"].append(round(worst_curvature(numbers, **quadratics)[0], 10))
            if count == certified_steps:
                columns["certificate"] = certificate(found, cutoff)
        table[name] = columns
    solver = {"name": "Clarabel", "version": clarabel.__version__, "status": "Solved"}
    return {"solver": solver, "methods": table}
