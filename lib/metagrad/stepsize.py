"""The meta-gradient of a step size on a quadratic, in closed form, for any number of steps.

Gradient descent with step size β on f(x) = Σ λ_i x_i² / 2, from the start c (in the eigenbasis),
has after t steps the loss

    f(x_t) = ½ Σ c_i² λ_i a_i^{2t},   a_i = 1 - βλ_i.

It leaves the range of floats when t is large; so does its derivative, the *naive* meta-gradient.
The *log* objective F(β) = (1/t) log f(x_t) has a derivative of moderate size, a mean over shares,

    F'(β) = -2 Σ p_i λ_i / a_i,   p_i = c_i² λ_i a_i^{2t} / Σ_j c_j² λ_j a_j^{2t}.

Here the largest term is divided out before any power is taken. The objectives are those of Wang,
Yuan, Wu and Ge, 2021 ("Guarantees for Tuning the Step Size using a Learning-to-Learn Approach").
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad.quadratic_terms import problem, require_loss, terms
from metagrad.twofold import one_minus_product


def log_meta_objective(
    step_size: Any, eigenvalues: Any, coefficients: Any, steps: Any
) -> Float[Array, ""]:
    """F(β) = (1/t) log f(x_t), for any t: where f(x_t) itself is out of range, too.

    As t grows it tends to 2 log ρ, ρ = max |1 - βλ_i| (see `contraction`). Arguments and errors
    are those of `log_meta_gradient`.

    >>> float(log_meta_objective(0.5, [1.0], [1.0], 10**6) / jnp.log(2.0)).__round__(9)
    -2.000001
    """
    given = problem(step_size, eigenvalues, coefficients, steps)
    made = terms(given)
    require_loss(made)
    rest = made.log_weight + jnp.log(0.5 * jnp.sum(made.ratios**2 * made.powers))
    return jnp.where(made.vanished, jnp.nan, 2.0 * made.log_size + rest / given.steps)


def log_meta_gradient(
    step_size: Any, eigenvalues: Any, coefficients: Any, steps: Any
) -> Float[Array, ""]:
    """F'(β), the derivative of F(β) = (1/t) log f(x_t) in the step size, for any t.

    The rounding error is a small multiple of the float's precision times the terms' magnitudes,
    2 Σ p_i λ_i / |1 - βλ_i|, whatever t is. (Near the minimizer the terms cancel.) For that, each
    1 - βλ_i is computed to twice the digits, see `metagrad.twofold`.

    Args:
        step_size: β, at least 0, a number.
        eigenvalues: λ_1, ..., λ_d, positive, in any order, shape (d,).
        coefficients: c_1, ..., c_d, the start in the eigenbasis, shape (d,). Their common scale
            does not change F', and adds a constant to F.
        steps: t, a whole number of at least 1; it may be traced.

    Returns:
        F'(β), shape (). It has derivatives itself: `jax.grad` gives F''(β).

    Raises:
        ValueError: if an argument is out of range, or if the loss is exactly zero: each eigenvalue
            with a nonzero coefficient has 1 - βλ_i == 0 in floating point. Inside `jax.jit`,
            where nothing can be raised, the result is NaN instead.

    >>> at_half = log_meta_gradient(0.5, [1.0, 4.0], [0.6, 0.8], 10**6)  # 1 - 4β = -1 dominates
    >>> float(at_half)
    8.0
    >>> float(log_meta_gradient(0.25, [1.0, 4.0], [0.6, 0.8], 10**6).round(12))  # -2 / (1 - β)
    -2.666666666667
    """
    given = problem(step_size, eigenvalues, coefficients, steps)
    made = terms(given)
    require_loss(made)
    above = jnp.sum(given.eigenvalues * (made.ratios * made.powers))
    below = jnp.sum(made.ratios**2 * made.powers)
    return jnp.where(made.vanished, jnp.nan, -2.0 * above / (below * made.size))


class SignedLog(NamedTuple):
    """A number that may be out of the range of floats: sign * exp(log_size).

    Attributes:
        sign: -1, 0 or 1.
        log_size: the logarithm of the absolute value; -inf for the number 0.
    """

    sign: Float[Array, "..."]
    log_size: Float[Array, "..."]


def naive_meta_gradient(
    step_size: Any, eigenvalues: Any, coefficients: Any, steps: Any
) -> SignedLog:
    """The derivative of f(x_t) itself in the step size: -t Σ c_i² λ_i² a_i^{2t-1}.

    It explodes or vanishes like ρ^{2t}, ρ = max |1 - βλ_i|: (1/t) log |f'| tends to 2 log ρ for
    every β but the limit 2 / (λ_min + λ_max) of the minimizers. The logarithm of its size does
    neither. Arguments as for `log_meta_gradient`; the derivative of a loss that is 0 is 0.

    >>> exploded = naive_meta_gradient(0.75, [1.0, 4.0], [0.6, 0.8], 10**6)
    >>> exploded.sign.item(), (exploded.log_size / jnp.log(10.0)).round(3).item()
    (1.0, 602066.701)
    """
    given = problem(step_size, eigenvalues, coefficients, steps)
    made = terms(given)
    total = -jnp.sum(given.eigenvalues * (made.ratios * made.powers))
    nonzero = (total != 0) & jnp.any(given.coefficients != 0)
    logs = jnp.log(given.steps) + jnp.log(jnp.abs(jnp.where(nonzero, total, 1.0)))
    logs = logs + made.log_weight + (2.0 * given.steps - 1.0) * made.log_size
    return SignedLog(jnp.where(nonzero, jnp.sign(total), 0.0), jnp.where(nonzero, logs, -jnp.inf))


def contraction(step_size: Any, eigenvalues: Any) -> Float[Array, ""]:
    """ρ(β) = max |1 - βλ_i|: how much one step shrinks (or stretches) a point at most.

    >>> contraction(0.25, [1.0, 4.0]).item()
    0.75
    """
    given = problem(step_size, eigenvalues, jnp.asarray(eigenvalues), 1)
    return jnp.max(jnp.abs(one_minus_product(given.step_size, given.eigenvalues).high))
