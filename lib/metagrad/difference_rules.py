"""Finite differences in the perturbation: which nodes, which weights, and how far apart.

A rule estimates the derivative at 0 of a curve ν -> φ(ν) by

    (1/ν) Σ_j w_j φ(j ν)   over its nodes j,

with the weights that make it exact for polynomials of as high a degree as possible: the moments
Σ_j w_j jᵏ are 1 for k = 1 and 0 for the other k below the number of nodes. Of order p, it errs by
about C νᵖ. An error of size δ in each φ(jν) adds at most (δ/ν) Σ |w_j|: a small ν is not a good ν.
"""

from fractions import Fraction
from math import isfinite, prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks


class DifferenceRule(NamedTuple):
    """A rule.

    Attributes:
        nodes: the j, distinct, with a weight that is not 0.
        weights: w_j.
        order: p, at least 1.
    """

    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    order: int


def from_nodes(nodes: Any) -> DifferenceRule:
    """The rule of highest order with these nodes: its weights solve the moment equations.

    w_j is the derivative at 0 of the polynomial that is 1 at the node j and 0 at the others
    (Lagrange), computed in fractions. Nodes whose weight is 0 are left out.

    Args:
        nodes: at least two different numbers.

    Raises:
        ValueError: if they are fewer, not finite, or not different.

    >>> from_nodes((-1, 0, 1))
    DifferenceRule(nodes=(-1, 1), weights=(-0.5, 0.5), order=2)
    """
    nodes = tuple(nodes)
    if len(nodes) < 2 or len(set(nodes)) < len(nodes) or not all(map(isfinite, nodes)):
        raise ValueError(f"nodes must be at least two different finite numbers, got {nodes!r}")
    exact = [Fraction(node) for node in nodes]

    def weight(j):
        others = [node for node in exact if node != j]
        slopes = (prod(-m for m in others if m != omitted) for omitted in others)
        return sum(slopes, Fraction(0)) / prod(j - m for m in others)

    pairs = [(node, j, weight(j)) for node, j in zip(nodes, exact, strict=True) if weight(j) != 0]
    order = len(nodes) - 1
    while sum(w * j ** (order + 1) for _, j, w in pairs) == 0:
        order += 1
    return DifferenceRule(
        tuple(node for node, _, _ in pairs), tuple(float(w) for _, _, w in pairs), order
    )


def of_order(order: int) -> DifferenceRule:
    """A rule of order p with p nodes for even p and p + 1 for odd p, as central as possible.

    Even: ±1, ..., ±p/2. Odd: from -(p - 1)/2 to (p + 1)/2. Source: Chen, Li, Chayti and Zhang
    (F2SA-p), who use it for bilevel problems.

    Args:
        order: p, at least 1.

    >>> of_order(1) == FORWARD, of_order(2) == SYMMETRIC
    (True, True)
    >>> [round(12 * w) for w in of_order(4).weights]
    [1, -8, 8, -1]
    """
    checks.require_steps("order", order)
    return from_nodes(range(-((order - order % 2) // 2), (order + order % 2) // 2 + 1))


def one_sided(order: int) -> DifferenceRule:
    """The rule of order p on the nodes 0, 1, ..., p: no negative perturbation.

    Args:
        order: p, at least 1.

    >>> one_sided(2).weights
    (-1.5, 2.0, -0.5)
    """
    checks.require_steps("order", order)
    return from_nodes(range(order + 1))


FORWARD = from_nodes((0, 1))
SYMMETRIC = from_nodes((-1, 1))
THREE_POINT = one_sided(2)


def reach(rule: DifferenceRule) -> float:
    """The largest |j|: the rule solves problems with perturbations up to this times ν.

    >>> reach(of_order(4))
    2
    """
    return max(abs(node) for node in rule.nodes)


def amplification(rule: DifferenceRule) -> float:
    """Σ |w_j|: what an error in each of the values is multiplied by, over ν.

    >>> amplification(FORWARD), amplification(SYMMETRIC), amplification(THREE_POINT)
    (2.0, 1.0, 4.0)
    """
    return sum(abs(weight) for weight in rule.weights)


def difference(rule: DifferenceRule, values: Any, perturbation: Any) -> Any:
    """(1/ν) Σ_j w_j values[j]: the derivative at 0 by the rule.

    Args:
        rule: its nodes say where the values were taken.
        values: a pytree of arrays, axis 0 of each the nodes.
        perturbation: ν, not 0.

    Raises:
        ValueError: if the values are not as many as the nodes.

    >>> difference(SYMMETRIC, jnp.array([[1.0, 0.0], [2.0, 6.0]]), 0.5).tolist()
    [1.0, 6.0]
    """

    def leaf(values):
        if values.shape[:1] != (len(rule.nodes),):
            raise ValueError(
                f"values must have a first axis of length {len(rule.nodes)}, the number of "
                f"nodes, got shape {values.shape}"
            )
        # Term by term, not a dot product: accelerators round the factors of those.
        total = sum(weight * value for weight, value in zip(rule.weights, values, strict=True))
        return total / jnp.asarray(perturbation, values.dtype)

    return jax.tree.map(leaf, values)


def error_bound(
    rule: DifferenceRule, regularizer: Any, accuracy: Any, error_constant: Any, perturbation: Any
) -> Float[Array, "..."]:
    """C νᵖ + λ δ Σ|w_j| / ν: the worst error of a meta-gradient from solves δ off.

    Source: our derivation (triangle inequality).

    Args:
        rule: of order p.
        regularizer: λ, the factor between the derivative of the solution and the meta-gradient.
        accuracy: δ, at least 0: how far each solve may be from the exact solution.
        error_constant: C, at least 0: with exact solves the error is at most C νᵖ.
        perturbation: ν, positive. The last three may be arrays of one shape.

    >>> error_bound(FORWARD, 2.0, 0.01, 1.0, 0.5).item()  # 0.5 + 2 · 2 · 0.01 / 0.5
    0.58
    """
    checks.require_positive("regularizer", regularizer)
    checks.require_nonnegative("accuracy", accuracy)
    checks.require_nonnegative("error_constant", error_constant)
    checks.require_positive("perturbation", perturbation)
    nu = checks.as_float("perturbation", perturbation)
    return error_constant * nu**rule.order + regularizer * accuracy * amplification(rule) / nu


def optimal_perturbation(
    rule: DifferenceRule,
    regularizer: Any,
    accuracy: Any,
    error_constant: Any,
    limit: Any = None,
) -> Float[Array, "..."]:
    """The ν that minimizes `error_bound`: (λ δ Σ|w_j| / (p C))^(1/(p+1)), or the limit if less.

    Forward √(2λδ/C), symmetric (λδ/(2C))^(1/3). The bound there is (p + 1) C νᵖ, of order
    δ^(p/(p+1)). Source: our derivation.

    Args:
        rule: of order p.
        regularizer: λ, positive.
        accuracy: δ, at least 0; a number or an array.
        error_constant: C, positive.
        limit: the largest ν allowed, such as `safe_perturbation`; None for no limit.

    >>> optimal_perturbation(FORWARD, 2.0, 0.01, 1.0).item()
    0.2
    """
    checks.require_positive("regularizer", regularizer)
    checks.require_nonnegative("accuracy", accuracy)
    checks.require_positive("error_constant", error_constant)
    accuracy = checks.as_float("accuracy", accuracy)
    ratio = regularizer * accuracy * amplification(rule) / (rule.order * error_constant)
    best = ratio ** (1 / (rule.order + 1))
    return best if limit is None else jnp.minimum(best, jnp.asarray(limit, best.dtype))


def safe_perturbation(
    strong_convexity: Any, query_smoothness: Any, rule: DifferenceRule = SYMMETRIC
) -> Float[Array, ""]:
    """μ / (2 L_f), over the reach of the rule: up to it every problem is μ/2-strongly convex.

    That holds for both signs of ν and for a query loss that need not be convex. Source: our
    derivation.

    Args:
        strong_convexity: μ, positive: of the inner problem without perturbation.
        query_smoothness: L_f, positive: the Lipschitz constant of the query loss's gradient.
        rule: the rule that is to be used.

    >>> safe_perturbation(1.0, 10.0).item(), safe_perturbation(1.0, 10.0, of_order(4)).item()
    (0.05, 0.025)
    """
    checks.require_positive("strong_convexity", strong_convexity)
    checks.require_positive("query_smoothness", query_smoothness)
    return checks.as_float("strong_convexity", strong_convexity) / (
        2 * reach(rule) * query_smoothness
    )


def scale_free_perturbation(
    gradient_norm: Any, radius: Any, limit: Any, reference_norm: Any = 0.0
) -> Float[Array, "..."]:
    """min(limit, r / max(g_ref, ||∇f||)): the perturbed solution moves by about r, whatever f.

    The bias of a forward difference is then of order r (1 + ||∇F||) even where ∇f is not
    bounded. That of a symmetric one is of order r² (1 + ||∇F||) only if g_ref is positive.
    Source: our derivation.

    Args:
        gradient_norm: ||∇f||, at least 0, at the adapted parameters; a number or an array.
        radius: r, positive.
        limit: the largest ν allowed, positive, such as `safe_perturbation`.
        reference_norm: g_ref, at least 0.

    >>> scale_free_perturbation(4.0, 0.1, 0.5).item(), scale_free_perturbation(0.0, 0.1, 0.5).item()
    (0.025, 0.5)
    """
    checks.require_nonnegative("gradient_norm", gradient_norm)
    checks.require_positive("radius", radius)
    checks.require_positive("limit", limit)
    checks.require_nonnegative("reference_norm", reference_norm)
    norm = checks.as_float("gradient_norm", gradient_norm)
    radius, limit, reference = (
        jnp.asarray(number, norm.dtype) for number in (radius, limit, reference_norm)
    )
    size = jnp.maximum(norm, reference)
    return jnp.where(size * limit > radius, radius / jnp.where(size > 0, size, 1.0), limit)
