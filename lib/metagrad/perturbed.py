"""Meta-gradients from perturbed inner problems: gradients only, and as exact as one likes.

Add ν times the query loss f to the inner problem, and call its solution φ_ν:

    φ_ν(θ) = argmin over φ of ν f(φ) + f̂(φ) + (λ/2) ||φ - θ||².

As ν passes 0, φ_ν moves against the meta-gradient: with F(θ) = f(φ_0(θ)),

    ∇F(θ) = -λ dφ_ν/dν at ν = 0,

and `metagrad.difference_rules` estimates the derivative from a few solves. With exact solves the
estimate is itself a gradient, that of the surrogate S_ν = (1/ν) Σ_j w_j M_{jν}, where M_ν(θ) is
the least value of the problem above.

Sources: Chayti and Jaggi, 2024 (FO-B-MAML); Zucchet et al., 2022 (the contrastive rule, which is
the same estimator for any hyper-parameter).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metagrad import checks
from metagrad.difference_rules import (
    SYMMETRIC,
    DifferenceRule,
    difference,
    reach,
    safe_perturbation,
)
from metagrad.inner import (
    Solution,
    SolveFunction,
    as_dtype_of,
    is_plain_zero,
    perturbed_objective,
    solve,
)
from metagrad.renormalization import norm
from metagrad.task_estimates import Method, Parameters, TaskEstimate, task_estimate
from metagrad.tasks import Task


class PerturbedInfo(NamedTuple):
    """What the difference was made of.

    Attributes:
        perturbation: ν, shape ().
        points: φ_{jν} for each node j of the rule, like the start with a new axis 0.
        residual_norms: the norms of the gradients of the perturbed problems there, shape (nodes,).
        distance_bounds: from there to the perturbed problems' solutions, shape (nodes,); inf where
            no constants were given.
        safe: whether ν is within its bound, or none was given; shape (). If it is not, the
            gradient is NaN.
    """

    perturbation: Float[Array, ""]
    points: Parameters
    residual_norms: Float[Array, " nodes"]
    distance_bounds: Float[Array, " nodes"]
    safe: Bool[Array, ""]


class _Plan(NamedTuple):
    """How the perturbed problems are solved: the arguments that the makers share."""

    perturbation: Any
    inner_steps: int
    inner_step_size: Any
    rule: DifferenceRule
    start: str
    solve: SolveFunction
    strong_convexity: Any
    query_smoothness: Any


def _plan(*arguments: Any) -> _Plan:
    """The shared arguments, checked."""
    plan = _Plan(*arguments)
    checks.require_steps("inner_steps", plan.inner_steps)
    checks.require_positive("inner_step_size", plan.inner_step_size)
    if plan.start not in ("common", "warm"):
        raise ValueError(f"start must be 'common' or 'warm', got {plan.start!r}")
    if (plan.strong_convexity is None) != (plan.query_smoothness is None):
        raise ValueError(
            "strong_convexity and query_smoothness must be given together: a perturbed problem "
            f"needs both, got {plan.strong_convexity!r} and {plan.query_smoothness!r}"
        )
    if not callable(plan.perturbation):
        checks.require_positive("perturbation", plan.perturbation)
        _require_safe(plan, plan.perturbation)
    return plan


def _require_safe(plan: _Plan, perturbation: Any) -> Bool[Array, ""]:
    """Whether ν is within its bound, as an array; an error where both are known and it is not."""
    if plan.strong_convexity is None:
        return jnp.array(True)
    bound = safe_perturbation(plan.strong_convexity, plan.query_smoothness, plan.rule)
    nu = checks.as_float("perturbation", perturbation)
    # The bound itself is allowed, rounded or not.
    safe = nu <= bound.astype(nu.dtype) * (1 + 4 * float(jnp.finfo(nu.dtype).eps))
    if checks.is_known(safe) and not safe:
        raise ValueError(
            f"perturbation must be at most {bound:.6g}, strong_convexity / (2 query_smoothness) "
            f"over the rule's largest node {reach(plan.rule)}, got {perturbation!r}: beyond it "
            "a perturbed inner problem may lose its minimizer"
        )
    return safe


def _solve_all(
    plan: _Plan,
    objective_at: Callable[[Any], Callable],
    start: Parameters,
    query_norm: Callable[[Any], Any],
) -> tuple[Solution, PerturbedInfo]:
    """The unperturbed solution, and those at the nodes of the rule."""
    settings = plan.inner_steps, plan.inner_step_size
    free = plan.solve(objective_at(0.0), start, *settings, plan.strong_convexity)
    nu = plan.perturbation
    nu = as_dtype_of(start, nu(query_norm(free.point)) if callable(nu) else nu)
    safe = _require_safe(plan, nu)
    origin = free.point if plan.start == "warm" else start

    def solve_at(perturbation):
        mu = None
        if plan.strong_convexity is not None:
            mu, smoothness = (
                as_dtype_of(start, number)
                for number in (plan.strong_convexity, plan.query_smoothness)
            )
            mu = mu - jnp.abs(perturbation) * smoothness
        return plan.solve(objective_at(perturbation), origin, *settings, mu)

    # One after the other: the memory of one solve, whatever the rule.
    moved = jnp.array([node for node in plan.rule.nodes if node != 0], nu.dtype)
    solutions = jax.lax.map(solve_at, moved * nu)
    if 0 in plan.rule.nodes:
        place = plan.rule.nodes.index(0)
        solutions = jax.tree.map(
            lambda one, rest: jnp.concatenate([rest[:place], one[None], rest[place:]]),
            free,
            solutions,
        )
    point, residual_norm, distance_bound = solutions
    return free, PerturbedInfo(nu, point, residual_norm, distance_bound, safe)


def _estimate(
    value: Float[Array, ""], gradient: Parameters, free: Solution, info: PerturbedInfo
) -> TaskEstimate:
    """The estimate, with the largest residual of all solves, and no gradient beyond the bound."""
    gradient = jax.tree.map(lambda leaf: jnp.where(info.safe, leaf, jnp.nan), gradient)
    residual_norm = jnp.maximum(free.residual_norm, jnp.max(info.residual_norms))
    certificate = jnp.maximum(free.distance_bound, jnp.max(info.distance_bounds))
    return task_estimate(value, gradient, free.point, residual_norm, certificate, info)


def fo_b_maml(
    regularizer: Any,
    perturbation: Any,
    inner_steps: int,
    inner_step_size: Any,
    *,
    rule: DifferenceRule = SYMMETRIC,
    start: str = "common",
    solve: SolveFunction = solve,
    strong_convexity: Any = None,
    query_smoothness: Any = None,
) -> Method:
    """FO-B-MAML: -λ times a finite difference of perturbed solutions. Gradients only.

    -(λ/ν) Σ_j w_j φ_{jν}. With exact solves it errs by O(νᵖ) for a rule of order p. All solves
    take their K steps from θ, so that errors they have in common cancel.

    Args:
        regularizer: λ, positive.
        perturbation: ν, positive; or a function from ||∇f(φ_0)|| to ν, such as one that calls
            `difference_rules.scale_free_perturbation`.
        inner_steps: K, at least 1, for each solve.
        inner_step_size: α, positive.
        rule: the finite difference: `FORWARD`, `SYMMETRIC`, `THREE_POINT` or another one.
        start: "common": every solve starts at θ. "warm": the perturbed ones start where the
            unperturbed one ended. A rule that has the node 0 then takes the rest of that solve's
            convergence for a derivative, and errs by its accuracy over ν.
        solve: the solve function, see `metagrad.inner`.
        strong_convexity: μ of the unperturbed problem, or None if not known. λ for a convex f̂.
        query_smoothness: L_f, the Lipschitz constant of ∇f; needed with strong_convexity.

    Returns:
        A method. `adapted` is φ_0, whose solve is left out under `jax.jit` where nothing uses it
        and the rule lacks the node 0. The info is a `PerturbedInfo`.

    Raises:
        ValueError: if the perturbation exceeds μ / (2 L_f) over the rule's largest node. Where
            the numbers are not known, the gradient is NaN and finite False.

    >>> task = Task(lambda x: 0.5 * x**2, lambda x: 3.0 * x)  # φ_ν = (λθ - 3ν) / (1 + λ)
    >>> found = fo_b_maml(1.0, 0.1, 60, 0.5)(task, jnp.array(2.0))
    >>> round(float(found.gradient), 9), round(float(found.adapted), 9)
    (1.5, 1.0)
    """
    checks.require_positive("regularizer", regularizer)
    plan = _plan(
        perturbation, inner_steps, inner_step_size, rule, start, solve, strong_convexity,
        query_smoothness,
    )  # fmt: skip

    def method(task: Task, theta: Any) -> TaskEstimate:
        lam = as_dtype_of(theta, regularizer)
        free, info = _solve_all(
            plan,
            lambda nu: perturbed_objective(task, theta, lam, nu),
            theta,
            lambda phi: norm(jax.grad(task.query)(phi)),
        )
        slope = difference(plan.rule, info.points, info.perturbation)
        gradient = jax.tree.map(lambda leaf: -lam * leaf, slope)
        return _estimate(task.query(free.point), gradient, free, info)

    return method


def contrastive_gradient(
    inner_loss: Callable,
    outer_loss: Callable,
    meta_parameters: Any,
    start: Any,
    perturbation: Any,
    inner_steps: int,
    inner_step_size: Any,
    *,
    rule: DifferenceRule = SYMMETRIC,
    solve: SolveFunction = solve,
    strong_convexity: Any = None,
    query_smoothness: Any = None,
) -> TaskEstimate:
    """The contrastive rule: the meta-gradient in any parameters of an inner and an outer loss.

    With φ_β the minimizer of L_in + β L_out over φ, and F(w) = L_out(φ_0, w),

        ∇F(w) = d/dβ ∂_w [L_in + β L_out](φ_β, w)   at β = 0,

    the partial derivative at fixed φ. Source: Zucchet et al., 2022, after equilibrium propagation.

    Args:
        inner_loss: L_in, maps (φ, w) to one number; what is regularized in it is w's business.
        outer_loss: L_out, maps (φ, w) to one number.
        meta_parameters: w, any pytree of arrays.
        start: where every solve starts, any pytree of arrays.
        perturbation: β, positive; or a function of ||∇L_out(φ_0)||, as in `fo_b_maml`.
        inner_steps: K, at least 1, for each solve.
        inner_step_size: α, positive.
        rule: the finite difference.
        solve: the solve function, see `metagrad.inner`.
        strong_convexity: μ of the inner loss in φ, or None if not known.
        query_smoothness: the Lipschitz constant of the outer loss's gradient in φ.

    Returns:
        A `TaskEstimate` whose gradient is like w, and `adapted` φ_0, like the start.

    Raises:
        ValueError: as `fo_b_maml` does.

    >>> inner = lambda x, w: 0.5 * x**2 - w * x  # x = w - β, F = w + w²
    >>> found = contrastive_gradient(
    ...     inner, lambda x, w: x + w**2, jnp.array(3.0), jnp.array(0.0), 0.1, 60, 0.5
    ... )
    >>> round(float(found.gradient), 9), round(float(found.value), 9)
    (7.0, 12.0)
    """
    plan = _plan(
        perturbation, inner_steps, inner_step_size, rule, "common", solve, strong_convexity,
        query_smoothness,
    )  # fmt: skip
    w = checks.float_tree("meta_parameters", meta_parameters)
    start = checks.float_tree("start", start)

    def total(beta, w, phi, *step):
        inner = inner_loss(phi, w, *step)
        return inner if is_plain_zero(beta) else beta * outer_loss(phi, w, *step) + inner

    free, info = _solve_all(
        plan,
        lambda beta: partial(total, beta, w),
        start,
        lambda phi: norm(jax.grad(outer_loss)(phi, w)),
    )
    betas = jnp.array(plan.rule.nodes, info.perturbation.dtype) * info.perturbation

    def slope(pair):
        phi, beta = pair
        return jax.grad(total, 1)(beta, w, phi)

    slopes = jax.lax.map(slope, (info.points, betas))
    gradient = difference(plan.rule, slopes, info.perturbation)
    return _estimate(outer_loss(free.point, w), gradient, free, info)


def contrastive(
    regularizer: Any,
    perturbation: Any,
    inner_steps: int,
    inner_step_size: Any,
    **options: Any,
) -> Method:
    """The contrastive rule for θ in f̂(φ) + (λ/2) ||φ - θ||²: FO-B-MAML by another route.

    The derivative of the inner loss in θ is λ (θ - φ), so that both are equal but for rounding.

    Args:
        regularizer: λ, positive.
        perturbation: as in `fo_b_maml`, and so are inner_steps and inner_step_size.
        inner_steps: K, at least 1, for each solve.
        inner_step_size: α, positive.
        options: the keyword arguments of `contrastive_gradient`.

    >>> task = Task(lambda x: 0.5 * x**2, lambda x: 3.0 * x)
    >>> round(float(contrastive(1.0, 0.1, 60, 0.5)(task, jnp.array(2.0)).gradient), 9)
    1.5
    """
    checks.require_positive("regularizer", regularizer)

    def method(task: Task, theta: Any) -> TaskEstimate:
        return contrastive_gradient(
            lambda phi, w, *step: perturbed_objective(task, w, regularizer)(phi, *step),
            lambda phi, w, *step: task.query(phi, *step),
            theta,
            theta,
            perturbation,
            inner_steps,
            inner_step_size,
            **options,
        )

    return method


def perturbed_value(
    task: Task,
    theta: Any,
    regularizer: Any,
    perturbation: Any,
    inner_steps: int,
    inner_step_size: Any,
    *,
    solve: SolveFunction = solve,
) -> Float[Array, ""]:
    """M_ν(θ), the least value of ν f(φ) + f̂(φ) + (λ/2) ||φ - θ||²; Moreau's envelope for ν = 0.

    It is concave in ν, with slope F(θ) at 0, so that (M_ν - M_0)/ν <= F <= (M_0 - M_{-ν})/ν for
    ν > 0. Its gradient is λ (θ - φ_ν) (Danskin): `jax.grad` of this function returns just that,
    since the solve is not differentiated.

    Args:
        task: the losses.
        theta: θ, any pytree of arrays.
        regularizer: λ, positive.
        perturbation: ν, of either sign, or 0.
        inner_steps: K, at least 1.
        inner_step_size: α, positive.
        solve: the solve function.

    >>> task = Task(lambda x: 0.5 * x**2, lambda x: x)
    >>> envelope = lambda theta: perturbed_value(task, theta, 1.0, 0.0, 60, 0.5)
    >>> [round(float(f(2.0)), 9) for f in (envelope, jax.grad(envelope))]  # θ²/4, θ/2
    [1.0, 1.0]
    """
    checks.require_positive("regularizer", regularizer)
    checks.require_positive("inner_step_size", inner_step_size)
    theta = checks.float_tree("theta", theta)
    fixed = jax.lax.stop_gradient(theta)
    inner = perturbed_objective(task, fixed, regularizer, perturbation)
    point = solve(inner, fixed, inner_steps, inner_step_size, None).point
    return perturbed_objective(task, theta, regularizer, perturbation)(point)


def surrogate(
    task: Task,
    theta: Any,
    regularizer: Any,
    perturbation: Any,
    inner_steps: int,
    inner_step_size: Any,
    *,
    rule: DifferenceRule = SYMMETRIC,
    solve: SolveFunction = solve,
) -> Float[Array, ""]:
    """S_ν(θ) = (1/ν) Σ_j w_j M_{jν}(θ): what FO-B-MAML with a fixed ν really descends.

    `jax.grad` of this function is the gradient of `fo_b_maml` with the same arguments. Forward
    differences give a lower bound of F. Source: our derivation; a penalty method of bilevel
    optimization with the penalty 1/ν (Kwon et al., 2023).

    Args:
        task: the losses.
        theta: θ, any pytree of arrays.
        regularizer: λ, positive.
        perturbation: ν, positive.
        inner_steps: K, at least 1, for each solve.
        inner_step_size: α, positive.
        rule: the finite difference.
        solve: the solve function.

    >>> task = Task(lambda x: 0.5 * x**2, lambda x: x)  # F = θ/2
    >>> round(float(surrogate(task, jnp.array(2.0), 1.0, 0.1, 60, 0.5)), 9)
    1.0
    """
    checks.require_positive("perturbation", perturbation)
    theta = checks.float_tree("theta", theta)
    nu = as_dtype_of(theta, perturbation)

    def value(node):
        return perturbed_value(
            task, theta, regularizer, node, inner_steps, inner_step_size, solve=solve
        )

    values = jax.lax.map(value, jnp.array(rule.nodes, nu.dtype) * nu)
    return difference(rule, values, nu)
