"""Outer descent: many outer steps along given meta-gradients, and what is proved about it.

Let ||∇F(θ) - ∇F(θ')|| <= (L0 + L1 ||∇F(θ)||) ||θ - θ'|| for all θ, θ', and Δ = F(θ_0) - inf F. Clipped
descent with exact gradients decreases F at every step, and normalized descent with momentum comes to
a small average gradient although the gradients are biased and noisy. Theorems and proofs are ours,
built on Zhang, He, Sra and Jadbabaie, 2020, and on Cutkosky and Mehta, 2020.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from metagrad import checks
from metagrad.growing_smoothness import Smoothness, largest_gradient
from metagrad.renormalization import norm
from metagrad.unroll import prepend


class Descent(NamedTuple):
    """What a run went through.

    Attributes:
        parameters: θ_0, ..., θ_T, each leaf with a new axis 0 of length T + 1.
        gradient_norms: ||ĝ_0||, ..., ||ĝ_{T-1}||, of the meta-gradients as given, shape (T,). One
            may be infinite or NaN: then the run has diverged there.
        diverged: at each step, whether the run has left the ball by then, shape (T,). From there on
            the parameters stay where they last were inside.
    """

    parameters: Any
    gradient_norms: Float[Array, " steps"]
    diverged: Bool[Array, " steps"]


def descend(
    gradient: Callable[..., Any],
    meta_parameters: Any,
    outer_step: optax.GradientTransformation,
    outer_steps: int,
    *,
    key: jax.Array | None = None,
    radius: Any = 1e8,
) -> Descent:
    """Outer steps from θ_0, frozen before the first one that would leave ||θ|| <= radius.

    Args:
        gradient: maps θ to a meta-gradient like θ; with a key it maps (θ, a key of its own).
        meta_parameters: θ_0, an array or a pytree of arrays, ||θ_0|| at most the radius.
        outer_step: from `metagrad.outer_steps`, or any optax transformation that returns what is to
            be added to θ.
        outer_steps: T, at least 1.
        key: None, or a `jax.random.key` to draw the noise of each step from.
        radius: positive.

    Returns:
        A `Descent`. A meta-gradient that is not finite counts as leaving.

    Raises:
        TypeError: if `gradient` does not return a pytree like θ.

    >>> from metagrad.outer_steps import plain
    >>> run = descend(lambda x: 2.0 * x, jnp.array(4.0), plain(0.25), 2)
    >>> run.parameters.tolist(), run.gradient_norms.tolist(), bool(run.diverged[-1])
    ([4.0, 2.0, 1.0], [8.0, 4.0], False)
    >>> run = descend(lambda x: 2.0 * x, jnp.array(4.0), plain(2.0), 3, radius=40.0)
    >>> run.parameters.tolist(), run.diverged.tolist()  # the third one would go to -108
    ([4.0, -12.0, 36.0, 36.0], [False, False, True])
    """
    theta = checks.float_tree("meta_parameters", meta_parameters)
    checks.require_leaves("meta_parameters", theta)
    checks.require_one_dtype("meta_parameters", theta)
    checks.require_steps("outer_steps", outer_steps)
    checks.require_positive("radius", radius)
    checks.require_at_most("the norm of meta_parameters", norm(theta), "radius", radius)
    if key is not None:
        checks.require_key(key, "the noise of the meta-gradients")
    draw = (lambda t: ()) if key is None else (lambda t: (jax.random.fold_in(key, t),))
    checks.require_same_tree("gradient", jax.eval_shape(gradient, theta, *draw(0)), theta)

    def step(carry, t):
        theta, state, out = carry
        found = gradient(theta, *draw(t))
        updates, new_state = outer_step.update(found, state, theta)
        moved = optax.apply_updates(theta, updates)
        out = out | ~(norm(found) < jnp.inf) | ~(norm(moved) <= radius)  # NaN is not below

        def keep(old, new):
            return jax.tree.map(lambda one, other: jnp.where(out, one, other), old, new)

        theta = keep(theta, moved)
        return (theta, keep(state, new_state), out), (theta, norm(found), out)

    carry = (theta, outer_step.init(theta), jnp.zeros((), bool))
    _, (thetas, norms, out) = jax.lax.scan(step, carry, jnp.arange(outer_steps, dtype=jnp.int32))
    return Descent(prepend(theta, thetas), norms, out)


def clipped_iterations(smoothness: Smoothness, gap: Any, tolerance: Any) -> Float[Array, ""]:
    """After 4Δ(L0/ε² + L1/ε) clipped steps some gradient was at most ε.

    The steps are those of `metagrad.outer_steps.clipped_choice`, the gradients exact; F decreases at
    each of them.

    Args:
        smoothness: L0 and L1.
        gap: Δ, at least 0, shape ().
        tolerance: ε, positive.

    >>> clipped_iterations(Smoothness(1.0, 0.5), 4.0, 0.5).item()
    80.0
    """
    checks.require_nonnegative("gap", gap)
    checks.require_positive("tolerance", tolerance)
    gap = checks.as_float("gap", gap)
    return 4.0 * gap * (smoothness.at_rest / tolerance + smoothness.growth) / tolerance


def plain_iterations(smoothness: Smoothness, gap: Any, tolerance: Any) -> Float[Array, ""]:
    """After 2Δ(L0 + L1 G)/ε² plain steps some gradient was at most ε.

    The steps are those of `metagrad.outer_steps.plain_choice`, G the largest gradient below the
    start. G grows with Δ, so that Δ enters up to squared. Arguments as for `clipped_iterations`.

    >>> plain_iterations(Smoothness(6.0, 0.5), 2.0, 1.0).item()
    36.0
    """
    checks.require_positive("tolerance", tolerance)
    steepest = largest_gradient(smoothness, gap)
    return 2.0 * gap * (smoothness.at_rest + smoothness.growth * steepest) / tolerance**2


def normalized_average(
    smoothness: Smoothness,
    gap: Any,
    outer_steps: int,
    outer_step_size: Any,
    *,
    momentum: Any = 0.0,
    noise: Any = 0.0,
    bias: Any = 0.0,
    relative_bias: Any = 0.0,
    first_gradient: Any = 0.0,
) -> Float[Array, ""]:
    """A bound on the mean over t < T of E||∇F(θ_t)|| with `metagrad.outer_steps.normalized`:

    2Δ/(ηT) + 4σ/(αT) + 5ηL0/α + 4b + 4√α σ + 4ω||∇F(θ_0)||/(αT),   α = 1 - β,   if η <= α/(8 L1).

    The gradient of step t is ∇F(θ_t) + b_t + n_t. The n_t have mean 0 given the past and E||n_t||² <=
    σ²; E||b_t|| <= b + ω E||∇F(θ_t)||, and b_t may depend on n_t. For B sampled tasks σ = ζ/√B.

    Args:
        smoothness: L0 and L1 (of the mean over tasks).
        gap: Δ, at least 0, shape ().
        outer_steps: T, at least 1.
        outer_step_size: η, positive, at most α/(8 L1). Where it is traced and is larger, the bound
            is infinite: nothing is proved.
        momentum: β, at least 0, below 1.
        noise: σ, at least 0.
        bias: b, at least 0.
        relative_bias: ω, between 0 and 3/32.
        first_gradient: ||∇F(θ_0)||, at least 0; needed only if ω is not 0.

    >>> normalized_average(Smoothness(1.0, 0.5), 4.0, 16, 0.25, bias=0.5).item()
    5.25
    """  # noqa: D415
    checks.require_nonnegative("gap", gap)
    checks.require_steps("outer_steps", outer_steps)
    checks.require_positive("outer_step_size", outer_step_size)
    checks.require_in("momentum", momentum, 0, 1)
    alpha = 1.0 - momentum
    checks.require_positive("1 - momentum", alpha)
    for name, value in (("noise", noise), ("bias", bias), ("first_gradient", first_gradient)):
        checks.require_nonnegative(name, value)
    checks.require_in("relative_bias", relative_bias, 0, 3 / 32)
    load = 8.0 * smoothness.growth * outer_step_size / alpha
    checks.require_at_most(
        "8 · growth · outer_step_size / (1 - momentum)", load, "its limit", 1.0 + 1e-12
    )
    start = 2.0 * checks.as_float("gap", gap) / outer_step_size
    start = start + 4.0 * (noise + relative_bias * first_gradient) / alpha
    drift = 5.0 * outer_step_size * smoothness.at_rest / alpha
    bound = start / outer_steps + drift + 4.0 * bias + 4.0 * noise * alpha**0.5
    return jnp.where(load <= 1.0 + 1e-12, bound, jnp.inf)


class Complexity(NamedTuple):
    """Exponents e of (1/ε)^e, up to logarithms, for an average meta-gradient of at most ε.

    Attributes:
        inner_accuracy: δ is ε to this power.
        inner_steps: gradients in an inner solve.
        task_visits: outer steps times tasks in each; times n where all tasks are visited.
        total: gradients in all, the sum of the last two.
    """

    inner_accuracy: Fraction
    inner_steps: Fraction
    task_visits: Fraction
    total: Fraction


def oracle_complexity(order: int, *, stochastic_solver: bool, sampled_tasks: bool) -> Complexity:
    """How many gradients first-order MAML needs, counted in powers of 1/ε.

    A difference of order p, with bias O(ν^p), leaves O(δ^{p/(p+1)}) of an inner accuracy δ, so
    that δ = ε^{(p+1)/p} is needed. A linearly convergent solver takes log(1/δ) steps for it,
    stochastic descent δ^{-2}. The theorem on normalized steps asks ε^{-2} outer steps with all tasks,
    ε^{-4} visits with sampled ones.

    Args:
        order: p: 1 forward, 2 symmetric.
        stochastic_solver: whether the gradients of the inner solves are noisy.
        sampled_tasks: whether an outer step looks at some of the tasks only.

    >>> oracle_complexity(2, stochastic_solver=True, sampled_tasks=False).total
    Fraction(5, 1)
    """
    checks.require_steps("order", order)
    accuracy = Fraction(order + 1, order)
    inner = 2 * accuracy if stochastic_solver else Fraction(0)
    visits = Fraction(4 if sampled_tasks else 2)
    return Complexity(accuracy, inner, visits, inner + visits)
