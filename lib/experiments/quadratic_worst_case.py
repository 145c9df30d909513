"""How fast is averaging with weights and hints on the worst of all quadratics?

Each method returns the average x̄_T of the convex form (`metagrad.averaged`), here with a meta
step size that may change from step to step:

    w_t = x_0 - β_t (α_1 g_1 + ... + α_{t-1} g_{t-1} + γ_t g_{t-1}),   g_t = ∇f(x̄_t),
    x̄_t = (1 - ρ_t) x̄_{t-1} + ρ_t w_t,   ρ_t = α_t / (α_1 + ... + α_t).

On a quadratic with eigenvalues in [0, L] it works on each eigenvector alone, so the worst loss
from a start at distance D is the maximum over one curvature q of q x̄_T(q)² / 2, times L D²; here
L = D = 1. `slope` fits log(worst loss) against log T; `scaled` is the last worst loss times T to
the power that the theory gives.

The weights are computed here, not imported from `metagrad`, so that this result and the one of
`smooth_worst_case`, which takes a solver, outlive changes there. The tests hold both together.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

# `weights` and `hint` are explained in `schedule`. `step_size` is β L, or the name of a sequence.
METHODS: dict[str, dict[str, Any]] = {
    "gradient descent": {"weights": "newest only", "hint": "none", "step_size": 1.0},
    "constant, no hint": {"weights": "constant", "hint": "none", "step_size": 1.0},
    "constant, hint": {"weights": "constant", "hint": "full", "step_size": 0.5},
    "growing, no hint, decreasing step": {"weights": "t", "hint": "none", "step_size": "1/t"},
    "growing, no hint, step 1/4": {"weights": "t", "hint": "none", "step_size": 0.25},
    "growing, no hint, step 1/2": {"weights": "t", "hint": "none", "step_size": 0.5},
    "growing, no hint, step 1": {"weights": "t", "hint": "none", "step_size": 1.0},
    "growing, hint": {"weights": "t", "hint": "full", "step_size": 0.25},
    "growing, hint, increasing step": {"weights": "t", "hint": "full", "step_size": "(t-1)/2t"},
    "fast growing, hint": {"weights": "lagged", "hint": "full", "step_size": 1.0},
    "exact Nesterov": {"weights": "nesterov", "hint": "nesterov", "step_size": 1.0},
}
SETTINGS: dict[str, Any] = {
    "methods": METHODS,
    "inner_steps": [2**k for k in range(1, 15)],
    "fit_from": 256,  # the slopes are fitted from here on
    "points_per_step": 4,  # curvatures in the grid: this many times T, and
    "least_points": 4096,  # no fewer than this
    "zooms": 3,
}


class Schedule(NamedTuple):
    """The numbers of a method for t = 1, ..., T, each of shape (T,): α_t, ρ_t, γ_t, β_t L."""

    weights: np.ndarray
    shares: np.ndarray
    hints: np.ndarray
    step_sizes: np.ndarray


def schedule(method: dict[str, Any], inner_steps: int) -> Schedule:
    """Return the numbers of a method.

    Weights: "constant" is α_t = 1, "t" is α_t = t, "lagged" has α_1 = 1 and α_t² = A_{t-1},
    "nesterov" has α_t² = A_t, and "newest only" has α_t = 1 with ρ_t = 1: x̄_t = w_t.
    Hints: "none" is γ_t = 0, "full" is γ_t = α_t, "nesterov" is γ_t = α_t - 1.

    Raises:
        ValueError: if a name is none of these.
    """
    t = np.arange(1.0, inner_steps + 1.0)
    ones, lagged, nesterov = np.ones((3, inner_steps))
    for i in range(1, inner_steps):
        nesterov[i] = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * nesterov[i - 1] ** 2))
    for i in range(2, inner_steps):  # α_1 = α_2 = 1; then A_{t-1} = A_{t-2} + α_{t-1}
        lagged[i] = np.sqrt(lagged[i - 1] ** 2 + lagged[i - 1])
    weights = {
        "constant": ones,
        "newest only": ones,
        "t": t,
        "lagged": lagged,
        "nesterov": nesterov,
    }
    _require_choice("weights", method["weights"], weights)
    alpha = weights[method["weights"]]
    hints = {"none": 0.0 * alpha, "full": alpha, "nesterov": alpha - 1.0}
    _require_choice("hint", method["hint"], hints)
    sequences = {"1/t": 1.0 / t, "(t-1)/2t": 0.5 * (t - 1.0) / t}
    step_size = method["step_size"]
    if isinstance(step_size, str):
        _require_choice("step_size", step_size, sequences)
    return Schedule(
        weights=alpha,
        shares=ones if method["weights"] == "newest only" else alpha / np.cumsum(alpha),
        hints=hints[method["hint"]],
        step_sizes=sequences[step_size] if isinstance(step_size, str) else step_size * ones,
    )


def _require_choice(name: str, value: str, choices: dict[str, Any]) -> None:
    """Raise an error unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


@jax.jit
def final_losses(numbers: Schedule, curvatures: jax.Array) -> jax.Array:
    """Return q x̄_T(q)² / 2 from x_0 = 1 for each curvature q; shape like `curvatures`."""

    def step(state, now):
        average, gradient, gradient_sum = state
        iterate = 1.0 - now.step_sizes * (gradient_sum + now.hints * gradient)
        average = (1.0 - now.shares) * average + now.shares * iterate
        gradient = curvatures * average
        return (average, gradient, gradient_sum + now.weights * gradient), None

    start = (jnp.ones_like(curvatures), jnp.zeros_like(curvatures), jnp.zeros_like(curvatures))
    average = jax.lax.scan(step, start, numbers)[0][0]
    return 0.5 * curvatures * average**2


def worst_curvature(
    numbers: Schedule, points_per_step: int, least_points: int, zooms: int
) -> tuple[float, float]:
    """Find the curvature in [0, 1] with the largest final loss.

    x̄_T oscillates in √q, with fewer than T periods: the grid is uniform in √q, and the best
    interval of it is divided again and again.

    Returns:
        The largest loss and its curvature.
    """
    points = max(least_points, points_per_step * numbers.weights.shape[0])
    grid = np.linspace(0.0, 1.0, points)
    for _ in range(zooms + 1):
        losses = np.asarray(final_losses(numbers, jnp.asarray(grid**2)))
        best = int(np.argmax(losses))
        found = float(losses[best]), float(grid[best] ** 2)
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)], 201)
    return found


def run(
    *,
    methods: dict[str, dict[str, Any]],
    inner_steps: list[int],
    fit_from: int,
    points_per_step: int,
    least_points: int,
    zooms: int,
) -> dict[str, Any]:
    """Return for each method the worst loss at each T, its curvature, and the log-log slope."""
    table: dict[str, Any] = {}
    steps = np.array(inner_steps)
    fitted = steps >= fit_from
    for name, method in methods.items():
        found = [
            worst_curvature(schedule(method, count), points_per_step, least_points, zooms)
            for count in inner_steps
        ]
        losses = np.array([loss for loss, _ in found])
        slope = float(np.polyfit(np.log(steps[fitted]), np.log(losses[fitted]), 1)[0])
        table[name] = {
            "worst_losses": [float(f"{loss:.10g}") for loss in losses],
            "curvatures": [float(f"{curvature:.6g}") for _, curvature in found],
            "slope": round(slope, 6),
            "scaled": float(f"{losses[-1] * float(steps[-1]) ** round(-slope):.8g}"),
        }
    return {"inner_steps": inner_steps, "methods": table}
