"""How steep the gradient of a meta-objective may be: a constant that grows with the gradient.

The objectives of MAML have no Lipschitz gradient, see `metagrad.cosine_valley`, but for all θ, θ'

    ||∇F(θ) - ∇F(θ')|| <= (L0 + L1 ||∇F(θ)||) ||θ - θ'||,

with constants that are known from those of the losses. Unlike in the (L0, L1)-smoothness of Zhang,
He, Sra and Jadbabaie, 2020, θ and θ' need not be near each other. That the smoothness grows with
the meta-gradient is a result of Chayti and Jaggi, 2024, whose constants we have not seen; these,
and their proofs in the book, are ours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.renormalization import norm
from metagrad.task_constants import Constants, checked


class Smoothness(NamedTuple):
    """The two constants.

    Attributes:
        at_rest: L0, the smoothness where the gradient is 0.
        growth: L1, what each unit of the gradient's norm adds.
    """

    at_rest: Any
    growth: Any


def _checked(smoothness: Smoothness) -> Smoothness:
    checks.require_positive("at_rest", smoothness.at_rest)
    checks.require_nonnegative("growth", smoothness.growth)
    return smoothness


def bilevel_smoothness(constants: Constants) -> Smoothness:
    """Of F(θ) = f(φ(θ)), φ the exact inner solution: L0 = (λ/μ)² L_f, L1 = λρ/μ².

    Both are sharp, in one dimension already.

    >>> from metagrad.task_constants import convex_support
    >>> bilevel_smoothness(convex_support(2.0, 5.0, 3.0, 4.0))
    Smoothness(at_rest=4.0, growth=1.5)
    """
    given = checked(constants)
    condition = given.regularizer / given.strong_convexity
    growth = condition * given.hessian_lipschitz / given.strong_convexity
    return Smoothness(condition**2 * given.query_smoothness, growth)


def averaged_smoothness(smoothness: Smoothness, spread: Any, *, slope: Any = 1.0) -> Smoothness:
    """Of the mean F over tasks that share constants: L0 + ζ L1, and c L1.

    Args:
        smoothness: of each task.
        spread: ζ with E||∇F_i|| <= ζ + c ||∇F||, at least 0. With c = 1 it suffices that
            E||∇F_i - ∇F||² <= ζ². Without such a bound, nothing follows for the mean.
        slope: c, at least 1.

    >>> averaged_smoothness(Smoothness(4.0, 1.5), 2.0)
    Smoothness(at_rest=7.0, growth=1.5)
    """
    given = _checked(smoothness)
    checks.require_nonnegative("spread", spread)
    checks.require_at_least("slope", slope, "its least value", 1.0)
    return Smoothness(given.at_rest + spread * given.growth, slope * given.growth)


def unrolled_smoothness(
    support_smoothness: Any,
    hessian_lipschitz: Any,
    query_smoothness: Any,
    inner_step_size: Any,
    inner_steps: int,
    *,
    convex: bool = False,
    sharp: bool = True,
) -> Smoothness:
    """Of K-step MAML, F(θ) = f(p_K) with p_0 = θ and p_{k+1} = p_k - α ∇f̂(p_k).

    L0 = q^{2K} L_f,   L1 = (αρ / (1 - αL)) Σ_{k<K} (q² / (1 - αL))^k,

    with q = 1 + αL, and q = 1 if f̂ is convex. Both grow exponentially with K, but for L0 of a
    convex f̂, and not because the proof is wasteful: L0 is attained at a maximum of f̂, and there
    are convex f̂ on which L1 must grow exponentially with K, too.

    Args:
        support_smoothness: L >= ||∇²f̂||, positive.
        hessian_lipschitz: ρ, of ∇²f̂, at least 0.
        query_smoothness: L_f, positive.
        inner_step_size: α, positive, below 1 / L.
        inner_steps: K, at least 1.
        convex: whether f̂ is convex.
        sharp: False for the L1 of the shorter proof, αρ q^{K-1} Σ_{k<K} q^k / (1 - αL)^K.

    Raises:
        ValueError: if α is not below 1/L: a step may then lose a direction altogether.

    >>> unrolled_smoothness(2.0, 3.0, 4.0, 0.25, 1)
    Smoothness(at_rest=9.0, growth=1.5)
    """
    checks.require_positive("support_smoothness", support_smoothness)
    checks.require_nonnegative("hessian_lipschitz", hessian_lipschitz)
    checks.require_positive("query_smoothness", query_smoothness)
    checks.require_positive("inner_step_size", inner_step_size)
    checks.require_steps("inner_steps", inner_steps)
    product = inner_step_size * support_smoothness
    if checks.is_known(product) and not product < 1:
        raise ValueError(
            f"inner_step_size must be below 1 / support_smoothness = {1.0 / support_smoothness!r}, "
            f"got {inner_step_size!r}"
        )
    stretch = 1.0 if convex else 1.0 + product
    left = 1.0 - product
    scale = inner_step_size * hessian_lipschitz
    if sharp:
        total = sum((stretch**2 / left) ** k for k in range(inner_steps)) / left
    else:
        total = sum(stretch**k for k in range(inner_steps))
        total = total * stretch ** (inner_steps - 1) / left**inner_steps
    return Smoothness(stretch ** (2 * inner_steps) * query_smoothness, scale * total)


def smoothness_ratio(
    smoothness: Smoothness, gradient: Any, other_gradient: Any, point: Any, other_point: Any
) -> Float[Array, ""]:
    """The left side of the inequality over the right one: at most 1 if it holds.

    Args:
        smoothness: L0 and L1.
        gradient: ∇F(θ), an array or a pytree of arrays.
        other_gradient: ∇F(θ'), like it.
        point: θ, like it.
        other_point: θ', like it; where it is θ, the ratio is 0.

    >>> smoothness_ratio(Smoothness(1.0, 0.5), jnp.array(2.0), jnp.array(5.0), 1.0, 2.0).item()
    1.5
    """
    given = _checked(smoothness)
    trees = {
        "gradient": gradient,
        "other_gradient": other_gradient,
        "point": point,
        "other_point": other_point,
    }
    trees = {name: checks.float_tree(name, tree) for name, tree in trees.items()}
    for name, tree in trees.items():
        checks.require_like(name, tree, "gradient", trees["gradient"])
    gradient, other_gradient, point, other_point = trees.values()
    change = norm(jax.tree.map(jnp.subtract, gradient, other_gradient))
    allowed = (given.at_rest + given.growth * norm(gradient)) * norm(
        jax.tree.map(jnp.subtract, point, other_point)
    )
    return jnp.where(allowed == 0, 0.0, change / jnp.where(allowed == 0, 1.0, allowed))


def guaranteed_decrease(
    smoothness: Smoothness, gradient_norm: Any, step_size: Any
) -> Float[Array, ""]:
    """The descent lemma: F(θ) - F(θ - γ∇F(θ)) >= γx² - (L0 + L1 x) γ²x² / 2, x = ||∇F(θ)||.

    It may be negative: then nothing is guaranteed. At γ = 1/(L0 + L1 x) it is largest.

    Args:
        smoothness: L0 and L1.
        gradient_norm: x, at least 0, shape ().
        step_size: γ, at least 0.

    >>> guaranteed_decrease(Smoothness(1.0, 0.5), 2.0, 0.5).item()
    1.0
    """
    given = _checked(smoothness)
    checks.require_nonnegative("gradient_norm", gradient_norm)
    checks.require_nonnegative("step_size", step_size)
    x = checks.as_float("gradient_norm", gradient_norm)
    moved = step_size * x
    return moved * x - 0.5 * (given.at_rest + given.growth * x) * moved**2


def largest_gradient(smoothness: Smoothness, gap: Any) -> Float[Array, ""]:
    """||∇F(θ)|| is at most L1 Δ + √(L1² Δ² + 2 L0 Δ) wherever F(θ) - inf F <= Δ.

    Args:
        smoothness: L0 and L1.
        gap: Δ, at least 0, shape ().

    >>> largest_gradient(Smoothness(6.0, 0.5), 2.0).item()
    6.0
    """
    given = _checked(smoothness)
    checks.require_nonnegative("gap", gap)
    gap = checks.as_float("gap", gap)
    grown = given.growth * gap
    return grown + jnp.sqrt(grown**2 + 2.0 * given.at_rest * gap)
